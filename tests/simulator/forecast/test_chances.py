"""Chances, equally likely outcomes and differences agree with each other and with the intervals."""

import numpy as np
import pytest
from foretrain.core.quantity import Difference, equal_shares
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.compare import compare
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load

PLAN = {
    "model": {
        "architecture": {
            "layers": 16, "width": 2048, "heads": 16, "ffn_width": 5504, "vocab_size": 32000, "context_length": 2048,
        }
    },
    "data": {"tokens": "100B", "bytes_per_token": 4.0},
    "optim": {"batch_tokens": "1M"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 64, "price_usd_per_hour": 2.0},
    "targets": {"perplexity": 10, "deadline": "7h", "budget_usd": 900},
}  # fmt: skip


def plan(**sections) -> RunConfig:
    return RunConfig.from_mapping(PLAN | sections)


@pytest.fixture(scope="module")
def web():
    return load("web-text")


@pytest.fixture(scope="module")
def found(web):
    return forecast(plan(), web)


@pytest.mark.parametrize("n", [20, 50])
def test_the_share_of_outcomes_that_reach_a_target_is_its_chance(found, n):
    outcomes = found.equally_likely(n)
    for values, target, chance in (
        (outcomes.perplexity, 10, found.chances.target),
        (outcomes.wall_clock_days, 7 / 24, found.chances.deadline),
        (outcomes.cost_usd, 900, found.chances.budget),
    ):
        assert 0.02 < chance < 0.99
        assert len(values) == n
        assert list(values) == sorted(values)
        assert np.mean(np.array(values) <= target) == pytest.approx(chance, abs=1 / n)


def test_quantiles_are_the_ends_of_intervals(found):
    low, high = found.headline.loss_nats.intervals[0.9]
    ends = found.prediction.quantiles(np.array([0.05, 0.5, 0.95]))[:, 0]
    assert ends == pytest.approx([low, found.headline.loss_nats.median, high], rel=1e-12)


def test_what_is_in_doubt_is_the_least_likely_target(found, web):
    chances = found.chances
    known = {"target": chances.target, "deadline": chances.deadline, "budget": chances.budget}
    assert chances.in_doubt == min(known, key=known.__getitem__)
    assert chances.all == found.p_all <= min(known.values())
    assert chances.to_dict()["p_budget"] == found.cluster.p_budget
    hard = forecast(plan(targets={"perplexity": 5, "deadline": "30d"}), web).chances
    assert (hard.in_doubt, hard.budget) == ("target", None)
    assert hard.sentence.startswith("perplexity 5 is what is in doubt (")
    easy = forecast(plan(targets={"loss_nats": 9, "deadline": "900d"}), web).chances
    assert (easy.in_doubt, easy.sentence) == (None, "no target is in doubt")
    assert forecast(plan(targets={}), web).chances.sentence == ""


def test_chances_against_a_baseline(found, web):
    alike = found.chances.against(found.chances)
    assert alike.startswith("no better than the baseline (")
    assert alike.endswith(found.chances.sentence)
    easier = forecast(plan(targets={"perplexity": 10, "deadline": "3d", "budget_usd": 5000}), web).chances
    assert f"{easier.all:.0%} instead of the baseline's {found.chances.all:.0%}" in easier.against(found.chances)


def test_equally_likely_differences_have_the_chance_to_be_lower(web):
    """Of loss, perplexity, time and money; of a plan like the first, one a little longer, and one far larger."""
    rivals = [
        plan(),
        plan(data={"tokens": "110B", "bytes_per_token": 4.0}),
        plan(hardware={"accelerator": "A100-SXM-80", "count": 256, "price_usd_per_hour": 1.6}),
    ]
    for one in compare([plan(), *rivals], web).differences[1:]:
        assert {"loss_nats", "perplexity", "bits_per_byte", "wall_clock_days", "cost_usd"} <= set(one)
        for difference in one.values():
            outcomes = np.array(difference.equally_likely)
            assert len(outcomes) == 50
            assert np.all(np.diff(outcomes) >= 0)
            below = np.mean(outcomes < 0) + 0.5 * np.mean(outcomes == 0)
            assert below == pytest.approx(difference.chance_lower, abs=1 / 50)
            low, high = difference.intervals[0.9]
            assert np.mean((outcomes >= low) & (outcomes <= high)) == pytest.approx(0.9, abs=0.021) or low == high


def test_outcomes_of_draws_are_their_quantiles():
    draws = np.random.default_rng(0).normal(1.0, 2.0, 2000)
    found = Difference.around(0.5, draws)
    moved = draws + 0.5 - np.median(draws)
    assert found.equally_likely == pytest.approx(np.quantile(moved, equal_shares(50)))
    assert "equally_likely" not in found.to_dict()
