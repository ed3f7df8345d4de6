"""Forecasts of staged plans: as plain ones where nothing changes; else late texts count more, what is open is said."""

import math

import foretrain
import numpy as np
import pytest
from foretrain.core.errors import ConfigError, InputError
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.stages.levels import end_nats, text_levels
from foretrain.simulator.forecast.stages.one_text import TextStages, as_one_text
from foretrain.simulator.predictor.storage.folder import load

PLAN = {
    "model": {"params": "1B", "context_length": 4096},
    "data": {"tokens": "100B", "mix": {"web": 0.9, "code": 0.1}},
    "optim": {"batch_tokens": "1M", "lr": 3e-4, "weight_decay": 0.1},
}
ANNEALED = [{}, {"name": "anneal", "share": 0.1, "mix": {"web": 0.4, "math": 0.6}}]


def plan(data=None, optim=None):
    """The plan with more of its data and optimisation stated."""
    return RunConfig.from_mapping(PLAN | {"data": PLAN["data"] | (data or {}), "optim": PLAN["optim"] | (optim or {})})


@pytest.fixture(scope="module")
def predictor():
    return load("web-text")


def test_a_plan_with_one_stage_is_the_plain_plan_to_the_last_bit(predictor):
    plain = foretrain.forecast(plan(), predictor).to_dict()
    staged = plan({"stages": [{}]}, {"stages": [{"batch_tokens": "1M"}]})
    found = foretrain.forecast(staged, predictor).to_dict()
    apart = {key for key in plain if plain[key] != found[key]}
    assert apart <= {"config", "warnings"}
    two = foretrain.forecast(plan({"stages": [{"share": 0.3}, {}]}), predictor)
    assert two.headline.loss_nats == foretrain.forecast(plan(), predictor).headline.loss_nats


def test_a_late_stage_counts_more_than_its_tokens_and_less_than_all(predictor):
    decaying = {"stages": [{"share": 0.9}, {"lr_final": 0}]}
    stages = TextStages(plan({"stages": ANNEALED}, decaying))
    assert stages.tokens.tolist() == pytest.approx([0.9, 0.1])
    assert 0.1 < stages.kept[1] < 0.9
    assert stages.kept.sum() == pytest.approx(1.0)
    one = as_one_text(plan({"stages": ANNEALED}, decaying)).data.mix
    assert one["math"] == pytest.approx(0.5 * 0.6 * (0.1 + stages.kept[1]))
    assert sum(one.values()) == pytest.approx(1)
    # the slower the weights move, the less is forgotten of what was early
    slow = TextStages(plan({"stages": ANNEALED}, decaying | {"weight_decay": 1e-4})).kept[1]
    assert slow < stages.kept[1]
    assert slow == pytest.approx(0.05 / 0.95, rel=0.1)


def test_what_is_open_of_the_stages_widens_the_forecast_and_is_said(predictor):
    found = foretrain.forecast(plan({"stages": ANNEALED}), predictor)
    plain = foretrain.forecast(as_one_text(plan({"stages": ANNEALED})), predictor)
    assert found.headline.loss_nats.median == plain.headline.loss_nats.median
    (low, high), (least, most) = (one.headline.loss_nats.intervals[0.9] for one in (found, plain))
    assert low < least
    assert high > most
    assert any("midway between their tokens and what AdamW" in text for text in found.warnings)
    assert any("training loss of the last stage is of its own text" in text for text in found.warnings)
    blind = foretrain.forecast(plan({"stages": ANNEALED}), load("chinchilla-massivetext"))
    assert any("this predictor reads no mix" in text for text in blind.warnings)


def test_a_predictor_of_texts_tells_the_level_of_a_stages_text(predictor):
    levels = text_levels(plan({"stages": [{}, {"share": 0.1, "mix": {"code": 1}}]}), predictor)
    assert levels is not None
    assert levels.log_nats[1] < levels.log_nats[0] - 0.2
    assert text_levels(plan({"stages": [{"mix": {"web": 1}}]}), predictor) is None
    coding = plan({"stages": [{}, {"share": 0.1, "mix": {"code": 1}}]})
    assert end_nats(coding, predictor, 2.4) == pytest.approx(math.exp(levels.log_nats[1]))
    assert end_nats(plan(), predictor, 2.4) == 2.4
    assert text_levels(plan({"stages": ANNEALED, "evaluated_on": "c4_en"}), predictor) is None


def test_each_branch_has_the_forecast_of_a_run_that_was_planned_to_end_there(predictor):
    stages = [{"tokens": "50B"}, {"name": "early", "tokens": "10B", "lr_final": 0, "branch": True}, {"lr_final": 0}]
    found = foretrain.forecast(plan(optim={"stages": stages}), predictor)
    (early,) = found.branches
    alone = foretrain.forecast(plan({"tokens": "60B"}, {"stages": [{"lr_final": 0}]}), predictor)
    assert (early.name, early.tokens, early.left_tokens) == ("early", 60e9, 50e9)
    assert early.loss_nats.median == pytest.approx(alone.headline.loss_nats.median)
    assert early.loss_nats.median > found.headline.loss_nats.median
    assert any("branches take 10.0B tokens on top of data.tokens (10%)" in text for text in found.warnings)


def test_steps_and_times_are_those_of_small_batches_too(predictor):
    shape = {"layers": 8, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000, "context_length": 2048}
    machines = {"accelerator": "H100-SXM-80", "count": 8}

    def estimate(stages):
        optim = {"batch_tokens": "512k", "stages": stages}
        mapping = {"model": {"architecture": shape}, "data": {"tokens": "10B"}, "optim": optim, "hardware": machines}
        return foretrain.estimate_cluster(RunConfig.from_mapping(mapping))

    plain, one = estimate([]), estimate([{}])
    small = estimate([{"share": 0.1, "batch_tokens": "64k"}, {"batch_tokens": "512k"}])
    assert one.to_dict() == plain.to_dict()
    assert small.steps == pytest.approx(0.9 * plain.steps + 8 * 0.1 * plain.steps, rel=0.02)  # whole sequences
    assert 1.0 < small.wall_clock_days.median / plain.wall_clock_days.median < 2.0


def test_plans_in_stages_are_compared_searched_and_shown(predictor, tmp_path):
    staged = plan({"stages": ANNEALED}, {"stages": [{"share": 0.9}, {"lr_final": 0}]})
    found = foretrain.compare([plan(), staged], predictor)
    assert np.isfinite(found.differences[1]["loss_nats"].median)
    study = {
        "run": staged.to_mapping(), "objective": {"minimise": "loss_nats"}, "search": {"trials": 2, "storage": None},
        "space": {"data.tokens": {"low": "50B", "high": "200B"}},
    }  # fmt: skip
    assert foretrain.optimize(study).best is not None
    study["run"] = plan(optim={"stages": [{"tokens": "80B"}, {"tokens": "20B", "lr_final": 0}]}).to_mapping()
    with pytest.raises(ConfigError, match=r"optim\.stages are stated in tokens, which add up to 1e"):
        foretrain.optimize(study)
    from foretrain.simulator.report.documents.contents.plans import facts

    told = dict(facts(found.forecasts[1]))
    assert "math" in told["data in stages"]
    assert "lr to 0" in told["optimisation in stages"]


def test_a_predictor_that_reads_no_text_says_so_once():
    """Three sentences told of mixes that a predictor of one text doesn't read at all."""
    found = foretrain.forecast(plan({"stages": ANNEALED}), load("chinchilla-massivetext"))
    assert sum(text.startswith("data.stages") for text in found.warnings) == 1
    assert (
        found.headline.loss_nats.intervals[0.9]
        != foretrain.forecast(plan(), load("chinchilla-massivetext")).headline.loss_nats.intervals[0.9]
    )


def test_steps_of_smaller_batches_are_said_as_shares(predictor):
    """A share of the steps holds on every page; their number differs by how machines share the batch."""
    ramp = [{"share": 0.1, "batch_tokens": "250k"}, {"batch_tokens": "1M"}]
    said = [text for text in foretrain.forecast(plan(None, {"stages": ramp}), predictor).warnings if "smaller" in text]
    assert len(said) == 1
    assert "31% of the steps, with 10% of the tokens" in said[0]


def test_what_a_predictor_refuses_is_told_of_the_plan_and_not_of_its_branch():
    branch = {"name": "aside", "branch": True, "share": 0.1, "lr_final": 0}
    with pytest.raises(InputError, match=r"tokens: got 1e\+12"):
        foretrain.forecast(plan({"tokens": "1T"}, {"stages": [{"share": 0.5}, branch, {}]}), load("routing-moe"))


def test_what_is_unknown_of_the_stages_texts_is_no_part_of_a_difference(predictor):
    corpora = [{"corpus": {"web": 0.85, "code": 0.15}}, {"share": 0.1, "corpus": {"web": 0.5, "math": 0.5}}]
    data = {"mix": None, "evaluated_on": "c4_en"}
    one = plan({**data, "stages": corpora})
    longer = plan({**data, "tokens": "150B", "stages": corpora})
    other = plan({**data, "tokens": "150B", "stages": [corpora[0], {"share": 0.1, "corpus": "pile"}]})
    widths = [_width(one, against, predictor) for against in (one, longer, other)]
    assert widths[0] < widths[1] < 0.3 * widths[2]  # other texts differ by more than their weights


def _width(one, other, predictor):
    low, high = foretrain.compare([one, other], predictor).differences[1]["loss_nats"].intervals[0.9]
    return high - low
