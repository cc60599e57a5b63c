"""Sizes of layers and of networks, for the equality tests and the benchmarks. They know nothing of fastnp."""

from typing import Any, NamedTuple


class Case(NamedTuple):
    """The sizes of a layer."""

    batch: int
    n_in: int
    n_out: int

    def __str__(self):
        return f"{self.batch}x{self.n_in}x{self.n_out}"


class Network(NamedTuple):
    """A network: the width of its input, then the width of each Linear or the name of an activation."""

    name: str
    n_in: int
    layers: tuple[Any, ...]
    batch: int

    def __str__(self):
        return f"{self.name}-{self.batch}"

    @property
    def trains(self):
        """Whether there is anything to train, and on."""
        return self.batch > 0 and any(not isinstance(layer, str) for layer in self.layers)


SIN_LAYERS = (16, "relu", 64, "relu", 16, "relu", 1)

# Widths stand at, below and past the multiples of 8, 16 and 64: one vector, one tile, several panels.
CASES = [
    Case(*sizes)
    for sizes in (
        (1, 1, 1), (4, 1, 16), (4, 16, 64), (4, 64, 16), (4, 16, 1), (2, 1, 16), (2, 16, 1),  # the sin network
        (0, 1, 1), (0, 16, 16), (0, 3, 65), (1, 1, 65), (1, 65, 1), (3, 1, 1), (5, 1, 7), (5, 7, 1),
        (3, 7, 9), (5, 8, 8), (2, 9, 7), (3, 15, 17), (4, 16, 16), (5, 17, 15), (4, 2, 3), (1, 3, 2), (6, 4, 4),
        (1, 31, 33), (2, 33, 31), (3, 32, 32), (6, 63, 65), (7, 64, 64), (8, 65, 63), (5, 24, 40), (4, 40, 24),
        (3, 80, 97), (4, 97, 80), (5, 112, 113), (2, 128, 127), (3, 127, 129), (11, 48, 48), (4, 20, 200),
        (13, 100, 10), (100, 2, 3), (32, 64, 64), (128, 256, 256),
    )
]  # fmt: skip

PLAIN_NETWORKS = [
    Network(*network)
    for network in (
        ("sin", 1, SIN_LAYERS, 4),
        ("sin", 1, SIN_LAYERS, 2),
        ("sin", 1, SIN_LAYERS, 1),
        ("sin", 1, SIN_LAYERS, 0),
        ("one", 1, (1,), 3),
        ("linear", 17, (9,), 5),
        ("chain", 4, (9, 33, 2), 5),
        ("relu-first", 5, ("relu", 7, "relu"), 3),
        ("relu-twice", 3, (18, "relu", "relu", 5), 6),
        ("relu-alone", 6, ("relu",), 4),
        ("relus-alone", 6, ("relu", "relu"), 3),
        ("relu-last", 8, (16, 65, "relu"), 4),
        ("mixed", 20, ("relu", 70, 33, "relu", "relu", 1, "relu", 12), 7),
        ("wide", 40, (130, "relu", 100, "relu", 10), 33),
        ("one-pad-more", 128, (256, "relu", 127), 5),
    )
]
