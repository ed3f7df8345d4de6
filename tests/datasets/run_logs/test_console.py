"""What trainers print on a console, names of Lightning, and steps that count records, by the field cases too."""

import os
from pathlib import Path

import pytest
from foretrain.core.errors import LogError
from foretrain.datasets.run_logs.columns import choose_columns
from foretrain.datasets.run_logs.console import read_lines
from foretrain.datasets.run_logs.records import read_records
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.search.planning.outcomes.reading import read_outcome
from foretrain.simulator.tracking.track import predictor_for, track

CASES = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[4] / "shared")) / "field_cases"


def field_case(name):
    folder = CASES / name
    if not folder.is_dir():
        pytest.skip("the field cases lie beside the project")
    return folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("\x1b[31mstep: 10  loss:  8.23  tps: 5,432", {"step": 10, "loss": 8.23, "tps": 5432}),
        ("s:10 trl:7.56 lr:0.00001", {"step": 10, "train_loss": 7.56, "lr": 1e-5}),
        ("validation at iteration 9 | lm loss value: 5.9E+00 |", {"step": 9, "val_loss": 5.9}),
        ("[step=9/100,epoch=1]\n    optim/LR (group 0)=0.1\n    train/CE loss=8.2", {"step": 9, "train/ce_loss": 8.2}),
        ("  1%| | 10/1000 [00:10]\n{'loss': '3.4', 'epoch': 0.1}", {"step": 10, "loss": 3.4}),
        (" iteration 3/ 9 | lm loss: NAN |", {"step": 3}),
    ],
)
def test_lines_of_trainers(line, expected):
    (_, row), *_ = read_lines(line.split("\n")).rows
    assert {key: row[key] for key in expected} == expected


def test_prose_is_no_log(tmp_path):
    (tmp_path / "run.log").write_text("It went well.\nStep 1 was hard.\n", encoding="utf-8")
    with pytest.raises(LogError, match="expected JSON lines, or CSV"):
        read_records(tmp_path / "run.log")


@pytest.mark.parametrize(("file", "points"), [("pipes.log", 50), ("iter_lines.log", 301), ("key_value.log", 100)])
def test_field_case_of_console_logs(file, points):
    log = choose_columns(read_records(field_case("08_text_logs") / file))
    assert (len(log.loss), log.axis, bool((log.wall_s == log.wall_s).all())) == (points, "steps", True)


@pytest.mark.parametrize(("file", "points"), [("metrics.csv", 120), ("before_first_validation.csv", 29)])
def test_field_case_of_lightning(file, points):
    log = choose_columns(read_records(field_case("07_lightning_names") / file))
    assert (log.loss_key, len(log.loss)) == ("train_loss_step", points)


def test_field_case_of_steps_that_count_records():
    folder = field_case("01_step_counts_log_calls")
    config = RunConfig.load(folder / "plan.yaml")
    predictor = predictor_for(config, None)
    plain = track(config, folder / "chart.csv", predictor)
    assert [(one.kind, one.serious) for one in plain.notices] == [("step_axis", True)]
    assert "--step-unit 500steps" in plain.notices[0].text
    stated = track(config, folder / "chart.csv", predictor, unit="500steps")
    assert (stated.log.now, [one.kind for one in stated.notices]) == (60_000, [])
    with pytest.raises(LogError, match="can't be optimizer steps"):
        read_outcome(folder / "chart.csv", config)
