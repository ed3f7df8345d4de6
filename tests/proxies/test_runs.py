import math

import numpy as np
import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.proxies.runs import ProxyRun, Recipe
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

SHAPE = Architecture(layers=2, width=32, heads=2, ffn_width=64, vocab_size=100, context_length=64)


def run(**given) -> ProxyRun:
    return ProxyRun(**{"run_id": "r", "shape": SHAPE, "tokens": 1e5, "mix": {"a": 1.0}, **given})


@st.composite
def runs(draw):
    tokens = draw(st.floats(1, 1e8))
    return run(
        shape=SHAPE.model_copy(update={"context_length": draw(st.integers(1, 512))}),
        tokens=tokens,
        batch_sequences=draw(st.integers(1, 64)),
        evaluate_at=tuple(draw(st.lists(st.floats(1e-3, 1).map(lambda share: share * tokens), max_size=5))),
        recipe=Recipe(warmup_tokens=draw(st.floats(0, 1e7))),
    )


@given(runs())
def test_steps_hold_the_tokens_and_not_one_step_more(one):
    assert one.batch_tokens == one.batch_sequences * one.shape.context_length
    assert one.steps >= 1
    assert (one.steps - 1) * one.batch_tokens < one.tokens <= one.steps * one.batch_tokens


@given(runs())
def test_evaluations_ascend_within_the_run_and_end_with_it(one):
    steps = one.evaluate_steps
    assert list(steps) == sorted(set(steps))
    assert steps[0] >= 1
    assert steps[-1] == one.steps
    for tokens in one.evaluate_at:
        nearest = min(abs(step * one.batch_tokens - tokens) for step in steps)
        assert nearest <= one.batch_tokens
    assert len(steps) <= len(one.evaluate_at) + 1


@given(runs())
def test_warm_up_is_at_most_a_fifth_of_the_run(one):
    schedule = one.schedule
    assert schedule.steps == one.steps
    assert schedule.warmup_steps <= one.steps / 5
    asked = one.recipe.warmup_tokens / one.batch_tokens
    assert schedule.warmup_steps == min(round(asked), one.steps // 5)


@given(runs())
def test_training_flops_are_those_of_the_whole_steps(one):
    expected = one.shape.training_flops_per_token() * one.steps * one.batch_tokens
    assert one.training_flops == pytest.approx(expected, rel=1e-12)
    assert one.training_flops >= one.shape.training_flops_per_token() * one.tokens * (1 - 1e-12)


@given(runs())
def test_a_run_survives_json(one):
    again = ProxyRun.model_validate_json(one.model_dump_json())
    assert again == one
    assert again.shared == one.shared


def test_numbers_by_hand():
    one = run(tokens=10_000, batch_sequences=4, evaluate_at=(1_000, 5_000, 5_100, 10_000))
    assert one.batch_tokens == 256
    assert one.steps == 40  # 39.06 rounded up
    assert one.evaluate_steps == (4, 20, 39, 40)
    assert one.schedule.warmup_steps == 8  # of 195 asked for
    assert run(tokens="2M", batch_sequences=8).steps == 3907


def test_the_schedule_ends_at_a_tenth_of_the_peak_unless_told():
    assert run(recipe=Recipe(schedule="linear")).schedule.final == pytest.approx(0.1)
    assert run(recipe=Recipe(schedule="linear", lr=0.02, lr_final=0.005)).schedule.final == pytest.approx(0.25)
    assert run(recipe=Recipe(schedule="cosine", lr_final=0.0)).schedule.final == 0
    steps = np.arange(run().steps)
    constant = run(recipe=Recipe(schedule="constant", warmup_tokens=0)).schedule
    assert (constant.at(steps) == 1).all()


def test_what_must_be_shared_is_all_that_decides_the_tensor_operations():
    one = run()
    alike = {"seed": 5, "mix": {"b": 1.0}, "recipe": Recipe(lr=0.5, schedule="cosine"), "run_id": "other"}
    assert run(**alike).shared == one.shared
    assert run(unique_tokens={"a": 1e4}).shared == one.shared
    for change in (
        {"tokens": 2e5},
        {"batch_sequences": 4},
        {"evaluate_at": (5e4,)},
        {"model": "other"},
        {"shape": SHAPE.model_copy(update={"width": 64})},
    ):
        assert run(**change).shared != one.shared, change
    assert len({one.shared, run(**alike).shared}) == 1


@pytest.mark.parametrize("total", [0.99, 1.0, 1.01])
def test_shares_within_a_hundredth_of_1_pass(total):
    one = run(mix={"a": total / 2, "b": total / 2, "c": 0.0})
    assert math.fsum(one.mix.values()) == pytest.approx(total)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"mix": {"a": 0.5, "b": 0.4}}, "mix: got shares that sum to 0.9; expected 1 within 0.01"),
        ({"mix": {}}, "mix: got shares that sum to 0;"),
        ({"mix": {"a": 1.5, "b": -0.5}}, "expected a number of at most 1"),
        ({"mix": {"a": float("nan")}}, "finite number"),
        ({"mix": {"a": True}}, "got True"),
        ({"mix": {"": 1.0}}, "at least 1 character"),
        ({"tokens": 1e5, "evaluate_at": (2e5,)}, "evaluate_at: got 200000; expected at most tokens 100000"),
        ({"evaluate_at": (0,)}, "greater than 0"),
        ({"tokens": 0}, "greater than 0"),
        ({"tokens": "many"}, "many"),
        ({"batch_sequences": 0}, "greater than or equal to 1"),
        ({"batch_sequences": 1.5}, "expected a whole number"),
        ({"seed": -1}, "got -1"),
        ({"seed": 2**32}, "less than or equal to"),
        ({"unique_tokens": {"a": 0}}, "greater than 0"),
        ({"run_id": "a\nb"}, "printable"),
        ({"run_id": ""}, "at least 1 character"),
        ({"learning_rate": 1}, "not permitted"),
    ],
)
def test_impossible_runs_are_refused(change, fragment):
    with pytest.raises(ValidationError, match=fragment):
        run(**change)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"lr": 0.01, "lr_final": 0.02}, "lr_final: got 0.02; expected at most lr 0.01"),
        ({"lr": 0}, "greater than 0"),
        ({"lr": 101}, "less than or equal to 100"),
        ({"lr": float("inf")}, "finite|less than"),
        ({"beta1": 1}, "less than 1"),
        ({"beta2": 1.0}, "less than 1"),
        ({"clip_norm": 0}, "greater than 0"),
        ({"averaging": 1.1}, "expected a number of at most 1"),
        ({"weight_decay": -0.1}, "greater than or equal to 0"),
        ({"warmup_tokens": -1}, "a number that isn't negative"),
        ({"schedule": "step"}, "schedule"),
    ],
)
def test_impossible_recipes_are_refused(change, fragment):
    with pytest.raises(ValidationError, match=fragment):
        Recipe(**change)


def test_a_run_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        run().seed = 3
