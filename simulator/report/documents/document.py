"""A report before it is written: the decision, four numbers, pictures, doubts, and how to make it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ....core.quantity import Quantity
from .. import words
from ..charts.picture import Numbers, Picture

__all__ = ["Document", "Headline", "Note", "Section", "Strip", "Ticks", "Worth"]


@dataclass(frozen=True)
class Ticks:
    """Where the ends and the median of one interval lie on a strip, as percentages of its width."""

    low_90: float
    low_50: float
    median: float
    high_50: float
    high_90: float


@dataclass(frozen=True)
class Strip:
    """The intervals of a number and of the same number of the baseline on one axis, with what is wanted."""

    plan: Ticks
    baseline: Ticks | None
    limit: tuple[float, str] | None
    """Its place in percent, and what it says."""

    @classmethod
    def of(
        cls,
        plan: Quantity,
        baseline: Quantity | None = None,
        limit: tuple[float, str] | None = None,
        *,
        room: float = 8.0,
    ) -> Strip:
        """Lay out intervals; `limit` is a value and its words, `room` what is left free at both ends, percent."""
        both = [plan] if baseline is None else [plan, baseline]
        values = [end for one in both for end in one.intervals[0.9]] + ([] if limit is None else [limit[0]])
        low, high = min(values), max(values)

        def place(value: float) -> float:
            return room + (100.0 - 2 * room) * (0.5 if high == low else (value - low) / (high - low))

        def placed(one: Quantity) -> Ticks:
            (low_50, high_50), (low_90, high_90) = one.intervals[0.5], one.intervals[0.9]
            return Ticks(*(place(value) for value in (low_90, low_50, one.median, high_50, high_90)))

        return cls(
            placed(plan),
            None if baseline is None else placed(baseline),
            None if limit is None else (place(limit[0]), limit[1]),
        )


@dataclass(frozen=True)
class Headline:
    """One of the numbers on top."""

    label: str
    value: str
    unit: str = ""
    interval: str = ""
    """Its 90 % interval, or what else stands under it."""
    strip: Strip | None = None
    dots: int | None = None
    """Of 20, how many are filled; None for a number that is no chance."""
    difference: str = ""
    """What it is against the baseline."""
    note: str = ""
    """What else is to be said of it: the chance to keep a limit."""


@dataclass(frozen=True)
class Note:
    """A warning or an assumption: its cause, then what to do or how to read it."""

    cause: str
    then: str = ""

    @classmethod
    def of(cls, text: str) -> Note:
        """Split a sentence of the program after its first clause.

        >>> Note.of("the corpus isn't named: naming it narrows the interval")
        Note(cause='The corpus isn’t named.', then='Naming it narrows the interval.')
        """
        text = text.replace("'", "’").replace("\n", " ")
        where, found, _ = text.partition(": ")
        place = f"{where}: " if found and " " not in where else ""  # a file or a setting: alone it says no cause
        for mark in ("; ", ": "):
            cause, found, then = text.removeprefix(place).partition(mark)
            if found and 8 <= len(cause) <= 125:
                return cls(words.sentence(place + cause), words.sentence(then))
        return cls(words.sentence(text))


@dataclass(frozen=True)
class Worth:
    """Something to do, with what it brings and what it costs."""

    what: str
    brings: str
    costs: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report, with pictures, a table, a list of what is worth doing."""

    title: str
    pictures: Sequence[Picture] = ()
    tables: Sequence[tuple[str, Numbers]] = ()
    """Each with its heading."""
    worth: Sequence[Worth] = ()
    text: str = ""
    points: Sequence[str] = ()
    """Sentences, each by itself."""

    @property
    def name(self) -> str:
        """What a link to it is called."""
        kept = "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())
        return "-".join(part for part in kept.split("-") if part)


@dataclass(frozen=True)
class Document:
    """A whole report, in the order in which it is read."""

    kicker: str
    """One line above the decision: what was compared, by which predictor."""
    title: str
    """The decision, one sentence."""
    lede: str
    """What it costs, what else could be done."""
    doubt: str = ""
    """What stays in doubt, which is marked as such."""
    headlines: Sequence[Headline] = ()
    compared: bool = False
    """Whether a baseline is drawn beside the plan."""
    sections: Sequence[Section] = ()
    warnings: Sequence[Note] = ()
    assumptions: Sequence[Note] = ()
    commands: Sequence[str] = ()
    """What makes it again, in a shell."""
    facts: Sequence[tuple[str, str]] = ()
    """Digests, versions, the seed."""
    plans: Sequence[tuple[str, str]] = ()
    """The exact plans by name, as YAML."""
    pictures: dict[str, Picture] = field(init=False, compare=False)
    """Every picture, by its name."""

    def __post_init__(self) -> None:
        every = {picture.name: picture for section in self.sections for picture in section.pictures}
        object.__setattr__(self, "pictures", every)
