"""Curves for tests: made by the law itself, and the public ones, read in place where they are."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from foretrain.simulator.curve.law.multipower import Shape, basis
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.rates.path import RatePath, named_path, piecewise_path, wsd_path
from foretrain.simulator.curve.reading import read_curves

DATA = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[4] / "shared")) / "data"
SHARED, LADDER = DATA / "loss_curves", DATA / "olmo_ladder"
LEVEL = (3.0, 0.3, 0.14)
PATHS = {
    "cosine": named_path("cosine", 6000, 300, 0.1),
    "constant": named_path("constant", 6000, 300),
    "two_stage": piecewise_path(6000, 300, {3000: 0.3}),
    "wsd": wsd_path(6000, 300, 4800, 0.1, "exponential"),
}


@pytest.fixture(scope="session")
def paths() -> dict[str, RatePath]:
    return PATHS


@pytest.fixture(scope="session")
def make_curve():
    """`make_curve(name, level, size, shape, noise)`: a run under one of PATHS, on the law but for white noise."""

    def make(name, level=LEVEL, size=1e8, shape=None, noise=0.0, family="made", path=None) -> Curve:
        path = PATHS[name] if path is None else path
        step = np.arange(path.warmup + 50.0, path.steps + 1, 50.0)
        loss = basis(Shape().array() if shape is None else np.asarray(shape), path.decay(step)) @ np.asarray(level)
        rng = np.random.default_rng(len(name) + int(size / 1e6))
        return Curve(
            f"{family}_{size:g}_{name}", family, size, path, step, loss * np.exp(noise * rng.normal(size=len(step)))
        )

    return make


@pytest.fixture(scope="session")
def public():
    """The public curves by run_id."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: it holds the public loss curves")
    return read_curves(SHARED)


@pytest.fixture(scope="session")
def ladder() -> list[Curve]:
    """The curves of the OLMo ladder: cosines of five lengths at four sizes, one of them run twice."""
    if not LADDER.is_dir():
        pytest.skip(f"{LADDER} is absent: it holds the curves of the OLMo ladder")
    with (LADDER / "runs.csv").open(encoding="utf-8") as file:
        runs = {row["run_id"]: row for row in csv.DictReader(file)}
    points: dict[str, list[tuple[float, float]]] = {}
    with (LADDER / "curves.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            points.setdefault(row["run_id"], []).append((float(row["step"]), float(row["loss"])))
    curves = []
    for run_id, pairs in points.items():
        size, batch = float(runs[run_id]["params"]), float(runs[run_id]["batch_tokens"])
        path = named_path("cosine", int(runs[run_id]["steps"]), round(size / batch), 0.1)
        curves.append(Curve(run_id, "ladder", size, path, *np.array(sorted(pairs)).T))
    return curves
