"""Compute-optimal by mixer, on a law that is known: who leads where, and when that is undecided."""

import math

import numpy as np
import pytest
from foretrain import Predictor, RunConfig, RunTable, load_predictor
from foretrain.core.errors import ConfigError, InputError
from foretrain.simulator.allocation.compute_optimal.mixers import DifferenceCurve, _crossing_of, mixers_optimal
from foretrain.simulator.allocation.compute_optimal.optimal import compute_optimal
from foretrain.simulator.report.charts.planning.mixers import mixers_picture
from foretrain.simulator.report.tables.optimal import _crossing as _crossing_in_words

GAIN = {"transformer": 0.0, "hyena": 0.8, "h3": 0.02}
"""Of tokens, in log."""
PLAN = {
    "model": {"architecture": {"layers": 4, "width": 128, "heads": 4, "ffn_width": 320, "vocab_size": 256,
                               "context_length": 128}},
    "data": {"tokens": 4e6},
}  # fmt: skip


@pytest.fixture(scope="module")
def predictor(ladders_of_mixers) -> Predictor:
    return Predictor.fit(RunTable.from_frame(ladders_of_mixers(GAIN)), "chinchilla+architecture", prior="public")


def test_each_mixer_has_the_optimum_of_its_own_law(predictor):
    found = mixers_optimal(predictor, ["attention", "hyena", "h3"], 1e13)
    assert [row.mixer for row in found.rows] == ["attention", "hyena", "h3"]
    for row, level in zip(found.rows, ("transformer", "hyena", "h3"), strict=True):
        stated = {"model": {"params": 1e5}, "data": {"tokens": 1e6}, "columns": {"architecture": level}}
        alone = compute_optimal(predictor, 1e13, config=RunConfig.from_mapping(stated))
        assert row.optimum.params.median == pytest.approx(alone.params.median)
        assert row.optimum.loss_nats.median == pytest.approx(alone.loss_nats.median)
    first, *others = found.rows
    assert first.difference is None
    for row in others:
        apart = row.optimum.loss_nats.median - first.optimum.loss_nats.median
        assert row.difference.median == pytest.approx(apart)
    # worth exp(.8) times the tokens: a larger model on fewer
    assert others[0].optimum.params.median > first.optimum.params.median
    assert [row.difference.verdict for row in others] == ["better", "undecided"]
    stated = found.to_dict()
    assert stated["mixers"][1]["verdict"] == "better"
    assert set(stated["crossings"][0]) == {
        "leads",
        "then",
        "training_flops",
        "undecided_flops",
        "decided",
        "looked_at_flops",
    }


def test_who_is_named_first_changes_no_more_than_the_sign(predictor):
    one, other = (mixers_optimal(predictor, names, 1e13) for names in (["attention", "hyena"], ["hyena", "attention"]))
    assert one.rows[1].difference.median == pytest.approx(-other.rows[1].difference.median)
    (here,), (there,) = one.crossings, other.crossings
    assert (here.leads, here.then) == (there.leads, there.then) == ("hyena", "attention")
    assert here.undecided == pytest.approx(there.undecided)


def test_a_plan_gives_its_shape_and_its_compute(predictor):
    config = RunConfig.from_mapping(PLAN)
    found = mixers_optimal(predictor, ["attention", "hyena"], config=config)
    assert found.flops == pytest.approx(compute_optimal(predictor, config=config).flops)
    too_long = {"architecture": {**PLAN["model"]["architecture"], "context_length": 8}}
    short = RunConfig.from_mapping({**PLAN, "model": too_long})
    with pytest.raises(ConfigError, match=r"model\.architecture\.mixer\.dynamic_conv\.taps: got 15; expected at most"):
        mixers_optimal(predictor, ["attention", "dynamic_conv"], config=short)


def test_a_mixer_that_no_run_had_is_told_without_a_crossing(predictor):
    found = mixers_optimal(predictor, ["attention", "hyper_mixer"], 1e13)
    assert found.rows[1].difference.verdict == "undecided"
    assert found.crossings == ()
    assert any("hyper_mixer: no fitted run had it" in note for note in found.notes)


@pytest.mark.parametrize(
    ("mixers", "problem"),
    [
        (["attention"], "expected two different ones at least"),
        (["hyena", "hyena"], "expected two different ones at least"),
        (["attention", "hyna"], "got 'hyna'; did you mean hyena?"),
    ],
)
def test_bad_names_are_refused(predictor, mixers, problem):
    with pytest.raises(InputError, match=problem):
        mixers_optimal(predictor, mixers, 1e13)


def test_a_predictor_that_knows_no_architectures_is_refused(monkeypatch):
    place = "foretrain.simulator.forecast.adjustments.architecture.Architecture.is_known"
    monkeypatch.setattr(place, lambda self: False)  # nor do shipped proxies
    with pytest.raises(InputError, match="chinchilla-massivetext knows nothing of architectures"):
        mixers_optimal(load_predictor("chinchilla-massivetext"), ["attention", "hyena"], 1e21)


def _crossing(middles, width):
    flops, middle = np.geomspace(1e12, 1e16, 5), np.array(middles)
    return _crossing_of("attention", DifferenceCurve("hyena", flops, middle, middle - width, middle + width))


def test_where_one_overtakes_the_other_is_between_the_ends_of_what_is_undecided():
    found = _crossing([-0.4, -0.2, 0.0, 0.2, 0.4], 0.1)
    assert (found.leads, found.then) == ("hyena", "attention")
    assert found.flops == pytest.approx(1e14)
    assert found.undecided == pytest.approx((10**13.5, 10**14.5))
    never = _crossing([0.2] * 5, 0.1)
    assert (never.leads, never.flops, never.undecided) == ("attention", None, None)
    open_end = _crossing([0.3, 0.25, 0.2, 0.1, 0.05], 0.15)
    assert (open_end.leads, open_end.flops) == ("attention", None)
    assert open_end.undecided == pytest.approx((10**14.5, 1e16))
    assert math.isclose(open_end.undecided[1], open_end.looked_at[1])


def test_a_decided_range_between_undecided_ones_is_not_called_undecided():
    found = _crossing([-0.05, -0.15, -0.3, -0.15, 0.05], 0.1)
    assert found.undecided == found.looked_at == (1e12, 1e16)
    ((leads, low, high),) = found.decided
    assert leads == "hyena"
    assert (low, high) == pytest.approx((10**12.5, 10**15.25))
    said = _crossing_in_words(found)
    assert said == (
        "which of hyena and attention leads is undecided; their losses cross at 5.62e15 FLOPs, from 1.00e12 FLOPs to "
        "1.00e16 FLOPs, but for 3.16e12 FLOPs to 1.78e15 FLOPs, where hyena leads (90 %)"
    )


def test_a_picture_says_what_the_table_says(predictor):
    found = mixers_optimal(predictor, ["attention", "hyena", "h3"], 1e13)
    picture = mixers_picture(found)
    assert picture.title == "At 1e13 FLOPs hyena is better than attention"
    assert [row[0] for row in picture.numbers.rows] == ["attention", "hyena", "h3"]
    assert [row[-1] for row in picture.numbers.rows] == ["", "better", "undecided"]
    for width in (320, 1040):
        drawn = picture.svg(width)
        assert "hyena: better" in drawn
        assert "h3: undecided" in drawn
    h3 = mixers_picture(mixers_optimal(predictor, ["attention", "h3"], 1e13))
    assert h3.title == "At 1e13 FLOPs it is undecided whether h3 beats attention"


def test_a_carried_over_mixer_has_a_picture_around_the_compute_asked_for():
    found = mixers_optimal(load_predictor("chinchilla-massivetext"), ["attention", "hyena"], 1e21)
    assert found.crossings == ()
    (curve,) = found.curves
    assert curve.flops[0] < 1e21 < curve.flops[-1]
    here = np.interp(np.log(1e21), np.log(curve.flops), curve.median)
    assert here == pytest.approx(found.rows[1].difference.median, rel=0.02)
    assert "hyena" in mixers_picture(found).svg(320)
