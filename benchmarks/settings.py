"""What batch, learning rate and optimizer do to the loss, predicted with the source of the runs left out.

    python benchmarks/settings.py        half a minute

Effects are those of `simulator.forecast.adjustments` on the law of `web-text`, from figures made without the source.
Each run is held against one of the same size and tokens whose settings are nearest to the recommended ones (AdamW for
optimizers); "no effect" is that nothing is lost. Coverage is that of 80 % intervals, a run's own noise of 0.2 % in it.
"""

from __future__ import annotations

from collections.abc import Iterator

import foretrain
import numpy as np
import pandas as pd
from facts_optimisation import made, marin_rates, misfitting, same_architecture, tables
from foretrain.datasets.facts.optimisation import SettingCosts
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Observations, choose, fit_observations, one_thread, public_prior
from foretrain.simulator.forecast.adjustments.settings import Batch, LearningRate, Optimizer
from foretrain.simulator.laws import get_law

NOISE, WIDTH_80 = 0.002, 1.2816
BATCH, LR = "optim.batch_tokens", "optim.lr"


def effect(costs: SettingCosts, runs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Shift of log loss by batch, learning rate and optimizer of runs, and the sd of each effect, `(3, n)`."""
    model = foretrain.load_predictor("web-text").models["loss"]
    columns = {name: runs[name].to_numpy(dtype=float) for name in ("params", "tokens")}
    stated = {}
    for place, name in ((BATCH, "batch_tokens"), (LR, "lr")):
        if name in runs:
            stated[place] = runs[name].to_numpy(dtype=float)
    for name in runs.get("optimizer", pd.Series(dtype=object)).dropna().unique():
        stated[f"optim.optimizer={name}"] = (runs.optimizer == name).to_numpy(dtype=float)
    found = [one(costs).effect(model, columns, stated) for one in (Batch, LearningRate, Optimizer)]
    none = np.zeros(len(runs))
    pairs = [(none, none) if one is None else (one.log_loss, one.sd) for one in found]
    return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])


def nearest(costs: SettingCosts, runs: pd.DataFrame, cell: list[str]) -> pd.Series:
    """The index of the run of the same cell that is nearest to the recommended batch and learning rate."""
    usual = costs.usual_batch(runs.tokens.to_numpy())
    far = np.abs(np.log(runs.batch_tokens / usual))
    if "lr" in runs:
        best = costs.best_lr(runs.params.to_numpy(), runs.tokens.to_numpy(), runs.batch_tokens.to_numpy())
        far = far + np.abs(np.log(runs.lr / best))
    return runs.assign(far=far).groupby(cell).far.transform("idxmin")


def judged(name: str, costs: SettingCosts, runs: pd.DataFrame, reference: pd.Series) -> dict[str, object]:
    """Errors of the predicted against the measured differences of log loss from the reference run, percent."""
    runs = runs.reset_index(drop=True)
    place = reference.to_numpy()
    shift, sd = effect(costs, runs)
    predicted = (shift - shift[:, place]).sum(axis=0)
    spread = np.sqrt(((sd - sd[:, place]) ** 2).sum(axis=0) + 2.0 * NOISE**2)
    measured = np.log(runs.loss.to_numpy() / runs.loss.to_numpy()[place])
    other = np.arange(len(runs)) != place
    error, none = 100.0 * np.abs(predicted - measured)[other], 100.0 * np.abs(measured)[other]
    covered = (np.abs(predicted - measured) <= WIDTH_80 * spread)[other]
    return {
        "runs": name,
        "n": int(other.sum()),
        "mean %": error.mean(),
        "median %": np.median(error),
        "no effect, mean %": none.mean(),
        "no effect, median %": np.median(none),
        "bias %": 100.0 * (predicted - measured)[other].mean(),
        "coverage": covered.mean(),
    }


def steps_to_target(costs: SettingCosts, runs: pd.DataFrame) -> dict[str, object]:
    """`critical_batch`: tokens to a loss by batch against those at the usual batch, log tokens times 100."""
    far = np.abs(np.log(runs.batch_tokens / costs.usual_batch(runs.tokens.to_numpy())))
    place = runs.assign(far=far).groupby("params").far.transform("idxmin").to_numpy()
    least = runs.tokens.to_numpy()[place]  # at the usual batch
    cost = costs.batch(runs.batch_tokens.to_numpy(), least)
    measured = np.log(runs.tokens.to_numpy() / least)
    error = 100.0 * np.abs(cost.log_tokens - cost.log_tokens[place] - measured)
    covered = error / 100.0 <= WIDTH_80 * np.hypot(cost.sd, 0.05)
    other = np.arange(len(runs)) != place
    return {
        "runs": "critical_batch, log tokens",
        "n": int(other.sum()),
        "mean %": error[other].mean(),
        "median %": np.median(error[other]),
        "no effect, mean %": 100.0 * np.abs(measured)[other].mean(),
        "no effect, median %": 100.0 * np.median(np.abs(measured)[other]),
        "bias %": 100.0 * (cost.log_tokens - measured)[other].mean(),
        "coverage": covered[other].mean(),
    }


def rows() -> Iterator[dict[str, object]]:
    """One row for each left-out source and kind of runs."""
    found = tables()
    costs = SettingCosts(made("li2025"))
    cell = ["params", "tokens"]
    all_runs = found["li2025"][found["li2025"].diverged == 0].reset_index(drop=True)
    yield judged("steplaw, all settings", costs, all_runs, nearest(costs, all_runs, cell))
    best_rate = all_runs.loc[all_runs.groupby([*cell, "batch_tokens"]).loss.idxmin()].reset_index(drop=True)
    only = best_rate.drop(columns="lr")
    yield judged("steplaw, batch at its best rate", costs, only, nearest(costs, only, cell))
    usual = costs.usual_batch(all_runs.tokens.to_numpy())
    near = all_runs[np.abs(np.log(all_runs.batch_tokens / usual)) < 0.6].reset_index(drop=True)
    yield judged("steplaw, rate near the usual batch", costs, near, nearest(costs, near, [*cell, "batch_tokens"]))
    costs = SettingCosts(made("li2025b"))
    sweeps = misfitting(found["li2025b"])
    yield judged("misfitting, rate", costs, sweeps, nearest(costs, sweeps, [*cell, "family"]))
    yield steps_to_target(SettingCosts(made("zhang2024")), found["zhang2024"])
    costs = SettingCosts(made("marin2025"))
    marin = same_architecture(found["marin2025"])
    marin = marin.assign(loss=marin.bpb)
    for kind, names in (("muon", ["muon"]), ("variants of Adam", ["adamc", "c-adamc", "cautious"])):
        part = marin[marin.optimizer.isin([*names, "adamw"])].reset_index(drop=True)
        base = part.assign(base=part.optimizer.eq("adamw")).groupby("tokens").base.transform("idxmax")
        yield judged(f"marin_speedrun, {kind}", costs, part, base)
    rates = marin_rates(found["marin2025"]).reset_index(drop=True)
    at_one = rates.assign(base=rates.lr.eq(1.0)).groupby("params").base.transform("idxmax")
    # the recipe's own rate isn't stated: it is taken as the recommended one
    usual = costs.usual_batch(rates.tokens.to_numpy())
    lr = rates.lr * costs.best_lr(rates.params.to_numpy(), rates.tokens.to_numpy(), usual)
    yield judged("marin_speedrun, rate", costs, rates.assign(lr=lr, loss=rates.bpb, optimizer=None), at_one)


def batch_laws() -> Iterator[dict[str, object]]:
    """Laws fitted to small runs (or batches) and held against the others, with and without the term of batches."""
    columns = ["params", "tokens", "batch_tokens", "loss"]
    found = tables()
    steplaw_runs = found["li2025"][found["li2025"].diverged == 0]
    best = steplaw_runs.loc[steplaw_runs.groupby(["params", "tokens", "batch_tokens"]).loss.idxmin()]
    compute = best.params.astype(float) * best.tokens
    parts = [(f"steplaw, 6ND below {6 * cut:.1e}", best, compute <= cut) for cut in (3e18, 8e18, 2e19)]
    steps = found["zhang2024"]
    parts += [
        ("critical_batch, up to 1M tokens", steps, steps.batch_tokens <= 1e6),
        ("critical_batch, up to 151M parameters", steps, steps.params <= 1.6e8),
    ]
    prior = public_prior()
    for name, table, small in parts:
        row: dict[str, object] = {"fitted": name, "n": int(small.sum()), "predicted": int((~small).sum())}
        seen = Observations.from_table(RunTable.from_frame(table[small][columns].reset_index(drop=True)), "loss")
        other = {column: table[~small][column].to_numpy(dtype=float) for column in columns}
        for law in ("general", "general+batch"):
            fit = fit_observations(get_law(law), seen, prior)
            row[law] = 100.0 * np.abs(np.expm1(fit.log_loss(other) - np.log(other["loss"]))).mean()
        yield row | {"auto": choose(seen, prior).law}


def main() -> None:
    """Print both tables."""
    print(pd.DataFrame(list(rows())).round(2).to_string(index=False))
    print("\nlaws of tables of params, tokens and batch without a learning rate, |predicted / observed - 1| in percent")
    with one_thread():
        print(pd.DataFrame(list(batch_laws())).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
