"""Small tables of known laws, and a small model over tables, shared by the tests of this folder."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.hierarchy.coordinates import LEVEL, SIZE, log_loss
from foretrain.simulator.hierarchy.errors import Runs, Spread
from foretrain.simulator.hierarchy.labels import Labels
from foretrain.simulator.hierarchy.population import Population, Spreads, Table
from foretrain.simulator.hierarchy.posterior import Belief, most_probable

USUAL = np.array([0.0, -0.6, 0.0, -1.0, -1.1, -0.2, 0.05])
USUAL_SD = np.array([0.2, 0.5, 1.0, 0.3, 0.3, 0.5, 0.03])
KINDS = ("web", "code")


@pytest.fixture(scope="session")
def usual() -> Belief:
    """What tables are like, more or less: a prior to start from, with its level in nats."""
    mean = USUAL.copy()
    mean[LEVEL] = 0.9
    return Belief(mean, np.diag(USUAL_SD**2))


@pytest.fixture(scope="session")
def make_runs() -> Callable[..., Runs]:
    """`make_runs(theta, n, noise, seed)`: finished runs of this law on a grid of 3e7 to 3e9 parameters."""

    def make(theta: np.ndarray, n: int = 16, noise: float = 0.0, seed: int = 0) -> Runs:
        rng = np.random.default_rng(seed)
        params = np.geomspace(3e7, 3e9, n)
        tokens = params * 20 * 4.0 ** (np.arange(n) % 3 - 1)
        found = log_loss(theta[None], {"params": params, "tokens": tokens})[0]
        return Runs.finished(params, tokens, found + noise * rng.standard_normal(n))

    return make


@pytest.fixture(scope="session")
def make_labels() -> Callable[..., Labels]:
    """`make_labels(source, corpus, evaluated_on)`: labels of a table whose bytes per token were counted."""

    def make(source="", corpus="", evaluated_on="", kind="web", **more) -> Labels:
        corpus = corpus if isinstance(corpus, dict) else {corpus: 1.0}
        return replace(Labels(source, corpus, evaluated_on, {kind: 1.0}, 4.0, 0.01), **more)

    return make


@pytest.fixture(scope="session")
def make_table(make_runs, usual) -> Callable[..., Table]:
    """`make_table(labels, theta)`: a table of this law, `theta` with its level in bits per byte."""

    def make(labels: Labels, theta: np.ndarray, n: int = 16, noise: float = 0.002, seed: int = 0) -> Table:
        in_nats = theta.copy()
        in_nats[LEVEL] += labels.offset
        runs = make_runs(in_nats, n, noise, seed)
        prior = Belief(usual.mean, 4 * usual.covariance)
        return Table(labels, most_probable(runs, prior, Spread(noise, 0.002))[1])

    return make


@pytest.fixture(scope="session")
def spreads() -> Spreads:
    """How tables differ."""

    def effect(level: float) -> np.ndarray:
        sd = 0.3 * USUAL_SD
        sd[LEVEL] = level
        return np.diag(sd**2)

    return Spreads(source=effect(0.03), evaluated_on=effect(0.1), corpus=effect(0.05), table=effect(0.02))


@pytest.fixture(scope="session")
def small(make_table, make_labels, spreads) -> Population:
    """Three authors, three corpora, two evaluation sets; what differs is drawn from the spreads."""
    rng = np.random.default_rng(1)

    def off(covariance: np.ndarray, names) -> dict[str, np.ndarray]:
        return {name: rng.multivariate_normal(np.zeros(SIZE), covariance) for name in names}

    of_source = off(spreads.source, ("ann", "bob", "cyd"))
    of_set = off(spreads.evaluated_on, ("c4", "pile"))
    of_corpus = off(spreads.corpus, ("c4", "pile", "fine"))
    tables = []
    for source, corpus in (("ann", "c4"), ("ann", "pile"), ("bob", "pile"), ("cyd", "fine")):
        for judged in of_set:
            theta = USUAL + of_source[source] + of_set[judged] + of_corpus[corpus]
            theta = theta + rng.multivariate_normal(np.zeros(SIZE), spreads.table)
            tables.append(make_table(make_labels(source, corpus, judged), theta, seed=len(tables)))
    return Population(tuple(tables), spreads, KINDS, np.zeros(SIZE))
