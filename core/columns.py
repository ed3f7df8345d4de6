"""What a column of a run table is: its name, what its cells may hold, where a planned run states it.

Whatever reads columns reads these: the run table, the inputs of laws, features of learned corrections, searches, docs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Column", "Feature", "Rule", "alias_key", "level_column", "level_of"]

Rule = Literal["count", "count or zero", "positive", "non-negative", "share", "share or zero", "any", "flag"]
"""What a number may be. A count may be written with a suffix ("7B", "1.4T"); a plain `count` is positive. A `share` is
above 0 and at most 1; that and `count` may be `… or zero`. A `flag` is 0 or 1; a column of anything else isn't that
column."""

Feature = Literal["log", "linear"]
"""How a learned correction sees a number that a law reads: its logarithm, or the number itself."""

_EXPECTED: dict[Rule, str] = {
    "count": "a positive number such as 7000000000, 6e11, 7B or 1.4T",
    "count or zero": "zero, or a positive number such as 7000000000, 6e11, 7B or 1.4T",
    "positive": "a positive number",
    "non-negative": "a number that is zero or more",
    "share": "a share above 0 and of at most 1",
    "share or zero": "a share from 0 to 1",
    "any": "a number",
    "flag": "0 or 1",
}


@dataclass(frozen=True)
class Column:
    """One column of a run table, or a family of them, one for each domain (`mix.web`, `mix.code`, …).

    >>> patience = Column("patience", "epochs without improvement before training stops", "epochs", rule="count")
    >>> patience.place, patience.expected
    ('columns.patience', 'a positive number such as 7000000000, 6e11, 7B or 1.4T')
    """

    name: str
    """Standard name; that of a family ends in a dot, and the domain follows it."""
    meaning: str
    """One line for the documentation."""
    unit: str = ""
    rule: Rule | None = None
    """What its numbers may be; None for text."""
    aliases: tuple[str, ...] = ()
    """Other names that it is read by, folded as `alias_key` does, surest first."""
    needs: str | None = None
    """A column that must be there too for the aliases to hold: `k` alone could be anything."""
    stated_at: str | None = "columns"
    """Where a run configuration states it, such as `optim.lr`. By default in the section `columns`, under the column's
    own name; None for what no plan states, such as a loss."""
    from_run: Callable[[Any], Any] | None = None
    """How its value follows from a `RunConfig`, where it isn't simply what stands there."""
    default: float | str | None = None
    """What a blank cell means to a law: a number, a level, or the name of the column whose value counts instead. None:
    no default would be honest, so a law that reads the column needs it in every run."""
    as_read: Callable[[Any, Any], Any] | None = None
    """What laws read of the values `(n,)`, given those of the column `beside` (None where it is absent)."""
    beside: str | None = None
    category: bool = False
    """Whether the text is one of a few levels that a law may tell apart (`architecture`, `selection`, `corpus`, …)."""
    sets_apart: bool = False
    """Whether runs with different values should hardly share one law, so that a fit warns of it."""
    feature: Feature | None = None
    """How a learned correction sees it, where a law reads it and says nothing of its own about offsets."""
    also_in_columns: bool = False
    """Whether the section `columns` of a plan may state it too, for what has no other place there; it counts first."""
    searchable: bool = True
    """Whether a study may vary it."""

    @property
    def is_family(self) -> bool:
        """Whether there is one such column for each domain."""
        return self.name.endswith(".")

    @property
    def is_text(self) -> bool:
        """Whether its cells hold text."""
        return self.rule is None

    @property
    def place(self) -> str | None:
        """The path in a run configuration that states it; None for what no plan states."""
        return f"columns.{self.name}" if self.stated_at == "columns" else self.stated_at

    @property
    def expected(self) -> str:
        """What a cell may hold, in words for an error message."""
        if self.name.startswith("loss"):
            return "a positive loss in nats per token"
        if self.name == "mix.":
            return "a share between 0 and 1"
        return "text" if self.rule is None else _EXPECTED[self.rule]

    def value_in(self, run: Any) -> Any:
        """What a `RunConfig` says of this column; None where it says nothing."""
        if self.also_in_columns and self.name in run.columns:
            return run.columns[self.name]
        if self.from_run is not None:
            return self.from_run(run)
        if self.place is None:
            return None
        if self.stated_at == "columns":
            return run.columns.get(self.name)
        value = run
        for part in self.place.split("."):
            value = getattr(value, part, None)
        return value

    def problem(self, value: Any) -> str | None:
        """What is wrong with one value; None for one that a cell may hold.

        >>> Column("lr", "peak learning rate", rule="positive").problem(0.0)
        'got 0; expected a positive number'
        """
        if self.is_text:
            return None if isinstance(value, str) and value.strip() else f"got {value!r}; expected {self.expected}"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) < float("inf"):
            return f"got {value!r}; expected {self.expected}"
        low = value < 0 if self.rule in ("non-negative", "count or zero", "share or zero") else value <= 0
        high = value > 1 and self.rule in ("share", "share or zero")
        return f"got {value:g}; expected {self.expected}" if high or (low and self.rule != "any") else None


def alias_key(name: str) -> str:
    """Fold a column name for look-up among the aliases.

    >>> alias_key(" eval/Loss")
    'eval_loss'
    """
    return re.sub(r"[\s/-]+", "_", name.strip().lower())


def level_column(column: str, level: str) -> str:
    """The name under which laws read whether a run has a level of a category: 1 where it has, else 0.

    >>> level_column("architecture", "ssm")
    'architecture=ssm'
    """
    return f"{column}={level}"


def level_of(name: str) -> tuple[str, str] | None:
    """The inverse of `level_column`; None for the name of another column."""
    column, equals, level = name.partition("=")
    return (column, level) if equals else None
