"""The Monte Carlo of a whole forecast: speed, settled quantiles, closed forms, and chances that come true.

    python benchmarks/forecast.py      (about a minute); exit status 1 if a target is missed

Runs are synthetic: drawn from the fitted model itself, so that what is tested is the arithmetic of the forecast, not
the model. How well the model does on real runs is in extrapolation.py, step_time.py and published_runs.py.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from foretrain.core.quantity import Quantity
from foretrain.simulator.cluster.cluster_estimate import ClusterEstimate
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.cluster.operations.goodput import expected_run_time
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.forecast.law_inputs import planned, run_columns
from foretrain.simulator.predictor.storage.folder import load

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PLANS = ("llama-7b", "llama-70b", "mixtral-8x7b")
MOST_S, MOST_APART, BINS, TRUTHS, PLANS_DRAWN = 1.0, 0.01, 10, 40, 150
WIDEST = 3.0  # standard errors of a share that a bin may be off: 10 bins, so a bin beyond 3 is a miss


def plan(name: str, *more: str) -> RunConfig:
    """One of the examples."""
    return RunConfig.load(EXAMPLES / f"{name}.yaml", more)


def speed() -> float:
    """Seconds of 10,000 draws, layout search included; the slowest plan."""
    predictor, worst = load("web-text"), 0.0
    for name in PLANS:
        config = plan(name)
        forecast(config, predictor)
        start = time.perf_counter()
        forecast(config, predictor)
        took = time.perf_counter() - start
        config = plan(name)
        start = time.perf_counter()
        estimate(config, draws=10_000)
        print(f"{name:14s} whole forecast {took:.3f} s, of which the cluster {time.perf_counter() - start:.3f} s")
        worst = max(worst, took)
    return worst


def settled() -> float:
    """Largest relative difference of medians and ends of intervals between 10,000 and 100,000 draws."""
    worst = 0.0
    for name in PLANS:
        few, many = (estimate(plan(name, "prices.spread=1.1"), draws=draws) for draws in (10_000, 100_000))
        for quantity in ("step_time_s", "wall_clock_days", "gpu_hours", "cost_usd", "energy_mwh", "goodput"):
            apart = _apart(getattr(few, quantity), getattr(many, quantity))
            print(f"{name:14s} {quantity:16s} {100 * apart:.2f} %")
            worst = max(worst, apart)
    return worst


def _apart(one: Quantity, other: Quantity) -> float:
    ends = [(one.median, other.median)]
    ends += [pair for level in one.intervals for pair in zip(one.intervals[level], other.intervals[level], strict=True)]
    return max(abs(a / b - 1.0) for a, b in ends)


def closed_forms() -> float:
    """Largest relative difference from what is known exactly: mean wall clock, step times, chance of the loss."""
    model, worst = StepTimeModel.shipped(), 0.0
    for name in PLANS:
        config = plan(name, "reliability.failure_rate_spread=1", "targets.perplexity=7.5")
        made = estimate(config, draws=100_000)
        pairs = {"mean wall clock": (float(made.draws.wall_clock_s.mean()), _expected_s(config, made))}
        widths = {level: np.log(high / low) for level, (low, high) in made.step_time_s.intervals.items()}
        for level, width in widths.items():
            known = model.spread.quantiles[level] / model.spread.quantiles[0.8]
            pairs[f"step time, {level:.0%} by 80%"] = (width / widths[0.8], known)
        alone = config.to_mapping() | {"hardware": {}, "targets": {"perplexity": 7.5}}
        result = forecast(RunConfig.from_mapping(alone), load("web-text"))
        assert result.p_all is not None
        assert result.p_target is not None
        pairs["1 + chance of the loss"] = (1.0 + result.p_all, 1.0 + result.p_target)
        for what, (drawn, known) in pairs.items():
            print(f"{name:14s} {what:20s} {drawn:.5g} drawn, {known:.5g} known")
            worst = max(worst, abs(drawn / known - 1.0))
    return worst


def _expected_s(config: RunConfig, made: ClusterEstimate) -> float:
    """Daly's expectation, averaged over the drawn step times."""
    per_step = (1.0 + made.overhead) * config.data.tokens / (made.tokens_per_s.median * made.step_time_s.median)
    productive = made.draws.step_time_s[:2_000] * per_step
    productive = productive * (made.draws.step_time_s.mean() / made.draws.step_time_s[:2_000].mean())
    return float(np.mean(expected_run_time(productive, made.devices, config.reliability).wall_clock_s))


def calibration() -> tuple[float, list[str]]:
    """Chances against shares of synthetic runs that reached all their targets; the worst bin in standard errors."""
    rng, predictor = np.random.default_rng(0), load("web-text")
    model = predictor.models[predictor.main_loss]
    said, came = [], []
    for _ in range(PLANS_DRAWN):
        tokens, count = float(10 ** rng.uniform(11, 12.5)), int(2 ** rng.integers(6, 11))
        base = plan("llama-7b", f"data.tokens={tokens:.3g}", f"hardware.count={count}", f"seed={rng.integers(2**31)}")
        truth = estimate(base, draws=4_000)
        losses = planned(base, model, run_columns(base, predictor, []))[0].sample(rng, 4_000)[:, 0]
        wanted = np.quantile(losses, rng.uniform(0.3, 0.999))
        deadline = np.quantile(truth.draws.wall_clock_s, rng.uniform(0.3, 0.999))
        assert truth.draws.cost_usd is not None
        budget = np.quantile(truth.draws.cost_usd, rng.uniform(0.5, 0.999))
        targets = {"loss_nats": float(wanted), "deadline": f"{deadline:.0f}s", "budget_usd": float(budget)}
        mapping = base.to_mapping() | {"targets": targets, "seed": int(rng.integers(2**31))}
        chance = forecast(RunConfig.from_mapping(mapping), predictor).p_all
        picked = rng.integers(0, 4_000, TRUTHS)
        kept = (losses[rng.integers(0, 4_000, TRUTHS)] <= wanted) & (
            truth.draws.wall_clock_s[picked] <= round(deadline)
        )
        said.append(chance)
        came.append(kept & (truth.draws.cost_usd[picked] <= budget))
    return _bins(np.array(said), np.array(came))


def _bins(said: np.ndarray, came: np.ndarray) -> tuple[float, list[str]]:
    """Ten bins of plans by the chance that was said. (plans,), (plans, truths)"""
    worst, lines = 0.0, []
    for chosen in np.array_split(np.argsort(said), BINS):
        chance, share = said[chosen].mean(), came[chosen].mean()
        error = np.sqrt(max((said[chosen] * (1 - said[chosen])).sum(), 0.25) / TRUTHS) / len(chosen)
        away = abs(share - chance) / error
        lines.append(
            f"said {chance:6.1%}, came true {share:6.1%} of {came[chosen].size} runs, {away:.1f} standard errors"
        )
        worst = max(worst, away)
    return worst, lines


def main() -> None:
    """Print everything and the targets."""
    took = speed()
    apart = settled()
    exact = closed_forms()
    away, lines = calibration()
    print("\n".join(lines))
    found = {
        "10,000 draws, s": (took, MOST_S),
        "quantiles, 10,000 against 100,000 draws": (apart, MOST_APART),
        "against closed forms": (exact, MOST_APART),
        "worst of ten bins, standard errors": (away, WIDEST),
    }
    for name, (value, most) in found.items():
        print(f"{'met   ' if value <= most else 'MISSED'} {name}: {value:.3g}, at most {most:g}")
    sys.exit(0 if all(value <= most for value, most in found.values()) else 1)


if __name__ == "__main__":
    main()
