"""Histories of a few mixes: BiMix's six of 22 domains, five of C4 and code at 4.2B, and repeats of a scarce domain.

    python benchmarks/mix_histories.py                  every part
    python benchmarks/mix_histories.py --part bimix     two of six mixes from four; late checkpoints from early ones
    python benchmarks/mix_histories.py --part code      30 and 70 % C4 from 10, 50 and 90 %; the end from the first half
    python benchmarks/mix_histories.py --part repeats   how often a scarce domain is best repeated inside a mix
    python benchmarks/mix_histories.py --part speed     22 targets x 1,400 rows of histories, made up

`ours` is `RunTable`, `Predictor.fit` and `Predictor.predict`, as `simulate fit` and `simulate score` call them. Errors
are mean absolute ones of log loss, in per cent, means over targets. Baselines are fitted on the same rows: BiMix's own
law of a domain's share and steps, L = A·r^-a·(B·s^-b + C) (Ge et al. 2024, arXiv 2405.14908, eq. 2); a line in the
logarithm of the domain's own share among the rows of the same tokens; and their mean. What is asked is to beat each.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from _tables import read
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import known_columns
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from scipy.optimize import least_squares

LEVEL = 0.9
PUBLISHED_REPEATS = (15.0, 20.0)
"""Scarce text inside a mix is worth repeating 15 to 20 times: Sedova et al. 2026, "Scaling Laws for Mixture Pretraining
Under Data Constraints" (arXiv 2605.12715), over 2,000 runs."""


@dataclass(frozen=True)
class Errors:
    """What was predicted of one target: errors `(n,)` of log loss by name, and which runs the interval covered."""

    by_name: dict[str, np.ndarray]
    covered: np.ndarray
    half_width: float


def tables(frame: pd.DataFrame, train: np.ndarray, test: np.ndarray) -> tuple[RunTable, RunTable]:
    """The rows of two masks as run tables."""
    parts = (frame[mask].reset_index(drop=True) for mask in (train, test))
    fitted, judged = (RunTable.from_frame(part, where="histories") for part in parts)
    return fitted, judged


def judge(frame: pd.DataFrame, train: np.ndarray, test: np.ndarray, *, late: bool) -> Iterator[Errors]:
    """Fit on the rows of one mask, predict those of another: ours and the baselines, target by target."""
    fitted, judged = tables(frame, train, test)
    predictor = Predictor.fit(fitted)
    columns = known_columns(judged)
    for target in predictor.models:
        own = target.replace("loss.", "mix.")
        found = predictor.predict(columns, target)
        low, high = found.interval(LEVEL)
        seen = judged.column(target)
        known = [fitted.column(name) for name in (own, "tokens", target)]
        asked = [judged.column(name) for name in (own, "tokens")]
        by_name = {"ours": found.log_loss, "BiMix's law": bimix(*known, *asked)}
        if late:
            by_name["last seen"] = last_seen(fitted, judged, target)
        else:
            by_name["line in log share"] = at_same_tokens(*known, *asked, line=True)
            by_name["mean of mixes"] = at_same_tokens(*known, *asked, line=False)
        errors = {name: predicted - np.log(seen) for name, predicted in by_name.items()}
        yield Errors(errors, (low <= seen) & (seen <= high), float(np.log(high / low).mean() / 2))


def bimix(share, tokens, loss, new_share, new_tokens) -> np.ndarray:
    """Log loss by BiMix's law, fitted by robust least squares from two starts, `(m,)`."""
    unit = tokens.max()

    def log_loss(p, r, d):
        return p[0] - p[1] * np.log(r) + np.log1p(np.exp(p[2]) * (d / unit) ** -np.exp(p[3]))

    def residual(p):
        return log_loss(p, share, tokens) - np.log(loss)

    starts = [[np.log(loss.mean()) + 0.1 * np.log(share.mean()), 0.1, -1.0, np.log(b)] for b in (0.3, 0.8)]
    best = min((least_squares(residual, s, loss="huber", f_scale=0.01) for s in starts), key=lambda found: found.cost)
    return log_loss(best.x, new_share, new_tokens)


def at_same_tokens(share, tokens, loss, new_share, new_tokens, *, line: bool) -> np.ndarray:
    """Log loss among the fitted rows of the same tokens (the nearest): a line in log share, or the mean, `(m,)`."""
    counts = np.unique(tokens)
    out = []
    for r, d in zip(new_share, new_tokens, strict=True):
        here = tokens == counts[np.argmin(np.abs(np.log(counts / d)))]
        x, y = np.log(share[here]), np.log(loss[here])
        varies = line and np.ptp(x) > 0.05
        out.append(np.polyval(np.polyfit(x, y, 1), np.log(r)) if varies else y.mean())
    return np.array(out)


def last_seen(fitted: RunTable, judged: RunTable, target: str) -> np.ndarray:
    """Log of the lowest loss that a run of the same mix had among the fitted rows, `(m,)`."""
    shares = [np.round(np.array([t.column(f"mix.{d}") for d in fitted.domains]).T, 6) for t in (fitted, judged)]
    loss = fitted.column(target)
    return np.log([loss[(shares[0] == mix).all(axis=1)].min() for mix in shares[1]])


def show(what: str, found: Sequence[Errors], rows: np.ndarray | None = None) -> None:
    """Errors of each name and coverage, and whether ours is lowest."""
    every = slice(None) if rows is None else rows
    means = {name: np.mean([100 * np.abs(e.by_name[name][every]).mean() for e in found]) for name in found[0].by_name}
    inside = np.mean([e.covered[every].mean() for e in found])
    shown = "  ".join(f"{name} {value:.2f} %" for name, value in means.items())
    print(
        f"{what:44s} {shown}   inside {LEVEL:.0%}: {inside:.2f}, ± {100 * np.mean([e.half_width for e in found]):.1f} %"
    )
    best = min(value for name, value in means.items() if name != "ours")
    verdict(f"ours, at most the best baseline's {best:.2f} %", f"{means['ours']:.2f} %", means["ours"] <= best)
    verdict("coverage, .85 or more", f"{inside:.2f}", inside >= 0.85)


def verdict(what: str, value: str, holds: bool) -> None:
    """Print a figure beside what was asked for."""
    print(f"    {what:44s} {value:>9s}   {'met' if holds else 'MISSED'}", flush=True)


def of_bimix() -> None:
    """Each mix is predicted once, from four others; then the second half of every run from its first."""
    frame = read("bimix_pile/runs.csv")
    names = list(frame.mixture.unique())
    found = []
    for pair in zip(names[::2], names[1::2], strict=True):
        test = frame.mixture.isin(pair).to_numpy()
        found += judge(frame, ~test, test, late=False)
    show("bimix_pile: two mixes from four", found)
    late = (frame.steps > frame.steps.max() / 2).to_numpy()
    show("bimix_pile: second half from the first", list(judge(frame, ~late, late, late=True)))


def of_code() -> None:
    """Shares between those that were fitted; then the ends of all runs from their first halves."""
    frame = read("code_mix/runs.csv")
    test = frame["mix.c4"].isin([0.3, 0.7]).to_numpy()
    found = list(judge(frame, ~test, test, late=False))
    ends = frame[test].groupby("mix.c4").tokens.transform("max").to_numpy() == frame.tokens[test].to_numpy()
    show("code_mix: 30 and 70 % C4 from 10, 50, 90: ends", found, ends)
    half, last = (frame.tokens <= frame.tokens.max() / 2).to_numpy(), (frame.checkpoint == 0).to_numpy()
    show("code_mix: the ends from the first halves", list(judge(frame, half, last, late=True)))


def of_repeats() -> None:
    """How often a domain is best repeated for its own loss, by the laws of code_mix, were there little of it."""
    predictor = Predictor.fit(RunTable.from_frame(read("code_mix/runs.csv")))
    for domain, other in (("python", "c4"), ("c4", "python")):
        model = predictor.models[f"loss.{domain}"]
        for stock_share in (1e-3, 1e-2):
            low, middle, high = np.quantile(best_repeats(model, domain, other, stock_share), [0.05, 0.5, 0.95])
            print(f"{domain}, of which there is {stock_share:.1%} of the tokens: seen {middle:.0f} times is best, "
                  f"90 % of draws {low:.0f} to {high:.0f}")  # fmt: skip
            inside = low <= PUBLISHED_REPEATS[1] and high >= PUBLISHED_REPEATS[0]
            verdict("published 15 to 20 times inside 90 %", f"{middle:.0f}", inside)


def best_repeats(model: LossModel, domain: str, other: str, stock_share: float) -> np.ndarray:
    """By draw of the law: how many times a domain is seen where its own loss is lowest, `(K,)`."""
    times = np.geomspace(0.25, min(1.0 / stock_share, 1000.0) * 0.99, 400)
    tokens = 84e9
    columns = {
        "params": np.full(400, 4.2e9),
        "tokens": np.full(400, tokens),
        f"mix.{domain}": times * stock_share,
        f"mix.{other}": 1.0 - times * stock_share,
        f"unique_tokens.{domain}": np.full(400, tokens * stock_share),
    }
    return times[model.fit.log_loss_draws(columns).argmin(axis=1)]


def of_speed() -> None:
    """70 runs of 20 points, 22 domains and as many targets, by one run_id each and as separate rows `run@tokens`."""
    frame = histories()
    for what, run_ids in (
        ("one run_id for all points of a run", frame.run_id),
        ("points named run@tokens beforehand", frame.run_id + "@" + frame.tokens.map("{:.0f}".format)),
    ):
        started, worked = time.perf_counter(), time.process_time()
        Predictor.fit(RunTable.from_frame(frame.assign(run_id=run_ids)))
        seconds, of_two_cores = time.perf_counter() - started, (time.process_time() - worked) / 2
        print(f"22 targets x 1,400 rows, {what}: {seconds:.0f} s on this machine")
        verdict("processor time, on two cores, at most 60 s", f"{of_two_cores:.0f} s", of_two_cores <= 60)


def histories(mixes: int = 70, points: int = 20, domains: int = 22) -> pd.DataFrame:
    """Made-up curves: effective tokens of each domain with an exponent, a run's own luck and noise."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(domains, 0.7), mixes)
    worth = 3.0 * np.eye(domains) + rng.gamma(0.3, 0.5, (domains, domains))
    floor, scale = rng.uniform(0.8, 2.2, domains), rng.uniform(20, 60, domains)
    rows = []
    for run, mix in enumerate(shares):
        luck = rng.normal(0, 0.003, domains)
        for tokens in np.linspace(5e9, 1e11, points):
            loss = floor + scale * (tokens * (mix**0.5 @ worth.T) ** 2) ** -0.16
            loss *= np.exp(luck + rng.normal(0, 0.001, domains))
            row = {"run_id": f"mix-{run}", "params": 2.8e8, "tokens": tokens}
            row |= {f"mix.d{number}": share for number, share in enumerate(mix)}
            rows.append(row | {f"loss.d{number}": value for number, value in enumerate(loss)})
    return pd.DataFrame(rows)


PARTS = {"bimix": of_bimix, "code": of_code, "repeats": of_repeats, "speed": of_speed}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("all", *PARTS), default="all")
    asked = parser.parse_args().part
    warnings.simplefilter("ignore")
    for name, part in PARTS.items():
        if asked in ("all", name):
            part()


if __name__ == "__main__":
    main()
