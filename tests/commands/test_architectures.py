"""Plans of another architecture than a transformer, by a predictor fitted on runs of several: what commands answer."""

import json

import pytest
import yaml

GAIN = {"transformer": 0.0, "hyena": 0.8, "h3": 0.02}
"""Of tokens, in log."""
SHAPE = {"layers": 4, "width": 128, "ffn_width": 320, "vocab_size": 256, "context_length": 128}
STUDY = {
    "run": {"model": {"architecture": {**SHAPE, "heads": 4, "kv_heads": 2}}, "data": {"tokens": "4M"}},
    "space": {"model.architecture.mixer": ["attention", "hyena", "h3"]},
    "objective": "loss_nats",
    "search": {"trials": 6, "sampler": "tpe"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, call_in, ladders_of_mixers):
    """Plans of three mixers, a study of them, and `mine`, the predictor of a ladder of each."""
    folder = tmp_path_factory.mktemp("architectures")
    ladders_of_mixers(GAIN).to_csv(folder / "runs.csv", index=False)
    done = call_in(folder, "fit", "runs.csv", "--law", "chinchilla+architecture", "--prior", "public", "--out", "mine")
    assert done.returncode == 0, done.stderr
    for mixer in ("attention", "hyena", "h3"):
        heads = {"heads": 4} if mixer == "attention" else {}
        plan = {"name": mixer, "model": {"architecture": {**SHAPE, **heads, "mixer": mixer}}, "data": {"tokens": "20M"}}
        (folder / f"{mixer}.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, "predictor": "mine"}), encoding="utf-8")
    return folder


def parsed(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_predict_holds_a_mixer_against_a_transformer_of_the_same_shape(folder, call_in):
    words = ("predict", "--predictor", "mine", "--config", "hyena.yaml")
    (one,) = parsed(call_in(folder, *words, "--json"))["strategies"]
    assert (one["category"], one["level"], one["baseline"]) == ("architecture", "hyena", "transformer")
    assert one["verdict"] == "better"
    low, high = one["loss_percent_90"]
    assert low < one["loss_percent"] < high < 0
    shown = call_in(folder, *words).stdout
    assert "as a transformer of the same shape" in " ".join(shown.split())
    (other,) = parsed(call_in(folder, *words[:-1], "h3.yaml", "--json"))["strategies"]
    assert other["verdict"] == "undecided"


def test_compare_pairs_mixers(folder, call_in):
    words = ("compare", "attention.yaml", "hyena.yaml", "h3.yaml", "--predictor", "mine")
    found = parsed(call_in(folder, *words, "--json"))
    assert found["plans"][1]["difference"]["loss_nats"]["median"] < 0
    (note,) = found["notes"]
    assert "h3: whether it is better or worse than attention, which differs in architecture" in note


def test_optimal_point_by_mixer(folder, call_in):
    words = ("optimal", "point", "--flops", "1e13", "--mixers", "attention,hyena,h3", "--predictor", "mine")
    found = parsed(call_in(folder, *words, "--json"))
    assert set(found) == {"training_flops", "predictor", "target", "mixers", "crossings", "notes", "version"}
    assert [row["mixer"] for row in found["mixers"]] == ["attention", "hyena", "h3"]
    assert [row["verdict"] for row in found["mixers"]] == [None, "better", "undecided"]
    shown = call_in(folder, *words).stdout
    assert "hyena leads attention from" in shown
    for more, problem in (
        (("--budget", "1M", "--config", "hyena.yaml"), "--mixers goes with --flops or --config, without limits"),
        (("--mixers", "attention,hyna"), "mixers: got 'hyna'; did you mean hyena?"),
        (("--mixers", "attention,H3"), "mixers: got 'H3'; did you mean h3?"),
        (
            ("--mixers", "hyena,transformer"),
            "got 'transformer', a kind of model; expected its mixer, attention",
        ),
        (("--mixers", ","), "mixers: got ','; expected two different ones"),
        (("--flops", "1e13,1e14"), "--flops: got several; expected one"),
    ):
        refused = call_in(folder, *words, *more)
        assert problem in " ".join(refused.stderr.split())


def test_optimize_varies_the_mixer(folder, call_in):
    found = parsed(call_in(folder, "optimize", "--config", "study.yaml", "--json", "--out", "best.yaml"))
    assert found["best"]["values"]["model.architecture.mixer"] == "hyena"
    best = found["best"]["config"]["model"]["architecture"]
    assert (best["heads"], best["kv_heads"], *best["mixer"]) == (1, None, "hyena")
    assert found["baseline"]["values"]["model.architecture.mixer"] == "attention"
    again = call_in(folder, "predict", "--predictor", "mine", "--config", "best.yaml", "--json")
    assert parsed(again)["strategies"][0]["level"] == "hyena"


def test_a_study_of_mixers_needs_a_run_with_heads(folder, call_in):
    run = {**STUDY["run"], "model": {"architecture": {**SHAPE, "mixer": "hyena"}}}
    (folder / "without.yaml").write_text(yaml.safe_dump({**STUDY, "run": run, "predictor": "mine"}), encoding="utf-8")
    refused = call_in(folder, "optimize", "--config", "without.yaml")
    assert refused.returncode == 3
    assert "space.model.architecture.mixer: got attention, but the run's shape, of mixer hyena, states no heads" in (
        " ".join(refused.stderr.split())
    )


@pytest.mark.parametrize("wrong", [["hyena"], 3, {"hyena": {"taps": 129}}, {"hyena": ["taps"]}, "hyna"])
def test_a_study_of_what_is_no_mixer_is_refused(folder, call_in, wrong):
    study = {**STUDY, "space": {"model.architecture.mixer": ["attention", wrong]}, "predictor": "mine"}
    (folder / "wrong.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    refused = call_in(folder, "optimize", "--config", "wrong.yaml")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "space.model.architecture.mixer" in refused.stderr
    assert "expected" in refused.stderr
