"""Which proxies next: does choosing them by predicted variance beat other ways, at 5, 10 and 20 % of the compute?

    python benchmarks/active.py             the run tables
    python benchmarks/active.py --rolling   smaller pools inside those pools: what the constants were chosen on
    python benchmarks/active.py --promises  half-widths promised for the next runs, and stated once they are done
    python benchmarks/active.py --mixes     RegMix: which mixes next, at 32, 64 and 128 runs

Pool: runs with C ≤ Cmax/10^1.5; what is predicted: those with C > Cmax/10^0.5; budget: a share of the FLOPs of the
whole pool. Every way starts from nothing, with a prior that has not seen the source, and sees the losses of chosen runs
only. The law `general` is then fitted on what was chosen; the figure is its median |relative error| on the large runs
(where chance is in it, the mean over ten seeds). "everything" fits the whole pool, at 100 % of the compute.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from _tables import DATA, Task, tasks
from extrapolation import FEWEST, SCORE_ABOVE, TRAIN_BELOW
from facts_laws import leave_one_out_priors
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import LawPrior, Observations, fit_observations, public_prior
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.fit.loss_fit import fit_loss_model
from foretrain.simulator.search.next_proxies import (
    Candidates,
    LawPosterior,
    Region,
    Width,
    choose_in_rounds,
    choose_runs,
)

GENERAL = get_law("general")
SHARES = (0.05, 0.10, 0.20)
SEEDS = 10
CUTS = ((1.5, 0.5), (1.0, 0.3), (0.7, 0.2), (2.0, 1.0))
"""Decades below the pool's own largest run: where an inner pool ends and where its targets begin."""
FEWEST_INNER = 8
_POWERS = (0.0, 0.5, 1.0)
_NO_BETTER = 0.5  # %; errors below this are noise of the runs, so that ratios of them say nothing


class Race:
    """One pool, one target region, one budget, and every way of spending it. A way returns indices into the pool."""

    def __init__(self, pool: Observations, cost: np.ndarray, large: Observations, prior: LawPrior) -> None:
        self.pool, self.cost, self.large, self.prior = pool, cost, large, prior
        self.columns = {name: pool.columns[name] for name in ("params", "tokens")}
        self.region = Region({name: large.columns[name] for name in ("params", "tokens")})
        self.candidates = Candidates(self.columns, cost)

    def error(self, runs) -> float:
        """Median |relative error| on the large runs after fitting these, %."""
        if not len(runs):
            return float("nan")
        fit = fit_observations(GENERAL, self.pool.take(np.sort(np.asarray(runs, dtype=int))), self.prior)
        return 100 * float(np.median(np.abs(np.expm1(fit.log_loss(self.large.columns) - np.log(self.large.loss)))))

    def believe(self, taken: tuple[int, ...]) -> LawPosterior:
        """What is known once the losses of these are."""
        done = self.pool.take(np.array(taken)) if taken else None
        return LawPosterior.of(GENERAL, self.prior, self.region, self.columns, done)

    def ours(self, budget: float) -> list[int]:
        """Sequential: half of a plan is trained, then the law is fitted again."""
        return list(choose_in_rounds(self.believe, self.candidates, self.region, budget))

    def batch(self, budget: float) -> list[int]:
        """All at once, from the prior alone."""
        return list(choose_runs(self.believe(()), self.candidates, self.region, budget).runs)

    def cheapest(self, budget: float) -> list[int]:
        """The cheapest first."""
        return _until(np.argsort(self.cost, kind="stable"), self.cost, budget)

    def d_optimal(self, budget: float) -> list[int]:
        """The most information on the law's parameters (log det), greedy over cost^p with the best p."""
        return max((self._d_greedy(budget, power) for power in _POWERS), key=lambda found: found[1])[0]

    def random(self, budget: float, seed: int, by_cost: bool = False) -> list[int]:
        """Random runs, all alike or in proportion to their cost, as long as they fit."""
        share = self.cost / self.cost.sum() if by_cost else None
        order = np.random.default_rng(seed).choice(len(self.cost), len(self.cost), replace=False, p=share)
        return _until(order, self.cost, budget)

    def errors(self, budget: float, seeds: int = SEEDS) -> dict[str, float]:
        """The error of each way, %."""
        return {
            "ours": self.error(self.ours(budget)),
            "batch": self.error(self.batch(budget)),
            "random": float(np.mean([self.error(self.random(budget, seed)) for seed in range(seeds)])),
            "by cost": float(np.mean([self.error(self.random(budget, seed, True)) for seed in range(seeds)])),
            "cheapest": self.error(self.cheapest(budget)),
            "D-optimal": self.error(self.d_optimal(budget)),
        }

    def _d_greedy(self, budget: float, power: float) -> tuple[list[int], float]:
        belief = self.believe(())
        open_, noise = belief.covariance(self.columns, self.columns), belief.noise(self.columns)
        runs, left, total = [], budget, 0.0
        while True:
            gain = np.log1p(np.maximum(np.diag(open_), 0.0) / noise)
            fits = self.cost <= left * (1 + 1e-9)
            fits[runs] = False
            if not fits.any():
                return runs, total
            best = int(np.argmax(np.where(fits, gain / self.cost**power, -np.inf)))
            runs.append(best)
            left, total = left - self.cost[best], total + float(gain[best])
            open_ = open_ - np.outer(open_[best], open_[best]) / (open_[best, best] + noise[best])


def final(found: list[Task], priors: Mapping[str, LawPrior]) -> Iterator[tuple[Task, Race]]:
    """Each task's own pool and large runs."""
    for task in found:
        small, large = task.flops <= task.flops.max() / TRAIN_BELOW, task.flops > task.flops.max() / SCORE_ABOVE
        if small.sum() >= FEWEST:
            yield task, _race(task, small, large, priors)


def rolling(found: list[Task], priors: Mapping[str, LawPrior]) -> Iterator[tuple[Task, Race]]:
    """Smaller pools and targets inside each pool: the constants of `search` were chosen on these alone."""
    for task in found:
        small = task.flops <= task.flops.max() / TRAIN_BELOW
        top = task.flops[small].max() if small.any() else 0.0
        for below, above in CUTS:
            inner, large = small & (task.flops <= top / 10**below), small & (task.flops > top / 10**above)
            if inner.sum() >= FEWEST_INNER and large.any():
                yield task, _race(task, inner, large, priors)


def _race(task: Task, small: np.ndarray, large: np.ndarray, priors: Mapping[str, LawPrior]) -> Race:
    observations = task.observations
    return Race(observations.take(small), task.flops[small], observations.take(large), priors[task.source])


def _until(order: np.ndarray, cost: np.ndarray, budget: float) -> list[int]:
    runs, left = [], budget
    for run in order:
        if cost[run] <= left:
            runs.append(int(run))
            left -= cost[run]
    return runs


def tables() -> None:
    """One table for each budget."""
    found = tasks()
    races = list(final(found, leave_one_out_priors(found)))
    whole = [race.error(range(len(race.pool))) for _, race in races]
    for share in SHARES:
        print(f"\n{share:.0%} of the pool's FLOPs: median |relative error| on the large runs, %, mean over targets")
        _print(share, races, [race.errors(share * race.cost.sum()) for _, race in races], whole)


def inside() -> None:
    """Error over that of everything, on smaller pools inside the pools; two targets of each table."""
    found = _some(2)
    inner = list(rolling(found, leave_one_out_priors(tasks())))
    whole = [max(race.error(range(len(race.pool))), _NO_BETTER) for _, race in inner]
    print("geometric mean of the error over that of everything, mean over tables")
    for share in (0.1, 0.2, 0.4):
        _print_ratios(share, inner, whole)


def promises() -> None:
    """Half the pool is done (its cheapest runs); 30 % of the compute of the rest buys the next ones."""
    print(f"{'':36s}{'90 % half-width, %':>26s}{'error, %':>16s}{'runs':>10s}")
    print(
        f"{'table/target':36s}{'now':>8s}{'promised':>10s}{'then':>8s}{'now':>8s}{'then':>8s}{'done':>6s}{'next':>6s}"
    )
    priors = leave_one_out_priors(tasks())
    for task, race in final(_some(2), priors):
        order = np.argsort(race.cost, kind="stable")
        done, rest = np.sort(order[: max(FEWEST, len(order) // 2)]), order[max(FEWEST, len(order) // 2) :]
        if len(rest):
            print(f"{task.name:36s}" + _promise(race, done, rest))


def _promise(race: Race, done: np.ndarray, rest: np.ndarray) -> str:
    """One line: what is stated, promised, and stated when the promise is kept."""
    before = fit_loss_model(race.pool.take(done), "auto", race.prior, learner="none")
    candidates = Candidates({name: values[rest] for name, values in race.columns.items()}, race.cost[rest])
    belief = LawPosterior.of(
        before.fit.law, race.prior, race.region, candidates.columns, race.pool.take(done), before.fit
    )
    now = before.predict(race.region.columns)
    width = Width.of(now, before, candidates, race.region)
    chosen = choose_runs(belief, candidates, race.region, 0.3 * race.cost[rest].sum(), width=width)
    after = fit_loss_model(
        race.pool.take(np.sort([*done, *rest[list(chosen.runs)]])), "auto", race.prior, learner="none"
    )
    then = after.predict(race.region.columns)
    low, high = then.interval(0.9)
    stated = np.expm1(np.sqrt(np.mean((0.5 * np.log(high / low)) ** 2)))
    assert chosen.half_width is not None
    widths = (chosen.half_width[0], chosen.half_width[-1], stated)
    errors = [np.median(np.abs(np.expm1(p.log_loss - np.log(race.large.loss)))) for p in (now, then)]
    cells = "".join(f"{100 * v:{n}.1f}" for v, n in zip((*widths, *errors), (8, 10, 8, 8, 8), strict=True))
    return f"{cells}{len(done):6d}{len(chosen.runs):6d}"


def _some(targets: int) -> list[Task]:
    """The first few targets of each table: its runs are the same for all of them."""
    by_table: dict[str, list[Task]] = {}
    for task in tasks():
        by_table.setdefault(task.table, []).append(task)
    return [task for group in by_table.values() for task in group[:targets]]


def _print(share: float, races: list[tuple[Task, Race]], errors: list[dict[str, float]], whole: list[float]) -> None:
    names = [*errors[0]]
    print(
        f"{'table':24s}{'targets':>8s}{'pool':>6s}" + "".join(f"{name:>11s}" for name in names) + f"{'everything':>12s}"
    )
    by_table: dict[str, list[int]] = {}
    for number, (task, _) in enumerate(races):
        by_table.setdefault(task.table, []).append(number)
    won = 0
    for table, rows in by_table.items():
        means = {name: np.nanmean([errors[row][name] for row in rows]) for name in names}
        everything = np.mean([whole[row] for row in rows])
        won += means["ours"] <= everything
        pool = np.mean([len(races[row][1].pool) for row in rows])
        print(f"{table:24s}{len(rows):8d}{pool:6.0f}" + "".join(f"{means[n]:11.2f}" for n in names)
              + f"{everything:12.2f}")  # fmt: skip
    targets = sum(error["ours"] <= everything for error, everything in zip(errors, whole, strict=True))
    print(
        f"no worse than everything at {share:.0%}: {won} of {len(by_table)} tables ({targets} of {len(races)} targets)"
    )


def _print_ratios(share: float, races: list[tuple[Task, Race]], whole: list[float]) -> None:
    logs: dict[str, dict[str, list[float]]] = {}
    for (task, race), everything in zip(races, whole, strict=True):
        budget = share * race.cost.sum()
        if (race.cost <= budget).sum() < 3:
            continue
        for name, error in race.errors(budget, seeds=3).items():
            ratio = np.log(max(error, _NO_BETTER) / everything)
            logs.setdefault(name, {}).setdefault(task.table, []).append(ratio)
    means = {name: np.exp(np.mean([np.mean(v) for v in by_table.values()])) for name, by_table in logs.items()}
    count = sum(len(v) for v in next(iter(logs.values())).values())
    print(f"{share:.0%}, {count} cuts: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in means.items()))


# which mixes next


def mixes() -> None:
    """RegMix: mixes chosen from the 512 of train_1m, judged on the 256 of test_1m at the same size."""
    pool, test = (RunTable.read(DATA / "regmix" / f"{name}.csv") for name in ("train_1m", "test_1m"))
    by_target = {target: Observations.from_table(pool, target) for target in pool.loss_columns}
    truth = {target: Observations.from_table(test, target) for target in pool.loss_columns}
    print(f"{'runs':>5s}{'':3s}{'chosen':>22s}{'random (5 seeds)':>22s}{'worst of them':>22s}")
    print(f"{'':8s}" + f"{'rank corr.':>12s}{'MSE':>10s}" * 3 + "     mean of 13 targets, MSE in nats²")
    for count in (32, 64, 128):
        ours = _judged(by_target, truth, _chosen_mixes(by_target, truth, count))
        drawn = [np.random.default_rng(seed).choice(len(pool.frame), count, replace=False) for seed in range(5)]
        scores = np.array([_judged(by_target, truth, runs) for runs in drawn])
        worst = (scores[:, 0].min(), scores[:, 1].max())
        cells = [ours, tuple(scores.mean(axis=0)), worst]
        print(f"{count:5d}{'':3s}" + "".join(f"{rho:12.4f}{mse:10.4f}" for rho, mse in cells))


def _mix_law(observations: Observations):
    return observations.law("general+mixture")


def _chosen_mixes(by_target: Mapping[str, Observations], truth: Mapping[str, Observations], count: int) -> list[int]:
    """Chosen in rounds for all targets at once; only the losses of chosen runs are seen."""
    first = next(iter(by_target.values()))
    region = Region(next(iter(truth.values())).columns)
    candidates = Candidates(first.columns, np.ones(len(first)))

    def believe(taken: tuple[int, ...]) -> list[LawPosterior]:
        if not taken:  # every target is alike as long as no loss is known
            return [LawPosterior.of(_mix_law(first), public_prior(), region, first.columns)]
        return [
            LawPosterior.of(_mix_law(first), public_prior(), region, first.columns, runs.take(np.array(taken)))
            for runs in by_target.values()
        ]

    return list(choose_in_rounds(believe, candidates, region, float(count)))


def _judged(by_target: Mapping[str, Observations], truth: Mapping[str, Observations], runs) -> tuple[float, float]:
    """Rank correlation and mean squared error, means over the targets."""
    from scipy.stats import spearmanr

    found = []
    for target, observations in by_target.items():
        chosen = observations.take(np.sort(np.asarray(runs, dtype=int)))
        fit = fit_observations(_mix_law(observations), chosen, public_prior())
        predicted, seen = np.exp(fit.log_loss(truth[target].columns)), truth[target].loss
        found.append((spearmanr(predicted, seen).statistic, np.mean((predicted - seen) ** 2)))
    return tuple(np.mean(found, axis=0))


def main() -> None:
    """Print the tables."""
    warnings.simplefilter("ignore")
    parts: dict[str, Callable[[], None]] = {"--rolling": inside, "--promises": promises, "--mixes": mixes}
    asked = [work for flag, work in parts.items() if flag in sys.argv[1:]]
    for work in asked or [tables]:
        work()


if __name__ == "__main__":
    main()
