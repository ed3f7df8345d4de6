"""`fit_feedback`: intervals that hold the truth about as often as they say, for what was fitted and beyond."""

import numpy as np
import pytest
from foretrain.simulator.after_pretraining.feedback.fitting import fit_feedback
from foretrain.simulator.after_pretraining.feedback.gain import FORMS, best_of_n_kl
from foretrain.simulator.after_pretraining.feedback.measurements import Measurements

KL = {"best_of_n": best_of_n_kl(np.array([2, 4, 8, 16, 32, 64])), "ppo": np.array([1.0, 3.0, 9.0, 20.0, 40.0])}
TRUTH = {"best_of_n": (0.7, 0.12), "ppo": (0.9, 0.25)}
SLOPE = 0.05  # of α, by ln(comparisons)
SEEDS = range(30)


def measured(method, seed, noise=0.02, spread=0.0, comparisons=(1e3, 1e4, 1e5)) -> Measurements:
    """Three reward models a number of comparisons, each with coefficients of its own around the law."""
    rng = np.random.default_rng(seed)
    rows = []
    for m in comparisons:
        for one in range(3):
            alpha, beta = TRUTH[method]
            alpha += SLOPE * np.log(m / 1e4) + spread * rng.standard_normal()
            gold = FORMS[method].gain(np.sqrt(KL[method]), np.array(alpha), np.array(beta))
            rows += [(kl, g + noise * rng.standard_normal(), m, one) for kl, g in zip(KL[method], gold, strict=True)]
    kl, gold, m, one = np.array(rows).T
    empty = np.full(len(kl), np.nan)
    return Measurements(method, kl, gold, empty, m, empty, one)


def covered(draws: np.ndarray, truth: float) -> bool:
    low, high = np.quantile(draws, [0.05, 0.95])
    return bool(low <= truth <= high)


@pytest.mark.parametrize("spread", [0.0, 0.05], ids=["alike", "each its own"])
@pytest.mark.parametrize("method", TRUTH)
def test_intervals_hold_known_coefficients(method, spread):
    found = []
    for seed in SEEDS:
        law = fit_feedback(measured(method, seed, spread=spread), seed)
        assert law.references["comparisons"] == pytest.approx(1e4)
        found.append([covered(law.alpha[:, 0], TRUTH[method][0]), covered(law.beta[:, 0], TRUTH[method][1])])
        found[-1].append(covered(law.alpha[:, 1], SLOPE))
    shares = np.mean(found, axis=0)
    assert (shares >= 0.73).all(), shares  # 22 of 30, which 90 % gives 99 times in 100


def test_larger_n_and_more_comparisons_than_were_measured_are_held():
    """Of another reward model: its own coefficients are part of the interval."""
    held = []
    for seed in SEEDS:
        law = fit_feedback(measured("best_of_n", seed, spread=0.05), seed)
        rng = np.random.default_rng(1000 + seed)
        d = np.sqrt(best_of_n_kl(512))
        alpha = TRUTH["best_of_n"][0] + SLOPE * np.log(3e5 / 1e4) + 0.05 * rng.standard_normal()
        truth = FORMS["best_of_n"].gain(d, np.array(alpha), np.array(TRUTH["best_of_n"][1]))
        drawn = law.form.gain(d, *law.coefficients({"comparisons": 3e5}, rng))
        held.append(covered(drawn, float(truth)))
    assert np.mean(held) >= 0.73, np.mean(held)


def test_the_same_seed_gives_the_same_law_and_more_noise_a_wider_one():
    quiet, again = (fit_feedback(measured("ppo", 1)) for _ in range(2))
    assert np.array_equal(quiet.alpha, again.alpha)
    loud = fit_feedback(measured("ppo", 1, noise=0.1))
    assert loud.alpha[:, 0].std() > 2 * quiet.alpha[:, 0].std()


def test_large_tables_need_no_matrix_of_rows_by_rows():
    rows = measured("best_of_n", 0, comparisons=np.geomspace(1e2, 1e6, 500))
    assert len(rows) == 9_000
    law = fit_feedback(rows)
    assert np.median(law.alpha[:, 0]) == pytest.approx(TRUTH["best_of_n"][0], abs=0.02)


def test_rewards_that_are_all_0_are_fitted_as_no_gain():
    rows = measured("best_of_n", 0)
    law = fit_feedback(Measurements("best_of_n", rows.kl_nats, 0 * rows.gold, *(rows.gold_se,) * 3, rows.seed))
    assert abs(np.median(law.alpha)) < 0.01
