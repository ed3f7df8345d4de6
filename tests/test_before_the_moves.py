"""What the version before the moves wrote still loads and gives the same answers (tests/data/before_the_moves)."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

MADE = Path(__file__).parent / "data" / "before_the_moves"
ANSWERS = json.loads((MADE / "answers.json").read_text(encoding="utf-8"))
PLANS = ("--config", "pstudy.yaml", "--runs", "runs.csv", "--storage", "plans.journal", "--law", "chinchilla")

# Processors add in different orders: a forecast differs in its last bits, a fit and its draws by what their tolerances
# leave.
FORECAST, REFIT = 1e-9, 1e-2


@pytest.fixture
def made(tmp_path) -> Path:
    """A copy of everything."""
    shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def ask(made, call) -> Callable[..., Any]:
    """`ask(*arguments)`: the JSON that `simulate` answers among the copies."""

    def run(*arguments: str) -> Any:
        done: SimpleNamespace = call(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def files(folder: Path) -> dict[str, bytes]:
    """Every file below the folder but locks, which are empty."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def differences(found: Any, kept: Any, rel: float, where: str = "") -> list[str]:
    """Where what is found lacks, or contradicts, what was kept; it may say more."""
    if isinstance(kept, dict) and isinstance(found, dict):
        absent = [f"{where}.{key} is missing" for key in kept.keys() - found.keys()]
        shared = kept.keys() & found.keys()
        return absent + [each for key in shared for each in differences(found[key], kept[key], rel, f"{where}.{key}")]
    if isinstance(kept, list) and isinstance(found, list) and len(kept) == len(found):
        pairs = enumerate(zip(found, kept, strict=True))
        return [each for at, (one, other) in pairs for each in differences(one, other, rel, f"{where}[{at}]")]
    if isinstance(kept, float) and isinstance(found, int | float):
        return [] if found == pytest.approx(kept, rel=rel, abs=rel) else [f"{where}: {found}, was {kept}"]
    return [] if found == kept else [f"{where}: {found!r}, was {kept!r}"]


def test_the_comparison_sees_differences():
    kept = {"a": [1.0, {"b": "x"}], "c": 2.0}
    assert differences({**kept, "more": 1}, kept, 1e-9) == []
    for found in ({"a": [1.0, {"b": "y"}], "c": 2.0}, {"a": [1.1, {"b": "x"}], "c": 2.0}, {"a": [1.0, {"b": "x"}]}):
        assert len(differences(found, kept, 1e-9)) == 1


@pytest.mark.parametrize(("predictor", "plan"), [("small", "plan.yaml"), ("mixed", "mixplan.yaml")])
def test_predictors_predict_the_same(predictor, plan, ask):
    """`small` is a law alone, `mixed` has a joint process on a law of the mix."""
    found = ask("predict", "--config", plan, "--predictor", predictor)
    assert differences(found, ANSWERS[f"predict_{predictor}"], FORECAST) == []


def test_a_predictor_with_trees_as_text_is_refused_with_the_command_that_makes_it_again(made, call):
    """LightGBM would end the process on a text that is cut off, whatever the manifest says."""
    done = call("predict", "--config", "mixplan.yaml", "--predictor", "trees")
    assert done.returncode == 3
    assert "trees_0.txt" in done.stderr
    assert "simulate fit 'table' --out trees" in done.stderr


def test_a_campaign_is_as_it_was_and_trains_no_more(made, ask, call):
    before = files(made / "proxies")
    assert differences(ask("proxies", "status", "proxies"), ANSWERS["status"], FORECAST) == []
    done = call("proxies", "train", "space.yaml", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert files(made / "proxies") == before
    assert files(made / "corpora.tokens") == files(MADE / "corpora.tokens")


def test_a_campaign_gives_the_same_table(made, ask):
    ask("proxies", "table", "proxies", "--out", "again.csv")
    found, kept = (
        list(csv.DictReader((made / name).read_text(encoding="utf-8").splitlines()))
        for name in ("again.csv", "proxy_runs.csv")
    )
    assert differences(found, kept, 0.0) == []


def test_a_study_of_a_predictor_that_is_another_now_does_not_go_on(made, call):
    """Its losses are by the `web-text` of then: mixed with those of now they would choose by the version."""
    before = (made / "study.journal").read_bytes()
    done = call("optimize", "--config", "study.yaml", "--storage", "study.journal")
    assert done.returncode == 3
    assert "was made with another space, other objectives or other constraints" in done.stderr
    assert (made / "study.journal").read_bytes() == before


def test_plans_of_real_runs_are_known_and_take_a_further_result(made, ask):
    assert differences(ask("planner", "status", *PLANS), ANSWERS["planner"], FORECAST) == []
    told = ask("planner", "tell", *PLANS, "--trial", "1", "--loss", "2.31")
    assert differences(told["lessons"], ANSWERS["tell"], REFIT) == []
    assert len(ask("planner", "status", *PLANS)["history"]) == len(ANSWERS["planner"]["history"]) + 1
