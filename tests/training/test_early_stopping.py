"""Early stopping: after which epoch, what is restored then, and what is refused."""

import copy
import pickle
import signal
import threading

import numpy as np
import pytest
from fits import CHAIN, Double, assert_same, data, loop, setup, state
from fits import backend as backend

import fastnp as nn

NAN, INF = float("nan"), float("inf")
KERNEL_AND_LOOP = pytest.mark.parametrize("layers", [CHAIN, [*CHAIN, Double]], ids=["kernel", "loop"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
MONITORS = pytest.mark.parametrize("monitor", ["loss", "validation_loss"])


# --- after which epoch ---


class Counter(nn.Layer):
    """Gives the number of updates that were made."""

    def __init__(self):
        super().__init__()
        self.count = nn.Tensor((1,))

    def forward(self, x):
        return np.full((len(x), 1), self.count.data[0])

    def backward(self, gradient):
        return gradient

    def parameters(self):
        return [self.count]


class Counting(nn.Optimizer):
    def step(self):
        (count,) = self.parameters
        count.data = count.data + 1


class Scripted(nn.Loss):
    """In training, for targets 0, the next number of a list, by the count that the model gives; else in validation."""

    def __init__(self, training, validation):
        super().__init__()
        self.script = training, validation

    def forward(self, pred, target):
        validates = int(target[0, 0])
        script = self.script[validates]
        return script[int(pred[0, 0]) - validates]

    def backward(self):
        return np.zeros((2, 1))


ROWS = np.zeros((2, 1))


def scripted(values, monitor, epochs=None, **options):
    """What a training comes to whose monitored losses are these, and its model."""
    others = [5.0 - 0.01 * i for i in range(len(values))]  # which get better all the time
    script = (values, others) if monitor == "loss" else (others, values)
    options = {"early_stopping": nn.EarlyStopping(monitor, **options.pop("settings", {}))} | options
    model = Counter()
    validation = None if monitor == "loss" else (ROWS, ROWS + 1)
    parts = (
        model,
        Scripted(*script),
        Counting(model.parameters()),
        nn.DataLoader(nn.ArrayDataset(ROWS, ROWS), batch_size=2),
    )
    history = nn.fit(*parts, epochs or len(values), validation=validation, **options)
    return history, model


JUST_BELOW = float(np.nextafter(1.5, 0))
RUNS = [  # losses, settings, how many epochs are trained, the best of them
    ([3, 2, 1, 1, 1, 0], {"patience": 2}, 5, 2),
    ([3, 2, 1, 1, 1, 0], {"patience": 3}, 6, 5),
    ([3, 2, 1, 0.5], {"patience": 1}, 4, 3),
    ([1, 2, 0.5, 2, 2, 0], {"patience": 2}, 5, 2),  # the count begins anew
    ([1, 1, 0], {"patience": 1}, 2, 0),  # the same is no better
    ([1] * 12, {}, 11, 0),
    ([2, 1.5, 0], {"patience": 1, "min_delta": 0.5}, 2, 0),
    ([2, JUST_BELOW, 0], {"patience": 1, "min_delta": 0.5}, 3, 2),
    ([2, 1.8, 1.6, 1.4], {"patience": 3, "min_delta": 0.5}, 4, 3),  # compared with the best, not with the last
    ([2, 1.8, 1.6, 1.4], {"patience": 2, "min_delta": 0.5}, 3, 0),
    ([-1, -1.5, -1.6], {"patience": 1, "min_delta": 0.2}, 3, 1),
]
WITH_NAN = [
    ([NAN, NAN, NAN], {"patience": 2}, 2, None),
    ([NAN, 2, NAN, 1, NAN, NAN, 0], {"patience": 2}, 6, 3),
    ([INF, INF, 1], {"patience": 2}, 2, None),
    ([INF, 3, INF], {"patience": 2}, 3, 1),
    ([1, -INF, -INF, -INF], {"patience": 2}, 4, 1),
]


@pytest.mark.parametrize(("monitor", "values", "settings", "epochs", "best"), [
    *(("loss", *run) for run in RUNS), *(("validation_loss", *run) for run in RUNS + WITH_NAN),
])  # fmt: skip
def test_it_stops_after(monitor, values, settings, epochs, best):
    history, model = scripted(values, monitor, settings=settings)
    assert len(history.loss) == epochs and history.best_epoch == best
    assert type(history.best_epoch) is (type(None) if best is None else int)
    assert np.array_equal(
        history.loss if monitor == "loss" else history.validation_loss, values[:epochs], equal_nan=True
    )
    assert model.count.data == (epochs if best is None else best + 1)


@MONITORS
def test_without_restoring(monitor):
    history, model = scripted([3, 1, 2, 2, 2], monitor, settings={"patience": 2, "restore_best": False})
    assert (len(history.loss), history.best_epoch, model.count.data) == (4, 1, 4)


def test_the_loss_may_be_monitored_beside_a_validation():
    model = Counter()
    parts = model, Scripted([3, 1, 2, 2, 2], [5, 4, 3, 2, 1]), Counting(model.parameters())
    loader, stopping = nn.DataLoader(nn.ArrayDataset(ROWS, ROWS), batch_size=2), nn.EarlyStopping("loss", patience=2)
    history = nn.fit(*parts, loader, 5, validation=(ROWS, ROWS + 1), early_stopping=stopping)
    assert (history.loss, history.validation_loss, history.best_epoch) == ([3, 1, 2, 2], [5, 4, 3, 2], 1)


def test_an_epoch_alone_and_none():
    history, model = scripted([3], "loss")
    assert (history.best_epoch, model.count.data) == (0, 1)
    run = setup()
    history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 0, early_stopping=nn.EarlyStopping("loss"))
    assert history == nn.History()


def test_each_run_starts_anew_with_the_settings_of_its_beginning():
    stopping = nn.EarlyStopping("loss", patience=2)
    before = copy.copy(stopping)
    for _ in range(2):
        history, _ = scripted([3, 3, 3, 3], "loss", early_stopping=stopping)
        assert (len(history.loss), history.best_epoch) == (3, 0)
    assert stopping == before

    def patient(epoch, loss):
        stopping.patience = 10

    history, _ = scripted([3, 3, 3, 3], "loss", early_stopping=stopping, callback=patient)
    assert len(history.loss) == 3


# --- what is restored ---


def best_of(values, patience):
    """The best of the epochs that a training with these losses makes, and how many these are."""
    for epochs in range(1, len(values) + 1):
        best = min(range(epochs), key=lambda e: values[e])
        if epochs - 1 - best == patience:
            return best, epochs
    return min(range(len(values)), key=lambda e: values[e]), len(values)


def overfitted(layers=CHAIN, **options):
    """A training that gets worse where it is validated, from some epoch on."""
    rng = np.random.default_rng(3)
    run = setup(layers, **{"sgd": {"learning_rate": 0.2 if Double not in layers else 0.05, "momentum": 0.5}} | options)
    X = rng.normal(size=(31, 3))
    return run, (X, 0.3 * rng.normal(size=(31, 2)))


def weights(run):
    """What restoring is about: parameters, and what the optimizer keeps."""
    tensors = [tensor.data for tensor in run.model.parameters()]
    return [array.copy() for array in (*tensors, *getattr(run.optimizer, "velocity", []))]


def assert_same_weights(mine, theirs):
    for a, b in zip(weights(mine), weights(theirs), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


@KERNEL_AND_LOOP
@DTYPES
@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("patience", [2, 30])
def test_the_bits_of_the_best_epoch(layers, dtype, reshuffle, patience):
    (run, validation), (other, _), (longer, _) = (
        overfitted(layers, dtype=dtype, reshuffle=reshuffle) for _ in range(3)
    )
    stopping, history = nn.EarlyStopping(patience=patience), nn.History()
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 20, early_stopping=stopping, validation=validation,
           history=history)  # fmt: skip
    expected = []
    losses = loop(
        longer, 20, after=lambda _: expected.append(nn.MSE()(longer.model.predict(validation[0]), validation[1]))
    )
    best, epochs = best_of(expected, patience)
    assert 0 < best < epochs - 1 and (epochs < 20) == (patience == 2)
    assert history.loss == losses[:epochs] and history.validation_loss == expected[:epochs]
    assert history.best_epoch == best
    loop(other, best + 1)
    assert_same_weights(run, other)
    assert not any(tensor.grad.any() for tensor in run.model.parameters())
    loop(other, epochs - best - 1)  # the order of the rows is that of the last epoch
    assert run.rng.bit_generator.state == other.rng.bit_generator.state


@KERNEL_AND_LOOP
def test_without_restoring_it_is_the_last_epoch(layers):
    (run, validation), (other, _) = overfitted(layers), overfitted(layers)
    stopping = nn.EarlyStopping(patience=2, restore_best=False)
    history = nn.fit(
        run.model, run.loss_fn, run.optimizer, run.loader, 20, early_stopping=stopping, validation=validation
    )
    assert len(history.loss) < 20 and loop(other, len(history.loss)) == history.loss
    mine, theirs = ({k: v for k, v in state(each).items() if "seen" not in k} for each in (run, other))
    assert_same(mine, theirs)


class Momentum(nn.Optimizer):
    """Keeps a velocity, a count, a generator, the model, a lock and its own tensors."""

    def __init__(self, model, **options):
        super().__init__(model.parameters(), **options)
        self.model, self.rng, self.lock = model, np.random.default_rng(3), threading.Lock()
        self.steps, self.first = 0, self.parameters[0]
        self.layer, both = next(iter(getattr(model, "graphs", [None]))), [1, self.lock]
        self.cannot_be_copied, self.nor_this = both, [both]
        self.velocity = {"of": [np.zeros(p.shape) for p in self.parameters]}
        self.views = [p.data for p in self.parameters]

    def step(self):
        self.steps += 1
        for p, v in zip(self.parameters, self.velocity["of"], strict=True):
            v *= 0.5
            v += p.grad + 0.01 * self.rng.normal(size=p.shape)
            p.data = p.data - self.learning_rate * v


class Wrapped:
    """A model that is no layer."""

    def __init__(self, layers):
        self.layers = layers
        self.backward, self.parameters = layers.backward, layers.parameters

    def __call__(self, x):
        return self.layers(x)


def own_training(wrapped=False):
    run, validation = overfitted()
    if wrapped:
        run.model = Wrapped(run.model)
    run.optimizer = Momentum(run.model, learning_rate=0.2)
    return run, validation


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_optimizer_of_ones_own(wrapped):
    (run, validation), (other, _) = own_training(wrapped), own_training(wrapped)
    before = {name: getattr(run.optimizer, name) for name in ("lock", "first", "layer", "cannot_be_copied", "nor_this")}

    def slower(epoch, loss):
        run.optimizer.learning_rate *= 0.999

    def also(epoch):
        other.optimizer.learning_rate *= 0.999

    history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 20, early_stopping=nn.EarlyStopping(patience=2),
                     validation=validation, callback=slower)  # fmt: skip
    assert 0 < history.best_epoch < len(history.loss) - 1
    loop(other, history.best_epoch + 1, after=also)
    mine, theirs = run.optimizer, other.optimizer
    for a, b in zip(run.model.parameters(), other.model.parameters(), strict=True):
        assert a.data.tobytes() == b.data.tobytes()
    assert [v.tobytes() for v in mine.velocity["of"]] == [v.tobytes() for v in theirs.velocity["of"]]
    assert mine.steps == theirs.steps
    assert mine.model is run.model and all(getattr(mine, name) is value for name, value in before.items())
    assert mine.nor_this == [[1, mine.lock]]
    assert all(array is tensor.data for array, tensor in zip(mine.views, run.model.parameters(), strict=True))
    assert mine.learning_rate < theirs.learning_rate  # settings stay


class Slow(nn.SGD):
    """One of the library's, with something of its own."""

    def step(self):
        self.steps = getattr(self, "steps", 0) + 1
        super().step()


def test_a_subclass_of_the_librarys_keeps_both():
    def made():
        run, validation = overfitted()
        run.optimizer = Slow(parameters=run.model.parameters(), learning_rate=0.2, momentum=0.5)
        return run, validation

    (run, validation), (other, _) = made(), made()
    history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 20, early_stopping=nn.EarlyStopping(patience=2),
                     validation=validation)  # fmt: skip
    loop(other, history.best_epoch + 1)
    assert_same_weights(run, other)
    assert run.optimizer.steps == other.optimizer.steps == 5 * (history.best_epoch + 1)
    assert loop(run, 2) == loop(other, 2)
    assert_same_weights(run, other)


def test_what_is_hung_on_an_optimizer_of_the_librarys_stays():
    run, _ = overfitted()

    def note(epoch, loss):
        run.optimizer.note = epoch

    note(-1, 0.0)
    options = {"early_stopping": nn.EarlyStopping("loss", 2, 1e9), "callback": note}
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 9, **options)
    assert run.optimizer.note == 2


class Plain:
    """An optimizer that knows nothing of the library."""

    __slots__ = ("parameters", "steps")

    def __init__(self, parameters):
        self.parameters, self.steps = parameters, 0

    def step(self):
        self.steps += 1
        for p in self.parameters:
            p.data = p.data - 0.1 * p.grad

    def clear_grad(self):
        for p in self.parameters:
            p.clear_grad()


class Scheduled(Plain):
    """One with attributes as usual."""

    schedule = momenta = None


def test_of_an_optimizer_that_knows_nothing_of_the_library_settings_stay():
    run, _ = overfitted()
    run.optimizer = Scheduled(run.model.parameters())

    def callback(epoch, loss):
        run.optimizer.schedule = run.optimizer.learning_rate = run.optimizer.momenta = epoch

    callback(-1, 0.0)
    options = {"early_stopping": nn.EarlyStopping("loss", 2, 1e9), "callback": callback}
    history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 9, **options)
    assert (run.optimizer.schedule, run.optimizer.learning_rate, run.optimizer.momenta) == (2, 2, -1)
    assert history.learning_rate == [-1, 0, 1]


def test_an_optimizer_that_knows_nothing_of_the_library():
    (run, validation), (other, _) = overfitted(), overfitted()
    run.optimizer, other.optimizer = Plain(run.model.parameters()), Plain(other.model.parameters())
    history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 20, early_stopping=nn.EarlyStopping(patience=2),
                     validation=validation)  # fmt: skip
    loop(other, history.best_epoch + 1)
    assert_same_weights(run, other)
    assert np.isnan(history.learning_rate).all() and len(history.learning_rate) == len(history.loss)


def test_tensors_that_the_optimizer_alone_holds():
    def more(run):
        run.other = nn.Linear(2, 2, weight_attr=nn.Constant(1.0))
        parameters = run.model.parameters() + run.other.parameters()
        run.optimizer = nn.SGD(0.5, parameters, learning_rate=0.2, weight_decay=0.01)

    (run, validation), (other, _) = overfitted(), overfitted()
    more(run)
    more(other)
    history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 20, early_stopping=nn.EarlyStopping(patience=2),
                     validation=validation)  # fmt: skip
    loop(other, history.best_epoch + 1)
    assert_same_weights(run, other)
    assert run.other.weights.data.tobytes() == other.other.weights.data.tobytes()


# --- together with callbacks and histories ---


@MONITORS
def test_callbacks_see_the_best_epoch_and_are_called_for_the_last(monitor):
    history, seen = nn.History(), []
    scripted([3, 1, 2, 2, 2], monitor, settings={"patience": 2}, history=history,
             callback=lambda epoch, loss: seen.append((epoch, history.best_epoch)))  # fmt: skip
    assert seen == [(0, 0), (1, 1), (2, 1), (3, 1)]


def test_a_callback_that_stops_restores_too():
    history, model = scripted([3, 1, 2, 2, 2], "loss", callback=lambda epoch, loss: epoch == 2)
    assert (len(history.loss), history.best_epoch, model.count.data) == (3, 1, 2)


def test_what_a_callback_writes_into_the_model_is_not_the_best():
    model = Counter()

    def spoil(epoch, loss):
        if epoch == 1:
            parts[0].count.data = [1.5]

    parts = (
        model,
        Scripted([3, 1, 2, 2, 2], []),
        Counting(model.parameters()),
        nn.DataLoader(nn.ArrayDataset(ROWS, ROWS), batch_size=2),
    )
    nn.fit(*parts, 5, early_stopping=nn.EarlyStopping("loss", patience=2), callback=spoil)
    assert model.count.data == 2


def drop_a_layer(run):
    del run.model.graphs[3:]
    run.model.add(nn.Linear(5, 2, weight_attr=nn.Constant(0.3)))
    run.optimizer.parameters = run.model.parameters()


def hold_less(run):
    run.optimizer.parameters.pop()


def hold_others(run):
    run.optimizer.parameters.reverse()


def move_layers(run):
    run.keep = nn.Sequential(*run.model.graphs, nn.Linear(2, 4, weight_attr=nn.Constant(0.5)))


def convert(run):
    for tensor in run.model.parameters():
        tensor.convert(np.float64)


def lose_attributes(run):
    if isinstance(run.optimizer, Momentum):
        run.optimizer.rng = np.random.default_rng(4)
        del run.optimizer.first, run.optimizer.views


@pytest.mark.filterwarnings("ignore:the layer .* joined the model after")
@pytest.mark.parametrize("make", [overfitted, own_training], ids=["library", "own"])
@pytest.mark.parametrize("change", [drop_a_layer, hold_less, hold_others, move_layers, convert, lose_attributes])
def test_what_is_still_there_is_restored(change, make):
    if make is own_training and change in (drop_a_layer, hold_less, hold_others):
        pytest.skip("its lists would not fit")
    (run, _), (other, _) = make(), make()
    tensors = run.model.parameters()

    def callback(epoch, loss):
        if epoch == 0:
            change(run)

    stopping = nn.EarlyStopping("loss", patience=2, min_delta=1e9)  # the first epoch is the best
    history = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 9, early_stopping=stopping, callback=callback)
    assert (len(history.loss), history.best_epoch) == (3, 0)
    loop(other, 1)
    assert change is not lose_attributes or not hasattr(run.optimizer, "first")
    there = {id(tensor) for tensor in run.model.parameters()}
    kept = [id(tensor) in there for tensor in tensors]
    assert sum(kept) == (4 if change is drop_a_layer else 6)
    for tensor, theirs, here in zip(tensors, other.model.parameters(), kept, strict=True):
        assert not here or np.array_equal(tensor.data, theirs.data)
    if make is overfitted:
        velocities = dict(zip(map(id, other.optimizer.parameters), other.optimizer.velocity, strict=True))
        of = dict(zip(map(id, tensors), map(id, other.model.parameters()), strict=True))
        for tensor, velocity in zip(run.optimizer.parameters, run.optimizer.velocity, strict=True):
            assert id(tensor) not in of or np.array_equal(velocity, velocities[of[id(tensor)]])


def test_a_history_that_is_appended_to():
    history, _ = scripted([3, 1, 2], "validation_loss")
    assert (history.best_epoch, len(history.learning_rate)) == (1, 3)
    again, _ = scripted([4, 3, 5, 5], "validation_loss", settings={"patience": 2}, history=history)
    assert again is history and len(history.loss) == 7
    assert history.best_epoch == 4 and history.validation_loss[history.best_epoch] == 3
    run = setup()
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 1, history=history)
    assert history.best_epoch is None and len(history.loss) == len(history.learning_rate) == 8


def test_one_that_was_validated_in_part():
    run, history = setup(), nn.History([7.0])
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 2, history=history)
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 2, history=history, validation=data(),
           early_stopping=nn.EarlyStopping(min_delta=1e9))  # fmt: skip
    assert history.best_epoch == 3 and len(history.validation_loss) == 5
    assert np.array_equal(history.learning_rate, [NAN, *[0.02] * 4], equal_nan=True)


def test_one_whose_losses_were_cleared():
    history, _ = scripted([3, 1, 2], "validation_loss")
    history.loss.clear()
    scripted([4, 3], "validation_loss", history=history)
    assert (len(history.loss), len(history.learning_rate), history.best_epoch) == (2, 2, 1)


# --- learning rates ---


@KERNEL_AND_LOOP
def test_the_history_has_the_learning_rates(layers):
    run, history = setup(layers), nn.History()

    def callback(epoch, loss):
        run.optimizer.learning_rate *= 0.5

    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3, callback=callback, history=history)
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 2, history=history)
    assert history.learning_rate == [0.02, 0.01, 0.005, 0.0025, 0.0025]
    assert all(type(rate) is float for rate in history.learning_rate)


def test_the_rate_is_that_of_the_first_update():
    class Falling(Momentum):
        def step(self):
            super().step()
            self.learning_rate *= 0.5

    run, _ = overfitted()
    run.optimizer = Falling(run.model, learning_rate=0.2)
    assert nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3).learning_rate == [0.2, 0.2 / 2**5, 0.2 / 2**10]


@pytest.mark.parametrize("rate", ["by hand", None, [0.1, 0.2]])
def test_a_rate_that_is_no_number(rate):
    class Told(Plain):
        __slots__ = ("learning_rate",)

    run, _ = overfitted()
    run.optimizer = Told(run.model.parameters())
    run.optimizer.learning_rate = rate
    assert np.isnan(nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3).learning_rate).tolist() == [True] * 3


# --- where it ends in an exception ---


@KERNEL_AND_LOOP
@pytest.mark.parametrize("error", [KeyboardInterrupt, KeyError])
def test_an_exception_restores_nothing(error, layers):
    run, other, history = setup(layers), setup(layers), nn.History()

    def callback(epoch, loss):
        if epoch == 2:
            if error is KeyError:
                raise KeyError
            signal.raise_signal(signal.SIGINT)

    stopping = nn.EarlyStopping("loss", patience=5, min_delta=1e9)
    with pytest.raises(error):
        nn.fit(
            run.model,
            run.loss_fn,
            run.optimizer,
            run.loader,
            9,
            early_stopping=stopping,
            callback=callback,
            history=history,
        )
    assert history.loss == loop(other, 3) and history.best_epoch == 0
    assert_same_weights(run, other)


@KERNEL_AND_LOOP
def test_divergence_restores_nothing(layers):
    def made():
        return setup(layers, sgd={"learning_rate": 50.0, "momentum": 0.0})

    run, other, history = made(), made(), nn.History()
    with np.errstate(all="ignore"), pytest.raises(nn.DivergedError) as raised:
        nn.fit(
            run.model,
            run.loss_fn,
            run.optimizer,
            run.loader,
            500,
            early_stopping=nn.EarlyStopping("loss", 600),
            history=history,
        )
    with np.errstate(all="ignore"), pytest.raises(nn.DivergedError):
        nn.fit(other.model, other.loss_fn, other.optimizer, other.loader, 500)
    assert raised.value.epoch == len(history.loss) > 0 and history.best_epoch is not None
    assert_same_weights(run, other)


@KERNEL_AND_LOOP
def test_ctrl_c_while_it_is_restored_comes_after(layers, monkeypatch):
    restore = nn.training.watching.Snapshot.restore

    def signalled(*args):
        signal.raise_signal(signal.SIGINT)
        restore(*args)

    monkeypatch.setattr(nn.training.watching.Snapshot, "restore", signalled)
    run, other = setup(layers), setup(layers)
    with pytest.raises(KeyboardInterrupt):
        nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 9, early_stopping=nn.EarlyStopping("loss", 2, 1e9))
    loop(other, 1)
    assert_same_weights(run, other)


def test_what_is_restored_is_finite():
    """The last update is not, but the best epoch's were."""
    run, other, rates = setup(batch_size=23), setup(batch_size=23), [0.02, 1e39]

    def callback(epoch, loss):
        run.optimizer.learning_rate = rates[min(epoch, 1)]

    options = {"early_stopping": nn.EarlyStopping("loss", 5, 1e9), "callback": callback}
    with np.errstate(all="ignore"):
        nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3, **options)
    loop(other, 1)
    assert_same_weights(run, other)
    run, rates = setup(batch_size=23, sgd={"learning_rate": 1e39}), [0.0, 0.0]
    options["early_stopping"].restore_best = False
    words = "after its last update, in epoch 0, batch 0, a parameter"
    with np.errstate(all="ignore"), pytest.raises(nn.DivergedError, match=words):
        nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 1, **options)


def test_what_is_restored_may_be_infinite():
    class Fleeting(nn.Optimizer):
        def step(self):
            (count,) = self.parameters
            count.data = [np.inf if count.data == 0 else 1.0]

    class Told(nn.Loss):
        def forward(self, pred, target):
            self.calls = getattr(self, "calls", 0) + 1
            return float(self.calls)

        def backward(self):
            return np.zeros((2, 1))

    model = Counter()
    parts = model, Told(), Fleeting(model.parameters()), nn.DataLoader(nn.ArrayDataset(ROWS, ROWS), batch_size=2)
    words = r"after its last update, in epoch 0, batch 0, a parameter of shape \(1,\) is inf"
    with pytest.raises(nn.DivergedError, match=words) as raised:
        nn.fit(*parts, 9, early_stopping=nn.EarlyStopping("loss", 2))
    assert (raised.value.epoch, raised.value.loss) == (0, 1.0)


# --- what is refused, before anything is changed ---


@pytest.mark.parametrize(("name", "values", "error"), [
    ("monitor", ["val_loss", None, 3, ["loss"]], ValueError),
    ("patience", [0, -1], ValueError),
    ("patience", [1.0, None, "ten", True], TypeError),
    ("min_delta", [-1e-9, NAN, INF], ValueError),
    ("min_delta", [None, "small", [0.1]], TypeError),
    ("restore_best", [None, "yes", 2, 0.0], TypeError),
])  # fmt: skip
def test_bad_settings_are_refused_by_name(name, values, error):
    stopping = nn.EarlyStopping()
    for value in values:
        with pytest.raises(error, match=f"EarlyStopping: {name} must be"):
            nn.EarlyStopping(**{name: value})
        with pytest.raises(error, match=f"EarlyStopping: {name} must be"):
            setattr(stopping, name, value)
    assert stopping == nn.EarlyStopping()


def test_settings():
    stopping = nn.EarlyStopping("loss", np.int64(3), np.float32(0.5), np.False_)
    assert repr(stopping) == "EarlyStopping(monitor='loss', patience=3, min_delta=0.5, restore_best=False)"
    assert repr(nn.EarlyStopping()) == (
        "EarlyStopping(monitor='validation_loss', patience=10, min_delta=0.0, restore_best=True)"
    )
    for other in pickle.loads(pickle.dumps(stopping)), copy.deepcopy(stopping), copy.copy(stopping):
        assert other == stopping != nn.EarlyStopping()


@KERNEL_AND_LOOP
@pytest.mark.parametrize(("stopping", "error", "words"), [
    (nn.EarlyStopping(), ValueError, "early_stopping monitors the validation_loss, but there is no validation data"),
    (nn.EarlyStopping, TypeError, "early_stopping must be an EarlyStopping"),
    (10, TypeError, "early_stopping must be an EarlyStopping, got 10"),
    ("loss", TypeError, "early_stopping must be an EarlyStopping, got 'loss'"),
])  # fmt: skip
def test_what_cannot_stop_is_refused_before_anything_is_changed(stopping, error, words, layers):
    run, untouched, history = (
        setup(layers, reshuffle=True),
        setup(layers, reshuffle=True),
        nn.History([1.0], best_epoch=0),
    )
    with pytest.raises(error, match=f"fit: {words}"):
        nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 3, early_stopping=stopping, history=history)
    assert_same_weights(run, untouched)
    assert run.rng.bit_generator.state == untouched.rng.bit_generator.state
    assert history == nn.History([1.0], best_epoch=0)


# --- histories ---


def test_a_history_from_before_there_were_rates():
    old = nn.History.__new__(nn.History)
    old.__dict__.update(loss=[2.0, 1.0], validation_loss=[])
    old = pickle.loads(pickle.dumps(old))
    assert (old.learning_rate, old.best_epoch) == ([], None)
    run = setup()
    nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 1, history=old)
    assert np.array_equal(old.learning_rate, [NAN, NAN, 0.02], equal_nan=True)
    again = pickle.loads(pickle.dumps(nn.History([1.0], [], [0.1], 0)))
    assert again == nn.History([1.0], [], [0.1], 0)


def test_a_best_epoch_is_a_place_in_a_list():
    history = nn.History([1.0])
    for value, error in (-1, ValueError), (0.0, TypeError), ("first", TypeError), (True, TypeError):
        with pytest.raises(error, match="History: best_epoch must be"):
            history.best_epoch = value
    history.best_epoch = np.int64(0)
    assert type(history.best_epoch) is int


@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_over_batches_is_added_up_one_after_the_other(reduction, weighted):
    """In doubles: neither by sum(), which compensates from Python 3.12 on, nor in pairs."""
    rng = np.random.default_rng(2)
    arrays = rng.normal(size=(300, 3)) * 10.0 ** rng.integers(-4, 3, (300, 1)), rng.normal(size=(300, 2))
    arrays += (rng.uniform(0, 2, 300),) * weighted
    loader = nn.DataLoader(nn.ArrayDataset(*arrays), batch_size=7)
    run = setup(loss={"reduction": reduction}, sgd={"learning_rate": 1e-4})
    (found,) = nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 1, validation=loader).validation_loss
    total = count = 0.0
    for x, y, *weight in loader:
        rows = float(weight[0].sum()) if weighted else len(x)
        loss = run.loss_fn(run.model.predict(x), y, *weight)
        total += loss if reduction == "sum" else loss * rows
        count += rows
    assert found == (total if reduction == "sum" else total / count)


class CountsByItself(nn.Optimizer):
    """Counts its updates by itself."""

    steps = 0

    @property
    def updates(self):
        return self.steps

    def step(self):
        self.steps += 1
        for p in self.parameters:
            p.data = p.data - self.learning_rate * p.grad


def test_updates_that_cannot_be_set_stay():
    model = nn.Sequential(nn.Linear(2, 1))
    optimizer = CountsByItself(model.parameters(), 0.01)
    x = np.ones((4, 2))
    loader = nn.DataLoader(nn.ArrayDataset(x, x[:, :1]), batch_size=2)
    stopping = nn.EarlyStopping("loss", patience=10**400, min_delta=1e9)
    history = nn.fit(model, nn.MSE(), optimizer, loader, 3, progress=False, early_stopping=stopping)
    assert (history.best_epoch, len(history.loss), optimizer.updates) == (0, 3, optimizer.steps)


def test_in_a_history_of_several_runs_the_numbers_of_an_epoch_stand_side_by_side():
    run = setup([(3, 2)], data(8), batch_size=4)
    parts, history = (run.model, run.loss_fn, run.optimizer, run.loader), nn.History()
    x, y = data(5, seed=1)
    nn.fit(*parts, 2, progress=False, history=history)
    stopping = nn.EarlyStopping(patience=50, restore_best=False)
    nn.fit(*parts, 3, progress=False, history=history, validation=(x, y), early_stopping=stopping)
    assert np.isnan(history.validation_loss[:2]).all() and len(history.validation_loss) == 5
    assert history.validation_loss[history.best_epoch] == np.nanmin(history.validation_loss)
    nn.fit(*parts, 1, progress=False, history=history)
    assert (len(history.loss), len(history.validation_loss), len(history.learning_rate)) == (6, 5, 6)


class Around(nn.Optimizer):
    """One of the library's in one of the user's own."""

    def __init__(self, inner):
        super().__init__(inner.parameters, inner.learning_rate)
        self.inner, self.log, self.slow = inner, [], [p.data.copy() for p in inner.parameters]

    def step(self):
        self.inner.step()
        self.log.append(self.inner.updates)
        for slow, p in zip(self.slow, self.parameters, strict=True):
            slow += 0.5 * (p.data - slow)


def test_what_an_optimizer_of_ones_own_has_is_restored_in_place():
    run = setup([(3, 2)], data(8), batch_size=4)
    inner = nn.Adam(run.model.parameters(), 0.1)
    around = Around(inner)
    log, slow = around.log, around.slow
    stopping, left = nn.EarlyStopping("loss", patience=3, min_delta=1e9), []
    keep = lambda epoch, loss: left.append([a.copy() for a in (*inner.first_moment, *slow)])  # noqa: E731
    options = {"progress": False, "callback": keep, "early_stopping": stopping}
    nn.fit(run.model, run.loss_fn, around, run.loader, 9, **options)
    assert len(left) == 4 and (inner.updates, around.updates, log) == (2, 2, [1, 2])
    assert around.inner is inner and around.log is log and around.slow is slow
    assert [a.tobytes() for a in (*inner.first_moment, *slow)] == [a.tobytes() for a in left[0]]


class Linked(nn.SGD):
    """Knows another, which knows it."""

    def step(self):
        super().step()


def test_optimizers_that_know_each_other_are_restored():
    run = setup([(3, 2)], data(8), batch_size=4)
    first = Linked(parameters=run.model.parameters(), learning_rate=0.01)
    first.other = Linked(parameters=run.model.parameters(), learning_rate=0.01)
    first.other.other = first
    stopping = nn.EarlyStopping("loss", patience=2, min_delta=1e9)
    history = nn.fit(run.model, run.loss_fn, first, run.loader, 9, progress=False, early_stopping=stopping)
    assert (len(history.loss), first.updates, first.other.updates) == (3, 2, 0)
