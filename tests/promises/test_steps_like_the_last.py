"""A step that is as the one before goes straight to its kernel, and does what any step does, whatever comes between."""

import copy
import gc
import pickle
import threading
from types import SimpleNamespace

import bounds
import numpy as np
import pytest
from test_interrupts import interrupted
from trainings import alone

import fastnp as nn
from fastnp.losses.built_in import NOTHING as NO_LOSS
from fastnp.optimizers.arenas import NOT_READY
from fastnp.overrides import put
from fastnp.program.program import NOTHING


def world(dtype=np.float32, optimizer=nn.SGD, own_layer=False, **options):
    rng = np.random.default_rng(0)
    widths = [(3, 5), (5, 4), (4, 2)]
    first, second, third = (nn.Linear(*w, weight_attr=nn.HeNormal(rng=rng), dtype=dtype) for w in widths)
    between = Twice() if own_layer else nn.ReLU()
    model = nn.Sequential(first, between, second, nn.Tanh(), third)
    x, y = rng.standard_normal((6, 3)).astype(np.float32), rng.standard_normal((6, 2)).astype(np.float32)
    made = optimizer(parameters=model.parameters(), learning_rate=0.05, **options)
    return SimpleNamespace(model=model, loss=nn.MSE(), optimizer=made, x=x, y=y, seen=[], forget=False)


class Twice(nn.Layer):
    def forward(self, x):
        return 2 * x

    def backward(self, gradient):
        return 2 * gradient


def forget(w):
    """Let nothing be as it was before."""
    programs = [run.program for run in getattr(w.model, "_segments", ()) if hasattr(run, "program")]
    alone = [layer._alone for layer in w.model.graphs if getattr(layer, "_alone", None) is not None]
    for program in programs + alone:
        program._next_forward = program._next_backward = NOTHING
        program._spare.clear()
    put(w.model, _straight_as_of=-1)
    put(w.loss, _kernel_next=NO_LOSS)
    put(w.optimizer, _kernel_ready=NOT_READY)


def see(w, *values):
    w.seen += [np.array(value) for value in values]
    if w.forget:
        forget(w)


def step(w):
    pred = w.model(w.x)
    see(w, pred)
    see(w, w.loss(pred, w.y))
    gradient = w.loss.backward()
    see(w, gradient, w.loss.pred, w.loss.target)
    see(w, w.model.backward(gradient))
    see(w, *[tensor.grad.copy() for tensor in w.model.parameters()])
    w.optimizer.step()
    see(w, *[tensor.data.copy() for tensor in w.model.parameters()], w.optimizer.updates, w.optimizer.learning_rate)
    w.optimizer.clear_grad()
    see(w, w.model.predict(w.x), w.model.predict(w.x[:1]))


# --- what may happen between two steps ---


def array(make):
    def given(w):
        w.x = make(w.x)

    return given


def strided(x):
    room = np.full((2 * len(x), 3 * x.shape[1]), np.nan, x.dtype)[::2, ::3]
    room[...] = x
    return room


def misaligned(x):
    room = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    room[...] = x
    return room


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def unpickled(x):
    return pickle.loads(pickle.dumps(x))


def fewer_rows(w):
    w.x, w.y = w.x[:4], w.y[:4]


def many_rows(w):
    w.x, w.y = np.tile(w.x, (50, 1)), np.tile(w.y, (50, 1))


def no_rows_in_between(w):
    see(w, w.model(w.x[:0]))


def another_layer(w):
    layer = nn.Linear(2, 2, weight_attr=nn.Constant(0.5), dtype=w.model.graphs[0].weights.dtype)
    w.model.add(layer)
    w.optimizer.parameters.extend(layer.parameters())


def a_layer_less(w):
    w.model.graphs.pop(1)


def a_layer_by_itself(w):
    see(w, w.model.graphs[0](w.x), w.model.graphs[2](np.ones((2, 5), np.float32)))


def a_layer_by_itself_before_backward(w):
    gradient = np.ones_like(w.model(w.x))
    see(w, w.model.graphs[0](w.x))
    see(w, w.model.backward(gradient))
    w.optimizer.clear_grad()


def joins_another(w):
    w.bigger = nn.Sequential(
        w.model, nn.Linear(2, 2, weight_attr=nn.Constant(0.5), dtype=w.model.graphs[0].weights.dtype)
    )
    see(w, w.bigger(w.x))


def converted(w):
    dtype = {np.float32: np.float64, np.float64: np.float32}[w.model.graphs[0].weights.dtype.type]
    for tensor in w.model.parameters():
        tensor.convert(dtype)


def copied(w):
    w.model, w.optimizer, w.loss = copy.deepcopy((w.model, w.optimizer, w.loss))


def pickled(w):
    w.model, w.optimizer, w.loss = pickle.loads(pickle.dumps((w.model, w.optimizer, w.loss)))


def a_copy_of_the_loss(w):
    clone = copy.copy(w.loss)
    see(w, clone(np.ones((6, 2), np.float32), w.y), clone.backward(), w.loss.backward())


def replaced(w):
    plain = w.model.graphs[0].forward
    w.model.graphs[0].forward = lambda x: plain(x) + 1


def forward_replaced(w):
    plain = w.model.forward
    w.model.forward = lambda x: plain(x) + 1


def call_of_the_loss_replaced(w):
    plain = w.loss.forward
    w.loss.forward = lambda pred, target: plain(pred, target) + 1


def step_replaced(w):
    plain = w.optimizer.step
    w.optimizer.step = lambda: (plain(), plain())


def twice_backward(w):
    gradient = np.ones_like(w.model(w.x))
    see(w, w.model.backward(gradient), w.model.backward(gradient))


def a_gradient_is_written(w):
    w.model.backward(np.ones_like(w.model(w.x)))
    w.model.parameters()[0].grad[...] = 3


def a_gradient_is_cleared(w):
    w.model.backward(np.ones_like(w.model(w.x)))
    w.model.parameters()[2].clear_grad()


def step_without_gradients(w):
    w.optimizer.step()
    see(w, *[tensor.data for tensor in w.model.parameters()])
    w.optimizer.step()


def data_is_assigned(w):
    w.model.parameters()[0].data = np.full((3, 5), 0.25)


def setting(**settings):
    def set_them(w):
        for name, value in settings.items():
            setattr(w.optimizer, name, value)

    return set_them


def a_bias_that_decays(w):
    w.optimizer.weight_decay, w.optimizer.decay_bias = 0.1, False
    w.model.parameters()[1].decays = True


def reduction(w):
    w.loss.reduction = "sum"


def mean_over_rows(w):
    w.loss.reduction = "batchmean"


def no_reduction(w):
    w.loss.reduction = "none"
    step(w)
    w.loss.reduction = "mean"


def weights(w):
    see(w, w.loss(w.model(w.x), w.y, np.arange(len(w.x))), w.loss.backward())


def loss_of_another_shape(w):
    see(w, w.loss(w.y[:2], w.x[:2, :2]), w.loss.backward(), w.loss(w.y[:, 0], w.x[:, 0]), w.loss.backward())


def loss_that_is_not_finite(w):
    see(w, w.loss(np.full_like(w.y, np.nan), w.y), w.loss.backward(), w.loss(np.full_like(w.y, np.inf), w.y))


def in_another_thread(w):
    def work():
        see(w, w.loss(2 * w.y, w.y), w.loss.backward(), w.model(w.x))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def another_backend(w):
    with nn.use_backend("numpy"):
        step(w)


def another_process_backend(w):
    before = nn.get_backend()
    nn.set_backend("numpy")
    step(w)
    nn.set_backend(before)


def refused(w):
    for odd in w.x[0], w.x[:, :2], w.x[np.newaxis], np.float32(1), "x", None, np.ma.masked_array(w.x, w.x > 0):
        with pytest.raises((TypeError, ValueError)):
            w.model(odd)
        with pytest.raises((TypeError, ValueError)):
            w.model.predict(odd)
    w.model(w.x)
    for odd in w.y[0], w.y[:, :1], w.y[:3], "x", None:
        with pytest.raises((TypeError, ValueError)):
            w.model.backward(odd)
        with pytest.raises((TypeError, ValueError)):
            w.loss(w.y, odd)
        with pytest.raises((TypeError, ValueError)):
            w.loss(odd, w.y)
    see(w, w.model.backward(w.y))
    w.optimizer.clear_grad()


def fitted(w):
    loader = nn.DataLoader(nn.ArrayDataset(w.x, w.y), batch_size=4)
    see(w, nn.fit(w.model, w.loss, w.optimizer, loader, 2, progress=False).loss)


def stepped_with_more_than_one(w):
    other = nn.SGD(parameters=w.model.parameters()[:2], learning_rate=0.1)
    w.model.backward(np.ones_like(w.model(w.x)))
    other.step()
    other.clear_grad()
    see(w, *[tensor.grad for tensor in w.model.parameters()])


SURPRISES = {
    function.__name__: function
    for function in (
        fewer_rows, many_rows, no_rows_in_between, another_layer, a_layer_less, a_layer_by_itself,
        a_layer_by_itself_before_backward, joins_another, converted, copied, pickled, a_copy_of_the_loss, replaced,
        forward_replaced, call_of_the_loss_replaced, step_replaced, twice_backward, a_gradient_is_written,
        a_gradient_is_cleared, step_without_gradients, data_is_assigned, a_bias_that_decays, reduction, mean_over_rows,
        no_reduction, weights, loss_of_another_shape, loss_that_is_not_finite, in_another_thread, another_backend,
        another_process_backend, refused, fitted, stepped_with_more_than_one,
    )
} | {
    f"x: {name}": array(make)
    for name, make in {
        "double": np.float64, "half": np.float16, "integers": lambda x: (9 * x).astype(int), "list": np.ndarray.tolist,
        "Fortran": np.asfortranarray, "strided": strided, "backwards": lambda x: x[::-1, ::-1],
        "misaligned": misaligned, "read only": read_only, "swapped": lambda x: x.astype(">f4"),
        "one row, repeated": lambda x: np.broadcast_to(x[:1], x.shape), "unpickled": unpickled,
        "matrix": lambda x: x.view(np.recarray), "booleans": lambda x: x > 0,
    }.items()
} | {
    f"{name} = {value}": setting(**{name: value})
    for name, value in {
        "momentum": 0.5, "nesterov": True, "rate_in_velocity": True, "weight_decay": 0.1, "clip_norm": 0.1,
        "learning_rate": 0.2, "updates": 7,
    }.items()
} | {"a schedule": setting(learning_rate=nn.schedules.Exponential(0.1, 0.5))}  # fmt: skip

OPTIMIZERS = {"SGD": nn.SGD, "Adam": nn.Adam}


def story(surprise, forgetful, **options):
    w = world(**options)
    w.forget = forgetful
    for _ in range(3):
        step(w)
    surprise(w)
    for _ in range(3):
        step(w)
    return w.seen


@pytest.mark.pairs
@pytest.mark.filterwarnings("ignore:the layer|overflow|invalid value")
@pytest.mark.parametrize("own_layer", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("surprise", SURPRISES)
def test_whatever_happens_in_between(surprise, optimizer, dtype, own_layer):
    if optimizer == "Adam" and surprise.split(" ")[0] in ("momentum", "nesterov", "rate_in_velocity"):
        pytest.skip("SGD's own")
    options = {"optimizer": OPTIMIZERS[optimizer], "dtype": dtype, "own_layer": own_layer}
    seen, careful = (story(SURPRISES[surprise], forgetful, **options) for forgetful in (False, True))
    assert len(seen) == len(careful)
    for mine, other in zip(seen, careful, strict=True):
        assert mine.dtype == other.dtype and bounds.same_bits(mine, other)


INTERRUPTED = (
    "fewer_rows", "another_layer", "a_layer_by_itself", "joins_another", "copied", "another_backend", "refused",
    "fitted", "x: double", "weight_decay = 0.1", "clip_norm = 0.1",
)  # fmt: skip


def at_every_line(surprise):
    """Ctrl-C before a line of what comes in between, or of the step behind it: what is left goes on as a copy does."""
    at, hit = 0, True
    while hit:
        at += 1
        w = world()
        for _ in range(3):
            step(w)

        def call(w=w):
            SURPRISES[surprise](w)
            step(w)

        hit = interrupted(call, at)
        w.optimizer.clear_grad()
        other = SimpleNamespace(**vars(w))
        other.model, other.loss, other.optimizer = copy.deepcopy((w.model, w.loss, w.optimizer))
        w.seen, other.seen = [], []
        for _ in range(2):
            step(w)
            step(other)
        assert all(map(bounds.same_bits, w.seen, other.seen)), f"line {at}"
    assert at > 50


@pytest.mark.parametrize("surprise", INTERRUPTED)
def test_ctrl_c_in_between(surprise):
    """In a process of its own: what is left half done may end one."""
    alone(__name__, f"at_every_line({surprise!r})", FASTNP_QUIET="1")


def test_what_blocks_name_lives_as_long_as_they():
    """A program whose tensors moved keeps nothing of where they were, but does not look there either."""
    for rows in 3, 30_000:
        w = world()
        step(w)
        x = np.tile(w.x, (rows, 1))
        w.model(x)
        w.bigger = nn.Sequential(w.model, nn.Linear(2, 2))
        w.model.predict(x)
        gc.collect()
        rubbish = [np.full(n, 7e5, np.float32) for n in range(1, 400)]
        assert bounds.same_bits(w.model(x), w.model.predict(x)) and len(rubbish) == 399


def test_a_step_that_fails_leaves_nothing_half_ready():
    w = world(weight_decay=0.1)
    for _ in range(3):
        step(w)
    w.model.backward(w.loss.backward())
    broken = RuntimeError("out of order")

    def raises():
        raise broken

    put(w.optimizer, _kernel_sets=raises)
    w.optimizer.weight_decay = 0.2
    with pytest.raises(RuntimeError, match="out of order"):
        w.optimizer.step()
    del w.optimizer._kernel_sets
    rubbish = [np.full(n, 7e5) for n in range(1, 400)]
    twin = copy.deepcopy((w.model, w.optimizer))
    for model, optimizer in (w.model, w.optimizer), twin:
        for tensor in model.parameters():
            tensor.grad[...] = 1
        optimizer.step()
    assert len(rubbish) == 399
    for mine, other in zip(w.model.parameters(), twin[0].parameters(), strict=True):
        assert bounds.same_bits(mine.data, other.data)


def test_steps_are_taken_straight():
    """Else the test above would show nothing."""
    w = world()
    for _ in range(3):
        step(w)
    program = w.model.whole_program()
    for owner, name in (
        (program, "_forward_carefully"),
        (program, "_backward_carefully"),
        (program, "_predict_carefully"),
        (w.loss, "forward"),
        (w.optimizer, "_step_carefully"),
    ):
        put(owner, **{name: None})
    pred = w.model(w.x)
    w.loss(pred, w.y)
    w.model.backward(w.loss.backward())
    w.optimizer.step()
    w.optimizer.clear_grad()
    w.model.predict(w.x[:1])
