"""What tests of jitted code leave behind: Numba keeps functions with an f in them, and f with them, for ever."""

import pytest

from fastnp import listeners


@pytest.fixture(scope="module", autouse=True)
def _told_of_nothing_later():
    """No change in tests to come is told to what these leave, or each would take longer for every one of them."""
    before = listeners._listeners
    yield
    listeners._listeners = before
