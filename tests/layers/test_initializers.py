"""Initializers: the distributions that they draw from, and what they are drawn by."""

import numpy as np
import pytest

import fastnp as nn

SHAPE = (300, 200)
SIZE = SHAPE[0] * SHAPE[1]
STANDARD_DEVIATIONS = 5  # from what is expected: once in two million


def of(cls, **settings):
    return pytest.param(cls, settings, id=f"{cls.__name__}{settings or ''}")


UNIFORM = [  # with the ends of the interval
    (of(nn.Uniform), -0.01, 0.01),
    (of(nn.Uniform, low=2.0, high=5.0), 2, 5),
    (of(nn.XavierUniform), -np.sqrt(6 / 500), np.sqrt(6 / 500)),
    (of(nn.HeUniform), -np.sqrt(6 / 300), np.sqrt(6 / 300)),
]
NORMAL = [  # with mean and standard deviation
    (of(nn.Normal), 0, 0.01),
    (of(nn.Normal, mean=3.0, std=2.0), 3, 2),
    (of(nn.XavierNormal), 0, np.sqrt(2 / 500)),
    (of(nn.HeNormal), 0, np.sqrt(2 / 300)),
]
DRAWN = pytest.mark.parametrize(("cls", "settings"), [case for case, *_ in UNIFORM + NORMAL])


def expanded(cases):
    return [pytest.param(*case.values, *numbers, id=case.id) for case, *numbers in cases]


def assert_moments(numbers, mean, std, kurtosis):
    """Mean and variance, in units of what a sample of this size has for them; kurtosis is the fourth moment's."""
    assert abs(numbers.mean() - mean) < STANDARD_DEVIATIONS * std / np.sqrt(SIZE)
    assert abs(numbers.var() / std**2 - 1) < STANDARD_DEVIATIONS * np.sqrt((kurtosis - 1) / SIZE)


@pytest.mark.parametrize(("cls", "settings", "low", "high"), expanded(UNIFORM))
def test_uniform(cls, settings, low, high):
    numbers = cls(**settings, rng=np.random.default_rng(1))(SHAPE)
    assert numbers.shape == SHAPE and low <= numbers.min() and numbers.max() < high
    assert numbers.min() < low + 1e-3 * (high - low) and numbers.max() > high - 1e-3 * (high - low)
    assert_moments(numbers, (low + high) / 2, (high - low) / np.sqrt(12), 9 / 5)


@pytest.mark.parametrize(("cls", "settings", "mean", "std"), expanded(NORMAL))
def test_normal(cls, settings, mean, std):
    numbers = cls(**settings, rng=np.random.default_rng(1))(SHAPE)
    assert numbers.shape == SHAPE
    assert_moments(numbers, mean, std, 3)
    share = np.mean(abs(numbers - mean) < std)
    assert abs(share - 0.6826895) < STANDARD_DEVIATIONS * np.sqrt(0.22 / SIZE)


@DRAWN
def test_numbers_are_drawn_when_it_is_called(cls, settings):
    def drawn(seed):
        return cls(**settings, rng=np.random.default_rng(seed))(SHAPE)

    assert np.array_equal(drawn(1), drawn(1)) and not np.array_equal(drawn(1), drawn(2))
    rng = np.random.default_rng(1)
    initializer = cls(**settings, rng=rng)
    state = rng.bit_generator.state
    first = initializer(SHAPE)
    assert rng.bit_generator.state != state and not np.array_equal(initializer(SHAPE), first)


@DRAWN
def test_numpys_seed_fixes_the_default(cls, settings):
    results = []
    for _ in range(2):
        np.random.seed(3)
        results.append(nn.Linear(20, 30, weight_attr=cls(**settings)).weights.data.copy())
    assert np.array_equal(*results)


@DRAWN
def test_what_draws_is_a_keyword(cls, settings):
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator"):
        cls(**settings, rng=3)
    with pytest.raises(TypeError):
        cls(*settings.values(), "name", np.random.default_rng(1))


@pytest.mark.parametrize("cls", [nn.HeNormal, nn.HeUniform, nn.XavierNormal, nn.XavierUniform])
def test_variances_are_those_that_pass_through_layers(cls):
    """What He and Glorot ask for: of the input on the way forward, or of both ways on average."""
    variance = cls(rng=np.random.default_rng(1))(SHAPE).var()
    wanted = 2 / SHAPE[0] if cls in (nn.HeNormal, nn.HeUniform) else 2 / sum(SHAPE)
    assert abs(variance / wanted - 1) < 0.05


@pytest.mark.parametrize("value", [np.nan, np.inf, "a", None, [1.0]])
@pytest.mark.parametrize("end", ["low", "high"])
def test_ends_are_finite_numbers(end, value):
    with pytest.raises((TypeError, ValueError), match=f"Uniform: {end} must"):
        nn.Uniform(**{end: value})
    initializer = nn.Uniform()
    with pytest.raises((TypeError, ValueError), match=f"Uniform: {end} must"):
        setattr(initializer, end, value)


def test_low_is_not_above_high():
    for low, high in (1, 0), (-1.7e308, 1.7e308):
        with pytest.raises(ValueError, match="low must not be above high"):
            nn.Uniform(low, high)
    initializer = nn.Uniform(0, 1)
    initializer.low = 2
    with pytest.raises(ValueError, match=r"low=2.0, high=1.0"):
        initializer((2, 3))
    initializer.high = 2
    assert np.array_equal(initializer((2, 3)), np.full((2, 3), 2.0))


def test_reprs():
    assert repr(nn.Uniform(-1, 2)) == "Uniform(low=-1, high=2)"
    assert repr(nn.XavierUniform()) == "XavierUniform()"
    assert str(nn.HeUniform()) == "He uniform initializer"
