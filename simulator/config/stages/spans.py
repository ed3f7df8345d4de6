"""Where the stages of a run begin and end, in tokens, and what is wrong with stages that don't add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ....core.reading.fields import FieldError
from ....core.units import format_count
from .stage import OptimStage, Stage

__all__ = ["Span", "checked_spans", "fixed_length", "spans"]

_TOLERANCE = 1e-3  # of the run: 33.3 % three times is a whole run, and published counts are rounded


class Span(NamedTuple):
    """A stretch of a run, in tokens from its beginning; that of a branch lies beside the run, from where it leaves."""

    start: float
    end: float

    @property
    def tokens(self) -> float:
        """Its length."""
        return self.end - self.start


def spans(stages: Sequence[Stage], total: float) -> list[Span]:
    """Where stages lie in a run of `total` tokens, that have been checked with some number of tokens.

    Where a plan is tried with more or fewer tokens than were stated, lengths that no longer add up keep their
    proportions.
    """
    try:
        return checked_spans(stages, total, "stages")
    except FieldError:
        lengths = [0.0 if _is_branch(stage) else stage.length_tokens(total) or 0.0 for stage in stages]
        by = total / (math.fsum(lengths) or 1.0)
        found, end = list[Span](), 0.0
        for stage, length in zip(stages, lengths, strict=True):
            if _is_branch(stage):
                found.append(Span(end, end + by * (stage.length_tokens(total) or 0.0)))
            else:
                found.append(Span(end, end + by * length))
                end += by * length
        return found


def checked_spans(stages: Sequence[Stage], total: float, where: str) -> list[Span]:
    """Where stages lie in a run of `total` tokens; FieldError with `where` in front where they don't add up to it."""
    main = [number for number, stage in enumerate(stages) if not _is_branch(stage)]
    _check_shares([stages[number] for number in main], where)
    found = dict[int, Span]()
    end = 0.0
    for place, number in enumerate(main):
        begin = _begin(stages, number, end, total, where)
        length = stages[number].length_tokens(total)
        if length is None:
            end = _until(stages, main[place + 1 :], number, total, where)
            if not end > begin:
                raise FieldError(
                    f"{where}.{number}",
                    f"no tokens are left to it: the other stages take {format_count(total - end + begin)} of "
                    f"{format_count(total)}; expected that they leave some",
                )
        else:
            end = begin + length
        found[number] = Span(begin, end)
    if abs(end - total) > _TOLERANCE * total * (1 + 1e-6):
        parts = " + ".join(format_count(found[number].tokens) for number in main)
        raise FieldError(
            where,
            f"take {format_count(end)} tokens together ({parts}), but data.tokens is {format_count(total)}; expected "
            "stages that add up to it, one of which may leave out its length",
        )
    if main:
        found[main[-1]] = found[main[-1]]._replace(end=total)
    return [_branched(stages, number, total, found) for number in range(len(stages))]


def fixed_length(stages: Sequence[Stage]) -> bool:
    """Whether stages make up a run of one number of tokens only."""
    main = [stage for stage in stages if not _is_branch(stage)]
    return any(stage.tokens is not None for stage in main) and all(
        stage.length_tokens(1.0) is not None for stage in main
    )


def _is_branch(stage: Stage) -> bool:
    return isinstance(stage, OptimStage) and stage.branch


def _check_shares(stages: Sequence[Stage], where: str) -> None:
    shares = [stage.share for stage in stages if stage.share is not None]
    if math.fsum(shares) > 1 + _TOLERANCE:
        stated = " + ".join(f"{100 * share:g} %" for share in shares)
        raise FieldError(where, f"have shares of {100 * math.fsum(shares):g} % ({stated}); expected at most 100 %")


def _begin(stages: Sequence[Stage], number: int, end: float, total: float, where: str) -> float:
    """Where a stage begins, given where the one before it ends."""
    stated = stages[number].start_tokens(total)
    if stated is None or abs(stated - end) <= _TOLERANCE * total:
        return end
    before = "the run begins at 0" if number == 0 else f"the stage before it ends at {format_count(end)}"
    what = "the two overlap" if stated < end else "nothing lies between"
    raise FieldError(
        f"{where}.{number}.start",
        f"got {format_count(stated)} tokens, but {before}: {what}; expected that each begins where the other ends",
    )


def _until(stages: Sequence[Stage], later: Sequence[int], number: int, total: float, where: str) -> float:
    """Where a stage ends that doesn't state its length: where those after it have to begin."""
    taken = 0.0
    for other in later:
        begin = stages[other].start_tokens(total)
        if begin is not None:
            return begin - taken
        length = stages[other].length_tokens(total)
        if length is None:
            raise FieldError(
                f"{where}.{other}",
                f"has no length, nor has stage {number}; expected tokens or a share of all stages but one",
            )
        taken += length
    return total - taken


def _branched(stages: Sequence[Stage], number: int, total: float, main: dict[int, Span]) -> Span:
    """The span of a stage, that of a branch from where the main stage before it ends."""
    if number in main:
        return main[number]
    left = max(other for other in main if other < number)
    return Span(main[left].end, main[left].end + (stages[number].length_tokens(total) or 0.0))
