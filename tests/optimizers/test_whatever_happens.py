"""Random histories of an optimizer: after all changes, its next step is that of one made anew."""

import copy
import functools
import pickle

import numpy as np
import pytest
from fits import assert_same, fit, kept, loop, setup
from fits import backend as backend
from models import assert_same_bits
from optimizing import SETTINGS, clearing_all, made_anew, settings_of, shapes, ways
from public import optimizers

import fastnp as nn
from fastnp.arena import gather

SHAPES = [(3, 5), (1, 5), (5, 17), (1, 17), (), (0, 2), (2, 2, 3), (40,)]


class World:
    """Tensors and an optimizer of some of them. Two of one seed go through the same changes."""

    def __init__(self, cls, seed):
        self.rng = np.random.default_rng(seed)
        self.tensors = [nn.Tensor(shape, self.rng.choice(["f4", "f8"])) for shape in SHAPES]
        for tensor in self.tensors:
            tensor.data = self.rng.normal(size=tensor.shape)
            tensor.decays = bool(self.rng.integers(2))
        chosen = list(ways(cls).values())
        self.optimizer = cls(parameters=self.tensors[:5], **chosen[self.rng.integers(len(chosen))])
        self.backend = nn.get_backend()

    def any(self, among):
        return among[self.rng.integers(len(among))]

    # --- changes ---

    def gradients(self):
        for tensor in self.tensors:
            tensor.grad = self.rng.normal(size=tensor.shape) * self.rng.choice([0.01, 1, 10])

    def cleared(self):
        self.gradients()
        self.optimizer.clear_grad()

    def cleared_one(self):
        self.any(self.tensors).clear_grad()

    def set(self):
        name = self.any(settings_of(type(self.optimizer)))
        setattr(self.optimizer, name, SETTINGS[name][0])

    def set_back(self):
        self.optimizer.clip_norm, self.optimizer.learning_rate = self.any([None, 3.0]), self.any([0.01, lambda t: 0.02])
        flags = {"nesterov", "rate_in_velocity", "epsilon_hat", "decay_bias"}
        for flag in flags & set(settings_of(type(self.optimizer))):
            setattr(self.optimizer, flag, bool(self.rng.integers(2)))

    def decays(self):
        tensor = self.any(self.tensors)
        tensor.decays = not tensor.decays

    def listed(self):
        others = [t for t in self.tensors if not any(t is mine for mine in self.optimizer.parameters)]
        self.optimizer.parameters.extend(others[:1])
        self.optimizer.parameters.reverse()

    def unlisted(self):
        del self.optimizer.parameters[self.rng.integers(len(self.optimizer.parameters))]
        self.optimizer.parameters = self.optimizer.parameters or self.tensors

    def converted(self):
        self.any(self.tensors).convert(self.rng.choice(["f4", "f8"]))

    def gathered(self):
        dtype = self.rng.choice(["f4", "f8"])
        gather([tensor for tensor in self.tensors if tensor.dtype == dtype])

    def method(self):
        tensor = self.any(self.tensors)
        if "clear_grad" in tensor._replaced:
            del tensor.clear_grad
        else:
            tensor.clear_grad = functools.partial(nn.Tensor.clear_grad, tensor)

    def kept(self):
        for name, arrays in kept(self.optimizer).items():
            setattr(self.optimizer, name, [np.abs(array) / 2 for array in arrays])

    def copied(self):
        for tensor in self.tensors:  # methods on objects do not copy well
            if "clear_grad" in tensor._replaced:
                del tensor.clear_grad
        self.optimizer.learning_rate = 0.01
        parts = self.tensors, self.optimizer
        self.tensors, self.optimizer = pickle.loads(pickle.dumps(parts)) if self.any([0, 1]) else copy.deepcopy(parts)

    def bound(self):
        tensors = copy.deepcopy(self.optimizer.parameters[:])
        self.tensors = tensors + [t for t in self.tensors if all(t is not mine for mine in self.optimizer.parameters)]
        self.optimizer.bind(tensors)

    def turned(self):
        self.backend = "numpy" if self.backend == "numba" else "numba"


CHANGES = [name for name in vars(World) if not name.startswith("_") and name != "any"]


@pytest.mark.parametrize("cls", optimizers(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_a_step_depends_on_nothing_but_settings_and_what_is_kept(cls, seed):
    one, two = World(cls, seed), World(cls, seed)
    for _ in range(40):
        change = one.any(CHANGES)
        assert two.any(CHANGES) == change
        for world in one, two:
            getattr(world, change)()
        two.optimizer = made_anew(two.optimizer)
        for world in one, two:
            with nn.use_backend(world.backend), np.errstate(all="ignore"):
                world.optimizer.step()
        assert_same_bits([t.data for t in one.tensors], [t.data for t in two.tensors])
        assert one.optimizer.updates == two.optimizer.updates
        for name, arrays in kept(one.optimizer).items():
            assert_same_bits(arrays, kept(two.optimizer)[name])


# --- fit, with callbacks that change anything ---


class Training:
    """A training whose callbacks change it at random; two of one seed change alike."""

    def __init__(self, cls, seed):
        self.rng = np.random.default_rng(seed)
        dtype = self.any([np.float32, np.float64])
        options = {"reshuffle": self.any([True, False]), "batch_size": self.any([4, 7, 23, 50])}
        self.run = setup(shapes(dtype)["odd"], optimizer_of=cls, sgd=self.any(list(ways(cls).values())), dtype=dtype,
                         **options)  # fmt: skip
        self.world = World.__new__(World)
        self.world.rng, self.world.tensors = self.rng, self.run.model.parameters()

    def any(self, among):
        return among[self.rng.integers(len(among))]

    def change(self):
        self.world.optimizer = self.run.optimizer
        name = self.any(["set", "set_back", "decays", "listed", "unlisted", "kept", "method", "sampler", "optimizer"])
        if name == "sampler":
            self.run.loader.sampler.batch_size = self.any([3, 8])
            self.run.loader.sampler.reshuffle = self.any([True, False])
        elif name == "optimizer":  # to begin anew with what is kept makes no difference
            for each, arrays in kept(self.run.optimizer).items():
                setattr(self.run.optimizer, each, arrays)
        else:
            getattr(self.world, name)()
        for tensor in self.world.tensors:  # which the loop clears for those that are held alone
            tensor.clear_grad()


@pytest.mark.parametrize("cls", optimizers(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_fit_is_the_loop_whatever_callbacks_change(cls, seed, backend):
    one, two = Training(cls, seed), Training(cls, seed)
    losses = fit(one.run, 12, callback=lambda epoch, loss: one.change())
    assert losses == loop(*clearing_all(two.run, 12), lambda epoch: two.change())
    assert_same(one.run, two.run)
