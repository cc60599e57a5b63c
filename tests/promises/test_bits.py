"""The bits of compiled trainings, as they have been: whoever changes them means to, and says so.

Sums run in ascending order of what is summed over and multiply-adds are fused, so that parameters do not depend on the
width of a CPU's vectors.
"""

import hashlib
from functools import partial
from types import FunctionType

import numpy as np
import pytest
from public import optimizers
from twins import FUSED

import fastnp as nn

pytestmark = pytest.mark.skipif(not FUSED, reason="without fused multiply-adds the last bits are others")


def dropout(dtype):
    """One whose seed no generator of NumPy's gives."""
    layer = nn.Dropout(0.3)
    layer._noise.seed = 0x0123456789ABCDEF
    return layer


def norm(features):
    return lambda dtype: nn.LayerNorm(features, dtype=dtype)


LAYERS = {
    "sin": [(1, 16), nn.ReLU, (16, 64), nn.ReLU, (64, 16), nn.ReLU, (16, 1)],
    "odd": [nn.ReLU, (3, 17), (17, 33), nn.ReLU, nn.ReLU, (33, 2), nn.ReLU],
    "wide": [(20, 130), nn.ReLU, (130, 2)],
    "tanh": [(3, 16), nn.Tanh, (16, 16), nn.Tanh, (16, 2)],
    "leaky": [nn.LeakyReLU, (3, 16), nn.LeakyReLU, (16, 2)],
    "exponentials": [(3, 16), nn.Sigmoid, (16, 17), nn.Softplus, (17, 16), nn.ELU, (16, 5), nn.Softmax],
    "gates": [(3, 16), nn.SiLU, (16, 17), nn.GELU, (17, 16), partial(nn.GELU, approximate=True), (16, 2)],
    "dropout": [dropout, (3, 17), dropout, nn.ReLU, dropout, (17, 2)],
    "norm": [norm(3), (3, 40), norm(40), nn.Tanh, dropout, (40, 2)],
}
BITS = {
    ("sin", "float32"): "c81c941125673515",
    ("sin", "float64"): "f8d9648a4314978e",
    ("odd", "float32"): "58cbea8e67e14c1a",
    ("odd", "float64"): "f2ab8a24dc160c42",
    ("wide", "float32"): "a2bc52ba1dbc84cc",
    ("wide", "float64"): "aeb0531c54161a7b",
    ("tanh", "float32"): "0ed695fc94489281",
    ("tanh", "float64"): "ca2ea68e16e2557b",
    ("leaky", "float32"): "ebe64fe76aa6e49f",
    ("leaky", "float64"): "bb36288a56bedb4e",
    ("exponentials", "float32"): "ce5dbfe70ee4b477",
    ("exponentials", "float64"): "f1d6a5f7fe31b380",
    ("gates", "float32"): "21d8097f6676c6eb",
    ("gates", "float64"): "865eb03cff950d41",
    ("dropout", "float32"): "1a42262578ed7955",
    ("dropout", "float64"): "192f6787f48a5665",
    ("norm", "float32"): "b796decb6ab9a46b",
    ("norm", "float64"): "1b6bd35dd54b4600",
}


def numbers(shape, seed):
    """Fractions that every version of everything gives alike."""
    count = int(np.prod(shape))
    return ((np.arange(seed, seed + count) * 7919 % 1013) / 1013 - 0.5).reshape(shape)


def trained(name, dtype, cls=nn.SGD, **options):
    """Parameters and what is kept of them after an epoch of the loop and two of `fit`."""
    made = []
    for i, layer in enumerate(LAYERS[name]):
        if isinstance(layer, tuple):
            made.append(nn.Linear(*layer, dtype=dtype))
            made[-1].weights.data, made[-1].bias.data = numbers(layer, i), numbers((1, layer[1]), 100 + i)
        else:
            made.append(layer(dtype) if isinstance(layer, FunctionType) else layer())
    model = nn.Sequential(*made)
    widths = [layer for layer in LAYERS[name] if isinstance(layer, tuple)]
    loader = nn.DataLoader(
        nn.ArrayDataset(numbers((23, widths[0][0]), 5), numbers((23, widths[-1][1]), 7)), batch_size=5
    )
    loss_fn, options = nn.MSE(), {"learning_rate": 0.01, "weight_decay": 0.001} | options
    optimizer = cls(parameters=model.parameters(), **options)
    for x, y in loader:
        loss_fn(model(x), y)
        model.backward(loss_fn.backward())
        optimizer.step()
        optimizer.clear_grad()
    nn.fit(model, loss_fn, optimizer, loader, 2, progress=False)
    kept = [array for name in cls._kernel_rule.kept for array in getattr(optimizer, name)]
    return [tensor.data for tensor in model.parameters()] + kept


def digest_of(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_bits(name, dtype, numba):
    assert digest_of(trained(name, dtype)) == BITS[name, dtype]


# --- optimizers, on a network with a normalization ---

CLIPPED = {"clip_norm": 0.1, "decay_bias": False, "learning_rate": nn.schedules.Step(0.01, 4, 0.5)}
OPTIMIZERS = {
    "SGD": (nn.SGD, {}),
    "Nesterov": (nn.SGD, {"nesterov": True, "decay_type": "l1"}),
    "SGD, rated": (nn.SGD, {"rate_in_velocity": True}),
    "Nesterov, rated": (nn.SGD, {"rate_in_velocity": True, "nesterov": True, "weight_decay": 0.01}),
    "Adam": (nn.Adam, {}),
    "AdamW": (nn.AdamW, {"decay_bias": False}),
    "AdamW, hat": (nn.AdamW, {"epsilon": 1e-4, "epsilon_hat": True}),
    "RMSprop": (nn.RMSprop, {}),
    "RMSprop, momentum": (nn.RMSprop, {"momentum": 0.9, "decay_type": "l1"}),
}
OPTIMIZERS |= {f"{name}, clipped": (cls, options | CLIPPED) for name, (cls, options) in OPTIMIZERS.items()}
BITS_OF_OPTIMIZERS = {
    ("SGD", "float32"): "b796decb6ab9a46b",
    ("SGD", "float64"): "1b6bd35dd54b4600",
    ("Nesterov", "float32"): "8366437e4d2451b4",
    ("Nesterov", "float64"): "95445ea440f61408",
    ("SGD, rated", "float32"): "b7aaecd3573f22c0",
    ("SGD, rated", "float64"): "927c2c02c96a65eb",
    ("Nesterov, rated", "float32"): "93c2e96b551474c7",
    ("Nesterov, rated", "float64"): "9d77bffbb3555ed4",
    ("Adam", "float32"): "088ad960ecafff4c",
    ("Adam", "float64"): "be5c5a11a25ac496",
    ("AdamW", "float32"): "ffd7e21e524b6b8f",
    ("AdamW", "float64"): "b568482bc6e41d62",
    ("AdamW, hat", "float32"): "1aa62fdb9986defa",
    ("AdamW, hat", "float64"): "34eff3007495a81e",
    ("RMSprop", "float32"): "edb62db910e2abbc",
    ("RMSprop", "float64"): "c5ba40414b779025",
    ("RMSprop, momentum", "float32"): "bc13b1c6669f29c2",
    ("RMSprop, momentum", "float64"): "9b6b45bff7495f3a",
    ("SGD, clipped", "float32"): "9a1a302e9b6039ca",
    ("SGD, clipped", "float64"): "036dae19337472b6",
    ("Nesterov, clipped", "float32"): "2a1f07d0144af8ab",
    ("Nesterov, clipped", "float64"): "4d9f5ddc1e23dfcc",
    ("SGD, rated, clipped", "float32"): "4679aed485f93b95",
    ("SGD, rated, clipped", "float64"): "5ee26fa6978a0ddc",
    ("Nesterov, rated, clipped", "float32"): "d215c1d1a7d7ad66",
    ("Nesterov, rated, clipped", "float64"): "550f2914c8a39919",
    ("Adam, clipped", "float32"): "25d325c7e4e61f4a",
    ("Adam, clipped", "float64"): "6e403c919f7a68d1",
    ("AdamW, clipped", "float32"): "be8ed0dc7c670888",
    ("AdamW, clipped", "float64"): "eda66892ae9b2710",
    ("AdamW, hat, clipped", "float32"): "96e6b9a90b391d9b",
    ("AdamW, hat, clipped", "float64"): "5319a3a97669bfba",
    ("RMSprop, clipped", "float32"): "ffd40e8b8ecd5c01",
    ("RMSprop, clipped", "float64"): "a0153797cd88559e",
    ("RMSprop, momentum, clipped", "float32"): "d47c3834384cf95c",
    ("RMSprop, momentum, clipped", "float64"): "cbfa0525d4690948",
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_bits_of_optimizers(name, dtype, numba):
    cls, options = OPTIMIZERS[name]
    assert digest_of(trained("norm", dtype, cls, **options)) == BITS_OF_OPTIMIZERS[name, dtype]


def test_every_optimizer_has_its_bits():
    assert {cls for cls, _ in OPTIMIZERS.values()} == set(optimizers())
