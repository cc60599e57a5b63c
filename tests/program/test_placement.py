"""Where the arrays of a model lie: on cache lines, and at distances that do not depend on luck."""

import itertools
import sys

import numpy as np
import pytest
from public import optimizers

import fastnp as nn
from fastnp.arrays import LINE, PAGE, aligned_zeros
from fastnp.kernels.blocks import address
from fastnp.optimizers.kept import KEPT_ABOVE

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def trained(cls, dtype, *widths):
    """A model after a training, and what its optimizer keeps."""
    layers = [nn.Linear(*pair, dtype=dtype) for pair in itertools.pairwise(widths)]
    model, x = nn.Sequential(*layers), np.ones((4, widths[0]))
    optimizer = cls(parameters=model.parameters(), learning_rate=0.01)
    loader = nn.DataLoader(nn.ArrayDataset(x, np.ones((4, widths[-1]))), batch_size=2)
    nn.fit(model, nn.MSE(), optimizer, loader, 1, progress=False)
    return model, optimizer._kernel_held()


@DTYPES
@pytest.mark.parametrize("cls", optimizers(), ids=lambda cls: cls.__name__)
def test_what_is_kept_lies_at_one_distance_from_the_parameters(cls, dtype):
    others = []  # so that the next arrays come to lie elsewhere
    for count in range(12):
        model, (held,) = trained(cls, dtype, 1, 16, 64, 16, 1)
        assert (address(held.kept) - address(held.data)) % PAGE == KEPT_ABOVE
        others.append((model, np.ones(700 * count)))


@DTYPES
@pytest.mark.parametrize("cls", optimizers(), ids=lambda cls: cls.__name__)
def test_all_arrays_start_on_cache_lines(cls, dtype, monkeypatch):
    made = {}

    def noted(module):
        def call(*arguments):
            array = aligned_zeros(*arguments)
            made.setdefault(module, []).append(array)
            return array

        return call

    for name, module in list(sys.modules.items()):
        if name.startswith("fastnp.") and hasattr(module, "aligned_zeros") and not name.endswith(".arrays"):
            monkeypatch.setattr(module, "aligned_zeros", noted(name))
    for widths in (1, 1), (3, 8, 1), (16, 64, 16), (1, 16, 64, 16, 1):
        _, (held,) = trained(cls, dtype, *widths)
        assert address(held.grad) % LINE == 0  # behind the parameters
    assert {name.rsplit(".")[-1] for name in made} >= {"arena", "kept", "lowering", "staging"}
    assert all(address(array) % LINE == 0 for arrays in made.values() for array in arrays)


@pytest.mark.parametrize("size", [0, 1, 447, 448, 449, 5000])
def test_an_array_smaller_than_the_distance_takes_no_more_room(size):
    first = aligned_zeros(100, np.dtype(np.float32))
    array = aligned_zeros(size, np.dtype(np.float32), first, 1792)
    assert array.size == size and not array.any()
    assert array.base.nbytes - array.nbytes == (PAGE if size >= 448 else LINE)
    assert address(array) % LINE == 0
    assert size < 448 or (address(array) - address(first)) % PAGE == 1792
