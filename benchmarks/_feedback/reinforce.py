"""REINFORCE against a learned reward with a KL penalty: the policy itself is trained on what it writes.

A step: `BATCH` samples of the policy as it is; of each the learned reward less κ · log(π / π₀), π₀ the policy before;
less the batch's mean, divided by its spread; gradient of the mean of that times log π; Adam. So the expected reward
less κ times the KL goes up (Ziegler et al. 2019, arXiv:1909.08593, section 2, with REINFORCE for PPO). KL, learned and
gold reward are means over the samples of `WINDOW` steps: the policy that is measured is the one that is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from foretrain.proxies.sampling.sampling import sample
from foretrain.proxies.sampling.settings import SamplingSettings
from foretrain.proxies.sampling.trained import TrainedProxy
from torch import Tensor

from .plan import LENGTH
from .policy import Prompts, log_probabilities, scored

__all__ = ["BATCH", "WINDOW", "Measured", "Task", "optimised"]

BATCH = 128
WINDOW = 3
"""Steps whose samples are one row of the table."""

LEARNING_RATE = 1e-3
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Task:
    """`reward`: from samples, (N, T), to learned rewards in sd; `gold`: from samples and their log probabilities under
    the policy before, nats, to gold rewards in sd."""

    policy: TrainedProxy
    prompts: Prompts
    reward: Callable[[np.ndarray], np.ndarray]
    gold: Callable[[np.ndarray, np.ndarray], np.ndarray]
    kl_penalty: float
    steps: int
    seed: int


@dataclass(frozen=True)
class Measured:
    """Means over the samples of some steps, the last of them `step`; `kl_se_nats` and `gold_se` are standard errors."""

    step: int
    kl_nats: float
    kl_se_nats: float
    proxy: float
    gold: float
    gold_se: float


def optimised(task: Task) -> list[Measured]:
    """Train and measure; the first row is that of the policy before, with few steps."""
    rng = np.random.default_rng([task.seed, 3])
    weights = {name: weight.clone().requires_grad_() for name, weight in task.policy.weights.items()}
    adam = torch.optim.Adam(weights.values(), lr=LEARNING_RATE, betas=(0.9, 0.95))
    waiting: list[np.ndarray] = []
    found = []
    for step in range(1, task.steps + 1):
        rows = _written(task, weights, rng)
        waiting.append(_step(task, weights, adam, rows))
        if step % WINDOW == 0:
            found.append(_measured(step, np.concatenate(waiting, axis=1)))
            waiting.clear()
    return found


def _written(task: Task, weights: dict[str, Tensor], rng: np.random.Generator) -> np.ndarray:
    first = task.prompts.draw(BATCH, rng)[None]
    fixed = {name: weight.detach() for name, weight in weights.items()}
    seed = int(rng.integers(2**63))
    return sample(task.policy.model, fixed, first, LENGTH + 1, SamplingSettings(), [seed])[0].astype(np.uint8)


def _step(task: Task, weights: dict[str, Tensor], adam: torch.optim.Adam, rows: np.ndarray) -> np.ndarray:
    """One step on samples; log(π / π₀), learned and gold rewards of each, (3, N)."""
    before = scored(task.policy, rows)
    adam.zero_grad(set_to_none=True)
    now = log_probabilities(task.policy.model, weights, torch.from_numpy(rows.astype(np.int64)))
    ratios = now.detach().double().numpy() - before
    rewards = task.reward(rows)
    penalised = rewards - task.kl_penalty * ratios
    advantages = (penalised - penalised.mean()) / (penalised.std() + 1e-8)
    loss = -(torch.from_numpy(advantages).float() * now).mean() / LENGTH
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights.values(), CLIP_NORM)
    adam.step()
    return np.stack([ratios, rewards, task.gold(rows, before)])


def _measured(step: int, values: np.ndarray) -> Measured:
    ratio, proxy, gold = values.mean(1)
    errors = values.std(1, ddof=1) / np.sqrt(values.shape[1])
    return Measured(step, max(0.0, float(ratio)), float(errors[0]), float(proxy), float(gold), float(errors[2]))
