"""`simulate cluster` as a user meets it: each command's output, files and exit codes, and what bad input gets."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SEVEN_B, SEVENTY_B, EXPERTS = (EXAMPLES / f"{name}.yaml" for name in ("llama-7b", "llama-70b", "mixtral-8x7b"))
WITH_HARDWARE = [
    path for path in sorted(EXAMPLES.glob("*.yaml")) if yaml.safe_load(path.read_text(encoding="utf-8")).get("hardware")
]
MEASURED = ROOT.parent / "shared/data/measured_runs/runs.csv"

# These names are a promise to whoever parses them: add, never rename.
QUANTITIES = {
    "step_time_s", "tokens_per_s", "mfu", "peak_memory_gib", "wall_clock_days", "goodput", "interruptions", "gpu_hours",
    "cost_usd", "energy_mwh", "co2e_t",
}  # fmt: skip
ESTIMATE_KEYS = QUANTITIES | {
    "accelerator", "devices", "precision", "framework", "layout", "fits", "p_fit", "usable_memory_gib", "overhead",
    "steps", "step_tokens", "peak_flops_per_s", "usd_per_device_hour", "power_w", "pue",
    "step_parts_s", "memory_parts_gib", "wall_clock_shares", "cost_parts_usd", "price_published", "finish",
    "p_deadline", "p_budget", "calibrated_on", "cluster_notes", "judging_gpu_hours", "generating_gpu_hours",
}  # fmt: skip
LAYOUT_KEYS = {
    "tp", "pp", "vpp", "cp", "ep", "dp", "zero_stage", "sequence_parallel", "micro_batch", "accumulation", "recompute",
    "flash_attention", "offload_optimizer", "offload_weights", "offload_activations", "loss_chunks",
}  # fmt: skip
ERROR_KEYS = {"rows", "median", "p90", "max", "bias"}

COLUMNS = (
    "source,model,n_layers,d_model,n_heads,d_ff,vocab,seq_len,gpu,n_gpus,precision,tp,pp,dp,zero_stage,micro_batch,"
    "global_batch,recompute,step_time_s,peak_mem_gib"
)


def table(path: Path, rows: list[tuple]) -> Path:
    """Measured steps of a 7B model on 8 H100: (tp, dp, micro_batch, step_time_s, peak_mem_gib)."""
    lines = [
        f"mine,7b,32,4096,32,11008,32000,4096,{gpu},8,bf16,{tp},1,{dp},1,{micro},64,none,{seconds},{gib}"
        for gpu, tp, dp, micro, seconds, gib in rows
    ]
    path.write_text("\n".join([COLUMNS, *lines]) + "\n", encoding="utf-8")
    return path


ROWS = [
    ("H100", 1, 8, 1, 3.0, 50), ("H100", 2, 4, 2, 3.2, ""), ("H100", 4, 2, 4, 3.6, ""), ("H100", 8, 1, 8, 4.5, ""),
    ("H1000", 1, 8, 1, 3.0, ""),
]  # fmt: skip


def parsed(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON number"))


def sets(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


# estimate


@pytest.mark.parametrize("example", WITH_HARDWARE, ids=lambda path: path.stem)
def test_estimate_of_each_example(call, example):
    result = parsed(call("cluster", "estimate", "--config", example, "--json"))
    assert set(result) == ESTIMATE_KEYS
    assert set(result["layout"]) == LAYOUT_KEYS
    layout, hardware = result["layout"], yaml.safe_load(example.read_text(encoding="utf-8"))["hardware"]
    assert layout["tp"] * layout["pp"] * layout["cp"] * layout["dp"] == result["devices"] == hardware["count"]
    assert 0.2 < result["mfu"]["median"] < 0.7, "an efficiency that nobody has published"
    assert result["fits"] == "fits"
    shown = call("cluster", "estimate", "--config", example).stdout
    assert shown.startswith(f"{result['devices']} × {result['accelerator']}, {result['precision']} at ")
    low, high = result["mfu"]["intervals"]["0.9"]
    assert f"{low:.1%} to {high:.1%}" in shown
    assert f" {result['peak_memory_gib']['median']:.1f} of {result['usable_memory_gib']:.1f} GiB usable" in shown
    assert f"dp {layout['dp']}, zero_stage {layout['zero_stage']}" in shown
    assert all(f"! {note}\n" in shown for note in result["cluster_notes"])


def test_predict_says_what_estimate_says_to_the_bit(call, run):
    plan = ["--config", SEVEN_B, "--json", *sets("start=2026-12-01", "energy.grid_g_co2e_per_kwh=400")]
    first = call("cluster", "estimate", *plan).stdout
    assert first == run("cluster", "estimate", *plan).stdout, "the same seed must give the same bits"
    estimate, forecast = json.loads(first), parsed(call("predict", *plan))
    assert {key: forecast[key] for key in ESTIMATE_KEYS} == estimate
    assert estimate["finish"]["low_90"] <= estimate["finish"]["median"] <= estimate["finish"]["high_90"]
    assert estimate["co2e_t"]["median"] == pytest.approx(0.4 * estimate["energy_mwh"]["median"])
    shown = call("cluster", "estimate", *(word for word in plan if word != "--json")).stdout
    assert f"done on {estimate['finish']['median']}, 90 % interval {estimate['finish']['low_90']} to" in shown
    assert parsed(call("cluster", "estimate", *plan, "--set", "seed=1")) != estimate


def test_overrides_take_effect(call):
    def days(*overrides: str) -> float:
        done = call("cluster", "estimate", "--config", SEVEN_B, "--json", *sets(*overrides))
        return parsed(done)["wall_clock_days"]["median"]

    planned = days()
    assert days("hardware.count=256") > 1.7 * planned
    assert days("hardware.accelerator=H100") < 0.7 * planned
    assert days("layout={tp: 8, pp: 4}") > 1.1 * planned
    assert days("data.tokens=1T") == pytest.approx(planned / 2, rel=0.02)


# calibrate


def test_a_measured_step_calibrates(run, call, tmp_path):
    plan = ["--config", SEVEN_B]
    before = parsed(call("cluster", "estimate", *plan, "--json"))
    measured = 1.2 * before["step_time_s"]["median"]
    done = parsed(run("cluster", "calibrate", *plan, "--step-time", f"{measured}s", "--out", "mine.json", "--json"))
    assert (done["calibrated_on"], done["out"], done["layout"]) == (1, "mine.json", before["layout"])
    after = parsed(call("cluster", "estimate", *plan, "--calibration", "mine.json", "--json"))
    assert after["calibrated_on"] == 1

    def width(result: dict) -> float:
        low, high = result["step_time_s"]["intervals"]["0.8"]
        return high / low

    said = [result["step_time_s"]["median"] for result in (before, after)]
    assert said[1] == pytest.approx(measured, rel=2e-3)
    assert width(after) < 0.9 * width(before)
    assert done["steps"][0]["after_s"] == pytest.approx(said[1], rel=0.02)
    again = ["--step-time", f"{measured}s", "--from", "mine.json", "--out", "mine.json"]
    shown = call("cluster", "calibrate", *plan, *again).stdout
    assert "wrote mine.json" in shown
    assert "taken as measured in the layout " in shown, "the plan leaves it open, so it must be said"
    last = parsed(call("predict", *plan, "--calibration", "mine.json", "--json"))
    assert last["calibrated_on"] == 2
    assert last["step_time_s"]["median"] == pytest.approx(measured, rel=2e-3)
    assert width(last) < width(after)
    assert before["overhead"] == after["overhead"] == 0.25, "a measured step says nothing of what is outside steps"
    assert os.listdir(tmp_path) == ["mine.json"]
    assert "calibrated on 2 measured steps" in call("predict", *plan, "--calibration", "mine.json").stdout


def test_a_table_calibrates_and_scores_better_for_it(call, tmp_path):
    table(tmp_path / "steps.csv", ROWS)
    made = parsed(call("cluster", "calibrate", "steps.csv", "--out", "mine.json", "--json"))
    assert made["calibrated_on"] == 4
    assert [step["measured_s"] for step in made["steps"]] == [3.0, 3.2, 3.6, 4.5]
    before, after = (
        parsed(call("cluster", "score", "steps.csv", *more, "--json"))["step_time"]["pooled"]["median"]
        for more in ([], ["--calibration", "mine.json"])
    )
    assert after < 0.1 < before
    other = tmp_path / "other"
    other.mkdir()
    assert call("cluster", "calibrate", "steps.csv", "--out", "other/mine.json").returncode == 0
    assert (other / "mine.json").read_bytes() == (tmp_path / "mine.json").read_bytes()


def test_a_layout_that_was_measured_is_taken_to_fit(call):
    """The estimate of memory may be wrong; a step that ran is no reason to refuse."""
    plan = ["--config", SEVEN_B, *sets("hardware.count=8", "layout={micro_batch: 32, recompute: none, tp: 1, pp: 1}")]
    assert call("cluster", "estimate", *plan).returncode == 4
    assert call("cluster", "calibrate", *plan, "--step-time", "2min", "--out", "mine.json").returncode == 0


# score


def check_scores(result: dict) -> None:
    assert set(result) >= {"rows", "skipped", "step_time", "memory", "ranking"}
    assert set(result["step_time"]) >= {"pooled", "by_source", "macro_median", "coverage"}
    for one in (result["step_time"]["pooled"], *result["step_time"]["by_source"].values()):
        assert set(one) >= ERROR_KEYS
        assert 0 <= one["median"] <= one["p90"] <= one["max"]
    assert list(result["step_time"]["coverage"]) == ["0.8"]
    assert set(result["ranking"]) == {"groups", "mean_regret", "spearman"}


def test_score_of_a_table(call, tmp_path):
    table(tmp_path / "steps.csv", ROWS)
    result = parsed(call("cluster", "score", "steps.csv", "--json"))
    check_scores(result)
    assert (result["rows"], result["step_time"]["pooled"]["rows"]) == (4, 4)
    assert list(result["step_time"]["by_source"]) == ["mine"]
    assert result["skipped"] == {"on 'H1000', which isn't in the catalogue": 1}
    assert result["ranking"]["groups"] == 1
    assert result["ranking"]["mean_regret"] == 0
    shown = call("cluster", "score", "steps.csv").stdout
    assert f"{result['step_time']['pooled']['median']:.1%}" in shown
    assert "! 1 rows on 'H1000', which isn't in the catalogue: left out" in shown


@pytest.mark.skipif(not MEASURED.exists(), reason="the measured runs aren't here")
def test_score_of_the_measured_runs(run):
    result = parsed(run("cluster", "score", MEASURED, "--json"))
    check_scores(result)
    assert len(result["step_time"]["by_source"]) >= 5
    assert result["ranking"]["groups"] >= 10
    assert result["memory"]["pooled"]["rows"] >= 50
    assert result["skipped"]
    assert sum(result["skipped"].values()) + result["rows"] == len(MEASURED.read_text("utf-8").splitlines()) - 1


# search


def test_search_ranks_layouts_that_fit(run, call):
    plan = ["--config", SEVENTY_B, *sets("hardware.count=512")]
    result = parsed(run("cluster", "search", *plan, "--top", 20, "--json"))
    assert set(result) == {"layouts", "seconds"}
    rows = result["layouts"]
    times = [row["step_time_s"] for row in rows]
    assert (len(rows), times) == (20, sorted(times))
    for row in rows:
        layout = row["layout"]
        assert layout["tp"] * layout["pp"] * layout["cp"] * layout["dp"] == 512
        assert row["verdict"] == "fits"
        low, high = row["step_time_interval_s"]
        assert low < row["step_time_s"] < high
        assert row["tokens_per_s"] * row["step_time_s"] == pytest.approx(2**22)
    assert len({json.dumps(row["layout"]) for row in rows}) == 20
    shown = call("cluster", "search", *plan, "--top", 3).stdout.splitlines()
    assert len(shown) == 1 + 3 + 1
    assert all(f"{row['mfu']:.1%}" in line for row, line in zip(rows[:3], shown[1:4], strict=True))
    best = parsed(call("cluster", "estimate", *plan, "--json"))
    assert best["layout"] == rows[0]["layout"], "what the estimate takes is the search's first"
    assert best["step_time_s"]["median"] == pytest.approx(times[0], rel=0.01)


def test_what_the_plan_states_of_its_layout_is_kept(call):
    stated = "layout={tp: 4, recompute: full, offload: [optimizer]}"
    rows = parsed(call("cluster", "search", "--config", SEVENTY_B, *sets(stated), "--json"))["layouts"]
    kept = {(r["layout"]["tp"], r["layout"]["recompute"], r["layout"]["offload_optimizer"]) for r in rows}
    assert kept == {(4, "full", True)}


# help and usage


@pytest.mark.parametrize("command", ["estimate", "calibrate", "score", "search"])
def test_help_has_an_example_and_json(call, command):
    done = call("cluster", command, "--help")
    assert done.returncode == 0
    assert re.search(rf"Example: +simulate cluster {command} ", done.stdout)
    assert "--json" in done.stdout
    assert f"  {command} " in call("cluster", "--help").stdout


def test_the_example_in_the_help_runs(call_in):
    assert call_in(ROOT, "cluster", "estimate", "--config", "examples/llama-70b.yaml").returncode == 0


# bad input

CUSTOM = (
    "{name: mine, peak_tflops: {bf16: 400}, hbm_gib: 64, hbm_gb_per_s: 2000, per_node: 8, intra_node_gb_per_s: 200}"
)
SPARSE = "{params: 7B, params_active: 2B}"  # whose shape nobody can tell
BAD_PLANS = {
    "unknown accelerator": (SEVEN_B, ["hardware.accelerator=H1000"], 3, "accelerator: got 'H1000'", "H100-SXM-80"),
    "no format": (SEVEN_B, ["hardware.precision=fp8"], 3, "A100-SXM-80 has no fp8 peak", "expected one of fp32, tf32"),
    "missing network": (
        SEVEN_B, [f"hardware={{count: 64, accelerator: {CUSTOM}}}"], 3, "mine has no inter_node_gbit_per_s", "Gbit/s",
    ),
    "missing node": (
        SEVEN_B, ["hardware={count: 64, accelerator: {name: mine, peak_tflops: {bf16: 400}}}"], 3, "hardware.per_node",
        "such as 8",
    ),
    "missing everything": (
        SEVEN_B, ["hardware={count: 64, per_node: 8, accelerator: {name: mine, peak_tflops: {bf16: 400}}}"], 3,
        "mine has no hbm_gib", "mine has no inter_node_gbit_per_s",
    ),
    "product": (SEVEN_B, ["layout={tp: 8, pp: 2, dp: 16}"], 4, "is 256, not 512", "dp 32, or hardware.count 256"),
    "heads": (SEVEN_B, ["layout.tp=64"], 4, "layout.tp: got 64, which doesn't divide heads 32", "expected 32"),
    "stages": (SEVEN_B, ["layout.pp=64"], 4, "layout.pp: got 64, more stages than the 32 layers", "at most 32"),
    "experts": (EXPERTS, ["layout.ep=3"], 4, "layout.ep: got 3, which doesn't divide num_experts 8", "expected 2 or 4"),
    "experts of a dense model": (SEVEN_B, ["layout.ep=2"], 4, "layout.ep: got 2 for a model without experts", "1"),
    "micro-batch": (SEVEN_B, ["layout.micro_batch=3"], 4, "layout.micro_batch: got 3, which doesn't divide", "2"),
    "devices": (SEVEN_B, ["hardware.count=513"], 4, "no layout is possible for 513 devices", "hardware.count 512 or"),
    "memory": (
        SEVENTY_B, ["hardware.count=8"], 4, "memory: no layout fits 8 × A100-SXM-80", "largest part: optimizer 96",
    ),
    "past deadline": (
        SEVEN_B, ["start=2026-12-01", "targets.deadline=2026-11-01"], 3, "past when the run starts", "a later date",
    ),
    "deadline without start": (SEVEN_B, ["targets.deadline=2026-11-01"], 3, "start is missing", "start: 2026-12-01"),
    "failures": (
        SEVEN_B, ["reliability.failures_per_device_hour=0.9"], 4, "would practically never finish", "use at most",
    ),
    "rare checkpoints": (
        SEVEN_B, ["reliability={failures_per_device_hour: 0.01, checkpoint_interval: 10h}"], 4,
        "reliability.checkpoint_interval needs 10h", "checkpoint every",
    ),
    "no batch": (SEVEN_B, ["optim=null"], 3, "llama-7b.yaml: optim.batch_tokens: missing", "expected in the plan"),
    "no shape": (SEVEN_B, [f"model={SPARSE}"], 3, "model.architecture: missing", "expected in the plan"),
    "no machines": (SEVEN_B, ["hardware=null"], 3, "hardware.accelerator, hardware.count: missing", "expected in"),
    "small batch": (SEVEN_B, ["optim.batch_tokens=1000"], 3, "optim.batch_tokens: got 1000", "at least one sequence"),
    "no such key": (SEVEN_B, ["layout.tq=8"], 3, "unknown key 'layout.tq'", "expected one of tp, pp"),
    "spot": (SEVEN_B, ["prices.purchase=spot"], 3, "reliability.preemptions_per_device_hour: is missing", "1e-4"),
}  # fmt: skip


def check_refused(done, code: int, *words: str) -> None:
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("simulate: ")
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(("config", "overrides", "code", "what", "accepted"), BAD_PLANS.values(), ids=BAD_PLANS)
def test_a_plan_that_cannot_be_says_why(call, config, overrides, code, what, accepted):
    check_refused(call("cluster", "estimate", "--config", config, *sets(*overrides)), code, what, accepted)
    if "failures" not in " ".join(overrides):
        searched = call("cluster", "search", "--config", config, *sets(*overrides))
        check_refused(searched, code, what, accepted)


def test_predict_only_says_what_is_missing(call):
    for override, key in (
        ("hardware=null", "hardware.count"),
        (f"model={SPARSE}", "model.architecture"),
    ):
        result = parsed(call("predict", "--config", SEVEN_B, "--json", "--set", override))
        assert key in result["cluster_missing"]
        assert result["wall_clock_days"] is None
        assert key in call("predict", "--config", SEVEN_B, "--set", override).stdout
    check_refused(call("predict", "--config", SEVENTY_B, "--set", "hardware.count=8"), 4, "memory: no layout fits")


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        (SEVENTY_B, ["hardware.count=8"]),
        (SEVENTY_B, ["hardware.count=64", "layout={tp: 8, pp: 1, zero_stage: 0, micro_batch: 2, recompute: none}"]),
        (SEVEN_B, ["hardware.count=8", "layout={tp: 1, pp: 1, dp: 8, micro_batch: 8, recompute: none}"]),
        (EXPERTS, ["hardware.count=16", "layout={recompute: none, micro_batch: 4}"]),
        (EXPERTS, ["hardware.count=8"]),
    ],
    ids=["70B", "70B as stated", "7B as stated", "Mixtral as stated", "Mixtral"],
)
def test_every_change_that_is_offered_works(call, config, overrides):
    done = call("cluster", "estimate", "--config", config, *sets(*overrides))
    check_refused(done, 4, "memory: ", "GiB per device of", "largest part: ")
    offered = done.stderr.partition("smallest change that fits: ")[2].strip().split(" or ")
    assert all(re.match(r"(layout\.\w+|hardware\.count)=", change) for change in offered)
    for change in offered:
        pairs = re.findall(r"[a-z_.]+=(?:\[[^\]]*\]|\w+)", change)
        result = parsed(call("cluster", "estimate", "--config", config, "--json", *sets(*overrides, *pairs)))
        assert result["fits"] == "fits"


@pytest.mark.parametrize("text", ["0", "0s", "-3s", "soon", "1.9", "nan", "inf", ""])
def test_a_step_time_that_is_none(call, tmp_path, text):
    done = call("cluster", "calibrate", "--config", SEVEN_B, f"--step-time={text}", "--out", "mine.json")
    check_refused(done, 2, "--step-time: got ", "expected a duration")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "fragment"),
    [
        (["--config", SEVEN_B], 2, "--config needs --step-time"),
        ([], 2, "either a table of RUNS or --config"),
        (["runs.csv", "--config", SEVEN_B, "--step-time", "2s"], 2, "either a table of RUNS or --config"),
        (["runs.csv", "--step-time", "2s"], 2, "go with --config"),
        (["--config", SEVEN_B, "--step-time", "2h"], 3, "where 1."),
        (["--config", SEVEN_B, "--step-time", "2s", "--from", "absent.json"], 3, "absent.json: there is no such file"),
        (["absent.csv"], 3, "absent.csv: there is no such file"),
        (["--config", SEVENTY_B, "--step-time", "2s", "--set", "layout.tp=3"], 4, "layout.tp: got 3"),
    ],
)
def test_a_calibration_that_cannot_be(call, tmp_path, words, code, fragment):
    check_refused(call("cluster", "calibrate", *words, "--out", "mine.json"), code, fragment)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["absent/mine.json", "."])
def test_a_calibration_that_cannot_be_written(call, where):
    done = call("cluster", "calibrate", "--config", SEVEN_B, "--step-time", "2s", "--out", where)
    check_refused(done, 3, f"{where}: can't be written")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, call_in) -> str:
    """The text of a calibration."""
    folder = tmp_path_factory.mktemp("calibrated")
    done = call_in(folder, "cluster", "calibrate", "--config", SEVEN_B, "--step-time", "2s", "--out", "mine.json")
    assert done.returncode == 0, done.stderr
    return (folder / "mine.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2].encode(),
        lambda text: b"",
        lambda text: b'{"params": 7}',
        lambda text: b"[1, 2]",
        lambda text: b"null",
        lambda text: bytes(range(256)),
        lambda text: text.replace('"format":3', '"format":99').encode(),
        lambda text: re.sub(r'"offset":[^,]*', '"offset":NaN', text).encode(),
        lambda text: re.sub(r'"offset":[^,]*', '"offset":"far"', text).encode(),
        lambda text: b"[" * 100_000,
    ],
    ids=["truncated", "empty", "other", "list", "null", "binary", "version", "NaN", "text", "deep"],
)
def test_a_damaged_calibration_is_refused(call, tmp_path, calibrated, damage):
    (tmp_path / "mine.json").write_bytes(damage(calibrated))
    plan = ["--config", SEVEN_B]
    check_refused(call("cluster", "estimate", *plan, "--calibration", "mine.json"), 3, "mine.json: ")
    again = ["--step-time", "2s", "--from", "mine.json", "--out", "new.json"]
    check_refused(call("cluster", "calibrate", *plan, *again), 3, "mine.json: ")
    assert os.listdir(tmp_path) == ["mine.json"]


def test_a_calibration_that_is_a_folder(call):
    check_refused(call("predict", "--config", SEVEN_B, "--calibration", "."), 3, ".: is a folder")


HEADER = "n_layers,d_model,n_heads,d_ff,vocab,seq_len,gpu,n_gpus,global_batch"


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("runs.csv", b"", "the file is empty"),
        ("runs.csv", b"a,b\n1,2\n", "has no column n_layers"),
        ("runs.csv", f"{HEADER}\n".encode(), "there are no rows"),
        ("runs.csv", bytes(range(128, 256)), "UTF-8"),
        ("runs.csv", f"{HEADER},step_time_s\n32,4096,32,11008,32000,4096,H1000,8,8,1\n".encode(), "'H1000'"),
        ("runs.parquet", b"PAR1nothing", "damaged, or not a Parquet file"),
        ("runs.json", b"{}", "unknown file type '.json'"),
    ],
)
def test_a_table_that_is_none(call, tmp_path, name, content, fragment):
    (tmp_path / name).write_bytes(content)
    for words in (["score", name], ["calibrate", name, "--out", "mine.json"]):
        check_refused(call("cluster", *words), 3, f"{name}", fragment)


def test_a_table_without_times_calibrates_nothing(call, tmp_path):
    table(tmp_path / "memory.csv", [("H100", 1, 8, 1, "", 50)])
    check_refused(
        call("cluster", "calibrate", "memory.csv", "--out", "mine.json"), 3, "memory.csv: step_time_s: no row"
    )
    result = parsed(call("cluster", "score", "memory.csv", "--json"))
    assert (result["step_time"], result["ranking"], result["memory"]["pooled"]["rows"]) == (None, None, 1)
