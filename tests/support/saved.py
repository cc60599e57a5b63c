"""What tests of files share: models of all layers, and files with something wrong in them."""

import json

import numpy as np
from hypothesis import strategies as st

import fastnp as nn


def every_layer(dtype=np.float32, seed=3):
    """A model of all of the library's layers, nested, with a column, settings, names and modes that are no defaults."""
    rng = np.random.default_rng(seed)

    def linear(n_in, n_out, **options):
        return nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=rng), dtype=dtype, **options)

    inner = nn.Sequential(linear(7, 5), nn.Tanh(), nn.LayerNorm(5, epsilon=1e-3, dtype=dtype), nn.Sigmoid())
    model = nn.Sequential(
        linear(3, 7, name="first"), nn.LeakyReLU(0.2), nn.Dropout(0.3, rng=rng), inner, nn.ELU(0.7), linear(5, 4),
        nn.SiLU(), nn.GELU(), linear(4, 4), nn.GELU(approximate=True), nn.Softplus("soft"), nn.ReLU(), linear(4, 1),
        linear(1, 6), nn.Sequential(), nn.Softmax(),
    )  # fmt: skip
    del model.graphs[-2]
    model.graphs[3].graphs[2].bias.data = rng.normal(size=(1, 5))
    model.graphs[0].bias.data = rng.normal(size=(1, 7))
    return model


def header(path):
    """The header of a safetensors file, and what follows it."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write_header(path, head, rest):
    """Write them back."""
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + rest)


def change(path, edit, part="notes"):
    """Let `edit` change the notes of a file, or its header, or what follows that."""
    head, rest = header(path)
    if part == "notes":
        notes = json.loads(head["__metadata__"]["fastnp"])
        notes = edit(notes) or notes
        head["__metadata__"]["fastnp"] = json.dumps(notes)
    elif part == "header":
        head = edit(head) or head
    else:
        rest = edit(rest)
    write_header(path, head, rest)


def parameters(model):
    return [tensor.data.copy() for tensor in model.parameters()]


def same(mine, theirs):
    """Whether lists of arrays have the same bits."""
    return len(mine) == len(theirs) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(mine, theirs, strict=True)
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["Linear", "F32"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["tensor", "dict", "float", "x"]), inner)
    ),
    max_leaves=5,
)


def places_in(value, at=()):
    """The places of all parts of notes."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places_in(inner, (*at, key))


def put_something_else(notes, data):
    """Put any JSON in the place of any part of notes."""
    (*before, last) = data.draw(st.sampled_from([place for place in places_in(notes) if place]))
    at = notes
    for key in before:
        at = at[key]
    at[last] = data.draw(JSON)
