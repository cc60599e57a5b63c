"""Optimizers of users' own, by whatever way Python offers: `updates` and schedules are theirs, too."""

import abc
import copy
import functools
import pickle

import numpy as np
import pytest
from fits import assert_same, compare, fit, kept, loop, setup
from fits import backend as backend
from fits import kernel_calls as kernel_calls
from optimizing import CASES, WAYS, gentle, shapes
from own import Descent
from public import optimizers

import fastnp as nn

every_optimizer = pytest.mark.parametrize("cls", optimizers(), ids=lambda cls: cls.__name__)


def count(update):
    """A rate that says which update it is for."""
    return 1.0 + update


def made(cls, rate=count):
    tensor = nn.Tensor(1)
    tensor.grad = [1.0]
    return cls(parameters=[tensor], learning_rate=rate)


# --- a step that counts: each class notes the rates that it has seen, one for each update ---


def note(optimizer):
    optimizer.__dict__.setdefault("seen", []).append(optimizer.learning_rate)


class Noting(nn.Optimizer):
    def step(self):
        note(self)


class Inheriting(Noting):
    pass


class Calling(Noting):
    def step(self):
        super().step()


class CallingTwiceRemoved(Calling):
    def step(self):
        super().step()


class Mixin:
    def step(self):
        note(self)


class Mixed(Mixin, nn.Optimizer):
    pass


class CallingMixin:
    def step(self):
        note(self)
        super().step()


class MixedIntoSGD(CallingMixin, nn.SGD):
    pass


class MixedIntoOwn(CallingMixin, Descent):
    pass


class BelowAMixed(MixedIntoSGD):
    def step(self):
        super().step()


class Behind(Noting, Mixin):
    pass


class Diamond(Calling, Inheriting):
    def step(self):
        super().step()


class Abstract(nn.Optimizer, abc.ABC):
    @abc.abstractmethod
    def step(self):
        """Nothing that is common."""


class Concrete(Abstract):
    def step(self):
        super().step()
        note(self)


class Template(nn.Optimizer, abc.ABC):
    def step(self):
        for tensor in self.parameters:
            self.change(tensor)

    @abc.abstractmethod
    def change(self, tensor): ...


class Filled(Template):
    def change(self, tensor):
        note(self)


class Static(nn.Optimizer):
    noted = []  # noqa: RUF012

    @staticmethod
    def step():
        Static.noted.append(len(Static.noted) + 1.0)

    seen = noted


class OfTheClass(nn.Optimizer):
    seen = []  # noqa: RUF012

    @classmethod
    def step(cls):
        cls.seen.append(len(cls.seen) + 1.0)


class Partial(nn.Optimizer):
    def _noted(self, twice):
        note(self)
        assert twice

    step = functools.partialmethod(_noted, True)


class Assigned(nn.Optimizer):
    step = note


class Decorated(nn.Optimizer):
    @functools.lru_cache(0)  # noqa: B019
    def step(self):
        note(self)


class CountsItself(nn.Optimizer):
    def step(self):
        note(self)
        self.updates += 1


class WithArguments(nn.Optimizer):
    def step(self, closure=None, *, times=1):
        note(self)
        return closure, times


class ByRatesOfItsOwn(nn.Adam):
    """Its schedule is a method of its own."""

    def __init__(self, parameters, learning_rate):
        super().__init__(parameters, self.rate)

    def rate(self, update):
        return count(update)

    def step(self):
        note(self)
        super().step()


def replaced():
    optimizer = made(nn.SGD)
    step = optimizer.step
    optimizer.step = lambda: (note(optimizer), step())
    return optimizer


COUNTING = [
    Noting, Inheriting, Calling, CallingTwiceRemoved, Mixed, MixedIntoSGD, MixedIntoOwn, BelowAMixed, Behind, Diamond,
    Concrete, Filled, Static, OfTheClass, Partial, Assigned, Decorated, CountsItself, WithArguments, ByRatesOfItsOwn,
]  # fmt: skip


@pytest.mark.parametrize("make", [*COUNTING, replaced], ids=lambda make: make.__name__)
def test_every_step_counts_once_and_sees_the_rate_of_its_update(make):
    optimizer = make() if make is replaced else made(make)
    if make in (Static, OfTheClass):
        make.seen.clear()
    for update in range(3):
        assert optimizer.updates == update
        optimizer.step()
    assert (optimizer.seen, optimizer.updates) == ([1.0, 2.0, 3.0], 3)


@pytest.mark.parametrize("cls", [cls for cls in COUNTING if cls not in (Static, OfTheClass)])
def test_copies_go_on_counting(cls):
    optimizer = made(cls)
    optimizer.step()
    for clone in copy.copy(optimizer), copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)):
        assert clone.updates == 1
        clone.seen = []
        clone.step()
        assert (clone.seen, clone.updates, optimizer.updates) == ([2.0], 2, 1)


def test_two_updates_in_a_step_are_two():
    class Twice(nn.Adam):
        def step(self):
            super().step()
            note(self)
            super().step()

    optimizer, plain = made(Twice), made(nn.Adam)
    optimizer.step()
    plain.step(), plain.step()
    assert (optimizer.updates, optimizer.seen, plain.updates) == (2, [2.0], 2)
    assert optimizer.parameters[0].data.tobytes() == plain.parameters[0].data.tobytes()


def test_arguments_and_results_pass_through():
    optimizer = made(WithArguments)
    assert optimizer.step() == (None, 1) and optimizer.step("f", times=2) == ("f", 2)
    with pytest.raises(TypeError, match="unexpected keyword"):
        optimizer.step(often=2)
    assert optimizer.updates == 2
    assert WithArguments.step.__name__ == "step" and "closure" in str(
        WithArguments.step.__wrapped__.__code__.co_varnames
    )


def test_a_step_on_an_object_counts_where_it_calls_that_of_the_class_or_says_so():
    optimizer = made(nn.SGD)
    optimizer.step = lambda: note(optimizer)
    optimizer.step()
    assert optimizer.updates == 0
    optimizer.step = lambda: (note(optimizer), setattr(optimizer, "updates", optimizer.updates + 1))
    optimizer.step()
    optimizer.step()
    del optimizer.step
    optimizer.step()
    assert (optimizer.seen, optimizer.updates) == ([1.0, 1.0, 2.0], 3)


def test_a_step_that_raises_does_not_count():
    class Breaking(nn.Optimizer):
        def step(self):
            raise OSError

    class BreakingBefore(nn.Adam):
        def step(self):
            if not self.updates:
                raise OSError
            super().step()

    for cls in Breaking, BreakingBefore:
        optimizer = made(cls, 0.1)
        with pytest.raises(OSError):
            optimizer.step()
        assert optimizer.updates == 0 and not optimizer.parameters[0].data.any()


def test_an_abstract_step_stays_one():
    with pytest.raises(TypeError, match="abstract"):
        made(Abstract)
    with pytest.raises(TypeError, match="abstract"):
        made(Template)


@pytest.mark.parametrize("cls", [Descent, MixedIntoSGD, MixedIntoOwn, ByRatesOfItsOwn])
def test_in_fit_they_count_too(cls, kernel_calls):
    run = setup(optimizer_of=cls, sgd={"learning_rate": lambda update: 0.01 / count(update)})
    run.optimizer.updates = 2
    fit(run, 3)
    assert run.optimizer.updates == 17 and not kernel_calls


def test_an_own_optimizer_takes_the_rates_of_a_schedule():
    class Plain(nn.Optimizer):
        def step(self):
            for p in self.parameters:
                p.data = p.data - self.learning_rate * p.grad

    rate = nn.schedules.Cosine(0.05, 12, 3)
    runs = [setup(optimizer_of=nn.SGD, sgd={"learning_rate": rate, "momentum": 0}, dtype=np.float64)]
    runs.append(setup(optimizer_of=nn.SGD, dtype=np.float64))
    runs[1].optimizer = Plain(runs[1].model.parameters(), rate)
    for mine, theirs in zip(fit(runs[0], 3), fit(runs[1], 3), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12)


# --- a learning rate, settings and an __init__ of one's own ---


def with_property(cls):
    class Halved(cls):
        @property
        def learning_rate(self):
            return 0.5 * self.twice

        @learning_rate.setter
        def learning_rate(self, value):
            self.twice = value

    return Halved


def with_class_attribute(cls):
    class Slow(cls):
        learning_rate = 0.5

        def __init__(self, **options):
            options.pop("learning_rate")
            super().__init__(**options)
            del self.learning_rate  # which the base class has assigned

    return Slow


def with_method(cls):
    class Decaying(cls):
        def rate_of(self, update):
            return 0.02 / (1 + update)

        def __init__(self, **options):
            super().__init__(**options)
            self.learning_rate = self.rate_of

    return Decaying


def with_init(cls):
    class Ready(cls):
        def __init__(self, parameters, learning_rate=0.01):
            super().__init__(parameters=parameters, learning_rate=learning_rate, weight_decay=0.1, clip_norm=0.7)
            self.notes = []

    return Ready


@every_optimizer
@pytest.mark.parametrize("make", [with_property, with_class_attribute, with_method, with_init])
def test_a_subclass_with_a_rate_of_its_own(cls, make, kernel_calls):
    own = make(cls)
    compare(optimizer_of=own, sgd={"learning_rate": 0.03})
    assert bool(kernel_calls) == (make in (with_method, with_init))
    optimizer = own(parameters=[nn.Tensor(1)], learning_rate=0.25)
    expected = {with_property: 0.125, with_class_attribute: 0.5, with_method: 0.02, with_init: 0.25}[make]
    assert optimizer.learning_rate == expected
    assert make is with_method or f"learning_rate={expected:g}" in repr(optimizer)


def test_an_optimizer_without_a_learning_rate_says_so():
    class Own(nn.Optimizer):
        def __init__(self, parameters, pace):
            self.parameters, self.pace = parameters, pace

        def step(self):
            for p in self.parameters:
                p.data = p.data - self.pace * p.grad

    run = setup()
    run.optimizer = Own(run.model.parameters(), 0.01)
    assert not hasattr(run.optimizer, "learning_rate") and "learning_rate" not in repr(run.optimizer)
    with pytest.raises(AttributeError, match=r"Own has no learning_rate: its __init__ must call super\(\).__init__"):
        run.optimizer.step = lambda: run.optimizer.learning_rate
        run.optimizer.step()
    del run.optimizer.step
    assert np.isnan(nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, 2).learning_rate).all()
    assert run.optimizer.updates == 10
    run.optimizer.learning_rate = gentle
    assert run.optimizer.learning_rate == gentle(10)


NAMES = [
    "rate", "rates", "schedule", "lr", "pace", "squares", "sums", "norm", "norms", "clip", "clipping", "factor",
    "arrays", "buffer", "buffers", "link", "follow", "step", "steps", "t", "time", "count", "counts", "updates",
    "decay", "decays", "moments", "momentum", "velocity", "mean", "params", "parameters", "settings", "numbers",
    "kept", "state", "last", "history", "plan", "plans", "rule", "name", "names", "owner", "held", "places",
    "backend",
]  # fmt: skip


@pytest.mark.parametrize("cls", [*optimizers(), Descent], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("way", ["plain", "all"])
def test_private_attributes_of_ones_own_may_have_natural_names(cls, way):
    options = WAYS[way] if cls is not Descent else {"learning_rate": WAYS[way]["learning_rate"]}
    own = type("Own", (cls,), {f"_{name}": "of the class" for name in NAMES})
    runs = [setup() for _ in range(2)]
    for run, kind in zip(runs, (own, cls), strict=True):
        run.optimizer = kind(parameters=run.model.parameters(), **options)
        if kind is own:
            for name in NAMES:
                setattr(run.optimizer, f"_{name}", name)
    losses = [fit(run, 2) + loop(run, 1) for run in runs]
    assert losses[0] == losses[1]
    assert [getattr(runs[0].optimizer, f"_{name}") for name in NAMES] == NAMES
    if cls is not Descent:
        assert_same(*runs)
    assert repr(runs[0].optimizer)[3:] == repr(runs[1].optimizer)[len(cls.__name__) :]


# --- get_decay and tensors of one's own: tensor by tensor, in place of one call ---


def with_get_decay(cls):
    class Pulled(cls):
        """Towards 1, not 0."""

        def get_decay(self, values):
            return self.weight_decay * (values - 1)

    return Pulled


@every_optimizer
@pytest.mark.parametrize("decay_bias", [False, True])
def test_a_decay_of_ones_own(cls, decay_bias, kernel_calls):
    settings = {"weight_decay": 0.5, "decay_bias": decay_bias, "learning_rate": 0.1}
    compare(layers=shapes_norm(), optimizer_of=with_get_decay(cls), sgd=settings | {"clip_norm": 0.7})
    assert not kernel_calls
    run = setup(shapes_norm(), optimizer_of=with_get_decay(cls), sgd=settings)
    before = [tensor.data.copy() for tensor in run.model.parameters()]
    run.optimizer.step()  # without a gradient
    for tensor, old in zip(run.model.parameters(), before, strict=True):
        decays = decay_bias or tensor.decays
        np.testing.assert_array_equal(np.sign(tensor.data - old), np.sign(1 - old) if decays else 0)


def shapes_norm():
    return shapes(np.float32)["norm"]


def test_a_decay_of_ones_own_is_coupled_or_apart():
    """Adam scales it, and all steps are of one size; AdamW does not."""
    moved = {}
    for cls in nn.Adam, nn.AdamW:
        optimizer = with_get_decay(cls)([nn.Tensor(2)], 0.125, weight_decay=0.5)
        (tensor,) = optimizer.parameters
        tensor.data = [3.0, -1.0]  # decay 1, −1
        optimizer.step()
        moved[cls] = tensor.data - [3, -1]
    np.testing.assert_allclose(moved[nn.Adam], [-0.125, 0.125], rtol=1e-5)
    np.testing.assert_allclose(moved[nn.AdamW], [-0.125, 0.125], rtol=1e-6)
    optimizer.weight_decay = 2.0
    tensor.data = [3.0, -1.0]
    optimizer.step()
    np.testing.assert_allclose(tensor.data, [2.5, -0.5], rtol=1e-6)


@every_optimizer
@pytest.mark.parametrize("clip_norm", [None, 0.7])
def test_a_decay_of_nothing_has_the_bits_of_no_decay(cls, clip_norm):
    runs = [setup(optimizer_of=cls, sgd={"weight_decay": 0, "clip_norm": clip_norm}) for _ in range(2)]
    runs[1].optimizer.get_decay = np.zeros_like
    assert loop(runs[0], 3) == loop(runs[1], 3)
    assert runs[0].optimizer._by_kernel and not runs[1].optimizer._by_kernel
    assert_same(*runs)


class Watching(nn.Tensor):
    """A tensor with a method of its own, which does what that of the library does."""

    def clear_grad(self):
        super().clear_grad()


def singly(run):
    """Let the optimizer of a training go tensor by tensor."""
    for tensor in run.optimizer.parameters[1::2]:
        tensor.clear_grad = functools.partial(nn.Tensor.clear_grad, tensor)


@pytest.mark.parametrize("case", CASES)
def test_tensor_by_tensor_has_the_bits_of_one_call(case):
    cls, settings = CASES[case]
    i = list(CASES).index(case)
    dtype = (np.float64, np.float32)[i % 2]
    runs = [
        setup(list(shapes(dtype).values())[i % 2 * 3], optimizer_of=cls, sgd=settings, dtype=dtype) for _ in range(2)
    ]
    singly(runs[1])
    assert loop(runs[0], 2) == loop(runs[1], 2)
    assert runs[0].optimizer._by_kernel and not runs[1].optimizer._by_kernel
    for run in runs:
        for tensor in run.model.parameters():
            tensor.clear_grad()
    assert_same(*runs)


@every_optimizer
def test_a_subclass_of_tensor_has_the_bits_of_tensor(cls):
    optimizers = []
    for kind in nn.Tensor, Watching:
        rng, tensors = np.random.default_rng(0), [kind((3, 5)), kind((1, 5), np.float64), kind((40, 3)), kind(())]
        optimizer = cls(parameters=tensors, learning_rate=0.1, weight_decay=0.1, clip_norm=2.0)
        for _ in range(4):
            for tensor in tensors:
                tensor.grad = rng.normal(size=tensor.shape)
            optimizer.step()
        optimizers.append(optimizer)
    assert optimizers[0]._by_kernel and not optimizers[1]._by_kernel
    for mine, theirs in zip(*(optimizer.parameters for optimizer in optimizers), strict=True):
        assert mine.data.tobytes() == theirs.data.tobytes() and mine.data.any()
    for name, arrays in kept(optimizers[0]).items():
        assert [a.tobytes() for a in arrays] == [a.tobytes() for a in kept(optimizers[1])[name]]
