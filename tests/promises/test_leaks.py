"""Memory stays flat: over steps, over models made and dropped, over errors; and no collector is needed for it."""

import contextlib
import copy
import gc
import pickle
import tracemalloc
import weakref

import numpy as np
import pytest
from public import optimizers

import fastnp as nn

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)).astype(np.float32), RNG.normal(size=(40, 2)).astype(np.float32)

# Not a byte should stay. Python's own caches and counters move by some kilobytes; anything kept for
# each step, model or error is thousands of times as much.
SLACK = 20_000


@contextlib.contextmanager
def no_collector():
    """The cyclic garbage collector does not run: only reference counts free anything."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Own(nn.Layer):
    """Makes `fit` run the loop, and cuts the model into two programs."""

    def forward(self, x):
        return 2 * x

    def backward(self, gradient):
        return 2 * gradient


def training(own=False, **loader):
    init = nn.HeNormal(rng=np.random.default_rng(0))
    model = nn.Sequential(nn.Linear(3, 16, weight_attr=init), nn.ReLU(), *[Own()] * own, nn.Linear(16, 2))
    optimizer = nn.SGD(parameters=model.parameters(), learning_rate=0.001)
    return model, nn.MSE(), optimizer, nn.DataLoader(nn.ArrayDataset(X, Y), **{"batch_size": 4} | loader)


def steps(model, loss_fn, optimizer, loader, count):
    while count > 0:
        for x, y in loader:
            loss_fn(model(x), y)
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
            count -= 1


def grown(work, warm, count):
    """The bytes that `count` times `work` leaves behind, without the collector, after `warm` times."""
    with no_collector():
        tracemalloc.start()
        try:
            work(warm)
            before, _ = tracemalloc.get_traced_memory()
            work(count)
            return tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()


def repeated(work):
    """`work` as a function of how often."""

    def run(count):
        for _ in range(count):
            work()

    return run


def test_a_leak_would_show():
    """Of a float for each of 2,000 steps, or of cycles that wait for the collector."""
    hoard = []
    assert grown(lambda count: hoard.extend(map(float, range(count))), 10, 2000) > SLACK

    def cycle():
        knot = [bytes(200)]
        knot.append(knot)

    assert grown(repeated(cycle), 10, 200) > SLACK


@pytest.mark.parametrize("options", [{}, {"reshuffle": True, "batch_size": 7}], ids=["", "reshuffle"])
@pytest.mark.parametrize("count", [40_000, pytest.param(400_000, marks=pytest.mark.slow)])
def test_many_steps_of_fit(count, options):
    """In one history; the losses of the epochs are all that stays. A pointer for each epoch would show."""
    parts = training(**options)
    epochs = count // len(parts[3])

    def work(count):
        nn.fit(*parts, count, progress=False)

    assert grown(work, 100, epochs) < SLACK


def test_many_short_fits():
    parts = training(reshuffle=True, rng=np.random.default_rng(0))
    history = nn.History()

    def work():
        nn.fit(*parts, 2, progress=False, validation=(X, Y), callback=lambda epoch, loss: False, history=history)
        history.loss.clear()
        history.validation_loss.clear()

    assert grown(repeated(work), 20, 500) < SLACK


def test_many_short_fits_that_a_kernel_watches():
    parts = training(reshuffle=True, rng=np.random.default_rng(0))
    options = {"progress": False, "validation": (X, Y), "early_stopping": nn.EarlyStopping(patience=1)}
    assert grown(repeated(lambda: nn.fit(*parts, 3, **options)), 20, 500) < SLACK


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("count", [4000, pytest.param(40_000, marks=pytest.mark.slow)])
def test_many_steps_of_the_loop(count, own):
    """With a short last batch, so that the workspace changes. A pointer for each step would show."""
    parts = training(own, batch_size=7)
    assert grown(lambda count: steps(*parts, count), 100, count) < SLACK


@pytest.mark.parametrize("cls", optimizers())
def test_many_steps_of_an_optimizer_whose_settings_change(cls):
    """It is laid out and linked anew for most of them."""
    model, loss_fn, _, _ = training()
    optimizer = cls(parameters=model.parameters(), learning_rate=lambda update: 0.001)
    optimizer.parameters.append(nn.Tensor(3))  # in an arena of its own

    def work(count):
        for i in range(count):
            loss_fn(model(X), Y)
            model.backward(loss_fn.backward())
            optimizer.clip_norm, optimizer.decay_bias = (None, 1.0)[i // 2 % 2], bool(i // 4 % 2)
            optimizer.learning_rate = (0.001, optimizer.schedule or float("0.002"))[i % 2]
            if i % 5 == 0:
                optimizer.parameters[-1].decays = not optimizer.parameters[-1].decays
            if i % 7 == 0:
                optimizer.parameters.reverse()
            optimizer.step()
            optimizer.clear_grad()

    assert grown(work, 50, 1000) < SLACK


def test_batches_of_ever_other_sizes(backend):
    """A workspace that has once been large is given back, and so are those of predictions."""
    model, *_ = training()
    rows = np.zeros((3000, 3), np.float32)

    def work(count):
        for i in range(count):
            n = (i * 977) % 3000
            model(rows[:n])
            model.predict(rows[:n], batch_size=1 + n)
        for n in 2999, 1:  # room for up to eight times as many rows may stay
            model(rows[:n])
            model.predict(rows[:n], batch_size=n)

    assert grown(work, 20, 600) < SLACK


def whole_life(own, reshuffle):
    model, loss_fn, optimizer, loader = training(own, reshuffle=reshuffle, rng=np.random.default_rng(0))
    steps(model, loss_fn, optimizer, loader, 2)
    model.predict(X)
    nn.fit(model, loss_fn, optimizer, loader, 2, progress=False)
    model.graphs[0](X)
    model.add(nn.Linear(2, 2))  # tensors move
    steps(model, loss_fn, nn.SGD(parameters=model.parameters()), loader, 1)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("often", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_models_made_and_dropped(often, own, backend):
    count = often * {"numba": 100 if own else 200, "numpy": 30}[backend]
    assert grown(repeated(lambda: whole_life(own, True)), 5, count) < SLACK


def wrong_widths(model, *_):
    model(X[:, :2])


def wrong_rank(model, *_):
    model.predict(X[0])


def wrong_gradient(model, *_):
    model(X)
    model.backward(np.ones((3, 2)))


def wrong_target(model, loss_fn, *_):
    loss_fn(model(X), Y[:, :1])


def wrong_assignment(model, *_):
    model.parameters()[0].data = np.ones((7, 7))


def diverged(model, loss_fn, optimizer, loader):
    model.parameters()[0].data[:] = np.nan
    nn.fit(model, loss_fn, optimizer, loader, 3, progress=False)


def not_finite(model, loss_fn, optimizer, loader):
    loader = nn.DataLoader(nn.ArrayDataset(np.full((40, 3), np.nan), Y), batch_size=4)
    nn.fit(model, loss_fn, optimizer, loader, 3, progress=False)


def no_rate(model, loss_fn, optimizer, loader):
    optimizer.learning_rate = lambda update: 0.001 if update < 17 else None
    nn.fit(model, loss_fn, optimizer, loader, 3, progress=False)


def diverged_before_it_had_no_rate(model, loss_fn, optimizer, loader):
    model.parameters()[0].data[:] = np.nan
    no_rate(model, loss_fn, optimizer, loader)


def stopped_before_it_had_no_rate(model, loss_fn, optimizer, loader):
    optimizer.learning_rate = lambda update: 0.001 if update < 25 else None
    stopping = nn.EarlyStopping("loss", patience=1, min_delta=1e9)
    assert len(nn.fit(model, loss_fn, optimizer, loader, 9, progress=False, early_stopping=stopping).loss) == 2


def broken_callback(model, loss_fn, optimizer, loader):
    nn.fit(model, loss_fn, optimizer, loader, 3, progress=False, callback=lambda epoch, loss: [][epoch])


ERRORS = {
    wrong_widths: ValueError,
    wrong_rank: ValueError,
    wrong_gradient: ValueError,
    wrong_target: ValueError,
    wrong_assignment: ValueError,
    diverged: nn.DivergedError,
    not_finite: ValueError,
    broken_callback: IndexError,
}


@pytest.mark.parametrize("fails", ERRORS, ids=lambda fails: fails.__name__)
@pytest.mark.parametrize("anew", [False, True], ids=["one model", "models"])
def test_errors_keep_nothing(fails, anew):
    parts = training()
    count = 200

    def work():
        try:
            fails(*(training() if anew else parts))
        except ERRORS[fails]:
            return
        pytest.fail("no error")

    assert grown(repeated(work), 20, count) < 500 * count  # NumPy keeps some bytes; a model has 5,000


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("done", [
    "made", "forward", "loop", "fit", "predict", "moved", "layer", diverged, no_rate, diverged_before_it_had_no_rate,
    stopped_before_it_had_no_rate,
])  # fmt: skip
def test_a_dropped_model_is_freed_at_once(own, done, backend):
    """Its tensors, and the arenas with all that is large, go with the last name for them."""
    with no_collector():
        model, loss_fn, optimizer, loader = training(own)
        if done == "forward":
            model(X)
        elif done == "loop":
            steps(model, loss_fn, optimizer, loader, 3)
        elif done == "fit":
            nn.fit(model, loss_fn, optimizer, loader, 3, progress=False)
        elif done == "predict":
            model.predict(X)
        elif done == "moved":
            model(X)
            model.add(nn.Linear(2, 2))
            model(X)
            optimizer = nn.SGD(parameters=model.parameters())
        elif done == "layer":
            model(X)
            model.graphs[0](X)
            model.graphs[1](X)
        elif callable(done):
            with contextlib.ExitStack() as fails:
                if done is not stopped_before_it_had_no_rate:
                    fails.enter_context(pytest.raises((nn.DivergedError, TypeError)))
                done(model, loss_fn, optimizer, loader)
        tensors = [weakref.ref(tensor) for tensor in model.parameters()]
        arenas = {id(tensor._place.arena): tensor._place.arena for tensor in model.parameters()}.values()
        arrays = [weakref.ref(array) for arena in arenas for array in (arena.data, arena.grad)]
        arrays += [weakref.ref(held.kept) for held in optimizer._kernel_held()]
        large = [weakref.ref(arena) for arena in arenas] + [weakref.ref(layer) for layer in model.graphs]
        del arenas
        watched = [weakref.ref(model), weakref.ref(optimizer), *tensors, *arrays, *large]
        assert all(ref() is not None for ref in watched)
        del model, optimizer
        assert [ref() for ref in watched if ref() is not None] == []


def test_a_dropped_copy_is_freed_at_once():
    with no_collector():
        parts = training()
        steps(*parts, 3)
        for clone in copy.deepcopy, lambda whole: pickle.loads(pickle.dumps(whole)):
            model, loss_fn, optimizer, loader = clone(parts)
            steps(model, loss_fn, optimizer, loader, 3)
            refs = [weakref.ref(tensor) for tensor in model.parameters()] + [weakref.ref(optimizer)]
            del model, loss_fn, optimizer, loader
            assert [ref() for ref in refs if ref() is not None] == []
