"""What a forecast says of the synthetic text that it rests on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from foretrain import Predictor, RunConfig, RunTable, compare, forecast
from foretrain.simulator.predictor.storage.format import arrays_of, from_dict, to_dict


def rise(regime: str, share: float, n: int) -> float:
    if regime == "replace":
        return 0.15 * share**0.5 * sum(share**j for j in range(n)) ** 0.6
    return 0.1 * np.log1p(n) if regime == "accumulate_fixed" else 0.0


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    rng = np.random.default_rng(0)
    rows = []
    for params in (5e4, 4e5):
        for ratio, seed in ((8, 1), (8, 2), (40, 1)):
            base = 1.0 + 0.6 * (params / 1e5) ** -0.3 + 0.8 * (params * ratio / 1e6) ** -0.3
            chains = [("real", 0.0, 0)]
            for n in (1, 2, 3):
                chains += [("replace", 1.0, n), ("replace", 0.5, n), ("accumulate_fixed", n / (n + 1), n)]
            for regime, share, n in chains:
                loss = (base + rise(regime, share, n)) * np.exp(rng.normal(0, 0.004))
                rows.append((params, params * ratio, seed, "self" if share else "none", regime, share, n, loss))
    names = ["params", "tokens", "seed", "generator", "regime", "synthetic_share", "generation", "loss"]
    return Predictor.fit(RunTable.from_frame(pd.DataFrame(rows, columns=names)), "chinchilla+synthetic", prior="public")


def plan(name: str, **synthetic: object) -> dict:
    data: dict = {"tokens": 2e9} | ({"synthetic": synthetic} if synthetic else {})
    return {"name": name, "model": {"params": 1e8}, "data": data}


def test_a_forecast_says_from_which_chains_and_where_it_lies_beyond_them(predictor):
    asked = plan("five", share=0.3, generation=5)
    found = forecast(RunConfig.from_mapping(asked), predictor)
    (one,) = found.strategies
    assert one.runs == {
        "runs": 54,
        "params": [5e4, 4e5],
        "tokens": [4e5, 1.6e7],
        "synthetic_share": [0.5, 1.0],
        "generation": [1.0, 3.0],
        "seeds": 2,
    }
    assert one.beyond_decades == pytest.approx({"params": 2.4, "tokens": 2.1}, abs=0.01)
    low, high = one.difference.intervals[0.9]
    assert low < rise("replace", 0.3, 5) < high
    assert one.verdict == "worse"
    assert 0 < one.share_of_variance < 1
    assert "'self', 30 % of the tokens at generation 5 under replace, rests on 54 runs of 50.0k to" in one.sentence
    assert "(2 seeds, synthetic shares 0.5 to 1, generations 1 to 3), 2.4 decades of parameters" in one.sentence
    warned = " ".join(found.warnings)
    assert "data.synthetic.generation: 5 lies beyond the fitted runs, whose generations are 1 to 3" in warned
    assert "at most 400k parameters; whether a rise grows or shrinks with size is open" in warned
    assert "data.synthetic.share: 0.3 lies outside the fitted runs, 0.5 to 1" in warned


def test_a_kept_predictor_says_the_same(predictor):
    kept = from_dict(to_dict(predictor), arrays_of(predictor))
    asked = RunConfig.from_mapping(plan("later", share=1.0, generation=4))
    first, second = forecast(asked, predictor), forecast(asked, kept)
    assert second.headline.loss_nats.median == pytest.approx(first.headline.loss_nats.median, rel=1e-6)
    assert second.strategies[0].sentence == first.strategies[0].sentence
    assert first.headline.decomposition_nats["synthetic"] > 0.1


def test_a_regime_that_no_chain_had_rests_on_what_is_published(predictor):
    measured, unmeasured = (
        forecast(RunConfig.from_mapping(plan(regime, share=0.5, regime=regime)), predictor)
        for regime in ("accumulate_fixed", "subsample")
    )
    widths = [np.ptp(found.strategies[0].difference.intervals[0.9]) for found in (measured, unmeasured)]
    assert widths[1] > 2.0 * widths[0]
    assert not any("data.synthetic." in warning for warning in measured.warnings)
    assert "data.synthetic.regime: no fitted run had 'subsample'" in " ".join(unmeasured.warnings)
    assert "known are 'accumulate_fixed', 'replace'" in " ".join(unmeasured.warnings)


def test_plans_that_differ_in_synthetic_text_are_told_apart_where_the_runs_can(predictor):
    found = compare([plan("real"), plan("half", share=0.5), plan("little", share=0.001)], predictor)
    assert [its["loss_nats"].verdict for its in found.differences[1:]] == ["worse", "undecided"]
    (note,) = found.notes
    assert "little: whether it is better or worse than real" in note
    assert "'self', 0.1 % of the tokens at generation 1 under replace here, 'none' there" in note
    assert found.forecasts[0].strategies == ()
