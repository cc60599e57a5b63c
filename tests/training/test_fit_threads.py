"""Models train side by side on threads."""

import sys
import threading

import numpy as np
import pytest
from fits import CHAIN, Double, build, fit, setup, state
from fits import backend as backend

import fastnp as nn


@pytest.mark.parametrize("own", [False, True])
def test_models_train_side_by_side(own, backend):
    def train(i):
        middle = [Double] if own and i % 2 else []
        layers = [(3, 8 + i), "relu", *middle, (8 + i, 2)]
        run = setup(layers, reshuffle=i % 2 == 0, batch_size=1 + i, sgd={"momentum": i / 10, "learning_rate": 0.01})
        with nn.use_backend(backend):
            losses = fit(run, 40)
        return losses, state(run)

    results = [None] * 8
    start = threading.Barrier(8)

    def work(i):
        start.wait()
        results[i] = train(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    for i, (losses, seen) in enumerate(results):
        expected, alone = train(i)
        assert losses == expected
        assert all(np.array_equal(seen[name], alone[name]) for name in alone if name != "drawn globally")


def test_models_stay_apart():
    model = build(CHAIN)
    before = [tensor.data.copy() for tensor in model.parameters()]
    fit(setup(), 2)
    assert all(np.array_equal(a, b.data) for a, b in zip(before, model.parameters(), strict=True))
