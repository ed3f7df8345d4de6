"""`simulate optimal` as a user meets it: each command's output, files and exit codes, and what bad input gets."""

import json
from pathlib import Path

import pytest
from foretrain.core.units import format_count

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SEVEN_B, GPT3 = (EXAMPLES / f"{name}.yaml" for name in ("llama-7b", "gpt3-175b"))
GOPHER = ("--flops", "5.76e23", "--predictor", "chinchilla-massivetext")

# These names are a promise to whoever parses them: add, never rename.
POINT_KEYS = {
    "training_flops", "predictor", "law", "target", "params_kind", "method", "params", "tokens", "tokens_per_param",
    "loss_nats", "perplexity", "epochs", "indifferent_params", "extrapolation_gap_decades", "around", "plan", "notes",
    "version",
}  # fmt: skip
MONEY_KEYS = {
    "limits", "binding", "predictor", "law", "params_total", "params_active", "tokens", "loss_nats", "perplexity",
    "cost_usd", "wall_clock_days", "gpu_hours", "energy_mwh", "co2e_t", "training_flops", "epochs", "over_training",
    "sizes", "plan", "left_out", "config", "notes", "version",
}  # fmt: skip
OVER_TRAINING_KEYS = {
    "factor", "params", "tokens", "loss_nats", "penalty_nats", "compute_factor", "inference_saved",
}  # fmt: skip
CHANGE_KEYS = {
    "params_total", "tokens", "devices", "loss_nats", "loss_change_nats", "perplexity_change", "cost_change_usd",
    "days_change", "differences",
}  # fmt: skip
KNOB_KEYS = {
    "key", "value", "value_down", "value_up", "down", "up", "difference_down", "difference_up", "elasticity", "note",
    "read",
}  # fmt: skip
SIGNATURES = {".html": b"<!doctype html", ".svg": b"<svg", ".png": b"\x89PNG"}


def parsed(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON number"))


def test_a_point_in_json(run):
    facts = parsed(run("optimal", "point", *GOPHER, "--json"))
    assert set(facts) == POINT_KEYS
    assert {frozenset(row) for row in facts["around"]} == {frozenset(OVER_TRAINING_KEYS)}
    low, high = facts["params"]["intervals"]["0.9"]
    assert low < 70e9 < high, "Chinchilla, as trained"


def test_a_point_as_a_table(call):
    done = call("optimal", "point", *GOPHER)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "compute-optimal for 5.76e23 FLOPs"
    found = parsed(call("optimal", "point", *GOPHER, "--json"))["params"]["median"]
    assert lines[2].split()[:3] == ["parameters", "(non-embedding)", format_count(found)]
    assert "closed form" in done.stdout
    assert "! C = 6·N·D; N counts non-embedding parameters" in done.stdout


def test_a_plan_says_where_it_stands(call):
    done = call("optimal", "point", "--config", SEVEN_B)
    assert "the plan, 6.48B on 2.00T tokens, is over-trained" in done.stdout, "without its embeddings"
    facts = parsed(call("optimal", "point", "--config", GPT3, "--json"))
    assert facts["plan"]["factor"] < 0.2, "GPT-3 had far too few tokens"


def test_a_budget_in_json_and_as_a_table(call):
    words = ("optimal", "point", "--budget", "1M", "--deadline", "60d", "--chance", "90%", "--config", SEVEN_B)
    facts = parsed(call(*words, "--json"))
    assert set(facts) == MONEY_KEYS
    assert facts["limits"] == {"cost_usd": 1e6, "wall_clock_days": 60.0, "chance": 0.9}
    assert facts["cost_usd"]["intervals"]["0.8"][1] == pytest.approx(1e6, rel=0.01)
    shown = call(*words).stdout
    assert shown.startswith("best run on 512 × A100-SXM-80 within 1.00M USD and 60 days")
    assert "the budget ends it; chance of keeping to the budget 90%" in shown
    assert sum("←" in line for line in shown.splitlines()) == 1


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_curves_and_their_chart(call, tmp_path, suffix):
    chart = tmp_path / f"curves{suffix}"
    words = ("--flops", "1e21,1e22", "--loss", "2.3,2.2", "--chart", chart)
    facts = parsed(call("optimal", "curves", *words, "--json"))
    assert [one["training_flops"] for one in facts["isoflop"]] == [1e21, 1e22]
    assert [one["loss_nats"] for one in facts["isoloss"]] == [2.3, 2.2]
    assert chart.read_bytes().startswith(SIGNATURES[suffix])


def test_curves_as_a_table(call):
    shown = call("optimal", "curves", "--flops", "1e21,1e22", "--loss", "2.2").stdout
    assert "lowest loss for a compute" in shown
    assert "least compute for a loss" in shown
    assert [line.split()[0] for line in shown.splitlines() if line[:1].isdigit()] == ["1.00e21", "1.00e22", "2.2"]


def test_what_more_buys(call, tmp_path):
    words = ("optimal", "more", "--config", SEVEN_B, "--weeks", "2", "--gpus", "512", "--budget", "20%")
    facts = parsed(call(*words, "--chart", tmp_path / "more.pdf", "--json"))
    assert (tmp_path / "more.pdf").read_bytes().startswith(b"%PDF")
    named = {row["what"]: row for row in facts["more"]}
    assert {"2 weeks more", "512 more accelerators (+100%)", "20% more money", "twice the tokens"} < set(named)
    for row in named.values():
        assert set(row) == {"what", "same_model", "best_model", "note"}
        assert set(row["same_model"]) == set(row["best_model"]) == CHANGE_KEYS


def test_sensitivity(call, tmp_path):
    words = ("optimal", "sensitivity", "--config", SEVEN_B, "--set", "data.tokens=1T", "--set", "optim.optimizer=muon")
    facts = parsed(call(*words, "--chart", tmp_path / "s.svg", "--json"))
    assert (tmp_path / "s.svg").read_bytes().startswith(b"<svg")
    assert {frozenset(row) for row in facts["knobs"]} == {frozenset(KNOB_KEYS)}
    assert "optim.lr" in facts["not_read"]
    tokens = next(row for row in facts["knobs"] if row["key"] == "data.tokens")
    assert (tokens["value"], tokens["value_up"]) == (1e12, pytest.approx(1.1e12))
    shown = call(*words).stdout
    assert "not read here: optim.lr" in shown
    assert shown.splitlines()[2].startswith("model.params")


@pytest.mark.parametrize("command", ["point", "curves", "more", "sensitivity"])
def test_help_has_an_example(call, command):
    done = call("optimal", command, "--help")
    assert done.returncode == 0
    assert f"simulate optimal {command}" in done.stdout.split("Example:")[1]


# what bad input gets

RUN = ("--config", SEVEN_B)
BAD = [
    (("point",), 2, "expected --flops, --config, or --config with --budget"),
    (("point", "--flops", "much"), 2, "--flops: got 'much'"),
    (("point", "--flops", "5"), 3, "flops: got 5; expected training FLOPs from 1e9"),
    (("point", "--flops", "0"), 2, "--flops: got '0'; expected a number above 0"),
    (("point", "--budget", "2M"), 2, "--budget and --deadline go with --config"),
    (("point", "--budget", "2M", "--flops", "1e22", *RUN), 2, "not with --flops"),
    (("point", "--budget", "5", *RUN), 4, "llama-7b.yaml: budget: 5 USD isn't enough; expected at least about"),
    (("point", "--deadline", "1s", *RUN), 4, "deadline: "),
    (("point", "--deadline", "soon", *RUN), 2, "--deadline: got 'soon'; expected a duration"),
    (("point", "--budget", "2M", *RUN, "--set", "hardware.price_usd_per_hour=0"), 3, "expected a price"),
    (("point", "--budget", "2M", *RUN, "--set", "hardware=null"), 3, "hardware.count: missing"),
    (("point", "--flops", "1e22", "--set", "data.tokens=1T"), 2, "--set goes with --config"),
    (("point", "--flops", "1e22", "--calibration", "x"), 2, "--calibration goes with"),
    (("point", "--flops", "1e22", "--chance", "90%"), 2, "--chance goes with"),
    (("point", "--budget", "1M", "--chance", "100%", *RUN), 2, "--chance: got '100%'; expected a share"),
    (("point", "--flops", "1e22", "--predictor", "routing-moe"), 3, "how the loss changes with tokens"),
    (("point", "--flops", "1e22", "--predictor", "steplaw", "--unique-tokens", "1B"), 3, "knows no repeats"),
    (("point", "--flops", "1e22", "--predictor", "none-such"), 3, "no such predictor"),
    (("point", "--flops", "1e22", "--chart", "x.gif"), 2, "unknown format '.gif'"),
    (("point", "--config", "none-such.yaml"), 3, "none-such.yaml: there is no such file"),
    (("curves",), 2, "expected --flops, --loss or both"),
    (("curves", "--flops", "1e22,,1e23"), 2, "--flops: got ''"),
    (("curves", "--loss", "1"), 4, "no compute up to 1e32 FLOPs reaches it; the lowest loss of the law"),
    (("curves", "--loss", "40"), 3, "loss: got 40; expected nats per token"),
    (("more", *RUN, "--budget", "-1"), 2, "--budget: got '-1'; expected a share"),
    (("more", *RUN, "--weeks", "0"), 2, "--weeks: got '0'; expected a number above 0"),
    (("more", *RUN, "--gpus", "0"), 2, "--gpus"),
    (("more", "--config", GPT3), 3, "hardware.accelerator, hardware.count: missing"),
    (("more", *RUN, "--set", "hardware.count=513"), 4, "no layout is possible for 513 devices"),
    (("sensitivity", *RUN, "--step", "90%"), 2, "--step: got '90%'; expected a share"),
    (("sensitivity", *RUN, "--set", "hardware.count=513"), 4, "expected hardware.count 512"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD, ids=lambda value: str(value)[:50])
def test_bad_input_is_refused(call, tmp_path, words, code, message):
    done = call("optimal", *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert not done.stdout or set(json.loads(done.stdout)) == {"error"}
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
