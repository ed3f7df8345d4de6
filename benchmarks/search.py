"""Does the search find the optimum, how fast, beside what others do?

    python benchmarks/search.py                       every part
    python benchmarks/search.py --part mixture        RegMix's mixes: against a multi-start optimum, beside baselines
    python benchmarks/search.py --part allocation     size, tokens, batch, devices, layout under a budget and a deadline
    python benchmarks/search.py --part cost           the same, as cheap as a loss can be had within a deadline
    python benchmarks/search.py --part optimal        Chinchilla's optimum at 5.76e23 FLOPs; closed form and numeric
    python benchmarks/search.py --part speed          1,000 trials on a journal file, in one process and in two

The mixture's predictor is fitted on RegMix's 512 proxies of 1M parameters; its optimum is the best of many gradient
searches and 100,000 random mixes, the allocation's that of every size, batch and number of devices of the space, with
as many tokens as the limits allow, or as few as reach the loss. Gaps are relative to the loss, or the cost, of that
optimum. Exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from _tables import read
from foretrain.core.model.shape_family import family_shape
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, save
from foretrain.simulator.search.evaluate import Evaluator, PlanEvaluation
from foretrain.simulator.search.optimize import optimize
from foretrain.simulator.search.space.dimensions import MixDimension
from foretrain.simulator.search.space.simplex import LEAST_U, to_shares
from foretrain.simulator.search.study import Study
from scipy.optimize import minimize

TRIALS, SEEDS = 300, 10
GAP, COST_GAP = 5e-4, 0.01
RANDOM_MIXES, REGMIX_TOP = 100_000, 100
STARTS = 12
PILE = {
    "arxiv": 0.1133, "freelaw": 0.0796, "nih_exporter": 0.0039, "pubmed_central": 0.1854, "wikipedia_en": 0.0511,
    "dm_mathematics": 0.0160, "github": 0.1018, "philpapers": 0.0037, "stackexchange": 0.0665, "enron_emails": 0.0018,
    "gutenberg_pg_19": 0.0271, "pile_cc": 0.2369, "ubuntu_irc": 0.0118, "europarl": 0.0079, "hackernews": 0.0080,
    "pubmed_abstracts": 0.0388, "uspto_backgrounds": 0.0464,
}  # fmt: skip
"""Token shares of the Pile, from which RegMix draws its mixes (arXiv:2407.01492, section 3.1)."""
MISSED: list[str] = []

ALLOCATION = {
    "name": "allocation",
    "run": {
        "model": {
            "architecture": {
                "layers": 32, "width": 4096, "heads": 32, "ffn_width": 11008, "vocab_size": 32000,
                "context_length": 4096,
            }
        },
        "data": {"tokens": "2T"},
        "optim": {"batch_tokens": "4M"},
        "hardware": {"accelerator": "H100-SXM-80", "count": 512, "price_usd_per_hour": 2.0},
    },
    "space": {
        "model.params": {"low": "5B", "high": "100B", "log": True},
        "data.tokens": {"low": "100B", "high": "10T", "log": True},
        "optim.batch_tokens": {"low": "2M", "high": "16M", "log": True},
        "hardware.count": {"low": 128, "high": 1024, "step": 128},
    },
    "objective": {"minimise": "loss_nats"},
    "constraints": {"cost_usd": {"at_most": "1M", "chance": 0.9}, "wall_clock_days": {"at_most": "30d"}},
}  # fmt: skip

CHEAPEST = {
    **ALLOCATION,
    "objective": "cost_usd",
    "constraints": {"loss_nats": {"at_most": 1.98, "chance": 0.5}, "wall_clock_days": {"at_most": "30d"}},
}


def verdict(what: str, value: float, bound: float, *, least: bool = False) -> None:
    """Print whether a target is met, and remember where not."""
    met = value >= bound if least else value <= bound
    print(f"{'met   ' if met else 'MISSED'} {what}: {value:.4g}, {'at least' if least else 'at most'} {bound:g}")
    if not met:
        MISSED.append(what)


def regmix() -> Predictor:
    """A predictor fitted on RegMix's training proxies, as `simulate fit` does."""
    frame = read("regmix/train_1m.csv").drop(columns=["split", "model_label", "mixture_index"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Predictor.fit(RunTable.from_frame(frame, where="regmix"))


def mixture_study(goal: Any, seed: int, simplex: Any = "all") -> dict[str, Any]:
    """A search over RegMix's 17 domains."""
    return {
        "name": "mixture",
        "run": {"model": {"params": "1M"}, "data": {"tokens": "1B", "evaluated_on": "pile_cc"}},
        "space": {"data.mix": {"simplex": simplex}},
        "objective": goal,
        "search": {"seed": seed, "trials": TRIALS},
    }


class Mixes:
    """The losses of many mixes at once, and baselines on them."""

    def __init__(self, study: Study) -> None:
        self.evaluator = Evaluator(study)
        mix = study.space.mix
        assert isinstance(mix, MixDimension)
        self.mix = mix
        self.count = 0

    def losses(self, shares: np.ndarray) -> np.ndarray:
        """The goal of mixes `(n, domains)`."""
        self.count += len(shares)
        plans = [{"data.mix": self.mix.shares(row), "data.tokens": 1e9} for row in shares]
        return np.array([one.goals[0] for start in range(0, len(plans), 2000)
                         for one in self.evaluator.many(plans[start : start + 2000])])  # fmt: skip

    def dirichlet(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Mixes as RegMix draws them: Dirichlet around tempered token shares, of many strengths."""
        prior = np.array([PILE[domain] for domain in self.mix.domains]) ** 0.5
        prior /= prior.sum()
        strength = np.exp(rng.uniform(np.log(0.1), np.log(5.0), count)) * len(prior)
        drawn = np.array([rng.dirichlet(np.maximum(s * prior, 1e-2)) for s in strength])
        return self.inside(drawn)

    def inside(self, shares: np.ndarray) -> np.ndarray:
        """Mixes taken within the bounds."""
        low, high = self.mix.low, self.mix.high
        return np.array(
            [to_shares(np.exp(-row / max(row.max(), 1e-12) * -np.log(LEAST_U)), low, high) for row in shares]
        )

    def best_by_gradients(self, starts: np.ndarray) -> float:
        """The lowest goal of gradient searches, each written here: no part of the search is judged by itself."""
        found = []
        for start in starts:

            def value(x: np.ndarray) -> float:
                return float(self.losses(np.clip(x, 0, 1)[None] / np.clip(x, 0, 1).sum())[0])

            def slope(x: np.ndarray) -> np.ndarray:
                moved = np.clip(x[None] + 1e-5 * np.eye(len(x)), 0, None)
                each = self.losses(np.concatenate([x[None] / x.sum(), moved / moved.sum(axis=1, keepdims=True)]))
                return (each[1:] - each[0]) / 1e-5

            bounds = list(zip(self.mix.low, self.mix.high, strict=True))
            rule = {"type": "eq", "fun": lambda x: x.sum() - 1.0, "jac": lambda x: np.ones_like(x)}
            end = minimize(value, start, jac=slope, bounds=bounds, constraints=[rule], method="SLSQP",
                           options={"maxiter": 200, "ftol": 1e-12})  # fmt: skip
            found.append(value(np.clip(end.x, self.mix.low, self.mix.high)))
        return min(found)


def mixture() -> None:
    """RegMix's 17 domains: Pile-CC alone, its mean with others, and the mean of all domains under bounds."""
    predictor = regmix()
    capped = {domain: {"max": min(1.0, 4 * share), "min": 0.002} for domain, share in PILE.items()}
    problems = {
        "pile_cc": ({"minimise": "loss_nats"}, "all"),
        "pile_cc, 90 % quantile": ({"minimise": "loss_nats", "quantile": 0.9}, "all"),
        "pile_cc, shares ≤ 4× the Pile's": ({"minimise": "loss_nats"}, capped),
        "mean of 13 domains": ({"minimise": "loss_nats.average"}, "all"),
        "0.7 code, 0.3 web": ({"minimise": "loss_nats", "weights": {"github": 0.7, "pile_cc": 0.3}}, "all"),
    }
    print(f"\nmixtures: gap to the optimum, {SEEDS} seeds of {TRIALS} trials, %: mean (worst)")
    print(
        f"{'goal':<34}{'optimum':>9}{'ours':>18}{'random search':>18}{'RegMix top 100':>16}"
        f"{'s a search':>12}{'evaluations':>13}"
    )
    for name, (goal, simplex) in problems.items():
        study = Study.from_mapping(mixture_study(goal, 0, simplex), predictor=predictor)
        mixes, rng = Mixes(study), np.random.default_rng(0)
        drawn = mixes.dirichlet(rng, RANDOM_MIXES)
        losses = mixes.losses(drawn)
        order = np.argsort(losses)
        starts = np.concatenate([drawn[order[: STARTS // 2]], drawn[: STARTS // 2]])
        optimum = min(mixes.best_by_gradients(starts), float(losses.min()))
        average = drawn[order[:REGMIX_TOP]].mean(axis=0)
        top = float(mixes.losses(mixes.inside(average[None]) if simplex != "all" else average[None])[0])
        ours, plain, seconds, feasible, judged = [], [], [], True, []
        for seed in range(SEEDS):
            made = Study.from_mapping(mixture_study(goal, seed, simplex), predictor=predictor)
            started = time.perf_counter()
            counted = Counted(made)
            found = optimize(made)
            seconds.append(time.perf_counter() - started)
            judged.append(counted.stop())
            ours.append(found.best.evaluation.goals[0])
            feasible &= found.feasible
            u = np.random.default_rng(seed).uniform(LEAST_U, 1, (judged[-1], len(PILE)))
            plain.append(
                float(mixes.losses(np.array([to_shares(row, mixes.mix.low, mixes.mix.high) for row in u])).min())
            )
        gaps = [100 * (np.array(values) / optimum - 1) for values in (ours, plain)]
        print(f"{name:<34}{optimum:>9.4f}{_gap(gaps[0]):>18}{_gap(gaps[1]):>18}{100 * (top / optimum - 1):>16.3f}"
              f"{np.mean(seconds):>12.1f}{np.mean(judged):>13.0f}")  # fmt: skip
        verdict(f"mixture, {name}: worst gap", float(gaps[0].max()) / 100, GAP)
        verdict(f"mixture, {name}: feasible", float(feasible), 1, least=True)


class Counted:
    """Counts the plans that any evaluator judges until it is stopped; of a study's machinery only."""

    def __init__(self, study: Study) -> None:
        self.plans, self.plain = 0, Evaluator.many
        counter = self

        def many(evaluator: Evaluator, plans: Any, like: Any = None) -> list[PlanEvaluation]:
            counter.plans += len(plans)
            return counter.plain(evaluator, plans, like)

        Evaluator.many = many  # type: ignore[method-assign]

    def stop(self) -> int:
        """The number of plans so far."""
        Evaluator.many = self.plain  # type: ignore[method-assign]
        return self.plans


def _gap(values: np.ndarray) -> str:
    return f"{values.mean():.4f} ({values.max():.4f})"


def allocation() -> None:
    """Size, tokens, batch, devices and layout under a budget and a deadline: against every combination."""
    search_all("allocation", ALLOCATION, on_limits, GAP)


def cost() -> None:
    """The cheapest plan that reaches a loss within a deadline: against every combination."""
    tokens: dict[float, float] = {}

    def at_the_loss(evaluator: Evaluator, plan: dict[str, Any]) -> PlanEvaluation | None:
        params = plan["model.params"]
        if evaluator(plan).why is not None:
            return None
        if params not in tokens:  # nothing but size and tokens enters the loss
            tokens[params] = fewest_tokens(evaluator, plan)
        one = evaluator({**plan, "data.tokens": tokens[params]})
        return one if one.feasible else None

    search_all("cost of a loss", CHEAPEST, at_the_loss, COST_GAP)


Finish = Callable[[Evaluator, dict[str, Any]], PlanEvaluation | None]
"""The plan with the tokens that its limits want; None where it can't be had."""


def search_all(name: str, mapping: dict[str, Any], finish: Finish, gap: float) -> None:
    """Ten seeds beside random search and every combination."""
    predictor = load("web-text")
    study = Study.from_mapping(mapping, predictor=predictor)
    started = time.perf_counter()
    optimum, tried = brute_force(study, finish)
    print(f"\n{name}: brute force tried {tried} plans in {time.perf_counter() - started:.0f} s")
    print("best by brute force:", described(optimum))
    ours, plain, seconds, judged, feasible = [], [], [], [], True
    for seed in range(SEEDS):
        made = Study.from_mapping({**mapping, "search": {"seed": seed, "trials": TRIALS}}, predictor=predictor)
        counted, started = Counted(made), time.perf_counter()
        found = optimize(made)
        seconds.append(time.perf_counter() - started)
        judged.append(counted.stop())
        ours.append(found.best.evaluation.goals[0])
        feasible &= found.feasible
        print(f"  seed {seed}: {described(found.best.evaluation)}, {seconds[-1]:.0f} s, {judged[-1]} evaluations")
        options = {"seed": seed, "sampler": "random", "polish": False, "warm_start": False, "trials": judged[-1]}
        plain.append(optimize(Study.from_mapping({**mapping, "search": options}, predictor=predictor)))
    goals = [one.best.evaluation.goals[0] if one.feasible else np.nan for one in plain]
    best = min(optimum.goals[0], *ours)
    gaps = [100 * (np.array(values) / best - 1) for values in (ours, goals)]
    print(f"gap to the best known, %: ours {_gap(gaps[0])}, random search with as many evaluations {_gap(gaps[1])}; "
          f"brute force {100 * (optimum.goals[0] / best - 1):.4f}")  # fmt: skip
    verdict(f"{name}: worst gap", float(gaps[0].max()) / 100, gap)
    verdict(f"{name}: feasible", float(feasible), 1, least=True)


def fewest_tokens(evaluator: Evaluator, plan: dict[str, Any]) -> float:
    """As few tokens as keep the limit on the loss, by bisection; the most of the range where none do."""
    low, high = np.log(1e11), np.log(1e13)
    for _ in range(40):
        middle = 0.5 * (low + high)
        reached = evaluator({**plan, "data.tokens": float(np.exp(middle))}).excess["loss_nats"] <= 0
        low, high = (low, middle) if reached else (middle, high)
    return float(np.exp(high))


def brute_force(study: Study, finish: Finish) -> tuple[PlanEvaluation, int]:
    """The best of every shape, batch and number of devices of the space, and how many those are."""
    evaluator = Evaluator(study)
    ranges = {dimension.path: dimension for dimension in study.space.dimensions}
    sizes, count, batch = ranges["model.params"], ranges["hardware.count"], ranges["optim.batch_tokens"]
    base = study.run.model.architecture
    assert base is not None
    shapes = {family_shape(base, p): None for p in np.geomspace(sizes.low, sizes.high, 150)}  # type: ignore[attr-defined]
    best, tried = None, 0
    for devices in range(int(count.low), int(count.high) + 1, int(count.step)):  # type: ignore[attr-defined]
        unit = devices * base.context_length
        for tokens in np.arange(unit, batch.high + 1, unit):  # type: ignore[attr-defined]
            if tokens < batch.low:  # type: ignore[attr-defined]
                continue
            for shape in shapes:
                plan = {"model.params": float(shape.params_total), "hardware.count": devices,
                        "optim.batch_tokens": float(tokens), "data.tokens": 1e12}  # fmt: skip
                one = finish(evaluator, plan)
                tried += 1
                if one is not None and (best is None or one.goals[0] < best.goals[0]):
                    best = one
    assert best is not None
    return best, tried


def on_limits(evaluator: Evaluator, plan: dict[str, Any]) -> PlanEvaluation | None:
    """The plan with as many tokens as its limits allow, by secants; None where it can't be run."""
    for _ in range(3):
        one = evaluator(plan)
        if one.why is not None:
            return None
        worst = max(value for name, value in one.excess.items() if name != "machines")
        if one.feasible and worst > -1e-5:
            break
        plan = {**plan, "data.tokens": float(np.clip(plan["data.tokens"] * np.exp(-worst - 1e-6), 1e11, 1e13))}
    return one if one.feasible else None


def described(one: PlanEvaluation) -> str:
    """A plan in a line."""
    values = one.values
    sizes = f"{values['model.params'] / 1e9:.2f}B, {values['data.tokens'] / 1e9:.0f}B tokens"
    batch = f"batch {values['optim.batch_tokens'] / 1e6:.2f}M"
    return f"{one.goals[0]:.6g} with {sizes}, {batch}, {values['hardware.count']} devices"


def optimal() -> None:
    """Chinchilla's compute-optimal size, and the closed form against the numeric optimum."""
    from foretrain.simulator.allocation.compute_optimal.optimal import compute_optimal

    found = compute_optimal(load("chinchilla-massivetext"), 5.76e23)
    print(
        "\ncompute-optimal at 5.76e23 FLOPs, chinchilla-massivetext (published: Hoffmann et al. 2022, table A3 and 4)"
    )
    for name, quantity, published in (("params", found.params, 70e9), ("tokens", found.tokens, 1.4e12)):
        low, high = quantity.intervals[0.9]
        print(f"  {name}: {quantity.median:.3g}, 90 % {low:.3g} to {high:.3g}; Chinchilla itself {published:.3g}")
        verdict(f"Chinchilla's {name} inside the 90 % interval", float(low <= published <= high), 1, least=True)
    worst = closed_against_numeric()
    verdict("closed form against numeric, largest relative difference in N", worst, 1e-6)


def speed() -> None:
    """1,000 trials on a journal file: the whole, and what isn't Optuna's or the forecast's; in two processes too."""
    predictors = {"mixture": regmix(), "allocation": load("web-text")}
    studies = {"mixture": mixture_study({"minimise": "loss_nats"}, 0), "allocation": ALLOCATION}
    print(
        f"\n{'1,000 trials':<14}{'s':>8}{'ms a trial: all':>17}{'Optuna':>9}{'forecast':>10}{'the rest':>10}"
        f"{'two processes, s':>19}"
    )
    for name, mapping in studies.items():
        study = Study.from_mapping({**mapping, "search": {"trials": 1000, "seed": 0}}, predictor=predictors[name])
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            optimize(study, storage=str(Path(folder) / "study.journal"))
            total = time.perf_counter() - started
        optuna_s, forecast_s = clock.stop()
        rest = total - optuna_s - forecast_s
        shared = in_two_processes(mapping, predictors[name])
        print(f"{name:<14}{total:>8.1f}{total:>17.1f}{optuna_s:>9.1f}{forecast_s:>10.1f}{rest:>10.1f}{shared:>19.1f}")
        verdict(f"speed, {name}: seconds for 1,000 trials", total, 60)
        verdict(f"speed, {name}: seconds in two processes", shared, 60)
        verdict(f"speed, {name}: ms a trial outside Optuna and the forecast", rest, 5)


def in_two_processes(mapping: dict[str, Any], predictor: Predictor) -> float:
    """Seconds of `simulate optimize --processes 2` for 1,000 trials, start and answer included."""
    with tempfile.TemporaryDirectory() as folder:
        save(predictor, str(Path(folder) / "predictor"))
        study = {**mapping, "predictor": "predictor", "search": {"trials": 1000, "seed": 0}}
        (Path(folder) / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
        words = ["optimize", "--config", "study.yaml", "--processes", "2", "--json"]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "foretrain", *words], cwd=folder, capture_output=True, text=True, check=True
        )
        seconds = time.perf_counter() - started
    complete = json.loads(done.stdout)["trials"]["complete"]
    if complete < 1000:
        raise SystemExit(f"{complete} trials were completed; expected 1000")
    return seconds


class Clock:
    """Seconds inside Optuna and inside forecasts while it runs, told apart by wrapping their doors."""

    def __init__(self) -> None:
        import optuna
        from foretrain.simulator.search import evaluate as module
        from foretrain.simulator.search import result

        self.seconds = {"objective": 0.0, "optimize": 0.0, "trial": 0.0, "importances": 0.0, "forecast": 0.0}
        self.undo: list[Callable[[], None]] = []
        for owner, name, key in (
            (optuna.study.Study, "optimize", "optimize"),
            (module.Evaluator, "_losses", "forecast"),
            (module, "estimate", "forecast"),
            (module, "plan_step", "forecast"),
            (optuna.trial.Trial, "_suggest", "trial"),
            (optuna.trial.Trial, "set_constraint", "trial"),
            (optuna.trial.Trial, "set_user_attr", "trial"),
            (result, "_importances", "importances"),  # PED-ANOVA, and the three seconds that importing it takes
        ):
            self._wrap(owner, name, key)
        from foretrain.simulator.search.storage.trials import _Worker

        self._wrap(_Worker, "_evaluate", "objective")

    def _wrap(self, owner: Any, name: str, key: str) -> None:
        plain = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return plain(*args, **options)
            finally:
                self.seconds[key] += time.perf_counter() - started

        setattr(owner, name, timed)
        self.undo.append(lambda: setattr(owner, name, plain))

    def stop(self) -> tuple[float, float]:
        """Seconds in Optuna (its loop less our objective, its calls within that, importances), and in forecasts."""
        for undo in self.undo:
            undo()
        found = self.seconds
        loop = found["optimize"] - found["objective"] + found["trial"]
        return loop + found["importances"], found["forecast"]


def closed_against_numeric() -> float:
    """Largest relative difference of the optimal N between closed form and root, over draws of two laws and budgets."""
    from foretrain.simulator.allocation.compute_optimal.optimum import closed_form, numeric_optimum
    from foretrain.simulator.allocation.compute_optimal.surface import LossSurface

    worst = 0.0
    for name in ("chinchilla-massivetext", "olmo-c4"):
        surface = LossSurface.of(load(name))
        for number, flops in enumerate(np.geomspace(1e19, 1e26, 50)):
            theta = surface.fit.draws[number]
            model = replace(surface.models[0], fit=replace(surface.fit, theta=theta))
            drawn = replace(surface, predictor=replace(surface.predictor, models={surface.target: model}))
            if not drawn.plain:
                continue
            exact = float(np.exp(closed_form(drawn, theta[None], flops)[0]))
            worst = max(worst, abs(numeric_optimum(drawn, flops).params / exact - 1.0))
    return worst


def main() -> None:
    """Run the parts that are asked for."""
    parts: dict[str, Callable[[], None]] = {
        "mixture": mixture, "allocation": allocation, "cost": cost, "optimal": optimal, "speed": speed
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[*parts], action="append")
    started = time.perf_counter()
    for name in parser.parse_args().part or parts:
        parts[name]()
    print(f"took {time.perf_counter() - started:.0f} s")
    sys.exit(1 if MISSED else 0)


if __name__ == "__main__":
    main()
