"""What benchmarks/feedback.py computes itself: the exact best of n, comparisons, reward models, what it foretells."""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from _feedback.best_of_n import expected_best, kl_nats
from _feedback.law import held_out
from _feedback.reward_model import LABEL_ACCURACY, Comparisons, Features, fit, label_temperature


def test_best_of_n_is_the_mean_over_all_sets_of_n():
    rng = np.random.default_rng(0)
    proxy, gold = rng.normal(size=(2, 9))
    found = expected_best(proxy, gold[None], [1, 2, 4, 9])[0]
    for n, value in zip([1, 2, 4, 9], found, strict=True):
        best = [gold[max(chosen, key=lambda one: proxy[one])] for chosen in combinations(range(9), n)]
        assert value == pytest.approx(np.mean(best))


def test_kl_of_best_of_two_is_that_of_the_density_two_u():
    # The best of two of a continuous reward has density 2u over quantiles u: ∫ 2u log 2u du = log 2 − 1/2.
    assert kl_nats(2) == pytest.approx(np.log(2) - 0.5)


def test_fewer_comparisons_begin_those_of_more_and_labels_are_as_right_as_stated():
    gold = np.random.default_rng(1).normal(size=40_000)
    temperature = label_temperature(gold)
    few, many = (Comparisons.drawn(gold, count, temperature, seed=2) for count in (10, 20_000))
    assert (few.better == many.better[:10]).all()
    assert len(np.unique([many.better, many.worse])) == 40_000
    assert np.mean(gold[many.better] > gold[many.worse]) == pytest.approx(LABEL_ACCURACY, abs=0.01)


def test_a_reward_model_finds_what_its_features_can_say():
    rng = np.random.default_rng(3)
    rows = rng.integers(97, 105, (4_000, 13)).astype(np.uint8)
    gold = (rows[:, 1:] == 97).sum(1) - (rows[:, 1:] == 98).sum(1)
    features = Features(longest=2, bits=8)
    bins = features.bins(rows)
    model = fit(features, bins, Comparisons.drawn(gold.astype(float), 2_000, 1.0, seed=0))
    assert bins.min() >= 0
    assert bins.max() < features.params
    assert np.corrcoef(model.raw(bins), gold)[0, 1] > 0.9


def test_what_was_left_out_of_a_law_is_foretold():
    n = np.array([2, 4, 16, 64, 256, 512, 1024])
    d = np.sqrt([kl_nats(one) for one in n])
    sets = [
        pd.DataFrame({"method": "best_of_n", "seed": seed, "n": n, "kl_nats": d**2, "gold": d * (alpha - 0.1 * d)})
        for seed, alpha in enumerate((0.6, 0.7, 0.8))
    ]
    found = held_out(pd.concat(sets), 256)
    assert [held.n for held in found] == [512, 1024]
    assert all(held.mean_inside for held in found)
    assert found[0].foretold[0] == pytest.approx(found[0].measured.mean(), abs=0.1)
