import math

import pytest
from foretrain.commands.learning.proxies import parse_budget, parse_precision, planned_from_config, planned_from_text
from foretrain.core.errors import ConfigError, UsageError
from foretrain.workflows.planned_run import StageBudget, with_mix


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30min", StageBudget(wall_clock_s=1800.0)),
        ("1d12h", StageBudget(wall_clock_s=129_600.0)),
        ("1e15FLOPs", StageBudget(training_flops=1e15)),
        (" 2.5e18 flops ", StageBudget(training_flops=2.5e18)),
    ],
)
def test_budgets(text, expected):
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "30", "1e15", "soon", "0s", "0FLOPs", "-1h", "flops", "nan FLOPs"])
def test_budgets_that_say_nothing_are_refused(text):
    with pytest.raises(UsageError, match="--budget"):
        parse_budget(text)


def test_precisions():
    assert (parse_precision("2%"), parse_precision("0.02"), parse_precision(" 0.5 %")) == pytest.approx(
        (0.02, 0.02, 0.005)
    )
    for text in ("0", "100%", "-1%", "2", "nan", "%", "two"):
        with pytest.raises(UsageError, match="--precision"):
            parse_precision(text)


def test_planned_runs():
    found = planned_from_text("params=7B, tokens=140B, mix.web=0.7, mix.code=0.3")
    assert found == {"params": 7e9, "tokens": 1.4e11, "mix.web": 0.7, "mix.code": 0.3}


@pytest.mark.parametrize(
    "text",
    ["", "params=7B", "tokens=1B", "params=7B,tokens=0", "params=7B,tokens=1B,tokens=2B", "params=7B,tokens=1B,lr=0.1",
     "params=7B,tokens=1B,mix.=1", "params=seven,tokens=1B", "params,tokens", "params=-1,tokens=1B"],
)  # fmt: skip
def test_planned_runs_that_are_none_are_refused(text):
    with pytest.raises(UsageError, match="--target"):
        planned_from_text(text)


def test_a_planned_run_from_its_file(tmp_path):
    (tmp_path / "run.yaml").write_text("model: {params: 7B}\ndata: {tokens: 2T, mix: {web: 0.5, code: 0.5}}\n")
    found = planned_from_config(str(tmp_path / "run.yaml"))
    assert found == {"params": 7e9, "tokens": 2e12, "mix.web": 0.5, "mix.code": 0.5}
    (tmp_path / "run.yaml").write_text("model: {}\n")
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        planned_from_config(str(tmp_path / "run.yaml"))


def test_a_mix_is_completed_and_sums_to_one():
    sizes = {"params": 1e9, "tokens": 1e10}
    ladder = {"a": 0.25, "b": 0.75}
    assert with_mix(sizes, ["b", "a"], ladder) == {**sizes, "mix.a": 0.25, "mix.b": 0.75}
    found = with_mix({**sizes, "mix.b": 0.995}, ["a", "b"], ladder)
    assert (found["mix.a"], found["mix.b"]) == (0.0, 1.0)
    assert math.isclose(sum(found[f"mix.{name}"] for name in "ab"), 1.0)
    with pytest.raises(UsageError, match="no domain 'c'"):
        with_mix({**sizes, "mix.c": 1.0}, ["a", "b"], ladder)
    with pytest.raises(UsageError, match=r"sum to 0\.5"):
        with_mix({**sizes, "mix.a": 0.5}, ["a", "b"], ladder)
