import json

import numpy as np
import pytest
from foretrain.core.errors import FitError
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.forecasting import Run, choose_family, choose_size, forecast_curve
from foretrain.simulator.curve.law.transfer import Library
from foretrain.simulator.curve.rates.path import named_path
from foretrain.simulator.curve.scoring import score


@pytest.fixture(scope="module")
def library(make_curve):
    runs = [make_curve(name, (3.2, 0.3, 0.15), 2.5e7, noise=1e-3) for name in ("cosine", "constant", "two_stage")]
    return Library([*runs, *(make_curve(name, noise=1e-3) for name in ("cosine", "two_stage"))])


def test_a_known_size_needs_no_final_loss(library, make_curve, paths):
    truth = make_curve("wsd")
    result = forecast_curve(library, Run("made", 1e8, paths["wsd"], batch_tokens=1e6))
    low, high = result.final.intervals[0.9]
    assert low < truth.loss[-1] < high
    assert result.final.median == pytest.approx(truth.loss[-1], rel=0.005)
    facts = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert facts["rests_on"] == "known size"
    assert facts["curve"][-1]["step"] == 6000
    assert facts["curve"][-1]["tokens"] == 6e9
    assert facts["curve"][-1]["loss_nats"] == facts["final_loss_nats"]["median"]
    assert facts["final_perplexity"]["median"] == pytest.approx(np.exp(result.final.median))
    assert any("--final-loss" in note for note in facts["notes"])


def test_another_size_takes_its_level_from_the_end(library, make_curve, paths):
    """Shape from two sizes, level from a predictor: the whole curve follows."""
    truth = make_curve("wsd", (2.5, 0.32, 0.125), 4e8)
    run = Run("made", 4e8, paths["wsd"])
    result = forecast_curve(library, run, (truth.loss[-1], 0.002))
    assert result.final.median == pytest.approx(truth.loss[-1], rel=2e-3)
    late = truth.step > 0.3 * truth.path.steps
    np.testing.assert_allclose(result.belief.band(truth.step[late]).loss, truth.loss[late], rtol=0.015)
    with pytest.raises(FitError, match=r"400M parameters are none of the sizes .*25\.0M, 100M.*--final-loss 2\.31"):
        forecast_curve(library, run)


def test_the_wider_the_final_loss_the_wider_the_curve(library, paths):
    widths = []
    for sd in (0.002, 0.02, 0.1):
        low, high = forecast_curve(library, Run("made", 4e8, paths["wsd"]), (2.5, sd)).final.intervals[0.9]
        assert np.log(high / low) == pytest.approx(2 * 1.645 * sd, rel=0.2)
        widths.append(high - low)
    assert widths == sorted(widths)


def test_a_run_far_beyond_the_curves_is_said_to_be(library):
    result = forecast_curve(library, Run("made", 1e8, named_path("cosine", 50_000, 300, 0.1)))
    assert any("50,000 steps, the longest of the curves 6,000" in note for note in result.notes)


def test_families_and_sizes_are_chosen_or_named(library, make_curve):
    assert choose_family(library, None) == "made"
    assert choose_size(library, "made", 1.04e8) == 1e8
    assert choose_size(library, "made", 4e8) == 4e8
    both = Library([*library.curves, make_curve("cosine", family="other")])
    assert choose_size(both, "other", None) == 1e8
    with pytest.raises(FitError, match="family: got several families; expected one of made, other"):
        choose_family(both, None)
    with pytest.raises(FitError, match="family: got 'theirs'; expected one of made"):
        choose_family(library, "theirs")
    with pytest.raises(FitError, match=r"size: the family made has several; expected one, such as one of 25\.0M, 100M"):
        choose_size(library, "made", None)


# scores


def test_scores_are_errors_of_the_forecast(library, make_curve):
    curve = make_curve("wsd")
    result = score(library, [curve])
    found = result["curves"][curve.run_id]
    assert result["mean"]["r2"] == found["r2"] > 0.998
    assert 0 < found["mae_nats"] < 0.01
    assert found["max_relative_error"] * 4 > found["mae_nats"] / curve.loss.max()
    assert found["final_relative_error"] < 0.003
    assert found["final_loss_nats"] == curve.final_loss
    assert found["final_covered_90"] is True
    assert found["points"] == len(curve.step)


def test_a_prefix_is_seen_and_not_scored(library, make_curve):
    curve = make_curve("wsd", noise=1e-3)
    found = score(library, [curve], 0.5)["curves"][curve.run_id]
    assert found["points"] == np.sum(curve.step > 3000)


def test_sizes_that_were_not_fitted_are_skipped_or_refused(library, make_curve):
    other, known = make_curve("wsd", (2.5, 0.27, 0.125), 4e8, noise=1e-3), make_curve("wsd")
    assert score(library, [known, other])["skipped"] == {"size not fitted": 1}
    assert score(library, [other], 0.5)["mean"]["final_relative_error"] < 0.02
    with pytest.raises(FitError, match=r"the curves are of made 400M, of which none was fitted .*--prefix 0\.2"):
        score(library, [other])
    with pytest.raises(FitError, match="no curves to score"):
        score(library, [])
    with pytest.raises(FitError, match="0 points up to 4% of the run"):
        score(library, [known], 0.04)


def test_the_public_split_is_scored_as_published(public):
    train = [public[f"mpl_100m_{name}"] for name in ("cosine_24000", "constant_24000", "wsdcon_9")]
    rest = [
        curve
        for name, curve in public.items()
        if name.startswith("mpl_100m") and all(curve is not one for one in train)
    ]
    mean = score(Library(train), rest)["mean"]
    assert mean["r2"] >= 0.998
    assert mean["mae_nats"] <= 0.0042
    assert mean["final_covered_90"] >= 0.5


def test_a_run_of_a_configuration(library):
    config = RunConfig.from_mapping(
        {
            "name": "planned",
            "model": {"params": 25_900_000},
            "data": {"tokens": "1B"},
            "optim": {"batch_tokens": "500k", "warmup_steps": 100, "schedule": "cosine", "lr": 1e-3, "lr_final": 1e-4},
        }
    )
    family = next(iter(library.sizes))
    run = Run.of_config(library, config)
    assert (run.name, run.family, run.size) == ("planned", family, 2.5e7), "sizes are rounded"
    assert (run.path.steps, run.path.warmup, run.batch_tokens) == (2000, 100, 500_000)
    with pytest.raises(FitError, match="family: got 'other'"):
        Run.of_config(library, config, family="other")
    assert Run.of_config(library, config, size=1e9).size == 1e9
