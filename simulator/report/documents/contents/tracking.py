"""The report of a running job: is it on its way, and where will it end?"""

from __future__ import annotations

from collections.abc import Sequence

from .....core.version import __version__
from ....tracking.result import Tracking
from ... import words
from ...charts.picture import Numbers
from ...charts.runs.track import track_picture
from ..document import Document, Headline, Note, Section, Strip

__all__ = ["track_section", "tracking_document"]


def tracking_document(result: Tracking, commands: Sequence[str] = ()) -> Document:
    """The report of a running job against its plan."""
    picture = track_picture(result)
    name = result.config.name or "run"
    serious = [notice for notice in result.notices if notice.serious]
    others = [notice for notice in result.notices if not notice.serious]
    return Document(
        kicker=f"{name} · step {result.log.now:,.0f} of {result.steps:,} · foretrain {__version__}",
        title=picture.title,
        lede=_lede(result),
        headlines=tuple(_headlines(result)),
        sections=(track_section(result),),
        warnings=tuple(Note.of(notice.text) for notice in serious),
        assumptions=tuple(Note.of(notice.text) for notice in others),
        commands=tuple(commands),
        facts=(("seed", str(result.config.seed)), ("foretrain", __version__)),
    )


def _lede(result: Tracking) -> str:
    """What the verdict in the title means in numbers."""
    now, loss = f"step {result.log.now:,.0f} of {result.steps:,}", result.loss_nats
    if result.verdict == "diverged":
        return words.sentence(f"the last finite loss, {result.log.loss[-1]:.3f} nats, is that of {now}")
    if loss is None:
        return words.sentence(result.sentence)
    width = words.width_of(loss)
    said = (
        f"At {now} the loss is expected to end at {words.LOSS.text(loss.median, width)} "
        f"(90 %: {words.interval(loss, words.LOSS)}); {words.plain(result.plan.loss_nats, width, 3)} was planned."
    )
    if result.shift is not None:
        said += (
            f" It has stood {words.plain(100 * result.shift.size)} % above its own past "
            f"since about step {result.shift.since:,.0f}."
        )
    return said


def track_section(result: Tracking) -> Section:
    """The logged loss against what was planned, and what the verdict rests on."""
    return Section(
        "The run so far", (track_picture(result),), tables=(("What the verdict rests on", _rests_on(result)),)
    )


def _headlines(result: Tracking) -> list[Headline]:
    found = []
    loss, wanted = result.loss_nats, result.plan.loss_nats
    limit = (wanted, f"{'target' if result.plan.source == 'target' else 'planned'} {words.plain(wanted, digits=3)}")
    if loss is not None:
        found.append(
            Headline(
                "Loss at the end, nats",
                words.LOSS.number(loss.median, words.width_of(loss)),
                "",
                f"90 %: {words.interval(loss, words.LOSS)}",
                Strip.of(loss, None, limit),
            )
        )
    perplexity = result.perplexity
    if perplexity is not None:
        value = words.PERPLEXITY.text(perplexity.median, words.width_of(perplexity))
        said = f"90 %: {words.interval(perplexity, words.PERPLEXITY)}"
        found.append(Headline("Perplexity at the end", value, "", said, Strip.of(perplexity)))
    if result.p_target is not None:
        dots = round(20 * result.p_target)
        said = words.percent(result.p_target)
        found.append(Headline("Chance of the target", words.chance(result.p_target), "", said, dots=dots))
    done = result.log.now / result.steps
    found.append(Headline("Done", f"{100 * done:.0f} %", "", f"step {result.log.now:,.0f} of {result.steps:,}"))
    return found


def _rests_on(result: Tracking) -> Numbers:
    rows = [("logged points", f"{len(result.log.step):,}"), ("planned loss, nats", f"{result.plan.loss_nats:.3f}")]
    if result.loss_nats is not None:
        rows.append(("expected at the end", f"{result.loss_nats.median:.3f}"))
        rows.append(("90 %", " to ".join(f"{end:.3f}" for end in result.loss_nats.intervals[0.9])))
    if result.p_target is not None:
        rows.append(("chance of the target", words.percent(result.p_target)))
    rows.append(
        (
            "jumps",
            "none"
            if result.shift is None
            else f"one of {words.plain(100 * result.shift.size)} % at step {result.shift.since:,.0f}",
        )
    )
    return Numbers(("", f"at step {result.log.now:,.0f}"), tuple(rows))
