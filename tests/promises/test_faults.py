"""Forks, copies in mid-training, and data sets that fail."""

import copy
import os
import pickle

import pytest
from trainings import X, Y, assert_whole, bits, fit, loop, states_after, training

import fastnp as nn

# --- forks and copies ---


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_forked_child_goes_on(backend):
    with nn.use_backend(backend):
        parts = training(reshuffle=True)
        fit(parts, 2)
        loop(parts, 1)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                fit(parts, 2)
                loop(parts, 1)
                os.write(write, bits(parts))
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            found = pipe.read()
        assert os.waitpid(child, 0)[1] == 0
        fit(parts, 2)
        loop(parts, 1)
        assert found == bits(parts)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda parts: pickle.loads(pickle.dumps(parts))], ids=["copy", "pickle"]
)
def test_copies_in_mid_training_go_on_with_the_same_bits(clone, own, backend):
    with nn.use_backend(backend):
        parts = training(own, reshuffle=True)
        fit(parts, 2)
        model, loss_fn, _, loader = parts
        x, y = next(iter(loader))
        loss_fn(model(x), y)
        model.backward(loss_fn.backward())  # a gradient waits for its step
        twins = [clone(parts) for _ in range(2)]
        for each in [parts, *twins]:
            each[2].step()
            each[2].clear_grad()
        before = bits(parts)
        losses = fit(parts, 3)
        loop(twins[0], 3)
        assert before not in (bits(parts), bits(training(own, reshuffle=True)))
        assert fit(twins[1], 3) == losses
        assert bits(parts) == bits(twins[0]) == bits(twins[1])
        order = next(iter(parts[3].sampler)).tolist()
        assert [next(iter(twin[3].sampler)).tolist() for twin in twins] == [order, order]


# --- data sets that fail ---


class Rows(nn.Dataset):
    """Rows of X and Y; `change` may give something else for index 6."""

    def __init__(self, change=None, length=11):
        self.change, self.length = change, length

    def __getitem__(self, i):
        return self.change() if self.change and i == 6 else (X[i], Y[i])

    def __len__(self):
        return self.length


def failing():
    raise RuntimeError("disk gone at 6")


FAILING = {
    "raises": (Rows(failing), RuntimeError, "disk gone at 6"),
    "too long": (Rows(length=12), IndexError, "11"),
    "other width": (Rows(lambda: (X[6, :2], Y[6])), ValueError, r"index .* has \(.,\), index .* has \(.,\)"),
    "other target": (Rows(lambda: (X[6], Y[6, :1])), ValueError, r"labels.*index .* has \(.,\)"),
    "no pair": (Rows(lambda: X[6]), ValueError, r"pairs.*indices \[.*6.*\]"),
    "nothing": (Rows(lambda: None), ValueError, r"pairs.*indices \[.*6.*\]"),
    "text": (Rows(lambda: (["a", "b", "c"], Y[6])), TypeError, "dtype"),
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("train", [fit, loop])
def test_a_data_set_that_fails(name, train):
    """A clear error, and the model as after the last batch before it."""
    dataset, error, words = FAILING[name]
    parts = training(dataset=dataset)
    states = states_after(4, dataset=Rows(length=len(dataset) if name != "too long" else 11))
    order = parts[3].sampler.indices.tolist()
    bad = order.index(11 if name == "too long" else 6) // 4
    with pytest.raises(error, match=words):
        train(parts, 2)
    if name == "too long":
        order_before = training(dataset=dataset)
        model, loss_fn, optimizer, loader = order_before
        for indices in list(loader.sampler)[:bad]:
            loss_fn(model(X[indices]), Y[indices])
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
        assert bits(parts) == bits(order_before)
    else:
        assert bits(parts) == states[bad]
    parts = *parts[:3], training()[3]
    assert_whole(parts)


@pytest.mark.parametrize("change", [lambda d: setattr(d, "X", d.X[:5]), lambda d: setattr(d, "Y", d.Y[:5])])
@pytest.mark.parametrize("train", [fit, loop])
def test_an_array_data_set_that_has_shrunk(change, train):
    """Rows that the loader knows, but the arrays no longer have, are not read from beyond their end."""
    parts = training(dataset=nn.ArrayDataset(X, Y))
    change(parts[3].dataset)
    before = bits(parts)
    with pytest.raises(ValueError, match="they must be equal"):
        train(parts, 2)
    assert bits(parts) == before
    assert_whole((*parts[:3], training()[3]))
