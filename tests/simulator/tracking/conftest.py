"""A small planned run, and logs of it that follow the law of loss curves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.law.multipower import Shape, basis
from foretrain.simulator.curve.rates.planned_rates import path_of

STEPS, BATCH = 10_000, 4096
LEVEL = np.array([2.7, 0.3, 0.15])  # nats; the law's L0, A and B


@pytest.fixture(scope="session")
def plan() -> Callable[..., RunConfig]:
    """`plan(**overrides)`: 10,000 steps of a cosine to a tenth of 1e-3, whose target is where the law ends."""

    def make(**more: Any) -> RunConfig:
        mapping: dict[str, Any] = {
            "name": "small",
            "model": {"params": "10M", "vocab_size": 1024, "context_length": 512},
            "data": {"tokens": STEPS * BATCH},
            "optim": {
                "lr": 1e-3, "lr_final": 1e-4, "schedule": "cosine", "warmup_steps": 200, "batch_tokens": BATCH,
            },
            "targets": {"loss_nats": 2.9},
        }  # fmt: skip
        overrides = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in more.items()]
        config = RunConfig.from_mapping(mapping, overrides=overrides)
        if "targets__loss_nats" in more:
            return config
        end = float(law(config, np.array([STEPS]))[0])
        return config.model_copy(update={"targets": config.targets.model_copy(update={"loss_nats": end})})

    return make


def law(config: RunConfig, step: np.ndarray) -> np.ndarray:
    """The loss of a run that follows the law exactly."""
    return basis(Shape().array(), path_of(config).decay(step)) @ LEVEL


@pytest.fixture(scope="session")
def losses(plan) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """`losses(share, every=50, noise=1e-3)`: steps and losses of the plan up to a share of it."""

    def make(share: float = 0.6, every: int = 50, noise: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
        step = np.arange(every, share * STEPS + 1, every).astype(float)
        rng = np.random.default_rng(3)
        return step, law(plan(), step) * np.exp(noise * rng.standard_normal(len(step)))

    return make


@pytest.fixture
def write_log(tmp_path) -> Callable[..., Path]:
    """`write_log(step=…, loss=…, lr=…)`: JSON lines with these columns."""

    def write(name: str = "log.jsonl", **columns: Any) -> Path:
        rows = zip(*([float(v) for v in values] for values in columns.values()), strict=True)
        path = tmp_path / name
        path.write_text(
            "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows), encoding="utf-8"
        )
        return path

    return write
