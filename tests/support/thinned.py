"""Products of parameters, thinned out: of a test that is marked `pairs` or `triples` runs what has each of them."""

from itertools import combinations

import pytest


def covering(rows, strength):
    """The indices of some rows in which whatever so many columns hold together in any row is held by one."""
    columns = list(combinations(range(len(rows[0])), min(strength, len(rows[0]))))
    held = [{(of, *(row[i] for i in of)) for of in columns} for row in rows]
    chosen, covered = set(), set()
    for least in range(len(columns), 0, -1):  # first those that bring the most
        for i, found in enumerate(held):
            if len(found - covered) >= least:
                chosen.add(i)
                covered |= found
    return chosen


def _values(item):
    """The parameters of a test; those that cannot be in a set, by which object they are."""
    for value in item.callspec.params.values():
        try:
            hash(value)
        except TypeError:
            value = id(value)
        yield value


def mark_the_rest_slow(items):
    """Mark as slow what needs not run for the pairs or triples."""
    for mark, strength in ("pairs", 2), ("triples", 3):
        tests = {}
        for item in items:
            if item.get_closest_marker(mark):
                tests.setdefault((item.path, item.originalname), []).append(item)
        for of_one in tests.values():
            chosen = covering([tuple(_values(item)) for item in of_one], strength)
            for i, item in enumerate(of_one):
                if i not in chosen:
                    item.add_marker(pytest.mark.slow)
