"""`predict` where a forward is the user's own: its answer, and no state changed."""

import sys
import threading

import numpy as np
import pytest
from own import POINTS, Skip, he

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


def test_a_predict_of_a_subclass_may_use_the_one_it_redefines():
    class Twice(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

        def predict(self, X, batch_size=256):
            return 2 * super().predict(X, batch_size)

    class Later(Twice):
        """Its predict is what `Twice` computes."""

    for model in Twice(he(2, 2)), Later(he(2, 2)):
        np.testing.assert_array_equal(model.predict(POINTS), model(POINTS))


def residual(cls):
    """A class decorator that makes a residual of a Sequential."""
    forward, backward = cls.forward, cls.backward
    cls.forward = lambda self, x: x + forward(self, x)
    cls.backward = lambda self, gradient: gradient + backward(self, gradient)
    return cls


@residual
class Decorated(nn.Sequential):
    pass


class OwnLinear(nn.Linear):
    def forward(self, x):
        return x + super().forward(x)

    def backward(self, gradient):
        return gradient + super().backward(gradient)


class OwnReLU(nn.ReLU):
    def forward(self, x):
        return x + super().forward(x)

    def backward(self, gradient):
        return gradient + super().backward(gradient)


def replaced():
    model = nn.Sequential(he(2, 2))
    forward, backward = model.forward, model.backward
    model.forward = lambda x: x + forward(x)
    model.backward = lambda gradient: gradient + backward(gradient)
    return model


REDEFINED = {
    "subclass": lambda: Skip(he(2, 4), nn.ReLU(), he(4, 2)),
    "decorated": lambda: Decorated(he(2, 2)),
    "nested": lambda: nn.Sequential(he(2, 2), Skip(he(2, 2)), nn.ReLU()),
    "Linear": lambda: OwnLinear(2, 2, weight_attr=nn.HeNormal(rng=np.random.default_rng(0))),
    "ReLU": OwnReLU,
    "Linear inside": lambda: nn.Sequential(he(2, 2), OwnLinear(2, 2), OwnReLU()),
    "object": replaced,
}


@pytest.mark.parametrize("which", REDEFINED)
def test_predict_by_a_forward_of_the_users_own_leaves_the_state_alone(which):
    model, other = REDEFINED[which](), REDEFINED[which]()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        q.data = p.data
    np.testing.assert_array_equal(model.predict(POINTS), other(POINTS))
    model(POINTS)
    for rows in POINTS[::-1] * 5, POINTS[:7]:
        model.predict(rows)
    np.testing.assert_array_equal(model.backward(POINTS), other.backward(POINTS))
    assert [p.grad.tobytes() for p in model.parameters()] == [p.grad.tobytes() for p in other.parameters()]


@pytest.mark.parametrize("which", REDEFINED)
def test_predict_by_a_forward_of_the_users_own_from_several_threads(which):
    model = REDEFINED[which]()
    inputs = [np.random.default_rng(i).normal(size=(5 + i, 2)) for i in range(4)]
    expected = [model.predict(x) for x in inputs]
    wrong, backend = [], nn.get_backend()

    def predict(i):
        with nn.use_backend(backend):  # which is of a thread
            wrong.extend(1 for _ in range(60) if not np.array_equal(model.predict(inputs[i]), expected[i]))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=predict, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong


def test_a_forward_that_goes_backward_itself_predicts_what_it_computes():
    """The gradient of an energy, say; it needs the state that predict would leave alone."""

    class Force(nn.Sequential):
        def forward(self, x):
            return super().backward(np.ones_like(super().forward(x)))

    model = Force(he(2, 4), nn.ReLU(), he(4, 1))
    expected = model(POINTS)
    model(POINTS[::-1])
    np.testing.assert_array_equal(model.predict(POINTS), expected)


def test_backward_by_hand_through_a_model_inside_that_has_only_layers_of_ones_own():
    class Twice(nn.Layer):
        def forward(self, x):
            return 2 * x

        def backward(self, gradient):
            return 2 * gradient

    x = np.random.default_rng(0).normal(size=(4, 3))
    model = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(), nn.Sequential(Twice()), nn.Linear(4, 2))
    model(x)
    expected = model.backward(np.ones((4, 2)))
    by_hand = np.ones((4, 2))
    for layer in reversed(model.graphs):
        by_hand = layer.backward(by_hand)
    assert np.array_equal(by_hand, expected)
    model(x)
    model.graphs[1].negative_slope = 0.5  # what was decided of the model is no longer known
    assert np.array_equal(model.backward(np.ones((4, 2))), expected)
    with pytest.raises(ValueError, match="backward before forward"):
        nn.Sequential(Twice()).backward(np.ones((4, 2)))
