"""What runs of a product of parameters that is thinned out: each pair or triple of values, and not much else."""

from itertools import combinations, product
from types import SimpleNamespace

import pytest
from thinned import covering, mark_the_rest_slow

ROWS = list(product(range(7), ("a", "b"), range(3), (False, True)))


def held(rows, strength):
    """What so many columns hold together, of any of the rows."""
    columns = list(combinations(range(len(rows[0])), strength))
    return {(of, *(row[i] for i in of)) for row in rows for of in columns}


@pytest.mark.parametrize("rows", [ROWS, ROWS[5::3]], ids=["product", "part of one"])
@pytest.mark.parametrize("strength", [1, 2, 3, 4])
def test_what_values_hold_together_is_kept(strength, rows):
    chosen = [rows[i] for i in covering(rows, strength)]
    assert held(chosen, strength) == held(rows, strength)


@pytest.mark.parametrize(("strength", "most"), [(1, 7), (2, 24), (3, 50)])
def test_little_is_kept(strength, most):
    """The two longest columns alone have 21 pairs, the three longest 42 triples."""
    assert len(covering(ROWS, strength)) <= most


def test_of_fewer_columns_all_is_kept():
    assert covering([(1,), (2,), (1,)], 2) == {0, 1}


class Item:
    """What is asked of a test that pytest has collected."""

    path = "test_file.py"

    def __init__(self, name, marker, **params):
        self.originalname, self.callspec = name, SimpleNamespace(params=params)
        self.markers = [marker]

    def get_closest_marker(self, name):
        return name if name in self.markers else None

    def add_marker(self, marker):
        self.markers.append(marker.name)


@pytest.mark.parametrize(("marker", "least", "most"), [("pairs", 9, 12), ("triples", 18, 18), ("other", 18, 18)])
def test_what_is_marked_is_thinned_test_by_test(marker, least, most):
    lists = [1], [2], [3]  # which no set can hold
    items = [
        Item(name, marker, flag=flag, number=number, values=values, twice=values)
        for name, flag, number, values in product(["test_a", "test_b"], [False, True], range(3), lists)
    ]
    mark_the_rest_slow(items)
    for name in "test_a", "test_b":
        of_one = [item for item in items if item.originalname == name]
        ran = [item.callspec.params for item in of_one if "slow" not in item.markers]
        assert least <= len(ran) <= most
        for first, second in combinations(ran[0], 2):
            together = {(str(of[first]), str(of[second])) for of in ran}
            assert together == {tuple(str(item.callspec.params[key]) for key in (first, second)) for item in of_one}
