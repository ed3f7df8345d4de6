"""`MODEL_CARD.md`: what a predictor is, where it comes from and where it must not be used, for a human reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.units import format_count, format_flops
from ..textbook_parameters import most_helpful

if TYPE_CHECKING:
    from ..loss_model import LossModel
    from ..predictor import Predictor

_FACTS = {
    "title": "What",
    "table": "Run table",
    "source": "Source",
    "commit": "Commit",
    "licence": "Licence of the source",
    "corpus": "Training corpus",
    "val_domain": "Validated on",
    "tokenizer": "Tokenizer",
    "params_kind": "N counts",
    "prior": "Prior",
    "command": "Made by",
    "digest": "SHA-256 of the fitted table",
    "seed": "Seed",
}


def model_card(predictor: Predictor) -> str:
    """Markdown text; figures come from the fits, none is written by hand."""
    about = predictor.about
    lines = [f"# {predictor.name}", ""]
    lines += [f"- {label}: {about[key]}" for key, label in _FACTS.items() if about.get(key) not in (None, "")]
    for name, model in predictor.models.items():
        lines += ["", f"## Target `{name}`", "", *_target(model)]
    if predictor.notes:
        lines += ["", "## Doubts", "", *(f"- {note}" for note in predictor.notes)]
    lines += [
        "",
        "Intervals come from back-tests of this table mixed with those of the public tables; beyond the ranges",
    ]
    lines += [
        "above they widen with the decades of extrapolation. Losses are nats per token of the tokenizer above.",
        "",
    ]
    return "\n".join(lines)


def _target(model: LossModel) -> list[str]:
    law = model.fit.law
    seen = model.fitted_ranges
    values = ", ".join(f"{name} = {value:.5g}" for name, value in model.parameters.items())
    helpful = most_helpful(model.fit)
    rows = [
        f"- Law: `{law.name}`, L = {law.member.title} ({law.member.source})",
        f"- Why: {model.choice.get('why', 'as asked')}",
        f"- Parameters: {values}",
        f"- Runs: {model.rows}; params {_span(seen['params'])}, tokens {_span(seen['tokens'])}, "
        f"compute {format_flops(seen['compute'][0])} to {format_flops(seen['compute'][1])}",
        f"- Mean absolute residual: {model.fit.noise:.3%} of the loss",
        f"- Interval at 90 %: ± {model.calibration.width(0.9):.2f} s, from {model.calibration.own_scores} back-tested "
        f"predictions over {model.calibration.own_cuts} cuts of its own",
    ]
    if helpful:
        rows.append(f"- Most help from a first per cent more of: {', '.join(helpful)}")
    rows += _learned(model)
    left_out = model.choice.get("left_out")
    if isinstance(left_out, dict):
        rows += [f"- Left out: {name} ({reason})" for name, reason in left_out.items()]
    errors = model.choice.get("backtest_errors")
    if isinstance(errors, dict) and errors:
        rows.append("- Back-test, median relative error: " + ", ".join(f"{n} {e:.2%}" for n, e in errors.items() if e))
    return rows


def _learned(model: LossModel) -> list[str]:
    """What was learned on top of the law, how it was judged, and how wide its intervals are."""
    learned = model.choice.get("surrogate")
    if not isinstance(learned, dict):
        return []
    chosen = "nothing" if learned["chosen"] == "law" else f"`{learned['chosen']}`"
    rows = [f"- Learned on top: {chosen}"]
    for key, text in (("backtest_errors", "rolling cuts, median"), ("errors", "runs left out, mean absolute")):
        if learned[key]:
            rows.append(f"- Errors on {text}: " + ", ".join(f"{n} {e:.2%}" for n, e in learned[key].items()))
    if model.surrogate is not None and model.within is not None:
        rows.append(f"- Reads: {', '.join(model.surrogate.features.names)}")
        rows.append(
            f"- Interval at 90 % among runs like the fitted ones: ± {model.within.width(0.9):.2f} s, from "
            f"{model.within.own_scores} runs left out"
        )
    return rows


def _span(limits: tuple[float, float]) -> str:
    return f"{format_count(limits[0])} to {format_count(limits[1])}"
