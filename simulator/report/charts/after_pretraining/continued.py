"""What continued pretraining does to both losses, by the share of its domain: runs, the law, and what a plan takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .....core.quantity import Quantity
from ....after_pretraining.continued.law import ContinuedLaw
from ....after_pretraining.continued.outlook import ContinuedOutlook
from ....after_pretraining.continued.runs import ContinuedRuns
from ....after_pretraining.continued.storage import ContinuedLaws
from ....after_pretraining.continued.summary import ContinuedSummary
from ... import words
from ..marks import area, bars, field, label, line, points, rule, ticks
from ..picture import HALF, WHOLE, Numbers, Picture, Spec
from ..placing import Scale, Spot, short, sides, thinned
from .panels import AXIS, NARROW, heading, panel_px, panels

__all__ = ["continued_pictures", "percent_text", "shares_picture"]

RISE = 0.01
"""What the largest share that is marked costs the general loss, over going on without the domain."""
_MOST_PANELS = 3
_MOST_SHARE = 0.75  # that a plan's picture goes to, unless the plan goes further
_MOST_POINTS = 300
_GRID = np.linspace(0.0, 1.0, 41)
_SAME_SIZE = 1e-3
_ALL = 0.999
_MARGIN = "  "  # a label is bold, and so wider than one is measured


def percent_text(ratio: float) -> str:
    """A ratio of losses as a change: `+0.9 %`, `−12 %`."""
    change = 100 * (ratio - 1.0)
    return f"{change:+.1f} %".replace("-", "−").replace("+0.0", "0.0").replace("−0.0", "0.0")


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


@dataclass(frozen=True)
class _Panel:
    """One loss of models of one size."""

    name: str
    of: str
    runs: ContinuedRuns
    """Of this size."""
    before: float
    curve: Sequence[Mapping[str, float]]
    """By share, at the largest budget: median, 50 % and 90 % of one run."""
    fewer: Sequence[Sequence[Mapping[str, float]]]
    """Medians at fewer tokens."""
    largest: Quantity
    """The largest share for a rise of the general loss by RISE."""

    @property
    def losses(self) -> np.ndarray:
        """What was measured."""
        return self.runs.domain_loss if self.of == "domain" else self.runs.general_loss

    def at(self, share: float, key: str = "median") -> float:
        """The law along its curve."""
        return float(np.interp(share, _GRID, [row[key] for row in self.curve]))


def continued_pictures(runs: ContinuedRuns, laws: ContinuedLaws, seed: int = 0) -> list[Picture]:
    """Two pictures: the loss of the domain and the general loss by share, a plot for each of a few sizes.

    Args:
        runs: The runs of continued pretraining.
        laws: The laws that were fitted to them.
        seed: Of one run's luck, as `ContinuedSummary.of` takes it.
    """
    summary = ContinuedSummary.of(laws, seed)
    return [_picture(of, runs, laws, summary, seed) for of in ("domain", "general")]


def _picture(of: str, runs: ContinuedRuns, laws: ContinuedLaws, summary: ContinuedSummary, seed: int) -> Picture:
    sizes = [float(size) for size in np.unique(runs.params)]
    drawn = [sizes[place] for place in thinned(len(sizes), _MOST_PANELS)]
    found = [_panel(of, size, runs, laws, summary, seed) for size in drawn]
    domain = short(laws.domain_name)
    what = f"Loss on {domain}" if of == "domain" else "General loss"
    fewer = "; pale: runs of fewer tokens" if any(one.fewer for one in found) else ""
    marked = f"the largest share that costs the general loss {100 * RISE:g} %"
    mark = f"{'dot' if of == 'domain' else 'orange'}: {marked}"
    said = [words.sentence(f"rests on {laws.source}")]
    if len(drawn) < len(sizes):
        said.append(f"{len(drawn)} of {len(sizes)} sizes are drawn.")
    return Picture(
        name=f"continued-{of}",
        title=_finding(found[-1]),
        subtitle=(
            f"{what}, nats per token, by share of {domain} in {words.count(summary.tokens)} tokens more: runs, and "
            f"the law with 50 % and 90 % of one run{fewer}; {mark}"
        ),
        caption=" ".join(said),
        numbers=_numbers(found),
        draw=lambda width: _drawn(found, width),
        widths=WHOLE if len(found) > 1 else HALF,
    )


def _panel(
    of: str, size: float, runs: ContinuedRuns, laws: ContinuedLaws, summary: ContinuedSummary, seed: int
) -> _Panel:
    law = laws.domain if of == "domain" else laws.general
    near = min(summary.before, key=lambda one: abs(np.log(one / size)))
    own = runs.where(np.isclose(runs.params, size, rtol=_SAME_SIZE))
    own_before, general = summary.before[near]
    before = own_before if of == "domain" else general
    budgets = [float(tokens) for tokens in np.unique(own.tokens) if tokens < summary.tokens * (1 - _SAME_SIZE)]
    kept = [budgets[place] for place in thinned(len(budgets), 2)] if len(budgets) > 1 else budgets
    fewer = []
    for tokens in kept:
        middle = general * np.median(law.ratio(size, tokens, _GRID), axis=1)
        fewer.append([{"share": float(s), "median": float(m)} for s, m in zip(_GRID, middle, strict=True)])
    return _Panel(
        name=f"{words.count(size)} parameters",
        of=of,
        runs=own,
        before=before,
        curve=_curve(law, size, summary.tokens, general, seed),
        fewer=fewer,
        largest=summary.largest[near][RISE],
    )


def _curve(law: ContinuedLaw, size: float, tokens: float, general: float, seed: int) -> list[dict[str, float]]:
    runs = general * law.one_run(size, tokens, _GRID, np.random.default_rng(seed))
    edges = np.quantile(runs, [0.5, 0.25, 0.75, 0.05, 0.95], axis=1)
    keys = ("share", "median", "low50", "high50", "low90", "high90")
    return [dict(zip(keys, map(float, row), strict=True)) for row in np.column_stack([_GRID, *edges])]


def _finding(last: _Panel) -> str:
    """Of the largest models: how far the domain's loss moves, or up to which share the general loss stays."""
    share = last.largest.median
    if last.of == "domain":
        after = last.at(share)
        verb = "falls" if after < last.before else "rises"
        width = last.at(share, "high90") - last.at(share, "low90")
        numbers = [words.plain(value, width, 3) for value in (last.before, after)]
        return f"Domain loss {verb} from {numbers[0]} to {numbers[1]} at a {_share(share)} share"
    rise = f"{100 * RISE:g} %"
    if share >= _ALL:
        return f"General loss keeps within {rise} at every share"
    if share <= 0.0:
        return f"General loss rises by over {rise} at any share"
    return f"General loss keeps within {rise} up to a {_share(share)} share"


def _numbers(found: Sequence[_Panel]) -> Numbers:
    rows: list[tuple[str, ...]] = []
    for one in found:
        prefix = f"{one.name}, " if len(found) > 1 else ""
        rows.append((f"{prefix}before", f"{one.before:.3f}", "", ""))
        longest = one.runs.tokens >= one.runs.tokens.max() * (1 - _SAME_SIZE)
        shares = one.runs.share.round(6)
        distinct = np.unique(shares[longest])
        for share in distinct[thinned(len(distinct), 8)]:
            measured = float(one.losses[longest & (shares == share)].mean())
            ends = f"{one.at(share, 'low90'):.3f} to {one.at(share, 'high90'):.3f}"
            rows.append((f"{prefix}share {_share(share)}", f"{measured:.3f}", f"{one.at(share):.3f}", ends))
        low, high = one.largest.intervals[0.9]
        mark = f"{prefix}largest share that costs the general loss {100 * RISE:g} % at most"
        rows.append((mark, "", _share(one.largest.median), f"{_share(low)} to {_share(high)}"))
    return Numbers(("", "measured, mean", "law", "90 %"), tuple(rows))


def _drawn(found: Sequence[_Panel], width: int) -> Spec:
    height = 220 if width < NARROW else 260
    plots: list[Callable[[float], list[dict[str, Any]]]] = [
        lambda plot, one=one: _layers(one, plot, height, len(found) > 1) for one in found
    ]
    return panels(plots, width, height)


def _layers(one: _Panel, plot: float, height: float, named: bool) -> list[dict[str, Any]]:
    x = _share_axis()
    limit = one.at(0.0) * (1.0 + RISE)
    longest = one.runs.tokens >= one.runs.tokens.max() * (1 - _SAME_SIZE)
    values = [row[key] for row in one.curve for key in ("low90", "high90")]
    up = Scale.around([one.before, limit, *values, *one.losses.tolist()], 0.06, log=False)
    y = up.options("loss, nats per token", most=6, **AXIS)
    curve = list(one.curve)
    layers = [*heading(one.name)] if named else []
    layers += [
        area(curve, "plan-90", "low90", "high90", x=x, **y),
        area(curve, "plan-50", "low50", "high50", x=x, **y),
        *(_thin(line(list(rows), "baseline-50", "median", x=x, **y)) for rows in one.fewer),
        line(curve, "plan", "median", x=x, **y),
        rule([{"y": one.before}], "muted", dashed=True, width=1, y=field("y", **y)),
    ]
    for kept, ink, size in ((~longest, "baseline-50", 22), (longest, "baseline", 36)):
        at = np.flatnonzero(kept)
        rows = [
            {"share": float(one.runs.share[place]), "loss": float(one.losses[place])}
            for place in at[thinned(len(at), _MOST_POINTS)]
        ]
        if rows:
            layers.append(points(rows, ink, size=size, x=x, y=field("loss", **y)))
    return layers + _marks(one, limit, up, (plot, height), x, y)


def _thin(drawn: dict[str, Any]) -> dict[str, Any]:
    drawn["mark"]["strokeWidth"] = 1.2
    return drawn


def _marks(one: _Panel, limit: float, up: Scale, size: tuple[float, float], x: Any, y: Any) -> list[dict[str, Any]]:
    """The level before, and the largest share for a rise of the general loss, with its interval on the limit."""
    share, (low, high) = one.largest.median, one.largest.intervals[0.9]
    of_domain = one.of == "domain"
    top = one.at(share) if of_domain else limit
    said = f"{words.plain(top, up.high - up.low, 3)} at {_share(share)}"
    if not of_domain:
        said = f"{_share(share)} ({100 * low:.0f} to {100 * high:.0f})"
    row = {"share": share, "low": low, "high": high, "top": top, "text": said}
    before = {"y": one.before, "text": f"before {words.plain(one.before, up.high - up.low, 3)}"}
    across = Scale(0.0, 1.0, False)

    def px(at: float, loss: float) -> tuple[float, float]:
        return across.place(at, size[0]), size[1] - up.place(loss, size[1])

    avoid = [px(at["share"], at[key]) for at in one.curve[::2] for key in ("low90", "median", "high90")]
    avoid += [px(float(s), float(v)) for s, v in zip(one.runs.share, one.losses, strict=True)]
    near, side = sides(
        [
            Spot(*px(share, top), [said + _MARGIN], below=of_domain),
            Spot(*px(1.0, one.before), [before["text"] + _MARGIN]),
        ],
        *size,
        avoid,
    )
    height = field("top", **y)
    found = [
        *(
            []
            if of_domain
            else [rule([row], "limit", width=3, x={**x, "field": "low"}, x2={"field": "high"}, y=height)]
        ),
        points([row], "plan" if of_domain else "limit", size=60, x=x, y=height),
        *label([row], "text", ink="plan" if of_domain else "limit", bold=True, x=x, y=height, **near),
        *label([before], "text", ink="muted", x={"value": "width"}, y=field("y", **y), **side),
    ]
    if not of_domain:
        found.insert(0, rule([{"y": limit}], "limit", dashed=True, width=1, y=field("y", **y)))
    return found


def _share_axis(title: str = "share of the domain") -> dict[str, Any]:
    axis = {
        "values": [0, 0.25, 0.5, 0.75, 1],
        "labelExpr": "format(100 * datum.value, '.0f') + ' %'",
        "labelFlush": True,
    }
    return field("share", scale={"domain": [0, 1], "nice": False}, title=title, axis=axis)


def shares_picture(found: ContinuedOutlook) -> Picture:
    """Both losses of a plan by share, against those before, with its own share and how far the general may rise."""
    keys = ("share", "domain", "domain_low", "domain_high", "general", "general_low", "general_high")
    rows: list[dict[str, float]] = [dict(zip(keys, one, strict=True)) for one in found.curve]
    domain = short(found.domain)
    chosen = "" if found.share_stated else ", the largest that the limit allows"
    said = [words.sentence(f"law: {found.source}")]
    if not found.domain_loss_known:
        said.append(f"The predictor has no loss on {domain}: only the changes are known.")
    return Picture(
        name="continued-shares",
        title=(
            f"Domain loss {percent_text(found.domain_ratio.median)}, general loss "
            f"{percent_text(found.general_ratio.median)} at share {_share(found.share)}"
        ),
        subtitle=(
            f"Change by share of {domain} in {words.count(found.tokens)} tokens more, with 90 %; "
            f"the plan’s share{chosen}"
        ),
        caption=" ".join(said),
        numbers=_outlook_numbers(found, rows),
        draw=lambda width: _outlook(found, rows, width),
    )


def _outlook_numbers(found: ContinuedOutlook, rows: Sequence[Mapping[str, float]]) -> Numbers:
    def ends(quantity: Quantity) -> str:
        return " to ".join(percent_text(end) for end in quantity.intervals[0.9])

    table: list[tuple[str, ...]] = [
        (
            f"share {_share(found.share)}, the plan",
            percent_text(found.domain_ratio.median),
            ends(found.domain_ratio),
            percent_text(found.general_ratio.median),
            ends(found.general_ratio),
        )
    ]
    for row in rows[::5]:
        cells = [f"share {_share(row['share'])}"]
        for of in ("domain", "general"):
            cells += [percent_text(row[of]), " to ".join(percent_text(row[f"{of}_{end}"]) for end in ("low", "high"))]
        table.append(tuple(cells))
    low, high = found.largest_share.intervals[0.9]
    span = f"{_share(low)} to {_share(high)}"
    limit = f"+{100 * found.most_general_rise:g} %"
    table.append((f"largest share for {limit} over a share of 0", "", "", _share(found.largest_share.median), span))
    return Numbers(("", f"loss on {short(found.domain)}", "90 %", "general loss", "90 %"), tuple(table))


def _outlook(found: ContinuedOutlook, rows: Sequence[Mapping[str, float]], width: int) -> Spec:
    height = 170 if width < NARROW else 190
    plot = panel_px(1, width)
    # at a share near 1 the general loss is several times as high, which would flatten the rest
    reach = max(_MOST_SHARE, found.share, found.largest_share.intervals[0.9][1])
    rows = [row for row in rows if row["share"] <= reach + 1e-9]
    both = [
        _change(found, rows, of, found.domain_ratio if of == "domain" else found.general_ratio, (plot, height))
        for of in ("domain", "general")
    ]
    return panels([lambda _, layers=layers: layers for layers in both], width, height, stacked=True)


def _change(
    found: ContinuedOutlook, rows: Sequence[Mapping[str, float]], of: str, own: Quantity, size: tuple[float, float]
) -> list[dict[str, Any]]:
    """One loss: its change by share with 90 %, the plan's, and of the general one the limit."""
    keys = {"median": of, "low90": f"{of}_low", "high90": f"{of}_high"}
    curve = [{"share": row["share"]} | {k: 100 * (row[name] - 1) for k, name in keys.items()} for row in rows]
    limit = 100 * (rows[0]["general"] * (1.0 + found.most_general_rise) - 1.0)
    limits = [limit] if of == "general" else []
    low, high = (100 * (end - 1) for end in own.intervals[0.9])
    values = [row[key] for row in curve for key in ("low90", "high90")]
    up = Scale.around([0.0, low, high, *limits, *values], 0.08, log=False)
    y = up.options(f"{of} loss, change in percent", most=5, **AXIS)
    x = _share_axis("share of the domain" if of == "general" else "")
    text = f"{percent_text(own.median)} ({' to '.join(percent_text(end) for end in own.intervals[0.9])})"
    plan = {"share": found.share, "y": 100 * (own.median - 1), "low": low, "high": high, "text": text}
    across = Scale(0.0, 1.0, False)

    def px(at: float, change: float) -> tuple[float, float]:
        return across.place(at, size[0]), size[1] - up.place(change, size[1])

    avoid = [px(row["share"], row[key]) for row in curve for key in ("low90", "median", "high90")]
    avoid += [px(found.share, low + (high - low) * place / 12) for place in range(13)]
    spots = [Spot(*px(found.share, plan["y"]), [text + _MARGIN], below=of == "domain")]
    if limits:
        avoid += [px(place / 40, limit) for place in range(41)]
        spots.append(Spot(*px(0.0, limit), [_limit_text(found)]))
    near, *other = sides(spots, *size, avoid)
    layers = [
        area(curve, "plan-90", "low90", "high90", x=x, **y),
        rule([{"y": 0.0}], "muted", width=1, y=field("y", **y)),
        line(curve, "plan", "median", x=x, **y),
        rule([plan], "plan", width=2, x=x, y=field("low", **y), y2={"field": "high"}),
        points([plan], "plan", x=x, y=field("y", **y)),
    ]
    if limits:
        layers += _limit(found, limit, x, y, other[0])
    return [*layers, *label([plan], "text", ink="plan", bold=True, x=x, y=field("y", **y), **near)]


def _limit_text(found: ContinuedOutlook) -> str:
    return f"limit +{100 * found.most_general_rise:g} %"


def _limit(found: ContinuedOutlook, limit: float, x: Any, y: Any, side: dict[str, Any]) -> list[dict[str, Any]]:
    """What a share may cost the general loss, with the interval of the largest that keeps within."""
    low, high = found.largest_share.intervals[0.9]
    row = {"share": 0.0, "low": low, "high": high, "y": limit, "text": _limit_text(found)}
    largest = {"share": found.largest_share.median, "y": limit}
    return [
        rule([row], "limit", dashed=True, y=field("y", **y)),
        bars([row], "limit", 4, x={**x, "field": "low"}, x2={"field": "high"}, y=field("y", **y)),
        ticks([largest], "limit", 11, x=x, y=field("y", **y)),
        *label([row], "text", ink="limit", bold=True, x=x, y=field("y", **y), **side),
    ]
