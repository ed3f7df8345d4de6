"""Everything that is sampled, learned and trained, in order; what is on disk isn't made again."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from foretrain.core.files import write_json

from .best_of_n import by_blocks, kl_nats
from .gold import Gold, real_windows
from .models import policy_model
from .plan import LENGTH, Plan
from .policy import Prompts, samples, scored, write_samples
from .reinforce import Task, optimised
from .reward_model import KINDS, LABEL_ACCURACY, Comparisons, Features, RewardModel, fit, label_temperature
from .table import BEST_OF_N, REINFORCE, write

__all__ = ["main"]

_ROWS = 8_192  # of samples scored at once
_REAL = 2_048  # windows of real text


def main(plan: Plan) -> None:
    """Make the table of a plan."""
    spent = _Stopwatch()
    policy_model(plan)
    spent("training the policy")
    for part in ("labelled", "pool"):
        write_samples(plan, part)
    spent("sampling")
    world = _World(plan)
    facts = world.facts()
    spent("scoring")
    rows = _best_of_n(world)
    write(plan.table, rows)
    spent("reward models and best of n")
    rows += _reinforce(world)
    write(plan.table, rows)
    spent("REINFORCE")
    write_json(plan.folder / "facts.json", facts)
    for name, value in facts.items():
        print(f"{name}: {value:.4g}")


class _Stopwatch:
    """Prints the CPU seconds of this process since the last time, and wall-clock seconds."""

    def __init__(self) -> None:
        self.before = time.process_time(), time.monotonic()

    def __call__(self, what: str) -> None:
        now = time.process_time(), time.monotonic()
        print(f"[{what}: {now[0] - self.before[0]:.0f} CPU s, {now[1] - self.before[1]:.0f} s]", flush=True)
        self.before = now


@dataclass
class _World:
    """Samples and gold rewards of a plan, and the reward models learned from them, each read or made once."""

    plan: Plan

    @cached_property
    def gold(self) -> Gold:
        """The gold reward."""
        return Gold.measured(self.plan)

    @cached_property
    def labelled(self) -> np.ndarray:
        """Gold rewards of the labelled samples, (N,)."""
        return self.gold.of_part("labelled")

    @cached_property
    def pool(self) -> np.ndarray:
        """Gold rewards of the pool, (N,)."""
        return self.gold.of_part("pool")

    @cached_property
    def temperature(self) -> float:
        """τ of the labels, sd of gold."""
        return label_temperature(self.labelled)

    def model(self, features: Features, comparisons: int, seed: int, bins: np.ndarray | None = None) -> RewardModel:
        """The reward model of so many comparisons, kept on disk; `bins`: those of the labelled samples, if at hand."""
        path = self.plan.folder / "reward" / f"{features.params}-{comparisons}-{seed}.npz"
        if not path.is_file():
            pairs = Comparisons.drawn(self.labelled, comparisons, self.temperature, seed)
            if bins is None:
                bins = features.bins(samples(self.plan, "labelled"))
            fit(features, bins, pairs).save(path)
        return RewardModel.read(features, path)

    def facts(self) -> dict[str, float]:
        """What the report says of policy, gold reward and labels."""
        real = real_windows(_REAL)
        by_policy = scored(policy_model(self.plan), real)
        return {
            "policy, nats per byte of real windows": -by_policy.mean() / LENGTH,
            "better model, nats per byte of real windows": -self.gold.better.nats(real).mean() / LENGTH,
            "gold of real windows, sd": self.gold.of(real, by_policy).mean(),
            "real words, mean over samples, nats": self.gold.means[0],
            "real words, sd over samples, nats": self.gold.deviations[0],
            "different sequences of four bytes, mean over samples": self.gold.means[1],
            "different sequences of four bytes, sd over samples": self.gold.deviations[1],
            "temperature of labels, sd of gold": self.temperature,
            "labels that name the truly better": LABEL_ACCURACY,
            "gold of the pool, mean": self.pool.mean(),
            "gold of the pool, skewness": ((self.pool - self.pool.mean()) ** 3).mean() / self.pool.std() ** 3,
            "gold of the pool, highest": self.pool.max(),
        }


def _rewards(model: RewardModel, rows: np.ndarray) -> np.ndarray:
    """Rewards of samples (N, T), on the model's own scale."""
    parts = range(0, len(rows), _ROWS)
    return np.concatenate([model.raw(model.features.bins(rows[start : start + _ROWS])) for start in parts])


def _best_of_n(world: _World) -> list[dict[str, Any]]:
    """Best of n with every reward model; what was judged before is read back."""
    found: list[dict[str, Any]] = []
    for features in KINDS:
        bins: dict[str, np.ndarray] = {}
        for seed, comparisons in product(range(world.plan.seeds), world.plan.comparisons):
            path = world.plan.folder / "best_of_n" / f"{features.params}-{comparisons}-{seed}.json"
            if not path.is_file():
                bins = bins or {part: features.bins(samples(world.plan, part)) for part in ("labelled", "pool")}
                model = world.model(features, comparisons, seed, bins["labelled"])
                path.parent.mkdir(exist_ok=True)
                write_json(path, _judged(world, model, bins["pool"]))
            judged = json.loads(path.read_text(encoding="utf-8"))
            print(f"{features.params:6d} parameters, {comparisons:6d} comparisons, seed {seed}: {judged['model']}")
            shared = {"comparisons": comparisons, "reward_params": features.params, "seed": seed}
            found += [{"method": BEST_OF_N, **shared, **row} for row in judged["rows"]]
    return found


def _judged(world: _World, model: RewardModel, bins: np.ndarray) -> dict[str, Any]:
    """What a reward model is like, and best of n with it; `bins` are those of the pool."""
    raw = np.concatenate([model.raw(bins[at : at + _ROWS]) for at in range(0, len(bins), _ROWS)])
    proxy = (raw - raw.mean()) / raw.std()
    agreed = np.mean((proxy[1:] > proxy[:-1]) == (world.pool[1:] > world.pool[:-1]))
    about = (
        f"λ {model.ridge:g}, foretells {model.held_out_accuracy:.1%} of held-out labels, tells the better of two "
        f"samples in {agreed:.1%}, correlates {np.corrcoef(proxy, world.pool)[0, 1]:.3f} with gold"
    )
    ns = world.plan.ns
    columns = zip(ns, *by_blocks(proxy, world.pool, ns), strict=True)
    rows = [
        {"n": n, "kl_nats": kl_nats(n), "gold": gold, "gold_se": error, "proxy": reward}
        for n, gold, error, reward in columns
    ]
    return {"model": about, "rows": rows}


def _reinforce(world: _World) -> list[dict[str, Any]]:
    plan, features = world.plan, KINDS[-1]
    found: list[dict[str, Any]] = []
    settings = product(plan.reinforce_comparisons, range(plan.reinforce_seeds), plan.kl_penalties)
    for comparisons, seed, penalty in settings:
        path = plan.folder / "reinforce" / f"{comparisons}-{seed}-{penalty:g}.json"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            write_json(path, _trained(world, features, comparisons, seed, penalty))
        found += json.loads(path.read_text(encoding="utf-8"))
    return found


def _trained(world: _World, features: Features, comparisons: int, seed: int, penalty: float) -> list[dict[str, Any]]:
    plan = world.plan
    model = world.model(features, comparisons, seed)
    raw = _rewards(model, samples(plan, "labelled"))
    middle, spread = raw.mean(), raw.std()
    task = Task(
        policy=policy_model(plan),
        prompts=Prompts(plan),
        reward=lambda rows: (_rewards(model, rows) - middle) / spread,
        gold=world.gold.of,
        kl_penalty=penalty,
        steps=plan.steps,
        seed=seed,
    )
    shared = {"method": REINFORCE, "comparisons": comparisons, "reward_params": features.params, "seed": seed}
    rows = []
    for measured in optimised(task):
        row = asdict(measured)
        del row["kl_se_nats"]
        rows.append({**shared, "kl_penalty": penalty, **row})
    print(f"REINFORCE, {comparisons} comparisons, seed {seed}, penalty {penalty:g}: {rows[-1]}", flush=True)
    return rows
