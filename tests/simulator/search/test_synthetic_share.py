"""How much synthetic text to train on, found by a search."""

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.search.evaluate import Evaluator
from foretrain.simulator.search.local_search.polish import improve
from foretrain.simulator.search.result import _unread_notes
from foretrain.simulator.search.study import Study

WEB = load("web-text")
SHARE = {"low": 0.0, "high": 0.9}


def study(synthetic, space, tokens="2T", stock=None, **parts) -> Study:
    data = {"tokens": tokens} | ({} if synthetic is None else {"synthetic": synthetic})
    data |= {} if stock is None else {"unique_tokens": stock}
    run = {"model": {"params": "7B"}, "data": data}
    return Study.from_mapping({"run": run, "space": space, "objective": "loss_nats", **parts}, predictor=WEB)


def best(of: Study):
    evaluator = Evaluator(of)
    return improve(evaluator, evaluator(of.space.current()), lambda one: one.goals[0], budget=40)


def test_the_best_share_is_that_of_the_best_mixture_where_such_text_helps():
    found = best(study({"share": 0.6, "generator": "wrap"}, {"data.synthetic.share": SHARE}))
    assert found.values["data.synthetic.share"] == pytest.approx(0.3, abs=0.02)


def test_text_of_ones_own_is_taken_where_real_text_has_run_out_and_nowhere_else():
    space = {"data.synthetic.share": SHARE}
    start = {"share": 0.3, "regime": "subsample", "generation": 9}
    plenty, scarce = (best(study(start, space, stock=stock)) for stock in (None, "3B"))
    assert plenty.values["data.synthetic.share"] == pytest.approx(0.0, abs=0.01)
    evaluate = Evaluator(study(start, space, stock="3B"))
    shares = np.linspace(0.0, 0.9, 46).tolist()
    grid = [one.goals[0] for one in evaluate.many([{"data.synthetic.share": share} for share in shares])]
    assert scarce.goals[0] < min(grid) * 1.002
    assert scarce.goals[0] < 0.9 * grid[0]
    assert scarce.values["data.synthetic.share"] > 0.01


def test_shares_and_writers_are_searched_without_a_note():
    space = {"data.synthetic.share": SHARE, "data.synthetic.generator": ["self", "wrap"]}
    of = study({"share": 0.5}, space)
    assert not _unread_notes(of)
    plans = [{"data.synthetic.share": 0.3, "data.synthetic.generator": name} for name in ("self", "wrap")]
    either = Evaluator(of).many(plans)
    assert either[1].goals[0] < either[0].goals[0]


@pytest.mark.parametrize(
    ("synthetic", "space", "message"),
    [
        (None, {"data.synthetic.share": SHARE}, "the run has no synthetic text; expected data.synthetic in it"),
        (
            {"share": 0.3},
            {"data.synthetic.share": {"low": 0.1, "high": 1.2}},
            "got 1.2; expected a number of at most 1",
        ),
        ({"share": 0.3}, {"data.synthetic.share": {"low": -0.1, "high": 0.2}}, "got -0.1; expected a number of at le"),
        (
            {"share": 0.3, "regime": "accumulate"},
            {"data.synthetic.share": {"low": 0.1, "high": 0.9}},
            "got 0.9 under regime accumulate",
        ),
    ],
)
def test_what_no_plan_can_have_is_refused(synthetic, space, message):
    with pytest.raises(ConfigError, match=message):
        study(synthetic, space)


def test_epochs_of_a_mix_count_real_text_alone(make_study, mixed_predictor):
    mix = {"simplex": {"a": {"min": 0.2, "unique_tokens": "15B"}, "b": None, "c": None}, "max_epochs": 4}
    data = {"tokens": "100B", "mix": {"a": 0.4, "b": 0.3, "c": 0.3}, "synthetic": {"share": 0.5}}
    of = make_study(
        run={"data": data}, space={"data.mix": mix, "data.synthetic.share": SHARE}, predictor=mixed_predictor,
        objective="loss_nats.a",
    )  # fmt: skip
    for share, most in ((None, 1.0), (0.25, 0.8), (0.0, 0.6)):
        values = {"data.tokens": 1e11, **({} if share is None else {"data.synthetic.share": share})}
        assert of.space.mix.bounds(values)[1][0] == pytest.approx(min(most, of.space.mix.high[0]))


def test_writing_it_is_in_the_goals(make_study):
    stated = {"share": 0.5, "generating": {"params": "3B", "efficiency": 0.1}}
    values = []
    for synthetic in (None, stated):
        data = {"tokens": "20B"} | ({} if synthetic is None else {"synthetic": synthetic})
        of = make_study(run={"data": data}, objective=["gpu_hours", "lifetime_flops"], serving={"tokens": "1B"})
        values.append(Evaluator(of)(of.space.current()).goals)
    flops = 2 * 3e9 * 10e9
    hours = flops / (0.1 * 989.4e12) / 3600
    assert np.subtract(values[1], values[0]) == pytest.approx([hours, flops], rel=0.01)
