"""How far feedback gets: the true reward by KL divergence, measured and by the law, and where it turns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .....core.quantity import Quantity
from ....after_pretraining.feedback.law import FeedbackLaw
from ....after_pretraining.feedback.measurements import Measurements
from ....after_pretraining.feedback.outlook import FeedbackOutlook
from ... import words
from ..marks import area, field, label, line, points, rule
from ..picture import HALF, WHOLE, Numbers, Picture, Spec
from ..placing import Scale, Spot, sides, thinned
from .panels import AXIS, NARROW, heading, panel_px, panels

__all__ = ["feedback_pictures", "gain_picture", "gain_text"]

_MOST_PANELS = 3
_MOST_POINTS = 400
_POINTS = 41  # of a curve
_ROOM = 1.08  # beyond the farthest policy that was measured
_MOST_ROWS = 24  # of the table behind the picture
_TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4)
_LEAST_APART = 0.11  # of the axis, that ticks lie from each other
_NAMES = {"best_of_n": "Best of n", "ppo": "PPO", "dpo": "DPO"}
_THAN_START = {"better": "better than the start", "worse": "worse than the start"}
_GAIN = words.Unit()
_MARGIN = "  "  # a label is bold, and so wider than one is measured
_TITLE_X = "KL, nats, square-root scale"


def gain_text(value: float, width: float | None = None) -> str:
    """A gain with its sign: `+0.64`."""
    return words.signed(value, _GAIN, width)


@dataclass(frozen=True)
class _Group:
    """Policies whose reward was learned from about as many comparisons, and the law there."""

    name: str
    rows: Measurements
    curve: Sequence[Mapping[str, float]]
    """d, and the gain there: median and 90 % of another reward model."""
    peak: Quantity
    """KL at which the gain of the mean reward model is largest."""
    most: Quantity
    """The gain there, or as far as was measured."""
    at_rows: np.ndarray
    """`(rows, 3)`: median and 90 % of the law at each policy."""


def feedback_pictures(rows: Mapping[str, Measurements], laws: Mapping[str, FeedbackLaw]) -> list[Picture]:
    """A picture for each method: the measured gains by KL divergence, and the law with its 90 % band and its peak.

    Args:
        rows: What was measured, by method.
        laws: The laws that were fitted to it.
    """
    return [_picture(rows[method], law) for method, law in laws.items()]


def _picture(rows: Measurements, law: FeedbackLaw) -> Picture:
    groups = _groups(rows, law)
    several = len(groups) > 1
    said = ", by the number of comparisons" if several else ""
    return Picture(
        name=f"feedback-{law.method.replace('_', '-')}",
        title=_finding(law, groups),
        subtitle=f"Gain in {law.unit} against KL{said}: policies, and the law with 90 % of another reward model",
        caption=_caption(law, groups),
        numbers=_numbers(groups),
        draw=lambda width: _drawn(groups, law, width),
        widths=WHOLE if several else HALF,
    )


def _groups(rows: Measurements, law: FeedbackLaw) -> list[_Group]:
    """One group where the law doesn't tell numbers of comparisons apart, else at most a few, from few to many."""
    if "comparisons" not in law.references:
        return [_group("", rows, law)]
    numbers = np.unique(rows.comparisons)
    parts = np.array_split(numbers, min(len(numbers), _MOST_PANELS))
    found = []
    for part in parts:
        ends = [words.count(float(end)) for end in (part[0], part[-1])]
        named = ends[0] if len(part) == 1 else " to ".join(ends)
        found.append(_group(f"{named} comparisons", rows.where(np.isin(rows.comparisons, part)), law))
    return found


def _group(name: str, rows: Measurements, law: FeedbackLaw) -> _Group:
    drivers = {of: float(np.exp(np.log(getattr(rows, of)).mean())) for of in law.references}
    farthest = math.sqrt(law.measured["kl_nats"][1])
    distances = np.linspace(0.0, _ROOM * farthest, _POINTS)
    other = law.coefficients(drivers, np.random.default_rng(0))
    alpha, beta = law.coefficients(drivers, None)
    peak = law.form.peak(alpha, beta)
    gains = law.form.gain(distances[:, None], *other)
    low, middle, high = np.quantile(gains, [0.05, 0.5, 0.95], axis=1)
    curve = [
        {"d": float(d), "median": float(m), "low90": float(lo), "high90": float(hi)}
        for d, m, lo, hi in zip(distances, middle, low, high, strict=True)
    ]
    most = Quantity.of_draws(law.form.gain(np.minimum(peak, farthest), alpha, beta))
    at_rows = np.quantile(law.form.gain(rows.d[:, None], *other), [0.5, 0.05, 0.95], axis=1).T
    return _Group(name, rows, curve, Quantity.of_draws(peak**2), most, at_rows)


def _finding(law: FeedbackLaw, groups: Sequence[_Group]) -> str:
    """Where the gain turns; of several numbers of comparisons, the largest gain of the fewest and of the most."""
    name, (first, *_, last) = _NAMES[law.method], (*groups, groups[-1])
    if len(groups) > 1:
        least, most = (words.plain(one.most.median, words.width_of(one.most)) for one in (first, last))
        few, many = (words.count(float(one.rows.comparisons[end])) for one, end in _ends(first, last))
        return f"{name}: most gain {least} with {few} comparisons, {most} with {many}"
    farthest = law.measured["kl_nats"][1]
    low, high = last.peak.intervals[0.9]
    if last.peak.median <= 0.0:
        return f"{name}: the gain only falls"
    if last.peak.median > farthest:
        return f"{name}: no turn seen up to KL {words.plain(farthest)} nats"
    at = words.plain(last.peak.median)
    if high > farthest:
        return f"{name}: gain may turn at KL {at} (from {words.plain(low)})"
    return f"{name}: gain turns at KL {at} ({words.plain(low)} to {words.plain(high)})"


def _ends(first: _Group, last: _Group) -> tuple[tuple[_Group, int], tuple[_Group, int]]:
    """Where the fewest comparisons of the first group and the most of the last are among their rows."""
    return (first, int(np.argmin(first.rows.comparisons))), (last, int(np.argmax(last.rows.comparisons)))


def _caption(law: FeedbackLaw, groups: Sequence[_Group]) -> str:
    said = [words.sentence(f"rests on {law.source}"), f"Law: gain = {law.form.in_words}, d = √KL."]
    if any(one.peak.intervals[0.9][1] > law.measured["kl_nats"][1] for one in groups):
        said.append("Beyond the farthest policy the curve is dashed: there it is extrapolation.")
    if "reward_params" in law.references:
        said.append("Reward models of several sizes are drawn together, the law at their geometric mean.")
    return " ".join(said)


def _numbers(groups: Sequence[_Group]) -> Numbers:
    rows: list[tuple[str, ...]] = []
    for group in groups:
        prefix = f"{group.name}, " if group.name else ""
        kls = group.rows.kl_nats.round(6)
        distinct = np.unique(kls)
        for kl in distinct[thinned(len(distinct), max(_MOST_ROWS // len(groups), 3))]:
            same = kls == kl
            middle, low, high = group.at_rows[same].mean(axis=0)
            width = float(high - low)
            ends = f"{gain_text(low, width)} to {gain_text(high, width)}"
            measured = gain_text(float(group.rows.gold[same].mean()), width)
            rows.append((f"{prefix}KL {words.plain(float(kl))}", measured, gain_text(middle, width), ends))
        low, high = group.peak.intervals[0.9]
        span = f"{_kl(low)} to {_kl(high)}"
        rows.append((f"{prefix}KL of the largest gain", "", _kl(group.peak.median), span))
        gains = group.most
        rows.append(
            (
                f"{prefix}largest gain, as far as was measured",
                "",
                gain_text(gains.median, words.width_of(gains)),
                " to ".join(gain_text(end, words.width_of(gains)) for end in gains.intervals[0.9]),
            )
        )
    return Numbers(("", "measured, mean", "law", "90 %"), tuple(rows))


def _kl(value: float) -> str:
    return "never" if math.isinf(value) else words.plain(value)


def _drawn(groups: Sequence[_Group], law: FeedbackLaw, width: int) -> Spec:
    values = [row[key] for one in groups for row in one.curve for key in ("low90", "high90")]
    up = Scale.around([0.0, *values, *(float(v) for one in groups for v in one.rows.gold)], 0.06, log=False)
    height = 220 if width < NARROW else 260
    plots = [lambda plot, one=one: _panel(one, law, up, plot, height, len(groups) > 1) for one in groups]
    return panels(plots, width, height)


def _panel(group: _Group, law: FeedbackLaw, up: Scale, plot: float, height: float, named: bool) -> list[dict[str, Any]]:
    farthest = math.sqrt(law.measured["kl_nats"][1])
    across = Scale(0.0, group.curve[-1]["d"], False)
    x, y = _kl_axis(across), up.options("gain of the true reward", most=6, **AXIS)
    curve = list(group.curve)
    inside = [row for row in curve if row["d"] <= farthest * (1 + 1e-9)]
    layers = [*heading(group.name)] if named else []
    layers += [
        area(curve, "plan-90", "low90", "high90", x=x, **y),
        rule([{"y": 0.0}], "muted", width=1, y=field("y", **y)),
        line(inside, "plan", "median", x=x, **y),
        line([inside[-1], *curve[len(inside) :]], "plan", "median", x=x, dashed=True, **y),
        *_policies(group.rows, x, y),
    ]
    return layers + _peak(group, across, up, (plot, height), x, y)


def _policies(rows: Measurements, x: Any, y: Any) -> list[dict[str, Any]]:
    """What was measured, each with 90 % of its own error where that is known."""
    found = []
    for place in thinned(len(rows), _MOST_POINTS):
        gold, se = float(rows.gold[place]), float(rows.gold_se[place])
        half = 1.6449 * se if math.isfinite(se) else 0.0
        found.append({"d": float(rows.d[place]), "gold": gold, "low": gold - half, "high": gold + half})
    known = [row for row in found if row["high"] > row["low"]]
    bars = [rule(known, "baseline", width=1, x=x, y=field("low", **y), y2={"field": "high"})] if known else []
    return [*bars, points(found, "baseline", size=32, x=x, y=field("gold", **y))]


def _peak(group: _Group, across: Scale, up: Scale, size: tuple[float, float], x: Any, y: Any) -> list[dict[str, Any]]:
    """The peak and the 90 % interval of where it is; nothing where it lies beyond what is drawn."""
    low, high = (min(math.sqrt(end), across.high) for end in group.peak.intervals[0.9])
    at = math.sqrt(group.peak.median) if math.isfinite(group.peak.median) else math.inf
    if at > across.high or at <= 0.0:
        return _no_peak(group)
    top = float(np.interp(at, [row["d"] for row in group.curve], [row["median"] for row in group.curve]))
    said = f"peak KL {words.plain(group.peak.median)}"
    ends = f"({words.plain(group.peak.intervals[0.9][0])} to {_kl(group.peak.intervals[0.9][1])})"
    row = {"d": at, "low": low, "high": high, "top": top, "text": [said, ends]}
    spot = Spot(
        across.place(at, size[0]), size[1] - up.place(top, size[1]), [said + _MARGIN, ends + _MARGIN], below=True
    )
    avoid = [
        (across.place(one["d"], size[0]), size[1] - up.place(one[key], size[1]))
        for one in group.curve
        for key in ("low90", "median", "high90")
    ]
    avoid += [
        (across.place(float(d), size[0]), size[1] - up.place(float(gold), size[1]))
        for d, gold in zip(group.rows.d, group.rows.gold, strict=True)
    ]
    (side,) = sides([spot], *size, avoid)
    height = field("top", **y)
    ends_x = {**x, "field": "low"}
    return [
        rule([row], "limit", width=3, x=ends_x, x2={"field": "high"}, y=height),
        points([row], "limit", size=60, x=x, y=height),
        *label([row], "text", ink="limit", bold=True, x=x, y=height, **side),
    ]


def _no_peak(group: _Group) -> list[dict[str, Any]]:
    """Said where there is no peak to draw."""
    low = group.peak.intervals[0.9][0]
    text = "only falls" if group.peak.median <= 0.0 else f"peak beyond (KL {_kl(low)} or more)"
    at = {"x": {"value": "width"}, "y": {"value": "height"}}
    return label([{"text": text}], "text", ink="limit", bold=True, align="right", dx=-2, dy=-11, **at)


def _kl_axis(across: Scale) -> dict[str, Any]:
    """An axis of d whose ticks say KL."""
    at = [0.0]
    for kl in _TICKS:
        d = math.sqrt(kl)
        if d <= across.high and d - at[-1] >= _LEAST_APART * across.high:
            at.append(d)
    return field(
        "d",
        scale={"type": "linear", "domain": [across.low, across.high], "nice": False},
        title=_TITLE_X,
        axis={"values": at, "labelExpr": "format(datum.value * datum.value, ',.3~r')", "labelFlush": True},
    )


def gain_picture(found: FeedbackOutlook) -> Picture:
    """The gain that a plan's feedback is to bring by KL divergence, with its own KL and where the gain turns."""
    reach = _reach(found)
    rows = [
        {"d": math.sqrt(kl), "median": median, "low90": low, "high90": high}
        for kl, median, low, high in found.curve
        if math.sqrt(kl) <= reach
    ]
    width_90 = words.width_of(found.gain)
    low, high = found.gain.intervals[0.9]
    what = "gains" if found.gain.median >= 0.0 else "loses"
    size, at = words.plain(abs(found.gain.median), width_90), words.plain(found.kl_nats)
    title = f"Feedback {what} {size} at KL {at}; past its peak: {words.percent(found.p_past_peak)}"
    if not found.measured:
        title = f"Unmeasured guess: feedback {what} {size} at KL {at}; nothing is decided"
    peak = found.best_kl_nats.intervals[0.9]
    numbers = Numbers(
        ("", "predicted", "90 %"),
        (
            (
                f"gain at KL {at}",
                gain_text(found.gain.median, width_90),
                f"{gain_text(low, width_90)} to {gain_text(high, width_90)}",
            ),
            ("KL of the largest gain", _kl(found.best_kl_nats.median), f"{_kl(peak[0])} to {_kl(peak[1])}"),
            ("chance of being past it", words.percent(found.p_past_peak), ""),
            *(
                (
                    f"gain at KL {words.plain(kl)}",
                    gain_text(middle, top - bottom),
                    f"{gain_text(bottom, top - bottom)} to {gain_text(top, top - bottom)}",
                )
                for kl, middle, bottom, top in found.curve[10::10]
            ),
        ),
    )
    return Picture(
        name="feedback-gain",
        title=title,
        subtitle=f"Gain in {found.unit} against KL, median and 90 %; {_THAN_START.get(found.verdict, found.verdict)}",
        caption=words.sentence(f"law: {found.source}"),
        numbers=numbers,
        draw=lambda width: _outlook(found, rows, width),
    )


def _reach(found: FeedbackOutlook) -> float:
    """How far, in d, the gain is drawn: past the plan and the middle of the peak, not where a wide law falls far."""
    peak = found.best_kl_nats.median
    return max(1.6 * math.sqrt(found.kl_nats), 1.4 * math.sqrt(peak) if math.isfinite(peak) else 0.0)


def _outlook(found: FeedbackOutlook, rows: Sequence[Mapping[str, float]], width: int) -> Spec:
    across = Scale(0.0, rows[-1]["d"], False)
    up = Scale.around([0.0, *(row[key] for row in rows for key in ("low90", "high90"))], 0.06, log=False)
    up = up.wider(below=0.1)
    height = 240 if width < NARROW else 280
    x, y = _kl_axis(across), up.options("gain of the true reward", most=6, **AXIS)
    plot, curve = panel_px(1, width), list(rows)
    (low, high), bottom = found.gain.intervals[0.9], up.low + 0.045 * (up.high - up.low)
    span = words.width_of(found.gain)
    said = [f"plan, KL {words.plain(found.kl_nats)}: {gain_text(found.gain.median, span)}"]
    said += [f"({gain_text(low, span)} to {gain_text(high, span)})"]
    at = math.sqrt(found.kl_nats)
    plan = {"d": at, "gain": found.gain.median, "low": low, "high": high, "text": said}

    def px(d: float, gain: float) -> tuple[float, float]:
        return across.place(d, plot), height - up.place(gain, height)

    avoid = [px(row["d"], row[key]) for row in rows for key in ("low90", "median", "high90")]
    avoid += [px(at, low + (high - low) * place / 20) for place in range(21)]
    (side,) = sides([Spot(*px(at, found.gain.median), [one + _MARGIN for one in said])], plot, height, avoid)
    turns = _turns(found, across, bottom)
    layers = [
        _smooth(area(curve, "plan-90", "low90", "high90", x=x, **y)),
        rule([{"y": 0.0}], "muted", width=1, y=field("y", **y)),
        _smooth(line(curve, "plan", "median", x=x, **y)),
        rule([plan], "plan", width=2, x=x, y=field("low", **y), y2={"field": "high"}),
        points([plan], "plan", x=x, y=field("gain", **y)),
        *label([plan], "text", ink="plan", bold=True, x=x, y=field("gain", **y), **side),
    ]
    if turns:
        row = turns[0]
        right = row["low"] + row["high"] > across.high
        layers += [
            rule(turns, "limit", width=3, x={**x, "field": "low"}, x2={"field": "high"}, y=field("y", **y)),
            points([one for one in turns if one["d"] <= across.high], "limit", size=60, x=x, y=field("y", **y)),
            *label(
                turns,
                "text",
                ink="limit",
                bold=True,
                align="right" if right else "left",
                dy=-12,
                x={**x, "field": "high" if right else "low"},
                y=field("y", **y),
            ),
        ]
    return panels([lambda _: layers], width, height)


def _smooth(drawn: dict[str, Any]) -> dict[str, Any]:
    drawn["mark"]["interpolate"] = "monotone"
    return drawn


def _turns(found: FeedbackOutlook, across: Scale, y: float) -> list[dict[str, Any]]:
    """Where the gain turns, as far as it is drawn; nothing where it turns beyond."""
    low, high = (math.sqrt(end) if math.isfinite(end) else across.high for end in found.best_kl_nats.intervals[0.9])
    if low >= across.high:
        return []
    middle = found.best_kl_nats.median
    ends = " to ".join(_kl(end) for end in found.best_kl_nats.intervals[0.9])
    at = math.sqrt(middle) if math.isfinite(middle) else math.inf
    text = f"peak KL {_kl(middle)} ({ends})" if math.isfinite(middle) else f"peak from KL {_kl(low**2)} on"
    return [{"d": at, "low": low, "high": min(high, across.high), "y": y, "text": text}]
