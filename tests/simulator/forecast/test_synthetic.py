"""Synthetic text in a forecast where no law of the predictor reads it: its part of the loss, and what is said of it."""

import numpy as np
import pytest
from foretrain.simulator.allocation.compute_optimal.optimal import compute_optimal
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.fitting import Fit
from foretrain.simulator.forecast.compare import compare
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.laws import Reference, get_law
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load

WEB = load("web-text")


def plan(synthetic=None, tokens="2T", **data) -> RunConfig:
    stated = {} if synthetic is None else {"synthetic": synthetic}
    return RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": tokens, **data, **stated}})


def found(synthetic=None, predictor=WEB, **data):
    return forecast(plan(synthetic, **data), predictor)


def said(of) -> str:
    return " ".join(text for text in of.warnings if text.startswith("data.synthetic"))


def test_it_is_a_part_of_the_loss_of_its_own_with_a_wide_interval():
    plain, some = found(), found({"share": 0.3})
    (effect,) = some.adjustments
    middle, low, high = effect.percent()
    assert 0.0 < low < 2.0 < middle < 10.0 < high
    part = some.headline.decomposition_nats["synthetic"]
    assert part == pytest.approx(some.headline.loss_nats.median - plain.headline.loss_nats.median)
    widths = [np.subtract(*one.headline.loss_nats.intervals[0.9][::-1]) for one in (some, plain)]
    assert widths[0] > 1.1 * widths[1]
    assert "at this size nobody measured it" in said(some)
    assert "no chain had a share below 0.5" in said(some)
    assert not any(text.startswith("not read by this predictor") for text in some.warnings)
    assert any("Kazdan" in source and source.endswith("(read)") for source in effect.sources)
    assert some.to_dict()["generating"]["flops"] == pytest.approx(2 * 7e9 * 6e11)


def test_no_text_of_models_changes_nothing():
    plain = found().headline
    for nothing in ({"share": 0}, {"share": 0.3, "detected": 1}, {"share": 0, "generation": 0}):
        none = found(nothing)
        assert none.headline.loss_nats == plain.loss_nats
        assert said(none) == ""


def test_generations_shares_and_regimes_are_in_the_order_that_chains_had():
    def loss(**synthetic):
        return found(synthetic).headline.loss_nats.median

    assert (
        loss(share=0.3) < loss(share=0.3, generation=3) < loss(share=0.9, generation=3) < loss(share=0.9, generation=9)
    )
    half = {"share": 0.5, "generation": 1}
    assert loss(**half, regime="accumulate") < loss(**half, regime="subsample") < loss(**half, regime="replace")
    assert loss(share=0.5, detected=0.9) < loss(share=0.5)
    assert loss(share=1) < loss(share=1, top_p=0.95) < loss(share=1, top_p=0.9)
    assert loss(share=1) < loss(share=1, temperature=0.5)
    assert "no chain went beyond generation 20" in said(found({"share": 0.9, "generation": 30}))


def test_rephrased_text_may_help_and_another_writer_is_left_open():
    plain, wrap, other = (
        found(),
        found({"share": 0.3, "generator": "wrap"}),
        found({"share": 0.3, "generator": "llama"}),
    )
    assert wrap.headline.loss_nats.median < plain.headline.loss_nats.median
    assert wrap.adjustments[0].percent()[2] > 0.0
    assert "all tokens count about 3.00 times" in said(wrap)
    assert "chains" not in said(wrap)
    later = found({"share": 0.3, "generation": 4, "generator": "wrap"})
    assert later.headline.loss_nats.median > wrap.headline.loss_nats.median
    assert other.adjustments[0].percent()[1] < 0.0 < other.adjustments[0].percent()[0]
    assert "nothing is known of this generator: it counts as self" in said(other)


def test_where_real_text_is_scarce_it_spares_repeats():
    """The law's part falls, since synthetic tokens are new ones; what they do to the loss stands beside it."""
    scarce = [found(one, unique_tokens="50B").headline.decomposition_nats for one in (None, {"share": 0.5})]
    assert scarce[1]["repetition"] < 0.7 * scarce[0]["repetition"]
    assert scarce[1]["synthetic"] > 0.0


def test_plans_with_and_without_it_are_compared():
    for plans in ([plan(), plan({"share": 0.3})], [plan({"share": 0.3, "regime": "accumulate"}), plan({"share": 0.3})]):
        compared = compare(plans, WEB)
        assert compared.differences[1]["loss_nats"].median > 0.0
    assert compare([plan({"share": 0.3}), plan()], WEB).differences[1]["loss_nats"].median < 0.0


def test_other_sizes_keep_their_text():
    best, plain = (
        compute_optimal(WEB, 1e22, config=plan(one, tokens="100B")).loss_nats.median for one in ({"share": 0.5}, None)
    )
    assert best > 1.02 * plain


@pytest.fixture(scope="module")
def chained() -> Predictor:
    """A predictor whose law reads synthetic text."""
    levels = {"generator": ("none", "self"), "regime": ("real", "replace", "accumulate")}
    law = get_law("general+synthetic", (), levels)
    theta = np.array([parameter.mean for parameter in law.parameters])
    fit = Fit(law, Reference({"params": 1e9, "tokens": 2e10}), theta, theta[None], 0.003, 0.0)
    seen = {"params": (1e7, 1e10), "tokens": (1e8, 1e12), "compute": (1e16, 1e23), "generation": (0, 3)}
    return Predictor("chained", {"loss": LossModel(fit, public_calibration(), seen, 50)})


def test_a_law_that_reads_it_speaks_for_itself(chained):
    plain, some = (found(one, chained, tokens="100B") for one in (None, {"share": 0.5, "generation": 5}))
    assert some.adjustments == ()
    assert some.headline.loss_nats.median > plain.headline.loss_nats.median
    assert some.headline.decomposition_nats["synthetic"] > 0.0
    assert any("generation" in text and "outside the fitted runs" in text for text in some.warnings)
    filtered = found({"share": 0.5, "generation": 5, "detected": 1}, chained, tokens="100B")
    assert filtered.headline.loss_nats == plain.headline.loss_nats
