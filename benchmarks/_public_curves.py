"""The shared loss curves of every maker, read in place: their steps, losses, and the learning rates of their plans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from _tables import DATA, read
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.rates.path import RatePath, named_path
from foretrain.simulator.curve.reading import read_curves

GPT3_DECAY_TOKENS, GPT3_TOKENS, GPT3_WARMUP_TOKENS = 260e9, 300e9, 375e6
"""Brown et al. 2020, appendix B: a cosine to 10 % over 260B tokens, then constant, after 375M tokens of warm-up."""
OPT_TOKENS, OPT_WARMUP_TOKENS = 300e9, 375e6
"""Zhang et al. 2022 (arXiv 2205.01068), section 2.2: linear to 10 % over 300B tokens."""
LLAMA2_STEPS, LLAMA2_BATCH, LLAMA2_WARMUP = 500_000, 4e6, 2000
"""Touvron et al. 2023, section 2.2: 2T tokens in batches of 4M, a cosine to 10 % after 2,000 steps of warm-up."""
OLMO1_BATCH, OLMO1_WARMUP = 4_194_304, 2000
"""Groeneveld et al. 2024: linear over the planned run, here to 10 %."""


@dataclass(frozen=True)
class Recipe:
    """The curves of one maker, corpus and recipe, and the schedules that they show."""

    name: str
    source: str
    curves: list[Curve]
    schedules: str


def recipes() -> list[Recipe]:
    """Every recipe with whole curves among the shared tables. `source` groups what is left out together."""
    shared = read_curves(DATA / "loss_curves")
    mpl = [replace(c, family="mpl") for c in shared.values() if c.family == "MultiPowerLaw"]
    found = [Recipe("mpl", "mpl", mpl, "cosine, constant, two-stage, WSD")]
    for name, curve in shared.items():
        if curve.family == "modded-nanogpt":
            recipe = f"nanogpt-{name.split('_')[2]}"
            found.append(Recipe(recipe, "nanogpt", [replace(curve, family=recipe)], "WSD"))
    found.append(Recipe("olmo-ladder", "olmo-ladder", list(olmo_ladder()), "cosine"))
    found.append(Recipe("gpt-3", "gpt-3", list(_gpt3()), "cosine"))
    found.append(Recipe("opt", "opt", list(_opt()), "linear"))
    found.append(Recipe("llama-2", "llama-2", list(_llama2()), "cosine"))
    found.append(Recipe("olmo-1", "olmo-1", [_olmo1()], "linear"))
    return found


def olmo_ladder() -> Iterator[Curve]:
    """24 cosines to 10 %: four sizes, five lengths, one rerun; the warm-up takes as many tokens as parameters."""
    runs = read("olmo_ladder/runs.csv").drop_duplicates("run_id").set_index("run_id")
    for run_id, points in read("olmo_ladder/curves.csv").groupby("run_id", sort=True):
        run = runs.loc[run_id]
        path = named_path("cosine", int(run.steps), round(run.params / run.batch_tokens), 0.1)
        yield _curve(str(run_id), "olmo-ladder", float(run.params), path, points.step, points.loss)


def _gpt3() -> Iterator[Curve]:
    for model, points in read("gpt3_curves/runs.csv").dropna(subset=["loss"]).groupby("model", sort=True):
        batch = float(points.batch_tokens.iloc[0])
        steps, warmup = round(GPT3_TOKENS / batch), round(GPT3_WARMUP_TOKENS / batch)
        decay = named_path("cosine", round(GPT3_DECAY_TOKENS / batch), warmup, 0.1)
        path = RatePath(np.pad(decay.rate, (0, steps - decay.steps), mode="edge"), warmup)
        yield _curve(str(model), "gpt-3", float(points.params.iloc[0]), path, points.tokens / batch, points.loss)


def _opt() -> Iterator[Curve]:
    for model, points in read("opt_curves/runs.csv").groupby("model", sort=True):
        batch = float((points.tokens / points.steps).median())
        path = named_path("linear", round(OPT_TOKENS / batch), round(OPT_WARMUP_TOKENS / batch), 0.1)
        yield _curve(str(model), "opt", float(points.params.iloc[0]), path, points.tokens / batch, points.loss)


def _llama2() -> Iterator[Curve]:
    path = named_path("cosine", LLAMA2_STEPS, LLAMA2_WARMUP, 0.1)
    for size, points in read("llama2_curves/runs.csv").groupby("size", sort=True):
        name = f"llama2-{size}"
        yield _curve(name, "llama-2", float(points.params.iloc[0]), path, points.tokens / LLAMA2_BATCH, points.loss)


def _olmo1() -> Curve:
    points = read("olmo1_curves/runs.csv")
    points = points.dropna(subset=["loss.v3_small_c4_en"])
    path = named_path("linear", int(points.steps.max()), OLMO1_WARMUP, 0.1)
    size = float(points.params.iloc[0])
    return _curve("olmo-1b", "olmo-1", size, path, points.steps, points["loss.v3_small_c4_en"])


def _curve(name: str, family: str, size: float, path: RatePath, step: pd.Series, loss: pd.Series) -> Curve:
    """A curve of rising steps within its path; of several losses at a step the last counts."""
    points = pd.DataFrame({"step": step.astype(float), "loss": loss.astype(float)}).sort_values("step", kind="stable")
    points = points[points.step <= path.steps].drop_duplicates("step", keep="last")
    return Curve(name, family, size, path, points.step.to_numpy(), points.loss.to_numpy())
