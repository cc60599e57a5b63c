"""Dropout's random bits: are the masks those of independent draws?

Every statistic here is a sum of many terms with mean 0 and a known variance, so that it is a standard normal number.
The tolerance is that of all statistics together: in a sound generator, one of them beyond it has the chance RISK
(C. E. Bonferroni).
"""

from statistics import NormalDist

import numpy as np
import pytest

import fastnp as nn
from fastnp.backend import kernels_of
from fastnp.kernels.alone import Alone

RISK = 1e-4
ROWS, COLUMNS = 32, 64  # of a mask: its width is that of a row
LAGS = [*range(1, 66), 127, 128, 129, 192, 256, 512, 1024]  # across a row, a vector and a page of its elements
NEIGHBOURS = ("the next step", "the next step, a place on", "the next step, a place back", "the next seed")
SHARES = (0.5, 0.1, 0.9)
NUMBA = kernels_of("numba")


class Masks:
    """The masks that the kernel draws, centred: 1 − p where a number is left out, else −p."""

    def __init__(self, p):
        self.p, self.op = p, Alone("dropout.dropout", ROWS, COLUMNS, COLUMNS, np.float32, remembered=3)
        self.op.x[...] = 1

    def __call__(self, seed, count):
        self.op.row["seed"] = seed
        self.op.memory[:3] = self.p, count - 1, 0
        self.op.call(NUMBA, "forward")
        return (self.op.y == 0).ravel() - float(np.float32(self.p))


def sequential(p):
    """Keys as they must not be: counted on, and hashed with the place at once."""

    def mask(seed, count):
        bits = np.arange(ROWS * COLUMNS, dtype=np.uint32) + np.uint32(seed + count)
        for shift, factor in (17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB):
            bits = (bits ^ bits >> shift) * np.uint32(factor)
        return (bits ^ bits >> 14 < p * 2.0**32) - p

    return mask


def one_round(p):
    """A mixer of one round less, whose key is mixed."""

    def mask(seed, count):
        low, high = np.random.default_rng([seed, count]).integers(0, 2**32, 2, dtype=np.uint32)
        bits = np.arange(ROWS * COLUMNS, dtype=np.uint32) + low
        bits = (bits ^ bits >> 16) * np.uint32(0x7FEB352D) + high
        bits = (bits ^ bits >> 15) * np.uint32(0x846CA68B)
        return (bits ^ bits >> 16 < p * 2.0**32) - p

    return mask


def sum_of(a, b):
    return np.einsum("i,i", a, b)


def statistics(mask, p, seeds):
    """Standard normal numbers, by name, of the masks of sequential seeds."""
    size, v = ROWS * COLUMNS, p * (1 - p)
    lags, neighbours = np.zeros(len(LAGS)), np.zeros(len(NEIGHBOURS))
    places, sums, squares = np.zeros(size), 0.0, 0.0
    before = mask(0, 1)
    for seed in range(1, seeds + 1):
        now, later = mask(seed, 1), mask(seed, 2)
        total = now.sum()
        sums, squares, places = sums + total, squares + total**2, places + now
        lags += [sum_of(now[:-lag], now[lag:]) for lag in LAGS]
        neighbours += (
            sum_of(now, later), sum_of(now[:-1], later[1:]), sum_of(now[1:], later[:-1]), sum_of(now, before),
        )  # fmt: skip
        before = now
    counts = np.array([size, size - 1, size - 1, size])
    of_lags = lags / (v * np.sqrt(seeds * (size - np.array(LAGS))))
    kurtosis = (1 - 6 * v) / (v * size)  # of a sum of that many
    results = {f"lag {lag}": z for lag, z in zip(LAGS, of_lags, strict=True)}
    results |= dict(zip(NEIGHBOURS, neighbours / (v * np.sqrt(seeds * counts)), strict=True))
    of_places = places / np.sqrt(seeds * v)
    return results | {
        "mean": sums / np.sqrt(seeds * size * v),
        "variance": (squares / (seeds * size * v) - 1) / np.sqrt((2 + kurtosis) / seeds),
        "lags together": (np.sum(of_lags**2) - len(LAGS)) / np.sqrt(2 * len(LAGS)),
        "places together": (np.sum(of_places**2) - size) / np.sqrt(2 * size),
    }


def worst(make, seeds, shares=SHARES):
    """The name and the size of the statistic furthest out, and how far it may be."""
    results = {(p, name): z for p in shares for name, z in statistics(make(p), p, seeds).items()}
    name = max(results, key=lambda name: abs(results[name]))
    return name, abs(results[name]), NormalDist().inv_cdf(1 - RISK / (2 * len(results)))


def test_masks_are_those_of_independent_draws():
    name, z, limit = worst(Masks, 400)
    assert z < limit, name


@pytest.mark.slow
def test_masks_of_many_seeds_are_those_of_independent_draws():
    name, z, limit = worst(Masks, 20000)
    assert z < limit, name


def test_sequential_keys_are_caught():
    _, z, limit = worst(sequential, 100)
    assert z > 10 * limit


@pytest.mark.slow
def test_a_round_less_is_caught():
    _, z, limit = worst(one_round, 20000)
    assert z > limit


def test_the_masks_of_a_layer_are_these():
    """From layer to kernel: seed, count and place."""
    layer = nn.Dropout(0.5, np.random.default_rng(3))
    mask = Masks(0.5)
    for count in 1, 2, 3:
        left_out = layer(np.ones((ROWS, COLUMNS))) == 0
        assert np.array_equal(left_out.ravel() - 0.5, mask(layer._noise.seed, count))


def test_layers_draw_by_themselves():
    """Those made one after the other, from one generator, and those from neighbouring seeds."""
    rng = np.random.default_rng(0)
    generators = [rng] * 100 + [np.random.default_rng(i) for i in range(1, 101)]
    layers = [nn.Dropout(0.5, generator) for generator in generators]
    masks = np.array([(layer(np.ones((64, 64))) == 0).ravel() - 0.5 for layer in layers])
    z = 4 * np.einsum("ik,jk->ij", masks, masks)[np.triu_indices(len(layers), 1)] / 64
    assert abs(z).max() < NormalDist().inv_cdf(1 - RISK / (2 * z.size))
    # A binomial number is a little heavier in its tails than a normal one; with 4096 draws, not by much.
    assert abs(np.mean(z**2) - 1) < 5 * np.sqrt(2 / z.size)
