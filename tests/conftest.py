"""Fixtures that several test files share."""

import pytest

import fastnp as nn


@pytest.fixture(params=["numba", "numpy"])
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


@pytest.fixture
def numba():
    """For what only the compiled kernels promise."""
    with nn.use_backend("numba"):
        yield
