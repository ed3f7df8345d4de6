import numpy as np
import pytest
from foretrain.core.errors import ConfigError, UsageError
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.rates.path import named_path, piecewise_path, pointwise_path, wsd_path
from foretrain.simulator.curve.rates.planned_rates import path_of
from foretrain.simulator.curve.schedule_text import path_of_text


def plan(**optim):
    """A plan of 1000 steps."""
    return RunConfig.from_mapping(
        {"model": {"params": "7B"}, "data": {"tokens": "4B"}, "optim": {"batch_tokens": "4M", **optim}}
    )


COSINE = {"schedule": "cosine", "lr": 3e-4, "lr_final": 3e-5, "warmup_steps": 100}
WSD = {**COSINE, "schedule": "wsd"}


@pytest.mark.parametrize(
    ("optim", "path"),
    [
        (COSINE, named_path("cosine", 1000, 100, 0.1)),
        ({"schedule": "cosine", "lr_final": 0, "warmup_tokens": "400M"}, named_path("cosine", 1000, 100)),
        ({**COSINE, "schedule": "multistep"}, named_path("multistep", 1000, 100, 0.1)),
        ({"schedule": "constant"}, named_path("constant", 1000)),
        ({"schedule": "inverse_sqrt", "warmup_steps": 10}, named_path("inverse_sqrt", 1000, 10)),
        (WSD, wsd_path(1000, 100, 800, 0.1)),
        ({**WSD, "decay_share": 0.1, "decay_form": "sqrt"}, wsd_path(1000, 100, 900, 0.1, "sqrt")),
        ({**WSD, "decay_form": "exponential"}, wsd_path(1000, 100, 800, 0.1, "exponential")),
        (
            {"schedule": "piecewise", "lr": 1e-3, "warmup_steps": 10, "lr_steps": {"50%": 5e-4, "900": 1e-4}},
            piecewise_path(1000, 10, {500: 0.5, 900: 0.1}),
        ),
        (
            {"schedule": "points", "lr_points": {0: 0, "10%": 2e-3, "100%": 0}},
            pointwise_path(1000, 100, {0: 0, 100: 1, 1000: 0}),
        ),
    ],
)
def test_every_schedule_of_a_plan(optim, path):
    config = plan(**optim)
    found = path_of(config)
    np.testing.assert_allclose(found.rate, path.rate, atol=1e-12)
    assert found.warmup == path.warmup
    assert RunConfig.from_mapping(config.to_mapping()) == config


@pytest.mark.parametrize(
    ("optim", "message"),
    [
        ({}, "optim.schedule: is missing; .* expected cosine, linear, wsd"),
        ({**COSINE, "batch_tokens": None}, "optim.batch_tokens: is missing; expected tokens per optimizer step"),
        ({"schedule": "cosine"}, "optim.lr_final: is missing"),
        ({"schedule": "cosine", "lr_final": 3e-5}, "optim.lr: is missing; expected the peak"),
        ({"schedule": "inverse_sqrt"}, "optim.warmup_steps: is missing; inverse_sqrt falls from the end"),
        ({**COSINE, "batch_tokens": 40}, "optim.batch_tokens: the run takes 100000000 steps; expected at most"),
        ({"schedule": "points", "lr_points": {"50%": 1, "500": 2}}, "lr_points: 500 is step 500, which has a rate"),
        ({"schedule": "points", "lr_points": {"0": 1, "1001": 2}}, "lr_points: 1001 lies beyond the run's 1000 steps"),
    ],
)
def test_what_a_plan_leaves_out_is_named(optim, message):
    with pytest.raises(ConfigError, match=message):
        path_of(plan(**optim))


@pytest.mark.parametrize(
    ("optim", "message"),
    [
        ({**COSINE, "decay_share": 0.1}, "optim.decay_share: goes with schedule: wsd; got schedule: cosine"),
        ({"lr_steps": {"80%": 1}}, "optim.lr_steps: goes with schedule: piecewise; got schedule: none"),
        ({"schedule": "piecewise", "lr": 1}, "optim.lr_steps: is missing"),
        ({"schedule": "piecewise", "lr_steps": {"80%": 1}}, "optim.lr: is missing"),
        ({"schedule": "points"}, "optim.lr_points: is missing"),
        ({"schedule": "points", "lr_points": {"0": 0, "9": 0}}, "optim.lr_points: are all 0"),
        ({"schedule": "points", "lr": 5, "lr_points": {"0": 0, "9": 2}}, "optim.lr: got 5, which is no learning rate"),
        ({"schedule": "points", "lr_points": {"0": 1}}, "lr_points"),
        (
            {**WSD, "decay_form": "exponential", "lr_final": 0},
            "lr_final: got 0, which an exponential decay never",
        ),
        ({**WSD, "decay_form": "cubic"}, "decay_form"),
        ({**WSD, "decay_share": 0}, "decay_share"),
        *(
            ({"schedule": "piecewise", "lr": 1, "lr_steps": {moment: 0.5}}, "expected a step such as 8000, or a share")
            for moment in ("0.8", "half", "-5", "101%", "1e99", "", "5%%")
        ),
    ],
)
def test_schedules_that_say_too_much_or_too_little_are_refused(optim, message):
    with pytest.raises(ConfigError, match=message):
        plan(**optim)


def test_overrides_reach_stages(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "model: {params: 7B}\ndata: {tokens: 4B}\n"
        "optim: {batch_tokens: 4M, lr: 1e-3, schedule: piecewise, lr_steps: {80%: 1e-4}}\n"
    )
    config = RunConfig.load(path, ["optim.lr_steps.90%=2e-5", "optim.lr_steps.8e2=3e-4"])
    assert config.optim.lr_steps == {"80%": 1e-4, "90%": 2e-5, "800": 3e-4}
    with pytest.raises(ConfigError, match=r"lr_steps: 800 is step 800, which has a rate already"):
        path_of(config)
    path.write_text(path.read_text().replace("80%: 1e-4", "soon: 1e-4"))
    with pytest.raises(ConfigError, match=r"run\.yaml:3: optim\.lr_steps\.soon"):
        RunConfig.load(path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("cosine,steps=24k,warmup=2160,final=0.1", named_path("cosine", 24000, 2160, 0.1)),
        ("constant, steps=100", named_path("constant", 100)),
        ("wsd,steps=1000,final=0.1,decay=0.1,form=sqrt", wsd_path(1000, 0, 900, 0.1, "sqrt")),
        ("piecewise,steps=1000,warmup=10,50%=0.5,900=0.1", piecewise_path(1000, 10, {500: 0.5, 900: 0.1})),
        ("points,steps=1000,0=0,10%=3e-4,100%=0", pointwise_path(1000, 100, {0: 0, 100: 1, 1000: 0})),
    ],
)
def test_schedules_in_a_line(text, path):
    found = path_of_text(text)
    np.testing.assert_allclose(found.rate, path.rate, atol=1e-12)
    assert found.warmup == path.warmup


def test_a_schedule_in_a_file(tmp_path):
    (tmp_path / "lr.csv").write_text("step,lr\n0,1e-3\n99,1e-4\n")
    assert path_of_text(str(tmp_path / "lr.csv")).rate[[0, 99]] == pytest.approx([1, 0.1])


@pytest.mark.parametrize(
    "text",
    [
        "", "cosine", "cosine,steps=0", "cosine,steps=ten", "cosine,steps=10", "sawtooth,steps=10",
        "cosine,steps=10,final", "cosine,steps=10,final=0.1,8=0.1", "wsd,steps=10,final=2",
        "wsd,steps=10,final=0.1,form=cubic", "wsd,steps=10,final=0.1,decay=0",
        "piecewise,steps=10", "piecewise,steps=10,soon=0.1", "points,steps=10,0=0,5=0",
        "cosine,steps=10,final=0.1,warmup=11", "cosine,steps=1e15,final=0.1", "wsd,steps=10,final=0,form=exponential",
    ],
)  # fmt: skip
def test_schedules_that_cannot_be_are_refused(text):
    with pytest.raises(UsageError, match=r"--schedule: .*expected NAME,steps=24000"):
        path_of_text(text)
