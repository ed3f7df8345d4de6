import csv

import numpy as np
import pytest
from foretrain.core.errors import DataWarning, RunTableError
from foretrain.simulator.curve.rates.path import named_path, piecewise_path, wsd_path
from foretrain.simulator.curve.reading import read_curves, read_rates

COLUMNS = [
    "run_id",
    "source",
    "size_label",
    "schedule",
    "total_steps",
    "warmup_steps",
    "decay_start",
    "lr_peak",
    "lr_final",
]
ROW = dict(zip(COLUMNS, ["a", "me", "25M", "cosine", "1000", "100", "", "3e-4", "3e-5"], strict=True))
POINTS = "step,lr,loss\n100,3e-4,4.0\n400,,3.5\n\n1000,,3.2\n"


@pytest.fixture
def write(tmp_path):
    """`write(points, **cells)`: a folder with one run, or a further one of it."""
    rows = []

    def add(points=POINTS, **cells):
        rows.append({**ROW, **cells})
        (tmp_path / "curves").mkdir(exist_ok=True)
        with (tmp_path / "runs.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        if points is not None:
            (tmp_path / "curves" / f"{rows[-1]['run_id']}.csv").write_text(points)
        return tmp_path

    return add


def test_a_run_is_read_with_its_rates(write):
    curve = read_curves(write())["a"]
    assert (curve.run_id, curve.family, curve.size) == ("a", "me", 25e6)
    assert curve.step.tolist() == [100, 400, 1000]
    assert curve.loss.tolist() == [4.0, 3.5, 3.2]
    assert curve.group == "me/2.5e+07"
    assert curve.final_loss == pytest.approx(10.7 / 3)
    np.testing.assert_allclose(curve.path.rate, named_path("cosine", 1000, 100, 0.1).rate)
    assert curve.until(400).step.tolist() == [100, 400]


@pytest.mark.parametrize(
    ("cells", "path"),
    [
        ({"schedule": "constant", "lr_final": "", "lr_peak": ""}, named_path("constant", 1000, 100)),
        ({"schedule": "linear"}, named_path("linear", 1000, 100, 0.1)),
        ({"schedule": "multistep"}, named_path("multistep", 1000, 100, 0.1)),
        ({"schedule": "inverse_sqrt"}, named_path("inverse_sqrt", 1000, 100)),
        ({"schedule": "two_stage", "decay_start": "500"}, piecewise_path(1000, 100, {500: 0.1})),
        ({"schedule": "wsd", "decay_start": "800"}, wsd_path(1000, 100, 800, 0.1)),
        ({"schedule": "wsd_exp", "decay_start": "800"}, wsd_path(1000, 100, 800, 0.1, "exponential")),
        ({"schedule": "wsd_sqrt", "decay_start": "800.0"}, wsd_path(1000, 100, 800, 0.1, "sqrt")),
        ({"warmup_steps": ""}, named_path("cosine", 1000, 0, 0.1)),
    ],
)
def test_every_schedule_of_a_table(write, cells, path):
    points = POINTS.replace("3e-4", "")
    np.testing.assert_allclose(read_curves(write(points, **cells))["a"].path.rate, path.rate)


def test_logged_rates_are_a_schedule(write):
    points = "step,lr,loss\n0,0,9\n100,2e-3,4\n900,2e-3,3.5\n1000,1e-3,3.2\n"
    rate = read_curves(write(points, schedule="logged"))["a"].path.rate
    assert rate[[0, 50, 100, 500, 950]] == pytest.approx([0, 0.5, 1, 1, 0.75])
    with pytest.raises(RunTableError, match="b: schedule: logged needs the column lr"):
        read_curves(write(run_id="b", schedule="logged"))


def test_params_stand_for_a_size(write):
    assert read_curves(write(params="1.3e9", size_label="big"))["a"].size == 1.3e9


def test_some_runs_of_a_folder(write):
    write()
    folder = write(run_id="b")
    (folder / "curves/b.csv").unlink()  # what isn't asked for isn't read
    assert list(read_curves(folder, ["a"])) == ["a"]
    with pytest.raises(RunTableError, match=r"has no run 'c'; expected some of a, b"):
        read_curves(folder, ["a", "c"])
    with pytest.raises(RunTableError, match=r"b\.csv: there is no such file"):
        read_curves(folder)


def test_rates_that_contradict_the_schedule_are_warned_of(write):
    points = "step,lr,loss\n100,3e-4,4.0\n400,3e-4,3.5\n1000,3e-5,3.2\n"
    with pytest.warns(DataWarning, match=r"a\.csv: a, step 400: logged a rate of 1 of the peak, but .* means 0\.77"):
        read_curves(write(points))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("step,loss\n100,nan\n200,3\n", r"a\.csv:2: a, step 100: got loss nan; expected nats per token"),
        ("step,loss\n100,inf\n200,3\n", "got loss inf"),
        ("step,loss\n100,3\n200,0\n", r":3: a, step 200: got loss 0"),
        ("step,loss\n100,3\n200,-1\n", "got loss -1"),
        ("step,loss\n100,3\n100,3\n", r":3: a, step 100: is there twice"),
        ("step,loss\n200,3\n100,3\n", r":3: a, step 100: follows step 200; expected rising steps"),
        ("step,loss\n-5,3\n100,3\n", "step -5: lies outside the run; expected 0 to its total_steps 1000"),
        ("step,loss\n100,3\n1001,3\n", "step 1001: lies outside"),
        ("step,loss\nnan,3\n200,3\n", "step nan: lies outside"),
        ("step,loss\nten,3\n200,3\n", "a: step: got 'ten'; expected a number"),
        ("step,loss\n100,high\n200,3\n", "loss: got 'high'"),
        ("step,loss\n100,3\n", "has 1 losses; expected at least 2"),
        ("step,loss\n", "has 0 losses"),
        ("", "has no column step; expected step, loss"),
        ("step,value\n100,3\n", "has no column loss"),
        ("step,step,loss\n1,1,3\n", "names a column twice"),
        ("step,loss\n100,3,9\n", ":2: has 3 cells; expected 2"),
        ('step,loss\n100,"3\n', "isn't CSV"),
        ("step,loss\n100,\0\n", "loss: got"),
    ],
)
def test_bad_points_are_named(write, points, message):
    with pytest.raises(RunTableError, match=message):
        read_curves(write(points))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"run_id": "../a"}, r"runs\.csv:2: run_id: got '\.\./a'; expected the plain name of a file in curves"),
        ({"run_id": "/etc/passwd"}, "expected the plain name of a file in curves"),
        ({"run_id": ".."}, "expected the plain name of a file in curves"),
        ({"run_id": ""}, "expected the plain name of a file in curves"),
        ({"run_id": "a\x1b[31m"}, "expected the plain name of a file in curves"),
        ({"source": "me\x1b]0;owned\x07"}, "source: got"),
        ({"schedule": "sawtooth"}, r"runs\.csv:2: a: schedule: got 'sawtooth'; expected one of cosine, linear"),
        ({"total_steps": ""}, "total_steps: is missing"),
        ({"total_steps": "1e3.5"}, "total_steps: got '1e3.5'"),
        ({"total_steps": "0"}, "total_steps: got 0; expected 1 to"),
        ({"total_steps": "1e30"}, "expected 1 to"),
        ({"total_steps": "nan"}, "total_steps: got 'nan'"),
        ({"warmup_steps": "2000"}, "warmup_steps: got 2000; expected 0 to total_steps 1000"),
        ({"warmup_steps": "-1"}, "warmup_steps: got -1"),
        ({"size_label": "tiny"}, "size_label: got 'tiny'"),
        ({"size_label": ""}, "size_label: is missing"),
        ({"size_label": "0"}, "expected a number of parameters above 0"),
        ({"lr_peak": "0"}, "lr_peak: got '0'"),
        ({"lr_final": "1e-3"}, "lr_final: got 1e-3; expected 0 to lr_peak 3e-4"),
        ({"lr_final": ""}, "lr_final: is missing"),
        ({"schedule": "wsd", "decay_start": ""}, "decay_start: is missing"),
        ({"schedule": "wsd", "decay_start": "1000"}, "decay_start: got 1000; expected from warm-up 100"),
        ({"schedule": "wsd_exp", "decay_start": "800", "lr_final": "0"}, "never reaches 0"),
    ],
)
def test_bad_rows_are_named(write, cells, message):
    points = None if set(cells) & {"run_id"} else POINTS
    with pytest.raises(RunTableError, match=message):
        read_curves(write(points, **cells))


def test_bad_folders_are_named(write, tmp_path):
    with pytest.raises(RunTableError, match="there is no such folder"):
        read_curves(tmp_path / "nowhere")
    with pytest.raises(RunTableError, match=r"runs\.csv: there is no such file"):
        read_curves(tmp_path)
    write()
    with pytest.raises(RunTableError, match=r"runs\.csv:3: a is there twice, first in line 2"):
        read_curves(write())
    (tmp_path / "runs.csv").write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(RunTableError, match="holds no run"):
        read_curves(tmp_path)
    (tmp_path / "runs.csv").write_text("run,loss\n")
    with pytest.raises(RunTableError, match="has no column run_id"):
        read_curves(tmp_path)


def test_rates_of_a_file(tmp_path):
    path = tmp_path / "lr.csv"
    path.write_text("step,lr\n0,0\n10,2e-3\n99,2e-4\n")
    found = read_rates(path)
    assert (found.steps, found.warmup) == (100, 10)
    assert found.rate[[0, 5, 10, 99]] == pytest.approx([0, 0.5, 1, 0.1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,lr\n0,1\n", "expected at least 2 steps"),
        ("step,lr\n0,0\n9,0\n", "not all 0"),
        ("step,lr\n5,1\n5,1\n", "step 5 follows step 5"),
        ("step,lr\n-1,1\n5,1\n", r"lr\.csv:2: got step -1"),
        ("step,lr\n0,1\n5,nan\n", r":3: got step 5, lr nan"),
        ("step,lr\n0,1\n99999999999,1\n", "expected steps up to"),
        ("step,rate\n0,1\n", "has no column lr"),
    ],
)
def test_bad_files_of_rates_are_named(tmp_path, text, message):
    (tmp_path / "lr.csv").write_text(text)
    with pytest.raises(RunTableError, match=message):
        read_rates(tmp_path / "lr.csv")


def test_the_public_curves_are_read_without_a_warning(public):
    assert len(public) == 23
    assert {curve.family for curve in public.values()} == {"MultiPowerLaw", "modded-nanogpt"}
