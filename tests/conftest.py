"""Fixtures that several test files share."""

import gc
import signal
from pathlib import Path

import pytest

import fastnp as nn

# What support modules assert is shown as fully as in the tests that call them.
pytest.register_assert_rewrite(*(path.stem for path in (Path(__file__).parent / "support").glob("*.py")))


def pytest_configure():
    """Ctrl-C is tested, and a shell without job control starts its background jobs with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--share", default="0/1", metavar="K/N", help="of the selected tests each N-th, from the K-th on")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config, items):
    from thinned import mark_the_rest_slow  # only now, for its asserts are rewritten, too

    mark_the_rest_slow(items)
    for item in items:
        if {"backend", "numba", "kernels"} & set(item.fixturenames):
            item.add_marker(pytest.mark.chooses)
    yield  # what is not selected goes
    first, step = map(int, config.getoption("share", "0/1").split("/"))
    others = [item for i, item in enumerate(items) if (i - first) % step]
    items[:] = items[first % step :: step]
    config.hook.pytest_deselected(items=others)


def pytest_collection_finish():
    """What stands until the end, some ten thousand tests, need not be looked at whenever garbage is collected."""
    gc.freeze()


@pytest.fixture(params=["numba", "numpy"])
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


@pytest.fixture
def numba():
    """For what only the compiled kernels promise."""
    with nn.use_backend("numba"):
        yield
