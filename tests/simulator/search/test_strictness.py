"""How strictly to select, found by a search: under a law whose best strictness is known for every budget."""

import io
import math

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.simulator.fitting import Fit
from foretrain.simulator.laws import Reference, get_law
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.report.tables.study import study_view
from foretrain.simulator.search.evaluate import Evaluator
from foretrain.simulator.search.local_search.polish import improve
from foretrain.simulator.search.optimize import optimize
from foretrain.simulator.search.study import Study
from rich.console import Console

E, A, B, ALPHA, BETA = 1.7, 400.0, 1000.0, 0.34, 0.3
STAR, GAIN, STOCK = 5.0, 1.2, 10e9
KEEP = {"low": 0.05, "high": 1}
STRICT = np.linspace(0.05, 1.0, 951)


def textbook(tokens, keep, repeats=True):
    """L = E + A·N^-α + B·D'^-β of 1B parameters: D' = U·(1 + R*·(1 - exp(-R/R*)))·exp(gain·(1 - keep))."""
    seen = np.minimum(STOCK * keep, tokens) if repeats else tokens
    worth = seen * (1.0 + STAR * (1.0 - np.exp(-(tokens / seen - 1.0) / STAR)))
    return E + A * 1e9**-ALPHA + B * (worth * np.exp(GAIN * (1.0 - keep))) ** -BETA


def made(repeats=True) -> Predictor:
    """A predictor of that law, with the levels none and judge."""
    law = get_law(
        "general+muennighoff+selection" if repeats else "general+selection", (), {"selection": ("none", "judge")}
    )
    params, tokens = 1e9, 2e10
    capacity, data = A * params**-ALPHA, B * tokens**-BETA
    values = dict(zip(law.names, (parameter.mean for parameter in law.parameters), strict=True))
    core = (math.log(E + capacity + data), math.log((capacity + data) / E), math.log(capacity / data), ALPHA, BETA, 0.0)
    values |= dict(zip(list(values)[:6], core, strict=True))
    values |= {"selection_tokens.judge": GAIN / math.exp(values["selection_log_spread_tokens"])}
    if repeats:  # no size is too large for the text
        values |= {"log_repeat_star": math.log(STAR), "log_params_per_unique": 3.0}
    theta = np.array(list(values.values()))
    fit = Fit(law, Reference({"params": params, "tokens": tokens, "keep": 0.3}), theta, theta[None], 0.003, 0.0)
    ranges = {"params": (1e7, 1e10), "tokens": (1e8, 1e12), "compute": (1e16, 1e23)}
    return Predictor("strictness", {"loss": LossModel(fit, public_calibration(), ranges, 50)})


def study(space, tokens="10B", predictor=None, **parts) -> Study:
    data = {"tokens": tokens, "unique_tokens": STOCK, "selection": {"kind": "judge", "keep": 0.5}}
    run = {"model": {"params": "1B"}, "data": data}
    parts = {"run": run, "space": space, "objective": "loss_nats", **parts}
    return Study.from_mapping(parts, predictor=predictor or made())


def best(of: Study, **start):
    """The best plan that a local search finds from the run as it is."""
    evaluator = Evaluator(of)
    return improve(evaluator, evaluator({**of.space.current(), **start}), lambda one: one.goals[0], budget=200)


def test_the_best_strictness_loosens_with_the_budget():
    found, known = [], []
    for tokens in (4e8, 4e9, 2e10, 2e11):
        one = best(study({"data.selection.keep": KEEP}, tokens))
        known.append(STRICT[np.argmin(textbook(tokens, STRICT))])
        found.append(one.values["data.selection.keep"])
        assert one.goals[0] == pytest.approx(textbook(tokens, found[-1]), rel=1e-6)
        assert one.goals[0] <= textbook(tokens, STRICT).min() * (1 + 1e-5)
    assert found == pytest.approx(known, abs=0.02)
    assert found[0] == pytest.approx(0.05, abs=0.01)
    assert sorted(found) == found
    assert found[-1] > 3 * found[0]


def test_without_repetition_the_strictest_always_looks_best():
    for tokens in (4e9, 2e11):
        keep = best(study({"data.selection.keep": KEEP}, tokens, made(repeats=False))).values["data.selection.keep"]
        assert keep == pytest.approx(0.05, abs=0.01)
    assert textbook(2e11, 0.05) > textbook(2e11, 0.5) + 0.01  # the search was wrong


SPACE = {
    "model.params": {"low": "50M", "high": "10B", "log": True},
    "data.tokens": {"low": "1B", "high": "1T", "log": True},
    "data.selection.keep": KEEP,
    "data.selection.kind": ["none", "judge"],
}


def test_less_compute_takes_a_smaller_model_fewer_tokens_and_a_stricter_selection():
    ends = []
    for flops in (3e19, 3e22):
        of = study(SPACE, constraints={"training_flops": flops})
        ends.append(
            best(of, **{"model.params": (flops / 600) ** 0.5, "data.tokens": 0.9 * (flops / 6 * 100 / 6) ** 0.5})
        )
        assert ends[-1].feasible
    small, large = (one.values for one in ends)
    assert small["data.selection.keep"] < 0.6 * large["data.selection.keep"]
    assert small["data.tokens"] < large["data.tokens"]
    assert small["model.params"] < large["model.params"]


def test_a_study_of_kinds_and_strictness_is_searched_and_shown():
    found = optimize(study(SPACE, constraints={"training_flops": 1e21}, search={"polish": False}), trials=6)
    assert found.best.evaluation.feasible
    assert not found.notes
    assert found.best.forecast.judging is None or found.best.evaluation.config.data.keep < 1
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(study_view(found))
    assert "data.selection.keep" in console.export_text()


def test_text_as_it_is_keeps_all_in_every_plan():
    space = study({"data.selection.keep": KEEP, "data.selection.kind": ["none", "judge"]}).space
    plain = space.config({"data.selection.kind": "none", "data.selection.keep": 0.1})
    assert (plain.data.keep, plain.data.kept_tokens) == (1.0, STOCK)
    assert space.config({"data.selection.kind": "judge", "data.selection.keep": 0.1}).data.kept_tokens == 0.1 * STOCK


@pytest.mark.parametrize(
    ("space", "run", "message"),
    [
        (
            {"data.selection.keep": {"low": 0.0, "high": 1}},
            {"kind": "judge"},
            "keep: got 0.0; expected a number above 0",
        ),
        (
            {"data.selection.keep": {"low": 0.1, "high": 1.2}},
            {"kind": "judge"},
            "got 1.2; expected a number of at most 1",
        ),
        ({"data.selection.keep": KEEP}, None, "the run selects nothing; expected data.selection.kind in it"),
        ({"data.selection.keep": KEEP}, {"kind": "none"}, "the run selects nothing"),
    ],
)
def test_what_no_plan_can_keep_is_refused(space, run, message):
    data = {"tokens": "10B"} | ({} if run is None else {"selection": run})
    with pytest.raises(ConfigError, match=message):
        study(space, run={"model": {"params": "1B"}, "data": data})


def test_epochs_of_a_mix_count_what_is_kept(make_study, mixed_predictor):
    mix = {"simplex": {"a": {"min": 0.2, "unique_tokens": "30B"}, "b": None, "c": None}, "max_epochs": 4}
    data = {"tokens": "100B", "mix": {"a": 0.4, "b": 0.3, "c": 0.3}, "selection": {"kind": "judge", "keep": 0.5}}
    of = make_study(
        run={"data": data}, space={"data.mix": mix, "data.selection.keep": KEEP}, predictor=mixed_predictor,
        objective="loss_nats.a",
    )  # fmt: skip
    low, high = of.space.mix.bounds({"data.tokens": 1e11, "data.selection.keep": 0.25})
    assert (low[0], high[0]) == pytest.approx((0.2, 0.3))
    values = {**of.space.current(), "data.selection.keep": 0.1}
    assert Evaluator(of)(values).excess["epochs.a"] == pytest.approx(math.log(40e9 / 3e9 / 4))


def test_judging_is_in_the_goals(make_study):
    stated = {"kind": "judge", "keep": 0.3, "judge": {"params": "3B", "efficiency": 0.5}}
    goals = ["cost_usd", "gpu_hours", "lifetime_flops"]
    values = []
    for selection in (None, stated):
        data = {"tokens": "20B"} | ({} if selection is None else {"selection": selection})
        of = make_study(run={"data": data}, objective=goals, serving={"tokens": "1B"})
        values.append(Evaluator(of)(of.space.current()).goals)
    flops = 2 * 3e9 * 20e9 / 0.3
    hours = flops / (0.5 * 989.4e12) / 3600
    more = np.subtract(values[1], values[0])
    assert more[2] == pytest.approx(flops)
    assert more[1] == pytest.approx(hours, rel=0.01)
    assert more[0] == pytest.approx(2.0 * hours, rel=0.01)


@pytest.mark.parametrize("step", [{"step": 1e8}, {"log": True}])
def test_a_setting_that_the_run_leaves_to_its_default_may_be_searched(step):
    """A plan without a judge's size had no place in its range: the local search ended in a traceback."""
    space = {"data.selection.judge.params": {"low": 1e6, "high": 3e9, **step}, "data.selection.keep": KEEP}
    found = optimize(study(space, search={"trials": 4}))
    assert found.best.evaluation.feasible
