"""The points of the tutorial: what is drawn, and what is refused when they are read from files."""

import io

import numpy as np
import pytest

from fastnp.datasets import read_column, read_points, sin_curve, sin_data


def test_shapes_dtypes_and_range():
    x, y = sin_data()
    assert x.shape == y.shape == (200, 1)
    assert x.dtype == y.dtype == np.float64
    assert -np.pi <= x.min() < -3 and 3 < x.max() <= np.pi


def test_without_noise_the_points_lie_on_the_curve():
    x, y = sin_data(50, noise=0.0)
    assert np.array_equal(y, sin_curve(x))
    assert sin_curve(np.array([np.pi / 2]))[0] == 2.0


def test_noise_is_gaussian_with_the_given_deviation():
    x, y = sin_data(100_000, noise=0.3, rng=np.random.default_rng(1))
    error = y - sin_curve(x)
    assert abs(error.mean()) < 0.005
    assert abs(error.std() - 0.3) < 0.005
    assert abs((np.abs(error) < 0.3).mean() - 0.6827) < 0.01
    assert abs(np.corrcoef(x[:, 0], error[:, 0])[0, 1]) < 0.015


def test_numpys_seed_fixes_the_points():
    np.random.seed(5)
    first = sin_data(10)
    np.random.seed(5)
    again = sin_data(10)
    assert np.array_equal(first, again)
    assert not np.array_equal(again, sin_data(10))


def test_a_generator_leaves_numpys_own_alone():
    np.random.seed(5)
    state = np.random.get_state()[1].copy()
    first = sin_data(10, rng=np.random.default_rng(2))
    assert np.array_equal(first, sin_data(10, rng=np.random.default_rng(2)))
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", ">f8", "i4", "u1", "?"])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_a_file_becomes_a_column_of_doubles(tmp_path, dtype, shape):
    values = np.arange(6).reshape(shape).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    column = read_column(tmp_path / "a.npy")
    assert column.shape == (6, 1) and column.dtype == np.float64
    assert np.array_equal(column, values.reshape(6, 1))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.zeros((4, 2)), ValueError, r"has shape \(4, 2\); expected \(n,\) or \(n, 1\)"),
        (np.zeros((1, 4)), ValueError, r"has shape \(1, 4\)"),
        (np.zeros((4, 1, 1)), ValueError, r"has shape \(4, 1, 1\)"),
        (np.float64(3), ValueError, r"has shape \(\)"),
        (np.zeros(0), ValueError, "is empty"),
        (np.zeros((0, 1)), ValueError, "is empty"),
        (np.array([0, 1, np.nan, np.inf]), ValueError, "has nan at position 2"),
        (np.array([[0.0], [-np.inf]]), ValueError, "has -inf at position 1"),
        (np.zeros(3, complex), TypeError, "has dtype complex128; expected real numbers"),
        (np.array(["1", "2"]), TypeError, "has dtype <U1"),
        (np.zeros(3, "M8[s]"), TypeError, "has dtype datetime64"),
        (np.zeros(3, [("a", "f8")]), TypeError, "has dtype"),
        (np.array([1, None], object), ValueError, "not an .npy file of numbers: Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_are_refused(tmp_path, values, error, message):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(error, match=r"a\.npy .*" + message):
        read_column(tmp_path / "a.npy")


def _npy_bytes():
    file = io.BytesIO()
    np.save(file, np.arange(50.0))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"1.0\n2.0\n3.0\n", b"PK\x03\x04 an archive", _npy_bytes()[:60], _npy_bytes()[:-1], b"\x93NUMPY\x01\x00"],
    ids=["empty", "text", "zip", "half a header", "cut off", "magic only"],
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy is not an \.npy file of numbers"):
        read_column(tmp_path / "a.npy")


def test_points_come_in_pairs(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3))
    np.save(tmp_path / "y.npy", np.arange(3.0)[:, np.newaxis])
    np.save(tmp_path / "z.npy", np.arange(4))
    x, y = read_points(tmp_path / "x.npy", tmp_path / "y.npy")
    assert np.array_equal(x, y)
    with pytest.raises(ValueError, match=r"x\.npy has 3 numbers, .*z\.npy 4; they must be equal"):
        read_points(tmp_path / "x.npy", tmp_path / "z.npy")
    with pytest.raises(FileNotFoundError):
        read_points(tmp_path / "x.npy", tmp_path / "none.npy")
