"""Make datasets/facts/optimisation.json: what batch, learning rate and optimizer cost in tokens, source by source.

    python benchmarks/facts_optimisation.py            write the file (seconds)
    python benchmarks/facts_optimisation.py --check    make it again and compare

Every source gives its own figure, and the file holds their mean (of logs, where they are positive) and their spread:
published exponents and optima, and fits to the shared tables (`critical_batch`, `steplaw`, `misfitting`,
`marin_speedrun`). Losses become tokens by the law of `web-text`, by which forecasts turn them back. No row is written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import foretrain
import numpy as np
import pandas as pd
from _tables import DATA, read
from foretrain.core.files import sha256_file, write_text
from scipy.optimize import least_squares, minimize_scalar

TARGET = Path(__file__).resolve().parents[1] / "datasets" / "facts" / "optimisation.json"
TABLES = {
    "zhang2024": "critical_batch/runs.csv",
    "li2025": "steplaw/dense_runs.csv",
    "li2025b": "misfitting/runs.csv",
    "marin2025": "marin_speedrun/runs.csv",
    "openeurollm": "openeurollm/runs.csv",
}
EXPONENT = 0.462  # of the critical batch in tokens, Bergsma et al. 2025; Zhang et al. 2024 have 0.47
SEQUENCE = 2048.0
MOST = 4.0  # log of the largest factor by which tokens count less: what diverged no longer gets worse
NEAR = np.log(8.0)
MARIN_VOCAB, MARIN_TOKENS = 128_256.0, 20.0
SMALL_FLAT, LR_FLAT = 0.35, 0.35
"""Logs within which nothing is lost: with the source left out 0.2 to 0.5 do alike on `steplaw` and `misfitting`."""
LR_BY_BATCH = (
    0.5  # of Adam below the usual batch (square-root rule, Malladi et al. 2022); above it rates stay as they are
)
PARAMS_AT = 3e8
ABOUT = (
    "What batch, learning rate and optimizer cost or gain, in tokens: the natural log of the factor by which "
    "tokens count less. batch: usual = coefficient * tokens^exponent is what well-tuned runs take; critical the "
    "batch at which tokens count half, D / (1 + B / B_critical); below the usual batch the log cost is curvature "
    "* (log(usual / batch) - flat)^2, nothing within flat. lr: best = coefficient * params^by_params * "
    "tokens^by_tokens * min(batch / usual, 1)^by_batch for AdamW, off_by_source its log by source over the two "
    "published laws; the log cost is curvature * (|log(lr / best)| - flat)^2, with curvature above, or below * (1 "
    "+ B / B_critical); x / (1 + x / most) of every such bowl counts, and most at most of a large batch. "
    "optimizers: log_gain * (params / params_at)^by_size, at most most_log_gain. params are without embeddings. "
    "log_sd and sd: one standard deviation between recipes. Made by benchmarks/facts_optimisation.py from figures "
    "of the sources and from fits to public tables; figures of papers are recalled, not read again."
)
SOURCES = {
    "zhang2024": "Zhang et al. 2024, How does critical batch size scale in pre-training?, arXiv:2410.21676",
    "bergsma2025": "Bergsma et al. 2025, Power lines, arXiv:2505.13738: B_crit = 0.0471 D^0.462, B_opt = 0.0306 "
    "D^0.383 in sequences of 2048",
    "mccandlish2018": "McCandlish et al. 2018, An empirical model of large-batch training, arXiv:1812.06162: E = "
    "E_min (1 + B / B_crit)",
    "kaplan2020": "Kaplan et al. 2020, arXiv:2001.08361, eq. 1.4: B_crit = 2e8 tokens * L^(-1/0.21)",
    "li2025": "Li et al. 2025, Predictable scale I (Step law), arXiv:2503.04715: lr = 1.79 N^-0.713 D^0.307, "
    "batch = 0.58 D^0.571",
    "bi2024": "Bi et al. 2024, DeepSeek LLM, arXiv:2401.02954, eq. 1: lr = 0.3118 C^-0.125",
    "openeurollm": "openeurollm: tuned runs of 48M to 589M parameters, up to 300B tokens",
    "wen2025": "Wen et al. 2025, Fantastic pretraining optimizers and where to find them, arXiv:2509.02046",
    "liu2025": "Liu et al. 2025, Muon is scalable for LLM training, arXiv:2502.16982",
    "marin2025": "marin-community/speedrun, data/runs.json: optimizers, one recipe at five rates",
    "li2025b": "Li et al. 2025, (Mis)fitting scaling laws, arXiv:2502.18969: sweeps of learning rates",
}
PUBLISHED_MATRIX_GAINS = [(1.3e8, np.log(1.4)), (1.2e9, np.log(1.1))]  # Wen et al. 2025, abstract
MARIN_TUNED = "hackable_transformer_starter/attnsink/splash"


def tables() -> dict[str, pd.DataFrame]:
    """The shared tables, by the source whose figures they hold."""
    return {name: read(path) for name, path in TABLES.items()}


def tokens_of(params: np.ndarray, tokens: np.ndarray, log_loss: np.ndarray) -> np.ndarray:
    """The log of the factor of tokens that a shift of log loss is worth by the law of `web-text`, `(n,)`."""
    fit = foretrain.load_predictor("web-text").models["loss"].fit
    grid = np.linspace(-2.0, 6.0, 161)
    found = []
    for own, seen, shift in zip(params, tokens, log_loss, strict=True):
        law = fit.log_loss({"params": np.full(len(grid) + 1, own), "tokens": seen * np.exp(-np.r_[0.0, grid])})
        found.append(np.interp(shift, law[1:] - law[0], grid))
    return np.array(found)


def best_of_cells(runs: pd.DataFrame, cell: list[str]) -> pd.Series:
    """Log loss above the best run of the same cell."""
    return np.log(runs.loss / runs.groupby(cell).loss.transform("min"))


def critical_of_steps(runs: pd.DataFrame) -> float:
    """Coefficient of the critical batch from the tokens to a target, `critical_batch`."""
    found = []
    for _, one in runs.groupby("params"):
        log_tokens, batch = np.log(one.tokens.to_numpy()), one.batch_tokens.to_numpy()

        def off(theta: np.ndarray, log_tokens: np.ndarray = log_tokens, batch: np.ndarray = batch) -> np.ndarray:
            return log_tokens - theta[0] - np.log1p(batch / np.exp(theta[1]))

        least, critical = least_squares(off, [log_tokens.min(), 14.0], loss="soft_l1", f_scale=0.05).x
        found.append(critical - EXPONENT * least)
    return float(np.exp(np.mean(found)))


def steplaw(runs: pd.DataFrame) -> pd.DataFrame:
    """StepLaw's runs that didn't diverge, with their cost in tokens against the best of their cell."""
    runs = runs[runs.diverged == 0].reset_index(drop=True)
    off = best_of_cells(runs, ["params", "tokens"])
    return runs.assign(cost=tokens_of(runs.params.to_numpy(), runs.tokens.to_numpy(), off.to_numpy()))


def critical_of_losses(runs: pd.DataFrame) -> float:
    """Coefficient of the critical batch from losses at the best learning rate of each batch."""
    cell = ["params", "tokens"]
    by_batch = runs.loc[runs.groupby([*cell, "batch_tokens"]).cost.idxmin()]
    at_best = by_batch.loc[by_batch.groupby(cell).cost.idxmin()].set_index(cell).batch_tokens.rename("best_batch")
    large = by_batch.join(at_best, on=cell).query("batch_tokens > best_batch")

    def error(log_coefficient: float) -> float:
        critical = np.exp(log_coefficient) * large.tokens**EXPONENT
        cost = np.log1p(large.batch_tokens / critical) - np.log1p(large.best_batch / critical)
        return float(np.abs(cost - large.cost).mean())

    return float(np.exp(minimize_scalar(error, bounds=(1.0, 7.0), method="bounded").x))


def small_of_losses(runs: pd.DataFrame, flat: float, usual: Mapping[str, float]) -> float:
    """Curvature of the cost of a batch below the usual one, from losses at the best learning rate of each batch."""
    by_batch = runs.loc[runs.groupby(["params", "tokens", "batch_tokens"]).cost.idxmin()]
    below = np.log(usual["coefficient"] * by_batch.tokens ** usual["exponent"] / by_batch.batch_tokens) - flat
    return _curvature(below[below > 0], by_batch.cost[below > 0])


def _curvature(off: Any, cost: Any) -> float:
    """k of cost = k·off² / (1 + k·off² / MOST) with the least absolute error."""
    off, cost = np.asarray(off, dtype=float), np.asarray(cost, dtype=float)

    def error(k: float) -> float:
        bowl = k * off**2
        return float(np.abs(bowl / (1.0 + bowl / MOST) - cost).mean())

    return float(minimize_scalar(error, bounds=(1e-3, 3.0), method="bounded").x)


def sweeps(found: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """By source, log of each learning rate over the best of its sweep (`off`), and its cost against that."""
    of_steplaw = found["li2025"]
    cell = ["params", "tokens", "batch_tokens"]
    out = {"li2025": _against_best(of_steplaw.assign(log_loss=np.log(of_steplaw.loss)), cell)}
    misfit = misfitting(found["li2025b"])
    out["li2025b"] = _against_best(misfit.assign(log_loss=np.log(misfit.loss)), ["params", "tokens", "family"])
    out["marin2025"] = _against_best(marin_rates(found["marin2025"]), ["params"])
    return {
        name: one[(one.off != 0) & (one.off.abs() <= NEAR + 1e-6)].reset_index(drop=True) for name, one in out.items()
    }


def misfitting(runs: pd.DataFrame) -> pd.DataFrame:
    """Dense runs of sweeps over three learning rates or more, without those that diverged."""
    runs = runs[runs.num_experts.fillna(0) <= 1].assign(params=runs.params_nonemb.fillna(runs.params))
    cell = runs.groupby(["params", "tokens", "family"])
    kept = (runs.loss < 1.25 * cell.loss.transform("min")) & (cell.lr.transform("nunique") > 2)
    return runs[kept].reset_index(drop=True)


def _against_best(runs: pd.DataFrame, cell: list[str]) -> pd.DataFrame:
    best = runs.loc[runs.groupby(cell).log_loss.idxmin()].set_index(cell)[["lr", "log_loss"]]
    runs = runs.join(best.rename(columns={"lr": "best_lr", "log_loss": "best_log_loss"}), on=cell)
    shift = (runs.log_loss - runs.best_log_loss).to_numpy()
    cost = tokens_of(runs.params.to_numpy(), runs.tokens.to_numpy(), shift)
    return runs.assign(off=np.log(runs.lr / runs.best_lr), cost=cost)


def _marin(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of the three sizes whose shape is known, with their non-embedding parameters and tokens."""
    shapes = runs.dropna(subset=["tokens", "width"]).drop_duplicates("params").set_index("params")
    shapes = {size: (size - 2.0 * MARIN_VOCAB * one.width, one.tokens) for size, one in shapes.iterrows()}
    known = runs[runs.params.isin(shapes)]
    pairs = np.array([shapes[size] for size in known.params])
    return known.assign(label=known.params, params=pairs[:, 0], tokens=pairs[:, 1], log_loss=np.log(known.bpb))


def marin_rates(runs: pd.DataFrame) -> pd.DataFrame:
    """One recipe at 0.25 to 4 times its learning rate, at three sizes."""
    runs = _marin(runs)
    runs = runs[runs.family.fillna("").str.startswith(MARIN_TUNED)]
    times = runs.family.str.extract(r"default_x([0-9.]+)$")[0]
    return runs.assign(lr=times.astype(float).fillna(1.0)).drop_duplicates(["params", "lr"])


def same_architecture(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of a Llama shape under several optimizers, AdamW among them, at three sizes."""
    runs = _marin(runs)
    return runs[runs.family.fillna("").str.endswith("_llama_scaling")]


def optimizer_gains(runs: pd.DataFrame) -> pd.DataFrame:
    """Log of how many times AdamW's tokens an optimizer's count, by size, with the same architecture."""
    runs = same_architecture(runs)
    base = runs[runs.optimizer == "adamw"].set_index("tokens").log_loss
    others = runs[runs.optimizer != "adamw"]
    shift = (others.log_loss - others.tokens.map(base)).to_numpy()
    gain = -tokens_of(others.params.to_numpy(), others.tokens.to_numpy(), shift)
    return others.assign(gain=gain)[["optimizer", "params", "tokens", "gain"]]


def critical_by_source(found: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Coefficient of the critical batch, tokens per tokens^EXPONENT, by source."""
    steps = found["zhang2024"]
    of_noise_scale = 2e8 * steps.loss ** (-1.0 / 0.21) / steps.groupby("params").tokens.transform("min") ** EXPONENT
    return {
        "bergsma2025": 0.0471 * SEQUENCE,
        "zhang2024": critical_of_steps(steps),
        "li2025": critical_of_losses(found["li2025"]),
        "kaplan2020": float(np.exp(np.log(of_noise_scale).mean())),
    }


def usual_batch_law() -> dict[str, float]:
    """The geometric mean of the optimal batches of Li et al. 2025 and of Bergsma et al. 2025."""
    coefficient = float(np.sqrt(0.58 * 0.0306 * SEQUENCE))
    return {"coefficient": _short(coefficient), "exponent": 0.5 * (0.571 + 0.383)}


def usual_lr_law() -> dict[str, float]:
    """The geometric mean of the optimal rates of Li et al. 2025 (by N, D) and of Bi et al. 2024 (by C = 6·N·D)."""
    coefficient = float(np.sqrt(1.79 * 0.3118 * 6.0**-0.125))
    return {"coefficient": coefficient, "by_params": 0.5 * (-0.713 - 0.125), "by_tokens": 0.5 * (0.307 - 0.125)}


def off_the_law(found: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Mean log of the rates that a source found best over `usual_lr_law` at their batch."""
    best = found["li2025"].loc[found["li2025"].groupby(["params", "tokens"]).cost.idxmin()]
    sweeps_ = misfitting(found["li2025b"])
    best_of_sweeps = sweeps_.loc[sweeps_.groupby(["params", "tokens", "family"]).loss.idxmin()]
    runs = {"li2025": best, "li2025b": best_of_sweeps, "openeurollm": found["openeurollm"]}
    law, batch_law = usual_lr_law(), usual_batch_law()
    out = {}
    for name, one in runs.items():
        usual = batch_law["coefficient"] * one.tokens ** batch_law["exponent"]
        expected = law["coefficient"] * one.params ** law["by_params"] * one.tokens ** law["by_tokens"]
        below = np.minimum(np.log(one.batch_tokens / usual), 0.0)
        out[name] = float((np.log(one.lr / expected) - LR_BY_BATCH * below).mean())
    return out


def curvatures(found: Mapping[str, pd.DataFrame], coefficient: float) -> dict[str, tuple[float, float]]:
    """Curvature of the cost of a learning rate below and above the best of its sweep, by source.

    That below grows with 1 + batch / critical batch, whose `coefficient` is given: without it, it would be 0.13 on
    `steplaw` up to 0.3 of the critical batch and 0.29 from 1 to 3 of it, on `misfitting` 0.39 below 1 and 0.47 above.
    """
    by_source = {}
    for name, one in sweeps(found).items():
        below, above = one[one.off < 0], one[one.off > 0]
        share = np.zeros(len(below))  # the batch isn't stated
        if "batch_tokens" in one:
            share = below.batch_tokens / (coefficient * below.tokens**EXPONENT)
        by_source[name] = (_curvature(below.off * np.sqrt(1.0 + share), below.cost), _curvature(above.off, above.cost))
    return by_source


def gain_law(points: list[tuple[float, float]]) -> tuple[float, float, float]:
    """log gain = a·(N/3e8)^b through (N, log gain): a, b, and the sd of what is left."""
    sizes, gains = np.array(points).T
    by_size, level = np.polyfit(np.log(sizes / PARAMS_AT), np.log(gains), 1)
    left = gains - np.exp(level) * (sizes / PARAMS_AT) ** by_size
    return float(np.exp(level)), float(by_size), float(np.sqrt((left**2).sum() / max(len(gains) - 2, 1)))


def made(without: str | None = None) -> dict[str, Any]:
    """The facts; `without` leaves out everything that one source says."""
    found = tables()
    found["li2025"] = steplaw(found["li2025"])
    usual = usual_batch_law()
    critical = {name: value for name, value in critical_by_source(found).items() if name != without}
    small = [0.0] if without == "li2025" else [0.0, small_of_losses(found["li2025"], SMALL_FLAT, usual)]
    if without == "zhang2024":
        small = small[1:]
    log_critical = np.log(list(critical.values()))
    coefficient = _short(np.exp(log_critical.mean()))
    bowls = np.array([pair for name, pair in curvatures(found, coefficient).items() if name != without])
    below, above = np.exp(np.log(bowls).mean(axis=0))
    gains = optimizer_gains(found["marin2025"])
    of_muon = (
        []
        if without == "marin2025"
        else [tuple(pair) for pair in gains[gains.optimizer == "muon"][["params", "gain"]].to_numpy()]
    )
    matrix, by_size, left = gain_law([*of_muon, *([] if without == "wen2025" else PUBLISHED_MATRIX_GAINS)])
    of_adamh = gains[gains.optimizer == "adamh"]
    adamh = float((of_adamh.gain / (of_adamh.params / PARAMS_AT) ** by_size).mean())
    lr_law, off = usual_lr_law(), [value for name, value in off_the_law(found).items() if name != without]
    return {
        "about": ABOUT,
        "provenance": {
            "command": "python benchmarks/facts_optimisation.py",
            "digests": {path: sha256_file(DATA / path) for path in TABLES.values()},
        },
        "sources": SOURCES,
        "batch": {
            "usual": usual,
            "critical": {
                "coefficient": coefficient,
                "exponent": EXPONENT,
                "log_sd": _short(log_critical.std(ddof=1)),
                "by_source": {name: _short(value) for name, value in critical.items()},
            },
            "small": {"curvature": _short(np.mean(small)), "flat": SMALL_FLAT, "log_sd": 0.7},
            "sources": ["bergsma2025", "zhang2024", "li2025", "kaplan2020", "mccandlish2018"],
        },
        "lr": {
            **lr_law,
            "coefficient": _short(lr_law["coefficient"] * np.exp(np.mean(off))),
            "off_by_source": {name: _short(value) for name, value in off_the_law(found).items()},
            "by_batch": LR_BY_BATCH,
            "below": _short(below),
            "above": _short(above),
            "flat": LR_FLAT,
            "log_sd": _short(np.std(off, ddof=1)),
            "most": MOST,
            "may_diverge": 1.39,
            "sources": ["li2025", "bi2024", "li2025b", "openeurollm", "marin2025"],
        },
        "optimizers": {
            "params_at": PARAMS_AT,
            "by_size": _short(by_size),
            "most_log_gain": _short(np.log(1.4)),
            "kinds": {
                "matrix": {
                    "log_gain": _short(matrix),
                    "sd": _short(max(left, 0.1)),
                    "names": ["muon", "muonh", "soap", "scion", "shampoo", "dion", "kron"],
                    "sources": ["wen2025", "liu2025", "marin2025"],
                },
                "hyperball": {"log_gain": _short(adamh), "sd": 0.08, "names": ["adamh"], "sources": ["marin2025"]},
                "adam": {
                    "log_gain": 0.0,
                    "sd": 0.05,
                    "names": ["mars", "nadam", "ademamix", "sophia", "lion", "adan", "cautious", "adamc", "cadamc"],
                    "sources": ["wen2025", "marin2025"],
                },
            },
        },
        "worth_of_tokens_log_sd": 0.5,
    }


def _short(value: float) -> float:
    """Three figures."""
    return float(f"{value:.3g}")


def main() -> None:
    """Write the file, or compare."""
    facts = made()
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv[1:]:
        write_text(TARGET, text)
    elif TARGET.read_text(encoding="utf-8") != text:
        raise SystemExit(f"{TARGET.name} differs from what these tables give")
    found = tables()
    found["li2025"] = steplaw(found["li2025"])
    print("critical batch, coefficient:", {name: round(value, 1) for name, value in critical_by_source(found).items()})
    print("learning rate, log over the law:", {name: round(value, 2) for name, value in off_the_law(found).items()})
    for name, (below, above) in curvatures(found, facts["batch"]["critical"]["coefficient"]).items():
        print(f"learning rate, {name}: curvature {below:.2f} below the best, {above:.2f} above")
    print(optimizer_gains(found["marin2025"]).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
