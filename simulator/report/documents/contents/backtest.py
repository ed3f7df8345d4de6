"""The report of a back-test: how far may the chosen law be trusted on larger runs than it was fitted on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .....core.version import __version__
from ... import words
from ...charts.picture import Numbers
from ...charts.runs.calibration import backtest_pictures
from ..document import Document, Headline, Section

__all__ = ["backtest_document", "backtest_section"]


def backtest_document(results: Mapping[str, Mapping[str, Any]], source: str, commands: Sequence[str] = ()) -> Document:
    """The report of a back-test.

    Args:
        results: By target, as `backtest_table` gives them.
        source: The table's name.
        commands: What makes the report again.
    """
    target, result = next(iter(results.items()))
    law = result["laws"][result["chosen"]]
    error, cover = law["median_relative_error"], law.get("coverage") or {}
    section = backtest_section(results, source)
    pictures = section.pictures
    if pictures:
        title = f"{pictures[0].title}; median error {error:.2%}".replace("%", " %").replace("  %", " %")
    else:
        title = f"Too few runs to back-test: {result['why']}"
    return Document(
        kicker=f"back-test of {source} · foretrain {__version__}",
        title=title,
        lede=words.sentence(f"chosen for {target}: {result['chosen']}, {result['why']}"),
        headlines=tuple(_headlines(law, cover)),
        sections=(section,),
        commands=tuple(commands),
        facts=(("foretrain", __version__),),
    )


def backtest_section(results: Mapping[str, Mapping[str, Any]], source: str) -> Section:
    """Observed over predicted losses, and every law that applies; of a report of its own, or beside a plan's."""
    drawable = any(one["points"] for one in results.values())
    _, first = next(iter(results.items()))
    return Section(
        "Predicted and observed",
        tuple(backtest_pictures(results, source)) if drawable else (),
        tables=(("Laws that apply", _laws(first["laws"])),),
        text="" if drawable else "There are no larger runs to hold a prediction against.",
    )


def _headlines(law: Mapping[str, Any], cover: Mapping[str, float]) -> list[Headline]:
    found = [Headline("Median error", f"{law['median_relative_error']:.2%}".replace("%", " %"), "", "of the loss")]
    if law.get("max_relative_error") is not None:
        found.append(
            Headline("Largest error", f"{law['max_relative_error']:.2%}".replace("%", " %"), "", "of the loss")
        )
    for level in ("0.5", "0.9"):
        if level in cover:
            found.append(
                Headline(
                    f"Inside the {float(level):.0%} interval".replace("%", " %"),
                    words.percent(cover[level]),
                    "",
                    f"asked: {float(level):.0%}".replace("%", " %"),
                )
            )
    return found


def _laws(laws: Mapping[str, Mapping[str, Any]]) -> Numbers:
    rows = [
        (
            name,
            *(
                "" if one.get(key) is None else f"{one[key]:.2%}".replace("%", " %")
                for key in ("median_relative_error", "max_relative_error")
            ),
            "" if not one.get("coverage") else words.percent(one["coverage"]["0.9"]),
        )
        for name, one in sorted(laws.items(), key=lambda pair: pair[1].get("median_relative_error") or 1e9)
    ]
    return Numbers(("law", "median error", "largest error", "inside 90 %"), tuple(rows))
