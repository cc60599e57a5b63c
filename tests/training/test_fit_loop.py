"""`fit` where the loop has to run, where it goes on from, and what callbacks and validation see."""

import copy
import pickle

import numpy as np
import pytest
from fits import CHAIN, Double, assert_same, compare, data, fit, loop, setup
from fits import backend as backend
from fits import kernel_calls as kernel_calls

import fastnp as nn


def compare_changed(change, epochs=3, **options):
    """As `compare`, after `change` has been made to both trainings."""
    run, other = setup(**options), setup(**options)
    change(run)
    change(other)
    assert fit(run, epochs) == loop(other, epochs)
    assert_same(run, other)
    return run


# --- only exact built-in types take the kernel ---


class Called:
    """Counts the calls of an overridden method."""

    def count(self):
        self.calls = getattr(self, "calls", 0) + 1


class CountedLinear(Called, nn.Linear):
    def forward(self, x):
        self.count()
        return super().forward(x)


class CountedReLU(Called, nn.ReLU):
    def backward(self, gradient):
        self.count()
        return 0.5 * super().backward(gradient)


class CountedMSE(Called, nn.MSE):
    def backward(self):
        self.count()
        return 2 * super().backward()


class CountedSGD(Called, nn.SGD):
    def step(self):
        self.count()
        super().step()


class CountedSequential(Called, nn.Sequential):
    def forward(self, x):
        self.count()
        return super().forward(x)


class CountedLoader(Called, nn.DataLoader):
    def __iter__(self):
        self.count()
        return super().__iter__()


class CountedSampler(Called, nn.BatchSampler):
    def __iter__(self):
        self.count()
        return iter(list(super().__iter__())[::-1])


class CountedDataset(Called, nn.ArrayDataset):
    def __getitems__(self, indices):
        self.count()
        return super().__getitems__(indices)


def replace_layer(place, make):
    def change(run):
        old = run.model.graphs[place]
        new = make()
        for mine, theirs in zip(new.parameters(), old.parameters(), strict=True):
            mine.data = theirs.data
        run.model.graphs[place] = new
        run.optimizer = nn.SGD(parameters=run.model.parameters(), learning_rate=0.02)
        return new

    return change


def replace_loss(run):
    run.loss_fn = CountedMSE()
    return run.loss_fn


def replace_optimizer(run):
    run.optimizer = CountedSGD(parameters=run.model.parameters(), learning_rate=0.02)
    return run.optimizer


def replace_model(run):
    run.model = CountedSequential(*run.model.graphs)
    return run.model


def replace_loader(run):
    run.loader = CountedLoader(run.loader.dataset, batch_size=5)
    return run.loader


def replace_sampler(run):
    run.loader = nn.DataLoader(run.loader.dataset, CountedSampler, batch_size=5)
    return run.loader.sampler


def replace_dataset(run):
    run.loader = nn.DataLoader(CountedDataset(*data()), batch_size=5)
    return run.loader.dataset


REPLACED = {
    "Linear": (replace_layer(2, lambda: CountedLinear(20, 5)), 15),
    "ReLU": (replace_layer(1, CountedReLU), 15),
    "MSE": (replace_loss, 16),  # `state` calls it once more
    "SGD": (replace_optimizer, 15),
    "Sequential": (replace_model, 15),
    "DataLoader": (replace_loader, 3),
    "BatchSampler": (replace_sampler, 3),
    "ArrayDataset": (replace_dataset, 15),
}


@pytest.mark.parametrize("name", REPLACED)
def test_subclasses_take_the_loop(name, kernel_calls):
    change, calls = REPLACED[name]
    replaced = []
    compare_changed(lambda run: replaced.append(change(run)))
    assert bool(kernel_calls) == (name == "ArrayDataset")  # which is asked for its batches, and a kernel trains on them
    assert [each.calls for each in replaced] == [calls, calls]


@pytest.mark.parametrize("layers", [[Double, *CHAIN], [(3, 4), Double, (4, 2)], [*CHAIN, Double]])
def test_own_layers(layers, kernel_calls, capsys):
    compare(layers=layers, reshuffle=True)
    assert not kernel_calls
    assert capsys.readouterr() == ("", "")


def test_models_of_two_dtypes_take_the_loop_and_nested_ones_do_not(kernel_calls):
    def nest(run):
        run.model = nn.Sequential(nn.Sequential(*run.model.graphs))

    def share(run):
        run.keep = nn.Sequential(nn.Linear(2, 3, weight_attr=nn.Constant(1.0)), run.model.graphs[0])

    def widen(run):
        run.model.graphs[-1] = nn.Linear(5, 2, weight_attr=nn.Constant(0.1), dtype=np.float64)
        run.optimizer = nn.SGD(parameters=run.model.parameters(), learning_rate=0.02)

    compare_changed(widen)
    assert not kernel_calls
    for change in nest, share:
        compare_changed(change)
        assert kernel_calls
        kernel_calls.clear()


def test_a_data_set_and_a_loader_of_ones_own(kernel_calls):
    class Rows(nn.Dataset):
        def __getitem__(self, i):
            X, Y = data()
            return X[i], Y[i]

        def __len__(self):
            return 23

    def own_rows(run):
        run.loader = nn.DataLoader(Rows(), shuffle=True, batch_size=4, rng=np.random.default_rng(2))

    compare_changed(own_rows)
    assert kernel_calls
    kernel_calls.clear()
    X, Y = data()
    run, other = setup(), setup()
    run.loader = other.loader = [(X[:4], Y[:4]), (X[4:5], Y[4:5]), (X[5:], Y[5:])]
    assert fit(run, 3) == loop(other, 3)
    assert not kernel_calls


def test_a_single_layer_is_a_model():
    def alone(run):
        run.model = nn.Linear(3, 2, weight_attr=nn.Constant(0.5))
        run.optimizer = nn.SGD(parameters=run.model.parameters(), learning_rate=0.02)
        run.model.graphs = []

    compare_changed(alone)


# --- where a training goes on from ---


def test_leftover_gradients_count_in_the_first_batch():
    def leave(run):
        X, Y = data()
        run.loss_fn(run.model(X), Y)
        run.model.backward(run.loss_fn.backward())

    run, clean = compare_changed(leave), setup()
    fit(clean, 3)
    assert not np.array_equal(run.model.parameters()[0].data, clean.model.parameters()[0].data)


def test_an_assigned_gradient_counts(kernel_calls):
    def assign(run):
        run.model.parameters()[-1].grad = [[1, -1]]

    compare_changed(assign)
    assert kernel_calls  # from the second epoch on


@pytest.mark.parametrize("held", [slice(2), slice(2, None), slice(1, 2), slice(None, None, -1)])
def test_parameters_that_the_optimizer_does_not_hold(held):
    def hold(run):
        run.optimizer = nn.SGD(parameters=run.model.parameters()[held], learning_rate=0.02)

    run = compare_changed(hold)
    held_ones = {id(tensor) for tensor in run.model.parameters()[held]}
    for before, tensor in zip(setup().model.parameters(), run.model.parameters(), strict=True):
        changed = not np.array_equal(before.data, tensor.data)
        assert changed == (id(tensor) in held_ones)
        assert not tensor.grad.any()  # the others, too, are cleared


def test_an_optimizer_that_holds_more_than_the_model():
    def more(run):
        run.other = nn.Linear(2, 2, weight_attr=nn.Constant(1.0))
        run.other.weights.grad = np.ones((2, 2))
        run.optimizer = nn.SGD(parameters=run.model.parameters() + run.other.parameters(), learning_rate=0.02)

    run = compare_changed(more)
    assert (run.other.weights.data < 1).all()


def test_an_optimizer_of_two_models_that_share_a_layer():
    def share(run):
        run.other = nn.Sequential(nn.Linear(2, 3, weight_attr=nn.Constant(1.0)), run.model.graphs[0])
        parameters = run.model.parameters() + run.other.graphs[0].parameters()
        run.optimizer = nn.SGD(parameters=parameters, learning_rate=0.02, weight_decay=0.5)

    run = compare_changed(share)
    assert (run.other.graphs[0].weights.data < 1).all()  # decays


@pytest.mark.parametrize("reshuffle", [False, True])
def test_a_second_fit_goes_on(reshuffle, kernel_calls):
    run, other, whole = (setup(reshuffle=reshuffle) for _ in range(3))
    losses = fit(run, 2) + loop(run, 1) + fit(run, 0) + fit(run, 3)
    assert losses == loop(other, 6) == fit(whole, 6)
    assert_same(run, other)
    assert_same(whole, other)
    assert any(velocity.any() for velocity in run.optimizer.velocity)


def test_a_copied_training_goes_on():
    run, other = setup(reshuffle=True), setup(reshuffle=True)
    fit(run, 2)
    parts = run.model, run.loss_fn, run.optimizer, run.loader
    copies = pickle.loads(pickle.dumps(parts)), copy.deepcopy(parts)
    loop(other, 2)
    expected = loop(other, 3)
    assert [nn.fit(*each, 3).loss for each in copies] == [expected, expected]
    assert fit(run, 3) == expected


def test_backends_change_in_the_middle():
    run, other = setup(), setup()
    losses, expected = [], []
    for name in "numpy", "numba", "numpy":
        with nn.use_backend(name):
            losses += fit(run, 2)
            expected += loop(other, 2)
    assert losses == expected
    assert_same(run, other)
