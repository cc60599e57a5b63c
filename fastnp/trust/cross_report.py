"""What `cross_check` found."""

from dataclasses import dataclass, field

from ..backend import BACKENDS
from ..errors import CheckFailed


@dataclass
class CrossRow:
    """The worst element of one array that was checked."""

    backend: str
    where: str
    what: str
    fraction: float  # of the bound
    index: tuple[int, ...]
    got: float
    expected: float

    @property
    def passed(self) -> bool:
        return self.fraction <= 1


@dataclass
class CrossReport:
    """What `cross_check` found; prints as a table."""

    rows: list[CrossRow] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)  # layers and optimizers that are not fastnp's

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    @property
    def worst(self) -> float:
        """The largest fraction of a bound."""
        return max((row.fraction for row in self.rows), default=0.0)

    def __str__(self) -> str:
        lines = [f"{'of the bound, by backend':44}" + "".join(f"{name:>8}" for name in BACKENDS) + "  worst element"]
        groups: dict[tuple[str, str], list[CrossRow]] = {}
        for row in self.rows:
            groups.setdefault((row.where, row.what), []).append(row)
        for (where, what), rows in groups.items():
            worst = max(rows, key=lambda row: row.fraction)
            place = f"[{', '.join(map(str, worst.index))}] {worst.got:.9g}"
            if not worst.passed:
                place += f", expected {worst.expected:.9g}  WRONG on {worst.backend}"
            lines.append(f"{where:18} {what:25}" + "".join(f"{row.fraction:8.3f}" for row in rows) + f"  {place}")
        lines += [f"{name}: not fastnp's own, run but not checked" for name in self.unchecked]
        lines.append(f"{'passed' if self.passed else 'FAILED'}: at worst {self.worst:.3f} of a bound")
        return "\n".join(lines)

    def raise_if_failed(self) -> None:
        """Raise CheckFailed with the table where a number is outside its bound."""
        if not self.passed:
            raise CheckFailed(f"a number is outside its bound:\n{self}")
