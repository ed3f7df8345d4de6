"""`simulate curve` as a user meets it: each command's output, files and exit codes, and what bad input gets."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SEVEN_B = ROOT / "examples/llama-7b.yaml"
SHARED = ROOT.parent / "shared/data/loss_curves"
COLUMNS = "run_id,source,size_label,schedule,total_steps,warmup_steps,decay_start,lr_peak,lr_final"
SCHEDULES = {
    "cosine": "cosine,6000,300,,3e-4,3e-5", "constant": "constant,6000,300,,3e-4,3e-4",
    "stages": "two_stage,6000,300,3000,3e-4,9e-5", "wsd": "wsd_exp,6000,300,4800,3e-4,3e-5",
}  # fmt: skip
TRAIN = ("--train", "s_cosine,s_constant,s_stages,m_cosine")
MEASURES = {"r2", "mae_nats", "max_relative_error", "final_relative_error"}
CURVE_KEYS = {
    "name", "family", "params", "steps", "warmup_steps", "rests_on", "final_loss_nats", "final_perplexity", "curve",
    "notes", "branches", "planned_changes",
}  # fmt: skip
PLAN = """
name: medium
model: {params: 100M}
data: {tokens: 600M}
optim: {lr: 3e-4, lr_final: 3e-5, batch_tokens: 100k, schedule: wsd, warmup_steps: 300, decay_share: 0.2}
"""


def write_curves(folder: Path) -> Path:
    """Runs of 25M (s), 100M (m) and 400M (l) parameters on one law, each under four schedules, with 0.1 % noise."""
    from foretrain.simulator.curve.law.multipower import Shape, basis
    from foretrain.simulator.curve.rates.path import named_path, piecewise_path, wsd_path

    paths = {
        "cosine": named_path("cosine", 6000, 300, 0.1), "constant": named_path("constant", 6000, 300),
        "stages": piecewise_path(6000, 300, {3000: 0.3}), "wsd": wsd_path(6000, 300, 4800, 0.1, "exponential"),
    }  # fmt: skip
    levels = {"s": ("25M", (3.2, 0.3, 0.15)), "m": ("100M", (2.9, 0.29, 0.14)), "l": ("400M", (2.6, 0.28, 0.13))}
    rng = np.random.default_rng(5)
    (folder / "curves").mkdir(parents=True)
    rows = [COLUMNS]
    for key, (size, level) in levels.items():
        for name, path in paths.items():
            rows.append(f"{key}_{name},mine,{size},{SCHEDULES[name]}")
            step = np.arange(350, 6001, 50)
            loss = (
                basis(Shape().array(), path.decay(step)) @ np.array(level) * np.exp(1e-3 * rng.normal(size=len(step)))
            )
            lines = [f"{t},{3e-4 * path.rate[t - 1]:.4g},{y:.4f}" for t, y in zip(step, loss, strict=True)]
            (folder / f"curves/{key}_{name}.csv").write_text("\n".join(["step,lr,loss", *lines]) + "\n")
    (folder / "runs.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, run_in):
    """A folder with `curves`, a library `mine` fitted on four of them in a process of its own, and a plan."""
    folder = tmp_path_factory.mktemp("curves")
    write_curves(folder / "curves")
    (folder / "run.yaml").write_text(PLAN)
    done = run_in(folder, "curve", "fit", "curves", *TRAIN, "--out", "mine")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "mine: 4 curves" in done.stdout
    return folder


@pytest.fixture(scope="module")
def at(call_in, workshop):
    """`at(*arguments)`: `simulate curve …` in the workshop."""
    return partial(call_in, workshop, "curve")


def parsed(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON number"))


def check_refused(done, message, code=3):
    assert done.returncode == code, done.stdout + done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout or set(json.loads(done.stdout)) == {"error"}


def test_fit_as_json(at, workshop, tmp_path):
    facts = parsed(at("fit", "curves", *TRAIN, "--out", tmp_path / "again", "--json"))
    assert [run["run_id"] for run in facts["runs"]] == TRAIN[1].split(",")
    assert facts["seconds"] < 5
    fit = facts["fits"][0]
    assert fit["identified"] is True
    assert {level["group"] for level in fit["level"]} == {"mine/2.5e+07", "mine/1e+08"}
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "MANIFEST.json",
        "curves.json",
        "curves.npz",
    ]
    for name in ("curves.json", "curves.npz"):
        assert (tmp_path / "again" / name).read_bytes()[:200] == (workshop / "mine" / name).read_bytes()[:200]


def test_score_has_the_promised_keys(at):
    result = parsed(at("score", "mine", "curves", "--ids", "m_wsd,s_wsd", "--json"))
    assert set(result) >= {"curves", "mean"}
    assert set(result["curves"]) == {"m_wsd", "s_wsd"}
    for score in (*result["curves"].values(), result["mean"]):
        assert set(score) >= MEASURES
    assert result["mean"]["r2"] > 0.998
    assert result["mean"]["final_relative_error"] < 0.003
    shown = at("score", "mine", "curves", "--ids", "m_wsd,s_wsd").stdout
    for name, score in {**result["curves"], "mean": result["mean"]}.items():
        line = next(line for line in shown.splitlines() if line.startswith(name))
        assert f"{score['mae_nats']:.4f}" in line


def test_score_takes_what_was_not_fitted_and_leaves_out_sizes_it_cannot_know(at):
    result = parsed(at("score", "mine", "curves", "--json"))
    assert set(result["curves"]) == {"s_wsd", "m_constant", "m_stages", "m_wsd"}
    assert result["skipped"] == {"size not fitted": 4}
    check_refused(
        at("score", "mine", "curves", "--ids", "l_wsd"), r"mine 400M, of which none was fitted .*--prefix 0\.2"
    )
    half = parsed(at("score", "mine", "curves", "--ids", "l_wsd", "--prefix", 0.5, "--json"))
    assert half["mean"]["final_relative_error"] < 0.005


def test_predict_a_known_size(at):
    result = parsed(at("predict", "mine", "--config", "run.yaml", "--json"))
    assert set(result) == CURVE_KEYS
    assert (result["name"], result["rests_on"], result["steps"]) == ("medium", "known size", 6000)
    last = result["curve"][-1]
    assert set(last) == {"step", "tokens", "lr_share", "loss_nats", "low90_nats", "high90_nats"}
    assert last["tokens"] == 600e6
    losses = [row["loss_nats"] for row in result["curve"]]
    assert losses == sorted(losses, reverse=True)
    assert all(row["low90_nats"] < row["loss_nats"] < row["high90_nats"] for row in result["curve"])
    shown = at("predict", "mine", "--config", "run.yaml").stdout
    assert f"ends at {result['final_loss_nats']['median']:.4f} nats" in shown
    assert "medium: 100M parameters, 6,000 steps" in shown


def test_predict_a_schedule_in_a_line(at):
    words = ("--schedule", "wsd,steps=6000,warmup=300,final=0.1", "--size", "100M")
    spelled, planned = (parsed(at("predict", "mine", *how, "--json")) for how in (words, ("--config", "run.yaml")))
    assert spelled["final_loss_nats"] == planned["final_loss_nats"]
    assert spelled["curve"][-1]["tokens"] is None
    slower = parsed(at("predict", "mine", "--config", "run.yaml", "--set", "optim.schedule=constant", "--set",
                       "optim.decay_share=null", "--json"))  # fmt: skip
    assert slower["final_loss_nats"]["median"] > planned["final_loss_nats"]["median"]


def test_predict_another_size_from_where_it_ends(at):
    words = ("predict", "mine", "--config", "run.yaml", "--set", "model.params=400M")
    check_refused(at(*words), r"medium: 400M parameters are none of the sizes .*--final-loss 2\.31.*--predictor")
    stated = parsed(at(*words, "--final-loss", 2.6, "--json"))
    assert stated["rests_on"] == "other sizes"
    assert stated["final_loss_nats"]["median"] == pytest.approx(2.6, rel=1e-3)
    guessed = parsed(at(*words, "--predictor", "web-text", "--json"))
    low, high = guessed["final_loss_nats"]["intervals"]["0.9"]
    assert high - low > 5 * np.ptp(stated["final_loss_nats"]["intervals"]["0.9"])


def test_predict_without_curves_goes_by_the_public_ones(at):
    words = ("predict", "--config", "run.yaml")
    stated = parsed(at(*words, "--final-loss", 2.6, "--json"))
    assert (stated["rests_on"], stated["notes"]) == ("public curves", [])
    assert stated["final_loss_nats"]["median"] == pytest.approx(2.6, rel=2e-3)
    guessed = parsed(at(*words, "--json"))
    assert guessed["final_loss_nats"] == parsed(at(*words, "--predictor", "web-text", "--json"))["final_loss_nats"]
    assert "rests on the laws of the public curves" in at(*words).stdout
    recipe = parsed(at(*words, "--final-loss", 2.6, "--family", "mpl", "--json"))
    assert (recipe["family"], recipe["rests_on"]) == ("mpl", "other sizes")
    check_refused(at(*words, "--family", "nobody"), "expected one of mpl, nanogpt-adam")


@pytest.mark.parametrize("kind", ["html", "svg", "png", "pdf"])
def test_charts(at, tmp_path, kind):
    done = at("predict", "mine", "--config", "run.yaml", "--chart", tmp_path / f"curve.{kind}")
    assert done.returncode == 0, done.stderr
    data = (tmp_path / f"curve.{kind}").read_bytes()
    assert len(data) > 5_000
    assert {"html": b"<!doctype html", "svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}[kind] in data[:200]


def test_constant_rates_alone_are_warned_of_or_refused(at, tmp_path):
    words = ("fit", "curves", "--train", "s_constant", "--out", tmp_path / "steady")
    check_refused(at(*words, "--strict"), "mine: the learning rate hardly falls .* add a curve with a decay")
    assert not (tmp_path / "steady").exists()
    done = at(*words)
    assert done.returncode == 0
    assert "warning: mine: the learning rate hardly falls" in done.stderr
    assert "! no curve decays" in done.stdout
    result = parsed(at("predict", tmp_path / "steady", "--config", "run.yaml", "--size", "25M", "--json"))
    assert any("hardly decay" in note for note in result["notes"])


BAD = {
    "no folder": (("fit", "nowhere", "--out", "x"), "nowhere: there is no such folder", 3),
    "no such run": (("fit", "curves", "--train", "q", "--out", "x"), "has no run 'q'; expected some of s_cosine", 3),
    "a run twice": (("fit", "curves", "--train", "s_wsd,s_wsd", "--out", "x"), "--train: got .*each once", 2),
    "no runs named": (("fit", "curves", "--train", ",", "--out", "x"), "--train: got ','", 2),
    "out is taken": (("fit", "curves", "--out", "curves"), "holds other files", 3),
    "out is a file": (("fit", "curves", "--out", "run.yaml"), "is a file", 3),
    "no library": (("score", "curves", "curves"), r"has no curves\.json; expected a folder made by", 3),
    "all are fitted": (("score", "mine", "nowhere"), "there is no such folder", 3),
    "prefix of all": (("score", "mine", "curves", "--prefix", 1), "--prefix", 2),
    "neither": (("predict", "mine"), "expected either --config or --schedule", 2),
    "both": (("predict", "mine", "--config", "run.yaml", "--schedule", "x"), "expected either", 2),
    "bad schedule": (("predict", "mine", "--schedule", "zigzag,steps=5"), "--schedule: .*expected NAME,steps", 2),
    "no lr file": (("predict", "mine", "--schedule", "lr.csv"), r"lr\.csv: there is no such file", 3),
    "which size": (("predict", "mine", "--schedule", "constant,steps=900"), "size: the family mine has several", 3),
    "bad size": (("predict", "mine", "--config", "run.yaml", "--size", "big"), "--size: got 'big'", 2),
    "size 0": (("predict", "mine", "--config", "run.yaml", "--size", "0"), "--size: got '0'", 2),
    "family": (("predict", "mine", "--config", "run.yaml", "--family", "yours"), "family: got 'yours'", 3),
    "negative loss": (("predict", "mine", "--config", "run.yaml", "--final-loss", "-1"), "--final-loss: got -1", 2),
    "nan loss": (("predict", "mine", "--config", "run.yaml", "--final-loss", "nan"), "--final-loss: got nan", 2),
    "two losses": (
        ("predict", "mine", "--config", "run.yaml", "--final-loss", "2", "--predictor", "web-text"), "beside it", 2,
    ),
    "predictor alone": (("predict", "mine", "--schedule", "constant,steps=9", "--predictor", "web-text"), "go with", 2),
    "no schedule": (
        ("predict", "mine", "--config", "run.yaml", "--set", "optim={}"),
        r"run\.yaml: optim\.schedule: is missing; a loss curve needs",
        3,
    ),
    "chart": (("predict", "mine", "--config", "run.yaml", "--chart", "curve.gif"), "unknown format '.gif'", 2),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained(at, case):
    words, message, code = BAD[case]
    check_refused(at(*words), message, code)


def test_a_bad_point_is_named_by_file_line_run_and_step(call, workshop, tmp_path):
    folder = shutil.copytree(workshop / "curves", tmp_path / "spoilt")
    path = folder / "curves/s_wsd.csv"
    lines = path.read_text().splitlines()
    for line, message in {
        "400,3e-4,nan": r"s_wsd\.csv:3: s_wsd, step 400: got loss nan",
        "350,3e-4,4.0": r"s_wsd\.csv:3: s_wsd, step 350: is there twice",
        "-400,3e-4,4.0": r"s_wsd\.csv:3: s_wsd, step -400: lies outside the run",
    }.items():
        path.write_text("\n".join([*lines[:2], line, *lines[3:]]))
        check_refused(call("curve", "fit", folder, "--out", tmp_path / "x"), message)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["curves.json", "curves.npz", "MANIFEST.json"])
def test_a_damaged_library_is_named(call, workshop, tmp_path, name):
    folder = shutil.copytree(workshop / "mine", tmp_path / "damaged")
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    check_refused(call("curve", "score", folder, workshop / "curves"), re.escape(name))


def test_predicting_starts_without_heavy_libraries(workshop):
    """A forecast of a curve needs numpy and pydantic, and nothing that takes a second to import."""
    program = """
import sys
from foretrain.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stopped:
    heavy = {"torch", "sklearn", "lightgbm", "pandas", "pyarrow", "scipy"} & set(sys.modules)
    print(stopped.code, sorted(heavy), file=sys.stderr)
"""
    words = ("curve", "predict", "mine", "--config", "run.yaml", "--json")
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=workshop, capture_output=True, encoding="utf-8")
    assert done.stderr.strip() == "0 []"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent: it holds the public loss curves")
def test_the_public_split(call, tmp_path):
    """Three schedules of each size told by `simulate curve fit`, the six others by `simulate curve score`."""
    train = [
        f"mpl_{size}_{name}" for size in ("25m", "100m") for name in ("cosine_24000", "constant_24000", "wsdcon_9")
    ]
    done = call("curve", "fit", SHARED, "--train", ",".join(train), "--out", "mpl")
    assert done.returncode == 0, done.stderr
    result = parsed(call("curve", "score", "mpl", SHARED, "--json"))
    assert len(result["curves"]) == 12
    assert result["skipped"] == {"size not fitted": 5}
    for size in ("25m", "100m"):
        scores = [score for name, score in result["curves"].items() if f"_{size}_" in name]
        assert np.mean([score["r2"] for score in scores]) >= 0.998
        assert np.mean([score["mae_nats"] for score in scores]) <= 0.0042
