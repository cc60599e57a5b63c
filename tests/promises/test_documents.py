"""README and CONTRIBUTING: what they name is there, what they show runs, and versions stated twice are the same."""

import importlib
import importlib.util
import re
import tomllib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from products import matrix_product

import fastnp

ROOT = Path(__file__).parents[2]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", ".github/CONTRIBUTING.md")}
documents = pytest.mark.parametrize("name", TEXTS)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDERS = r"(?:fastnp|kernels|tests|asv_benches|\.ci|\.github)"
PATH = re.compile(rf"(?<![\w./-]){FOLDERS}/[\w./{{}},-]*|(?<![\w./-])[\w.-]+\.(?:py|md|toml|ya?ml|svg)\b")
DOTTED = re.compile(r"(?<![\w./-])(?:fastnp|nn)(?:\.[A-Za-z_]\w*)+")
BENCHES = re.compile(r"\b(asv_benches\.[a-z]\w*)")  # whose imports the tests' environment need not have
TEST = re.compile(r"`(test_\w+)`")


def expanded(path):
    """a{b,c}d as a shell has it: abd, acd."""
    pieces = [piece.split(",") for piece in re.split(r"[{}]", path)]
    return ["".join(chosen) for chosen in product(*pieces)]


def drawing(text):
    """The drawing of the rooms, or nothing."""
    return next((body for language, body in FENCE.findall(text) if not language and body.startswith("fastnp/")), "")


def paths(text):
    """The files and folders that a text names, outside the drawing of the rooms."""
    found = {match.rstrip(".,") for match in PATH.findall(text.replace(drawing(text), ""))}
    return sorted({path for match in found for path in expanded(match)})


def resolved(dotted):
    """What a dotted name means; ImportError or AttributeError where it means nothing."""
    first, *names = dotted.split(".")
    value = importlib.import_module({"nn": "fastnp"}.get(first, first))
    for name in names:
        if not hasattr(value, name):
            importlib.import_module(f"{value.__name__}.{name}")
        value = getattr(value, name)
    return value


def tree(block):
    """The paths in the drawing of the rooms: its first column, indented under folders, of which a line may name two."""
    above = {-1: [""]}
    for line in block.splitlines():
        indent = len(line) - len(line.lstrip())
        names = re.split(r"  +", line.strip())[0].split()
        folders = above[max(depth for depth in above if depth < indent)]
        above = {depth: here for depth, here in above.items() if depth < indent}
        above[indent] = [folder + name for folder, name in product(folders, names)]
        yield from above[indent]


def examples(text, heading):
    """The Python code of a section."""
    (section,) = (part for part in text.split("\n## ") if part.startswith(f"{heading}\n"))
    return [body for language, body in FENCE.findall(section) if language == "python"]


# --- what they name ---


@documents
def test_every_path_is_there(name):
    found = paths(TEXTS[name])
    assert len(found) > 10
    assert not [path for path in found if not (ROOT / path).exists()]


@documents
def test_every_dotted_name_means_something(name):
    found = sorted(set(DOTTED.findall(TEXTS[name])))
    assert found
    if importlib.util.find_spec("sklearn") is None:
        found = [dotted for dotted in found if not dotted.startswith("fastnp.estimators")]
    for dotted in found:
        resolved(dotted)
    assert all(importlib.util.find_spec(module) for module in BENCHES.findall(TEXTS[name]))


@documents
def test_every_test_is_there(name):
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [test for test in TEST.findall(TEXTS[name]) if f"def {test}(" not in sources]


def test_the_rooms_are_as_they_are_drawn():
    drawn = list(tree(drawing(TEXTS["README.md"])))
    assert {"fastnp/layers/", "kernels/compiled/walk.py", "kernels/reference/walk.py"} <= set(drawn)
    assert not [path for path in drawn if not (ROOT / path).exists()]
    rooms = {
        f"{path.parent.name}/{path.name}/" for path in (ROOT / "fastnp").iterdir() if (path / "__init__.py").exists()
    }
    assert rooms <= set(drawn), "a room is missing in the drawing"


def test_what_is_not_there_is_found():
    text = "`kernels/gone.py`, `tests/{data,gone}/`, gone.md, see tests/data/."
    gone = [path for path in paths(text) if not (ROOT / path).exists()]
    assert gone == ["gone.md", "kernels/gone.py", "tests/gone/"]
    with pytest.raises(ImportError):
        resolved("fastnp.kernels.gone")
    assert resolved("nn.fit") is fastnp.fit


# --- what they show ---


def test_the_example_of_use_runs(numba, capsys):
    (code,) = examples(TEXTS["README.md"], "Use")
    np.random.seed(0)
    names = {}
    exec(compile(code, "README.md, Use", "exec"), names)
    assert len(names["history"].loss) == 900
    assert float(capsys.readouterr().out.split()[0]) == names["history"].loss[-1] < 0.1


def test_the_example_of_classes_runs(numba, capsys):
    (code,) = examples(TEXTS["README.md"], "Classify")
    exec(compile(code, "README.md, Classify", "exec"), {})
    out = capsys.readouterr().out
    assert float(re.search(r"right: (\S+)", out)[1]) > 0.95


def test_the_example_of_optimizers_runs(numba, capsys):
    (code,) = examples(TEXTS["README.md"], "Optimizers and schedules")
    names = {}
    exec(compile(code, "README.md, Optimizers and schedules", "exec"), names)
    history, optimizer = names["history"], names["optimizer"]
    assert optimizer.updates == 25 * (history.best_epoch + 1)
    assert history.validation_loss[history.best_epoch] == min(history.validation_loss) < 0.01
    assert capsys.readouterr().out.startswith(repr(history))


def test_the_example_of_jitted_code_runs(numba, capsys):
    """The learned pendulum swings as one does that goes by the law, also where an integrator in Python asks for it."""
    (code,) = examples(TEXTS["README.md"], "Inside jitted code")
    names = {}
    exec(compile(code, "README.md, Inside jitted code", "exec"), names)
    model, swing, start = names["model"], names["swing"], np.array([2.5, 0.0])
    learned = swing(fastnp.jit(model), start, 2000, 0.01)
    assert capsys.readouterr().out.split() == str(learned[-1]).split()
    true = swing.py_func(lambda s: np.array([-np.sin(s[0]) - 0.1 * s[1]]), start, 2000, 0.01)
    assert abs(learned - true).max() < 0.1
    assert np.array_equal(swing.py_func(lambda s: model.predict(s[np.newaxis])[0], start, 50, 0.01), learned[:51])


@pytest.mark.parametrize(("title", "module", "bases"), [
    ("Layers and losses", fastnp, (fastnp.Layer, fastnp.Loss, fastnp.Initializer)),
    ("Optimizers and schedules", fastnp, (fastnp.Optimizer,)),
    ("Optimizers and schedules", fastnp.schedules, (fastnp.schedules.Schedule,)),
])  # fmt: skip
def test_every_class_is_in_the_tables(title, module, bases):
    (section,) = (part for part in TEXTS["README.md"].split("\n## ") if part.startswith(f"{title}\n"))
    classes = {
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, bases) and value not in bases
    }
    assert classes <= set(re.findall(r"`(\w+)", section))


def test_the_example_of_one_operation_runs():
    (code,) = examples(TEXTS["README.md"], "How it is laid out")
    names = {}
    exec(compile(code, "README.md, How it is laid out", "exec"), names)
    np.testing.assert_allclose(names["results"]["numpy"], matrix_product(names["x"], names["w"]) + names["b"])


def test_the_python_in_the_commands_is_python():
    shown = re.findall(r"<<'EOF'\n(.*?)^EOF$", TEXTS[".github/CONTRIBUTING.md"], re.MULTILINE | re.DOTALL)
    assert len(shown) > 3
    for code in shown:
        compile(code, "CONTRIBUTING.md", "exec")
        for module, imported in re.findall(r"^ *from ([\w.]+) import ([\w, ]+)$", code, re.MULTILINE):
            for name in imported.split(", "):
                assert module.startswith("asv_benches.") or resolved(f"{module}.{name}")


# --- versions ---


def test_pre_commit_runs_the_ruff_of_the_gate():
    config = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (pinned,) = (line for line in project["project"]["optional-dependencies"]["test"] if line.startswith("ruff"))
    (version,) = re.findall(r"/ruff-pre-commit\n +rev: v(\S+)$", config, re.MULTILINE)
    assert pinned == f"ruff=={version}"
