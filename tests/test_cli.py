"""The command line as a user meets it: its output, files and exit codes, mostly in a process of its own."""

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.quantity import LEVELS
from foretrain.core.version import __version__
from foretrain.simulator.predictor.storage.folder import DEFAULT, shipped

EXAMPLES = sorted(p for p in (Path(__file__).parents[1] / "examples").glob("*.yaml") if p.stem != "study")
SEVEN_B = EXAMPLES[0].with_name("llama-7b.yaml")
COMMANDS = [
    "predict", "compare", "report", "serve", "list", "fit", "score", "backtest", "cluster", "optimize",
    "planner", "optimal", "curve", "track", "data", "proxies", "feedback", "continued", "init",
]  # fmt: skip
LEVEL_KEYS = [f"{level:g}" for level in LEVELS]

# These names are a promise to whoever parses them: add, never rename.
CLUSTER_QUANTITIES = {
    "step_time_s", "tokens_per_s", "mfu", "peak_memory_gib", "wall_clock_days", "goodput", "interruptions", "gpu_hours",
    "cost_usd", "energy_mwh", "co2e_t",
}  # fmt: skip
CLUSTER_KEYS = CLUSTER_QUANTITIES | {
    "accelerator", "devices", "precision", "framework", "layout", "fits", "p_fit", "usable_memory_gib", "overhead",
    "steps", "step_tokens", "peak_flops_per_s", "usd_per_device_hour", "power_w", "pue",
    "step_parts_s", "memory_parts_gib", "wall_clock_shares", "cost_parts_usd", "price_published", "finish",
    "p_deadline", "p_budget", "calibrated_on", "cluster_notes", "judging_gpu_hours", "generating_gpu_hours",
}  # fmt: skip
DOMAIN_KEYS = {
    "loss_nats", "perplexity", "bits_per_byte", "bytes_per_token", "bytes_per_token_log_sd", "decomposition_nats",
}  # fmt: skip
FORECAST_KEYS = DOMAIN_KEYS | {
    "name", "domains", "average", "p_target", "p_all", "chances", "waterfall", "extrapolation_gap_decades",
    "training_flops", "params_total", "params_active", "params_fitted",
    "tokens", "epochs", "predictor", "warnings", "config", "seed", "version",
    "cluster_missing", "adjustments", "recommended_settings", "branches", "strategies", "judging", "generating",
    "after_pretraining", *CLUSTER_KEYS,
}  # fmt: skip
PREDICTOR_KEYS = {
    "name", "title", "source", "corpus", "val_domain", "tokenizer", "params_kind", "table", "digest", "command", "law",
    "why", "parameters", "rows", "backtest_cuts", "fitted_params", "fitted_tokens", "fitted_flops", "text_of_plan",
    "public_runs", "main", "main_in_words",
}  # fmt: skip
SCORE_KEYS = {
    "rows", "mae_nats", "rmse_nats", "bias_nats", "median_relative_error", "p90_relative_error", "max_relative_error",
    "r2", "spearman", "coverage", "median_interval_width_nats", "interval_score_nats",
}  # fmt: skip


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, call_in, write_runs):
    """A folder with `runs.csv` (60 small runs, 0.5 % noise), `larger.csv` (25 larger runs) and `mine`, fitted."""
    folder = tmp_path_factory.mktemp("workshop")
    rng = np.random.default_rng(7)
    write_runs(folder / "runs.csv", 10 ** rng.uniform(7, 9, 60), 10 ** rng.uniform(8, 10, 60), 0.005)
    params = 10 ** rng.uniform(9, 10, 25)
    write_runs(folder / "larger.csv", params, params * 10, 0.005)
    done = call_in(folder, "fit", "runs.csv", "--out", "mine")
    assert done.returncode == 0, done.stderr
    return folder


def parsed(done: subprocess.CompletedProcess) -> dict:
    """The JSON on standard output, where there must be nothing else."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON number"))


def check_quantity(quantity: dict) -> None:
    assert set(quantity) == {"median", "intervals"}
    assert list(quantity["intervals"]) == LEVEL_KEYS
    inner = (quantity["median"], quantity["median"])
    for low, high in quantity["intervals"].values():
        assert 0 < low < inner[0] <= inner[1] < high
        inner = (low, high)


def check_same(mapped: dict, loss: dict, by) -> None:
    assert mapped["median"] == pytest.approx(by(loss["median"]))
    for level, ends in loss["intervals"].items():
        assert mapped["intervals"][level] == pytest.approx([by(nats) for nats in ends])


# predict


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_predict_json_on_each_example(call, example):
    result = parsed(call("predict", "--config", example, "--json"))
    assert set(result) == FORECAST_KEYS
    assert set(result["predictor"]) == PREDICTOR_KEYS
    assert result["predictor"]["name"] == DEFAULT
    assert (result["name"], result["version"], result["seed"]) == (example.stem, __version__, 0)
    named = result["config"]["data"]["tokenizer"] is not None
    for domain in (result, *result["domains"].values()):
        assert set(domain) >= DOMAIN_KEYS
        loss = domain["loss_nats"]
        check_quantity(loss)
        check_quantity(domain["perplexity"])
        check_same(domain["perplexity"], loss, math.exp)
        assert sum(domain["decomposition_nats"].values()) == pytest.approx(loss["median"], rel=1e-6)
        bytes_per_token = domain["bytes_per_token"]
        assert (domain["bits_per_byte"] is not None) == (bytes_per_token is not None) == named
        if bytes_per_token is not None:
            check_quantity(domain["bits_per_byte"])
            assert domain["bits_per_byte"]["median"] * math.log(2) * bytes_per_token == pytest.approx(loss["median"])
            assert 0 < domain["bytes_per_token_log_sd"] < 0.1
    assert 1.2 < result["loss_nats"]["median"] < 4, "a loss that no such run ever had"
    target = result["config"]["targets"]
    assert (result["p_target"] is None) == (target["perplexity"] is None and target["loss_nats"] is None)
    assert result["p_target"] is None or 0 <= result["p_target"] <= 1
    check_cluster(result)


def check_cluster(result: dict) -> None:
    """Times, memory and cost are there exactly where the plan states its machines."""
    assert (result["config"]["hardware"]["count"] is None) == bool(result["cluster_missing"])
    if result["cluster_missing"]:
        assert {result[key] for key in CLUSTER_KEYS} == {None}
        return
    for key in CLUSTER_QUANTITIES - {"co2e_t", "interruptions"}:
        check_quantity(result[key])
    assert result["co2e_t"] is None, "no example states its grid"
    assert sum(result["step_parts_s"].values()) == pytest.approx(result["step_time_s"]["median"], rel=0.01)
    assert result["fits"] in ("fits", "tight")


def test_compare_shows_people_the_facts_of_the_json(run, call, tmp_path):
    """In a process of its own, then in this one: each plan's figures are those of predict."""
    plans = []
    for name, tokens in (("short", "1T"), ("long", "4T")):
        plans.append(tmp_path / f"{name}.yaml")
        text = (
            SEVEN_B.read_text()
            .replace("name: llama-7b", f"name: {name}")
            .replace("  tokens: 2T", f"  tokens: {tokens}")
        )
        plans[-1].write_text(text)
    shown = run("compare", *plans)
    assert (shown.returncode, shown.stderr) == (0, "")
    table = shown.stdout.split("rests on")[0].splitlines()
    assert max(map(len, table[:-1])) <= 80
    result = parsed(call("compare", *plans, "--json"))
    for path, plan in zip(plans, result["plans"], strict=True):
        alone = parsed(call("predict", "--config", path, "--json"))
        for figure in (
            "loss_nats",
            "perplexity",
            "bits_per_byte",
            "wall_clock_days",
            "gpu_hours",
            "cost_usd",
            "energy_mwh",
        ):
            assert plan[figure] == alone[figure]
    loss = result["plans"][1]["difference"]["loss_nats"]
    low, high = loss["intervals"]["0.9"]
    words = f"{loss['median']:+.3f}  {low:+.3f} to {high:+.3f}"
    assert words in shown.stdout
    assert loss["chance_lower"] > 0.5 > result["plans"][1]["difference"]["cost_usd"]["chance_lower"]


def test_compare_needs_two_plans_that_can_be_read(call, tmp_path):
    one = call("compare", SEVEN_B)
    assert one.returncode == 2
    assert "at least two" in one.stderr
    (tmp_path / "bad.yaml").write_text("model: {params: 1B}\n")
    bad = call("compare", SEVEN_B, "bad.yaml")
    assert bad.returncode == 3
    assert "bad.yaml" in bad.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_predict_shows_people_the_facts_of_the_json(call, example):
    shown = call("predict", "--config", example)
    result = parsed(call("predict", "--config", example, "--json"))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(example.stem + ": ")
    low, high = result["perplexity"]["intervals"]["0.9"]
    for words in (f" {result['perplexity']['median']:.2f} ", f"{low:.2f} to {high:.2f}", "rests on web-text"):
        assert words in shown.stdout
    for warning in result["warnings"]:
        assert f"! {warning}\n" in shown.stdout, "a warning must stay on one line where a grep expects it"
    assert ("bits per byte" in shown.stdout) == (result["bits_per_byte"] is not None)
    assert ("chance of reaching the target" in shown.stdout) == (result["p_target"] is not None)
    lacking = ", ".join(result["cluster_missing"])
    words = f"the plan lacks {lacking}" if lacking else f"on {result['devices']} × {result['accelerator']}"
    assert words in shown.stdout
    assert all(f"! {note}\n" in shown.stdout for note in result["cluster_notes"] or ())


def test_the_same_call_gives_the_same_bytes(run, call):
    """In a process of its own, off a terminal, and in this one."""
    for more in ([], ["--json"]):
        first, second = (one("predict", "--config", SEVEN_B, *more) for one in (run, call))
        assert first.stdout == second.stdout != ""


def test_overrides_take_effect(call):
    def median(*overrides: str) -> float:
        pairs = [word for override in overrides for word in ("--set", override)]
        return parsed(call("predict", "--config", SEVEN_B, "--json", *pairs))["loss_nats"]["median"]

    planned = median()
    assert median("data.tokens=4T") < planned < median("data.tokens=500B")
    assert median("data.tokens=1B", "data.tokens=2T") == planned, "the last of two overrides counts"
    assert median("model={params: 70B}") < planned < median("model={params: 1B}")


# proxies are too small for the run of this plan
@pytest.mark.parametrize("name", [name for name in shipped() if name != "proxy-architectures"])
def test_each_shipped_predictor_by_name(call, tmp_path, name):
    config = "model: {params: 1.5B}\ndata: {tokens: 130B}\noptim: {lr: 1e-3, batch_tokens: 1M}\n"
    (tmp_path / "run.yaml").write_text(config)
    result = parsed(call("predict", "--config", "run.yaml", "--predictor", name, "--json"))
    assert result["predictor"]["name"] == name
    check_quantity(result["loss_nats"])
    assert 1.2 < result["loss_nats"]["median"] < 5


def test_the_target_decides_the_chance_of_reaching_it(call):
    easy, hard = (
        parsed(call("predict", "--config", SEVEN_B, "--json", "--set", f"targets={{perplexity: {perplexity}}}"))[
            "p_target"
        ]
        for perplexity in (100, 1.5)
    )
    assert (easy > 0.95, hard < 0.05) == (True, True)


# charts


@pytest.mark.parametrize("ending", ["html", "svg", "png"])
def test_predict_draws_a_chart(call, tmp_path, ending):
    done = call("predict", "--config", SEVEN_B, "--chart", f"chart.{ending}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == call("predict", "--config", SEVEN_B).stdout
    data = (tmp_path / f"chart.{ending}").read_bytes()
    if ending == "png":
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        return
    text = data.decode("utf-8")
    assert "llama-7b" in text
    if ending == "svg":
        assert text.lstrip().startswith("<svg")
    else:
        assert "<svg" in text
        assert not re.search(r"<(?:script|link|iframe|img)\b", text), "the page must work offline, without a script"
    assert os.listdir(tmp_path) == [f"chart.{ending}"], "no temporary file may stay"


@pytest.mark.parametrize("name", ["chart.gif", "chart", "chart.html.gz"])
def test_a_chart_of_another_format_is_a_usage_error(call, tmp_path, name):
    done = call("predict", "--config", SEVEN_B, "--chart", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected .html, .svg, .png, .pdf" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_chart_into_a_folder_that_is_not_there(call):
    done = call("predict", "--config", SEVEN_B, "--chart", "absent/chart.svg")
    assert (done.returncode, done.stdout) == (3, "")
    assert "absent/chart.svg: can't be written" in done.stderr


def test_a_name_cannot_run_code_in_the_chart(call, tmp_path):
    """Configurations are shared: opening the chart of somebody's run must not run what its name says."""
    name = "</script><script>alert(1)</script>"
    (tmp_path / "run.yaml").write_text(f'name: "{name}"\nmodel: {{params: 7B}}\ndata: {{tokens: 2T}}\n')
    assert call("predict", "--config", "run.yaml", "--chart", "chart.html").returncode == 0
    assert name not in (tmp_path / "chart.html").read_text(encoding="utf-8")


# fit, score, backtest


def test_a_parameter_can_be_held(call_in, workshop):
    entry = parsed(call_in(workshop, "fit", "runs.csv", "--fix", "gamma=0.5", "--fix", "E=1.5", "--json"))["targets"][
        "loss"
    ]
    assert entry["parameters"]["gamma"] == pytest.approx(0.5)
    assert entry["parameters"]["E"] == pytest.approx(1.5)
    assert entry["fixed"] == {"gamma": 0.5, "E": 1.5}


@pytest.mark.parametrize(
    ("words", "code", "fragment"),
    [
        (["--fix", "gamma"], 2, "expected NAME=NUMBER"),
        (["--fix", "gama=1"], 3, "can't fix 'gama'"),
        (["--fix", "E=30"], 3, "E lies below all"),
        (["--law", "chinchilla", "--fix", "gamma=0.5"], 3, "law 'chinchilla' holds it at 1 itself"),
    ],
)
def test_a_parameter_that_cannot_be_held(call_in, workshop, words, code, fragment):
    done = call_in(workshop, "fit", "runs.csv", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert fragment in done.stderr


def test_a_fitted_predictor_predicts(call_in, workshop):
    plan = ["--set", "model={params: 4B}", "--set", "data={tokens: 60B}"]
    result = parsed(call_in(workshop, "predict", "--config", SEVEN_B, "--predictor", "mine", "--json", *plan))
    assert (result["predictor"]["name"], result["predictor"]["rows"]) == ("mine", 60)
    true = 1.7 + 400 * 4e9**-0.34 + 1500 * 60e9**-0.34
    assert result["loss_nats"]["median"] == pytest.approx(true, rel=0.03)
    low, high = result["loss_nats"]["intervals"]["0.95"]
    assert low < true < high
    assert result["extrapolation_gap_decades"] == pytest.approx(1.5, abs=0.5)


def test_a_fitted_predictor_scores_well_on_larger_runs(call_in, workshop):
    result = parsed(call_in(workshop, "score", "mine", "larger.csv", "--json"))
    assert (set(result), result["rows"], list(result["targets"])) == ({"rows", "targets"}, 25, ["loss"])
    scores = result["targets"]["loss"]
    assert set(scores) == SCORE_KEYS
    assert (list(scores["coverage"]), list(scores["median_interval_width_nats"])) == (LEVEL_KEYS, ["0.9"])
    assert scores["median_relative_error"] < 0.02
    assert scores["median_relative_error"] <= scores["p90_relative_error"] <= scores["max_relative_error"] < 0.05
    assert abs(scores["bias_nats"]) <= scores["mae_nats"] <= scores["rmse_nats"]
    assert scores["spearman"] > 0.9
    assert 0.8 <= scores["coverage"]["0.9"] <= scores["coverage"]["0.95"]


def test_backtest_reports_every_law(call_in, workshop):
    result = parsed(call_in(workshop, "backtest", "runs.csv", "--json"))
    assert set(result) >= {"chosen", "why", "laws", "points"}
    assert result["chosen"] in result["laws"]
    assert set(result["laws"]) >= {"chinchilla", "general", "kaplan"}
    for scores in result["laws"].values():
        assert set(scores) >= {"median_relative_error", "max_relative_error", "coverage"}
        assert 0 < scores["median_relative_error"] <= scores["max_relative_error"] < 1
        assert list(scores["coverage"]) == LEVEL_KEYS
        assert list(scores["coverage"].values()) == sorted(scores["coverage"].values())
    shown = call_in(workshop, "backtest", "runs.csv")
    assert shown.returncode == 0
    assert f"{result['chosen']} (chosen)" in shown.stdout


def test_fit_with_a_named_law_finds_it(call_in, workshop):
    done = call_in(workshop, "fit", "runs.csv", "--law", "chinchilla", "--json")
    result = parsed(done)
    target = result["targets"]["loss"]
    assert (target["law"], result["out"], target["rows"]) == ("chinchilla", None, 60)
    found = {name: target["parameters"][name] for name in ("E", "alpha", "beta")}
    assert found == pytest.approx({"E": 1.7, "alpha": 0.34, "beta": 0.34}, rel=0.1)
    assert result["table_notes"]
    for note in result["table_notes"]:
        assert f"runs.csv: {note}\n" in done.stderr


def test_the_same_fit_gives_the_same_files(run_in, workshop, tmp_path):
    (tmp_path / "runs.csv").write_bytes((workshop / "runs.csv").read_bytes())
    assert run_in(tmp_path, "fit", "runs.csv", "--out", "mine").returncode == 0
    names = sorted(path.name for path in (tmp_path / "mine").iterdir())
    assert names == ["MANIFEST.json", "MODEL_CARD.md", "draws.npz", "predictor.json"]
    for name in names:
        assert (tmp_path / "mine" / name).read_bytes() == (workshop / "mine" / name).read_bytes(), name


def test_fit_replaces_a_predictor_of_its_own(call_in, workshop, tmp_path):
    for law in ("chinchilla", "kaplan"):
        assert call_in(tmp_path, "fit", workshop / "runs.csv", "--law", law, "--out", "again").returncode == 0
    assert json.loads((tmp_path / "again/predictor.json").read_text())["targets"]["loss"]["law"] == "kaplan"
    assert call_in(tmp_path, "score", "again", workshop / "larger.csv").returncode == 0


def test_columns_name_what_a_table_calls_otherwise(call, tmp_path, workshop):
    text = (workshop / "runs.csv").read_text().replace("params,tokens,loss", "weights,seen,err")
    (tmp_path / "other.csv").write_text(text)
    assert call("fit", "other.csv").returncode == 3
    mapping = ["--columns", "params=weights, tokens=seen,loss=err"]
    renamed = parsed(call("fit", "other.csv", *mapping, "--law", "chinchilla", "--json"))
    plain = parsed(call("fit", workshop / "runs.csv", "--law", "chinchilla", "--json"))
    assert renamed["targets"] == plain["targets"]
    scores = parsed(call("score", workshop / "mine", "other.csv", *mapping, "--json"))
    assert scores["rows"] == 60


def test_domains_are_targets(call, tmp_path, workshop):
    header, *rows = (workshop / "runs.csv").read_text().splitlines()
    doubled = [f"{row},{float(row.split(',')[2]) * 1.2:.8g}" for row in rows]
    header = header.replace("loss", "loss.web") + ",loss.code"
    (tmp_path / "two.csv").write_text("\n".join([header, *doubled]) + "\n")
    assert call("fit", "two.csv", "--law", "chinchilla", "--out", "two").returncode == 0
    plan = ["--predictor", "two", "--json", "--set", "data.evaluated_on=code"]
    result = parsed(call("predict", "--config", SEVEN_B, *plan))
    assert set(result["domains"]) == {"loss.web", "loss.code"}
    assert result["loss_nats"] == result["domains"]["loss.code"]["loss_nats"]
    ratio = result["loss_nats"]["median"] / result["domains"]["loss.web"]["loss_nats"]["median"]
    assert ratio == pytest.approx(1.2, rel=1e-3)


# init


def test_init_writes_a_project_whose_run_predicts(run, call, tmp_path):
    done = run("init", "plan/first")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(os.listdir(tmp_path / "plan/first")) == ["corpora.yaml", "run.yaml", "space.yaml", "study.yaml"]
    assert "simulate proxies train space.yaml" in done.stdout
    written = tmp_path / "plan/first/run.yaml"
    assert call("predict", "--config", written).returncode == 0
    written.write_text("mine\n")
    refused = call("init", "plan/first")
    assert (refused.returncode, refused.stdout, written.read_text()) == (3, "", "mine\n")
    assert "--force" in refused.stderr
    assert call("init", "plan/first", "--force").returncode == 0
    assert written.read_text() != "mine\n"


def test_init_schema_is_a_json_schema(call, tmp_path):
    schema = parsed(call("init", "--schema"))
    assert set(schema["properties"]) >= {"name", "seed", "model", "data", "optim", "hardware", "targets"}
    assert set(schema["required"]) == {"model", "data"}
    assert not list(tmp_path.iterdir())


def test_init_needs_a_folder_or_schema(call):
    for words in ([], ["folder", "--schema"]):
        done = call("init", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "either a folder" in done.stderr


# help, exit codes, streams


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(call, command):
    done = call(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"Example: +simulate {command} ", done.stdout)
    assert done.stdout == call(command, "-h").stdout


def test_help_lists_every_command(run):
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert listed == sorted(COMMANDS), "a new command belongs in COMMANDS, so that its help is tested"


def test_version(call):
    assert call("--version").stdout.strip() == f"simulate, version {__version__}"


def test_exit_codes(run):
    for code, words in {
        0: ["predict", "--config", SEVEN_B],
        2: ["predcit"],
        3: ["predict", "--config", "absent.yaml"],
    }.items():
        done = run(*words)
        assert done.returncode == code
        assert (done.stdout == "") == (code != 0)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["init"], ["proxies", "train"], ["predict", "--config"], ["no-such"], ["--no-such"]])
def test_what_is_too_long_for_a_name_is_refused_in_few_words(call, words):
    long = "x" * 10_000
    done = call(*words[:-1], words[-1] + long) if words[-1].endswith("such") else call(*words, long)
    assert done.returncode in (2, 3)
    assert len(done.stderr) < 1_000
    assert "internal error" not in done.stderr


def test_debug_shows_the_traceback_and_nothing_else_does(run):
    bad = ["predict", "--config", "absent.yaml"]
    plain, debug = run(*bad), run("--debug", *bad)
    assert "Traceback" not in plain.stderr
    assert plain.stderr == "simulate: absent.yaml: there is no such file\n"
    assert "Traceback (most recent call last)" in debug.stderr
    assert "absent.yaml: there is no such file" in debug.stderr
    assert (debug.returncode != 0, debug.stdout) == (True, "")


def test_warnings_and_notes_leave_standard_output_clean(call, tmp_path, write_runs):
    write_runs(tmp_path / "one_size.csv", 1e8, np.geomspace(1e9, 1e11, 12), 0.002)
    done = call("fit", "one_size.csv", "--prior", "weak", "--json")
    result = parsed(done)
    assert "one_size.csv: made run_id" in done.stderr
    assert f"warning: {result['notes'][0]}" in done.stderr


def test_no_cell_is_broken_off_a_terminal(call_in, workshop):
    done = call_in(workshop, "fit", "runs.csv")
    why = json.loads((workshop / "mine/predictor.json").read_text())["targets"]["loss"]["choice"]["why"]
    assert why in done.stdout


def test_score_shows_every_number_whole(run_in, workshop):
    done = run_in(workshop, "score", "mine", "larger.csv", COLUMNS="80")
    assert done.returncode == 0
    assert "…" not in done.stdout


def test_output_into_a_pipe_that_speaks_no_greek(run_in, workshop):
    done = run_in(workshop, "fit", "runs.csv", "--law", "chinchilla", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="pipes and signals of POSIX")
def test_a_reader_that_leaves_early_is_no_error(plain_environment, tmp_path):
    words = [sys.executable, "-m", "foretrain", "predict", "--config", str(SEVEN_B), "--json"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=plain_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        complaints = process.stderr.read()
    # click ends with 1 where standard output is gone
    assert (process.returncode in (0, 1), complaints) == (True, "")


@pytest.mark.skipif(os.name == "nt", reason="pipes and signals of POSIX")
def test_ctrl_c_leaves_nothing_half_written(plain_environment, restore_ctrl_c, tmp_path, write_runs):
    rng = np.random.default_rng(1)
    write_runs(tmp_path / "runs.csv", 10 ** rng.uniform(7, 9, 600), 10 ** rng.uniform(8, 10, 600), 0.02)
    by_name = ["--law", "general", "--prior", "public"]  # draws by bootstrap take longest
    with subprocess.Popen(
        [sys.executable, "-m", "foretrain", "fit", "runs.csv", *by_name, "--out", "mine"],
        cwd=tmp_path,
        env=plain_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_ctrl_c,
    ) as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, complaints = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in first + complaints
    assert "interrupted" in complaints
    assert os.listdir(tmp_path) == ["runs.csv"]
