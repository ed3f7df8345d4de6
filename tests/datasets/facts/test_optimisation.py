"""The figures on batch, learning rate and optimizer: where they are from, and what must hold of them."""

import os
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.files import sha256_file
from foretrain.datasets.facts.catalogue import read_facts
from foretrain.datasets.facts.optimisation import setting_costs

SHARED = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "data"
COSTS = setting_costs()
TOKENS = np.full(200, 5e10)


def test_the_file_says_how_it_is_made_again():
    provenance = read_facts("optimisation.json")["provenance"]
    assert provenance["command"] == "python benchmarks/facts_optimisation.py"
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the digests of the shared tables can't be compared")
    for path, digest in provenance["digests"].items():
        assert sha256_file(SHARED / path) == digest


def test_half_the_tokens_are_wasted_at_the_critical_batch():
    """Against a vanishing batch: McCandlish et al. 2018."""
    critical, usual = COSTS.critical_batch(TOKENS), COSTS.usual_batch(TOKENS)
    cost = COSTS.batch(critical, TOKENS).log_tokens
    assert np.exp(cost) * (1 + usual / critical) == pytest.approx(2.0)
    assert (usual < 0.5 * critical).all()


def test_costs_grow_away_from_the_best_and_level_off():
    batch = np.geomspace(1e2, 1e11, 200)
    rate = np.geomspace(1e-9, 1.0, 200)
    best, share = np.full(200, 1e-3), np.full(200, 0.1)
    for cost, where in (
        (COSTS.batch(batch, TOKENS), batch < COSTS.usual_batch(TOKENS)),
        (COSTS.learning_rate(rate, best, share), rate < best),
    ):
        assert (np.diff(cost.log_tokens[where]) <= 0).all()
        assert (np.diff(cost.log_tokens[~where]) >= 0).all()
        assert cost.log_tokens.min() == 0
        assert cost.log_tokens.max() <= 4.0
        assert (cost.sd >= 0).all()


def test_low_rates_cost_more_where_steps_are_few():
    rate, best = np.full(2, 1e-4), np.full(2, 1e-3)
    few, many = COSTS.learning_rate(rate, best, np.array([2.0, 0.05])).log_tokens
    assert few > 1.5 * many
