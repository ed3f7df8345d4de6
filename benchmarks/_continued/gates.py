"""How well the law of continued pretraining foretells what it wasn't fitted to: shares, a larger size, more tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from foretrain.core.units import format_count
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.after_pretraining.continued.fitting import fit_continued
from foretrain.simulator.after_pretraining.continued.outlook import largest_shares
from foretrain.simulator.after_pretraining.continued.runs import ContinuedRuns
from scipy.optimize import least_squares

from .campaigns import TABLES, TARGET

_LIMITS = {"share": 0.02, "size": 0.03, "tokens": 0.03}
"""Largest median error that is asked for, by what is left out."""
_SHARES = np.linspace(0.0, 1.0, 101)
_RISES = (0.01, 0.02, 0.05)


@dataclass(frozen=True)
class _Cut:
    """Runs that a law is fitted to, and those that it foretells."""

    kind: str
    what: str
    fitted: np.ndarray
    foretold: np.ndarray


def continued_runs() -> ContinuedRuns:
    """The runs of the campaigns, with the losses before."""
    return ContinuedRuns.of_tables(RunTable.read(TABLES["continued"]), RunTable.read(TABLES["base"]), TARGET)


def check(runs: ContinuedRuns) -> list[str]:
    """Print the errors of every cut, and return what missed what is asked for."""
    print("\nleft out and foretold: median error, share of runs inside 90 %, width of the interval; domain, general")
    print("runs on none of the loss's own text are told apart at the end")
    missed, errors = [], {kind: ([], []) for kind in _LIMITS}
    for cut in _cuts(runs):
        laws = fit_continued(runs.where(cut.fitted))
        said = []
        for k, (name, law) in enumerate({"domain": laws.domain, "general": laws.general}.items()):
            own = runs.share > 0 if name == "domain" else runs.share < 1
            error, inside, width = _score(law, runs.where(cut.foretold & own), k)
            errors[cut.kind][k].extend(error)
            none = runs.where(cut.foretold & ~own)
            apart = f" ({_score(law, none, k)[1]:4.0%})" if len(none) else " " * 7
            said.append(f"{np.median(error):6.2%} {inside:5.0%} {width:6.2%}{apart}")
            if inside < 0.9:
                missed.append(f"{cut.what}: {inside:.0%} of the {name} losses inside 90 %")
        print(f"  {cut.what:<34} {'   '.join(said)}")
    for kind, both in errors.items():
        for name, error in zip(("domain", "general"), both, strict=True):
            print(f"  {kind}: median {np.median(error):.2%} of {name} losses")
            if np.median(error) > _LIMITS[kind]:
                missed.append(f"{kind}: {np.median(error):.2%} of the {name} loss")
    _print_published(runs)
    _print_shares(runs)
    return missed


def _print_published(runs: ContinuedRuns) -> None:
    """Median errors of D-CPT's own form, L = E + A/N^α + B r^η/D^β + C/(r + ε)^γ, its logs around usual values."""
    print("  the published form of the domain's loss, r > 0: median error")
    medians = np.log([0.6, 0.15, 0.3, 0.1, 0.3, 0.3, 0.1, 0.05, 0.4])
    for cut in _cuts(runs):
        fitted, foretold = (runs.where(rows & (runs.share > 0)) for rows in (cut.fitted, cut.foretold))

        found = least_squares(_penalised, medians, args=(fitted, medians))
        error = np.abs(_published(found.x, foretold) / foretold.domain_loss - 1)
        print(f"  {cut.what:<34} {np.median(error):6.2%}")


def _penalised(logs: np.ndarray, runs: ContinuedRuns, medians: np.ndarray) -> np.ndarray:
    """Residuals in percent of the loss, and how far each log is from its usual value."""
    return np.concatenate([100 * np.log(_published(logs, runs) / runs.domain_loss), logs - medians])


def _published(logs: np.ndarray, runs: ContinuedRuns) -> np.ndarray:
    e, a, alpha, b, eta, beta, c, epsilon, gamma = np.exp(logs)
    n, d = runs.params / 1e5, runs.tokens / 1e6
    return e + a * n**-alpha + b * runs.share**eta * d**-beta + c * (runs.share + epsilon) ** -gamma


def _cuts(runs: ContinuedRuns) -> Iterator[_Cut]:
    shares, sizes, budgets = (np.unique(values.round(9)) for values in (runs.share, runs.params, runs.tokens))
    for share in shares[1:-1]:
        out = np.isclose(runs.share, share)
        yield _Cut("share", f"share {share:.0%}", ~out, out)
    large, long = np.isclose(runs.params, sizes[-1]), np.isclose(runs.tokens, budgets[-1])
    yield _Cut("size", f"{format_count(sizes[-1])} from {format_count(sizes[0])} parameters", ~large, large)
    yield _Cut("tokens", f"{format_count(budgets[-1])} from fewer tokens", ~long, long)
    yield _Cut("size", "larger size and twice the tokens", ~large & ~long, large & long)


def _score(law, runs: ContinuedRuns, k: int) -> tuple[list[float], float, float]:
    """Relative errors of each run, how many lie inside 90 %, and the median width of that over the loss."""
    rng = np.random.default_rng(0)
    errors, inside, widths = [], [], []
    for n, d, share, ratio in zip(runs.params, runs.tokens, runs.share, runs.ratios[k], strict=True):
        draws = law.one_run(n, d, float(share), rng)
        low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95])
        errors.append(abs(middle / ratio - 1))
        inside.append(low <= ratio <= high)
        widths.append((high - low) / middle)
    return errors, float(np.mean(inside)), float(np.median(widths))


def _print_shares(runs: ContinuedRuns) -> None:
    """The largest share that keeps the general loss within a rise: by the law, and as measured along the shares."""
    laws = fit_continued(runs)
    print("\nlargest share that costs the general loss so much over a share of 0: law (90 %), measured mean of seeds")
    for n in np.unique(runs.params):
        for d in np.unique(runs.tokens):
            rows = np.isclose(runs.params, n) & np.isclose(runs.tokens, d)
            cells = []
            for rise in _RISES:
                found = largest_shares(np.log(laws.general.ratio(n, d, _SHARES)), rise)
                low, middle, high = np.quantile(found, [0.05, 0.5, 0.95])
                cells.append(
                    f"{rise:+.0%}: {middle:.2f} ({low:.2f} to {high:.2f}), {_measured(runs.where(rows), rise)}"
                )
            print(f"  {format_count(n):>6} {format_count(d):>6}  {'  '.join(cells)}")


def _measured(runs: ContinuedRuns, rise: float) -> str:
    """The share at which the measured general loss reaches a rise, along lines between the shares."""
    shares = np.unique(runs.share)
    ratio = np.array([runs.ratios[1][runs.share == share].mean() for share in shares])
    line = np.interp(_SHARES, shares, np.log(ratio))[:, None]
    return f"{largest_shares(line, rise)[0]:.2f}"
