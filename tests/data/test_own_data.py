"""Data sets and batches of users' own: every item is asked for, whatever they redefine, repeat or claim."""

import numpy as np
import pytest
from models import build, sgd, values
from own import POINTS, loader_of

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


def test_a_data_set_that_augments_is_asked_for_every_item():
    class Mirrored(nn.ArrayDataset):
        def __getitem__(self, idx):
            x, y = super().__getitem__(idx)
            return -x, y

    for x, y in loader_of(Mirrored(POINTS, POINTS)):
        np.testing.assert_array_equal(x, -y)


def test_a_data_set_that_repeats_its_rows():
    class Repeated(nn.ArrayDataset):
        def __len__(self):
            return 3 * super().__len__()

        def __getitem__(self, idx):
            return super().__getitem__(idx % len(self.X))

    loader = loader_of(Repeated(POINTS, POINTS))
    assert len(loader) == 30
    np.testing.assert_array_equal(np.concatenate([x for x, _ in loader]), np.tile(POINTS, (3, 1)))
    model = build(2, 4, 2)
    assert len(nn.fit(model, nn.MSE(), sgd(model), loader, 2, progress=False).loss) == 2


def test_a_data_set_that_hands_on_to_another_what_it_lacks():
    """Its `__getitem__` is its own; the `__getitems__` that the other has must not stand in for it."""

    class Mirrored:
        def __init__(self, inside):
            self.inside = inside

        def __getitem__(self, idx):
            x, y = self.inside[idx]
            return -x, y

        def __len__(self):
            return len(self.inside)

        def __getattr__(self, name):
            return getattr(self.__dict__["inside"], name)

    for x, y in loader_of(Mirrored(nn.ArrayDataset(POINTS, POINTS))):
        np.testing.assert_array_equal(x, -y)


class Again:
    """A loader that is its own iterator and starts anew each time."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.i = 0
        return self

    def __next__(self):
        if self.i == len(self.batches):
            raise StopIteration
        self.i += 1
        return self.batches[self.i - 1]


class Batch:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        return iter((self.x, self.y))


HALVES = (POINTS[:20], POINTS[:20]), (POINTS[20:], POINTS[20:])


@pytest.mark.parametrize("batches", [
    Again(HALVES), list(HALVES), [list(half) for half in HALVES], [np.stack(half) for half in HALVES],
    [Batch(*half) for half in HALVES], HALVES + HALVES[:1],
])  # fmt: skip
def test_batches_in_whatever_is_unpacked(batches):
    model = build(2, 4, 2)
    assert len(nn.fit(model, nn.MSE(), sgd(model), batches, 2, progress=False).loss) == 2
    if not isinstance(batches[0] if isinstance(batches, list) else None, np.ndarray):  # which are (X, Y)
        loader = loader_of(nn.ArrayDataset(POINTS, POINTS))
        history = nn.fit(model, nn.MSE(), sgd(model), loader, 1, validation=batches, progress=False)
        assert np.isfinite(history.validation_loss).all()


def test_a_data_set_that_only_claims_to_be_longer_is_refused_before_training():
    class Longer(nn.ArrayDataset):
        def __len__(self):
            return 2 * super().__len__()

    model = build(2, 4, 2)
    before = values(model)
    with pytest.raises(ValueError, match="indices reach 79, but the data set has 40 rows"):
        nn.fit(model, nn.MSE(), sgd(model), loader_of(Longer(POINTS, POINTS)), 1, progress=False)
    assert [a.tobytes() for a in before] == [b.tobytes() for b in values(model)]
