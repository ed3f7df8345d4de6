"""From trials to run configurations and back: what is suggested is inside, and encodes to itself."""

import numpy as np
import optuna
import pytest
from foretrain.core.errors import ConfigError
from foretrain.core.model.shape_family import family_shape, rung
from foretrain.simulator.search.evaluate import Evaluator
from foretrain.simulator.search.space.dimensions import MixDimension, RangeDimension

SPACE = {
    "model.params": {"low": "300M", "high": "5B", "log": True},
    "data.tokens": {"low": "10B", "high": "1T", "log": True},
    "optim.lr": {"low": 1e-4, "high": 1e-3, "log": True},
    "optim.batch_tokens": {"low": "0.25M", "high": "4M", "log": True},
    "hardware.count": {"low": 8, "high": 128, "step": 8},
    "hardware.precision": ["bf16", "fp8"],
    "layout.recompute": ["none", "selective", "full"],
    "reliability.checkpoint": ["30s", "2min"],
}
MIX = {"simplex": {"a": {"min": 0.2, "unique_tokens": "30B"}, "b": {"max": 0.7}, "c": None}, "max_epochs": 4}


def trials(space, count, seed=0):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(count):
        trial = study.ask()
        yield trial, space.suggest(trial)


def test_every_suggestion_is_inside_and_encodes_to_itself(make_study):
    space = make_study(space=SPACE).space
    for trial, values in trials(space, 40):
        config = space.config(values)
        assert 3e8 <= config.model.params_total <= 5e9
        assert 10e9 <= config.data.tokens <= 1e12
        assert config.hardware.count in range(8, 129, 8)
        assert config.layout.recompute in ("none", "selective", "full")
        assert config.optim.lr_final == pytest.approx(config.optim.lr / 10)
        encoded = space.encode(values)
        assert encoded == pytest.approx(trial.params)


def test_the_batch_is_one_that_the_devices_share(make_study):
    space = make_study(space=SPACE).space
    for _, values in trials(space, 40):
        config = space.config(values)
        sequences = config.optim.batch_tokens / 2048
        assert sequences == int(sequences)
        assert 0.25e6 <= config.optim.batch_tokens <= 4e6
        shared = [part for part in range(1, config.hardware.count + 1) if config.hardware.count % part == 0]
        assert any(sequences % (config.hardware.count // part) == 0 for part in shared[:6])


def test_a_stated_batch_follows_devices_by_30_percent_at_most(make_study):
    space = make_study(space={"hardware.count": {"low": 8, "high": 128, "step": 8}}).space
    moved = [space.config({"hardware.count": count}).optim.batch_tokens for count in range(8, 129, 8)]
    assert all(1e6 / 1.3 <= batch <= 1.3e6 for batch in moved)
    fixed = make_study().space.config({"data.tokens": 2e10})
    assert fixed.optim.batch_tokens == 1e6


def test_sizes_come_on_rungs_of_the_family(make_study):
    study = make_study()
    base = study.run.model.architecture
    for params in np.geomspace(3e8, 5e9, 12):
        shape = study.space.config({"model.params": float(params)}).model.architecture
        assert shape == family_shape(base, rung(base, params), 3e8, 5e9)
    assert study.space.config({"model.params": base.params_total}).model.architecture == base


@pytest.mark.parametrize(("low", "high"), [(1e9, 1.2e9), (2e9, 7e9), (10e9, 70e9), (1.05e9, 1.06e9)])
def test_sizes_stay_in_their_range(make_study, low, high):
    """A llama of 9.84B was the nearest to the 10B that a study named as the least."""
    space = make_study(space={"model.params": {"low": low, "high": high, "log": True}}).space
    for params in np.geomspace(low, high, 25):
        assert low <= space.config({"model.params": float(params)}).model.params_total <= high


def test_a_range_that_holds_no_shape_gets_the_nearest(make_study):
    space = make_study(space={"model.params": {"low": 1.1e9, "high": 1.1001e9}}).space
    assert space.config({"model.params": 1.1e9}).model.params_total == pytest.approx(1.1e9, rel=0.1)


def test_mixes_keep_bounds_and_epochs_where_that_is_possible(make_study, mixed_predictor):
    study = make_study(
        run={"data": {"tokens": "10B", "evaluated_on": "a"}},
        space={"data.mix": MIX, "data.tokens": {"low": "6B", "high": "18B"}},
        predictor=mixed_predictor,
    )
    mix = study.space.mix
    assert isinstance(mix, MixDimension)
    for trial, values in trials(study.space, 60):
        config = study.space.config(values)
        shares = config.data.mix
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["a"] >= 0.2 - 1e-9
        assert shares["b"] <= 0.7 + 1e-9
        assert config.data.tokens * shares["a"] / 30e9 <= 4 + 1e-6
        assert config.data.unique_tokens_by_domain == {"a": 30e9}
        assert study.space.config({**values, **{"data.mix": values["data.mix"]}}).data.mix == shares
        again = study.space.encode(values)
        assert set(again) == set(trial.params)
    assert study.space.encode({"data.mix": {"a": 0.1, "b": 0.5, "c": 0.4}}) is None
    assert study.space.encode({"data.mix": {"a": 0.5, "b": 0.4, "other": 0.1}}) is None


def test_settings_of_a_section_go_together(make_study):
    """An accelerator comes with its price; the number of them varies beside, the network stays as the run has it."""
    kinds = [
        {"accelerator": "A100-SXM-80", "price_usd_per_hour": 1},
        {"accelerator": "H100-SXM-80", "price_usd_per_hour": 3},
    ]
    study = make_study(
        run={"hardware": {"price_usd_per_hour": None, "inter_node_gbps": 100}},
        space={"hardware": kinds, "hardware.count": {"low": 8, "high": 64, "step": 8}},
        objective="cost_usd",
    )
    seen = set()
    for trial, values in trials(study.space, 30):
        hardware = study.space.config(values).hardware
        seen.add((hardware.accelerator.name, hardware.price_usd_per_hour))
        assert hardware.count == values["hardware.count"]
        assert hardware.inter_node_gbit_per_s == 100
        assert study.space.encode(values) == trial.params
    assert seen == {("A100-SXM-80", 1.0), ("H100-SXM-80", 3.0)}
    found = Evaluator(study)({"hardware": kinds[1], "hardware.count": 32})
    assert found.goals[0] > 0
    own = make_study(run={"hardware": {"price_usd_per_hour": 3}}, space={"hardware": kinds}).space
    assert own.encode({}) == {"hardware": own.dimensions[0].labels[1]}


def test_corpora_may_be_chosen_by_name_and_by_composition(make_study):
    corpora = ["fineweb", {"web": 0.8, "code": 0.2}]
    space = make_study(space={"data.corpus": corpora, "data.tokens": {"low": "6B", "high": "18B"}}).space
    chosen = [space.config(values).data.corpus for _, values in trials(space, 20)]
    assert all(corpus in chosen for corpus in corpora)
    with pytest.raises(ConfigError, match="isn't a number; expected a list of values"):
        make_study(space={"data.corpus": {"low": 0, "high": 1}})


def test_a_domain_may_have_epochs_of_its_own(make_study, mixed_predictor):
    """At 10B tokens 1B of `a` may be seen twice, 1B of `b` four times as all others; nothing is said of `c`."""
    simplex = {"a": {"unique_tokens": "1B", "max_epochs": 2}, "b": {"unique_tokens": "1B"}, "c": None}
    study = make_study(
        run={"data": {"tokens": "10B", "evaluated_on": "a"}},
        space={"data.mix": {"simplex": simplex, "max_epochs": 4}},
        predictor=mixed_predictor,
    )
    assert {limit.name: limit.bound for limit in study.limits} == {"epochs.a": 2.0, "epochs.b": 4.0}
    shares = np.array([[*study.space.config(values).data.mix.values()] for _, values in trials(study.space, 60)])
    assert (shares <= np.array([0.2, 0.4, 1.0]) + 1e-9).all()
    assert (shares.max(axis=0) > np.array([0.19, 0.39, 0.7])).all()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"data.stages.1.share": {"low": 0.1, "high": 0.5}},
            "a list, of which a study can't vary one entry",
        ),
        ({"optim.stages.0.lr": [1e-4, 3e-4]}, "expected space.optim.stages with lists to choose from"),
        ({"data.tokns": {"low": 1, "high": 2}}, "unknown key; did you mean data.tokens"),
        ({"data.tokens": {"low": "2T", "high": "1T"}}, "expected more than low"),
        ({"data.tokens": {"low": 0, "high": "1T", "log": True}}, "expected a number above 0"),
        ({"data.tokens": {"low": "1T", "hihg": "2T"}}, "did you mean high"),
        ({"data.tokens": {"low": float("nan"), "high": 1e12}}, "data.tokens.low"),
        ({"data.tokens": {"low": "1T", "high": "4T", "step": "9T"}}, "step"),
        ({"data.tokens": "1T"}, "expected a range"),
        ({"data.tokens": []}, "data.tokens"),
        ({"hardware.count": {"low": 1.5, "high": 3}}, "whole number"),
        ({"hardware.count": {"low": 64, "high": 10**9}}, "at most"),
        ({"hardware.accelerator": ["H100-SXM-80", "H1000"]}, "H1000"),
        ({"hardware.accelerator": {"low": 1, "high": 2}}, "isn't a number"),
        ({"optim.schedule": ["cosine", "cosine"]}, "twice"),
        ({"optim.schedule": ["cosine", "zigzag"]}, "zigzag"),
        ({"data.mix": {"simplex": {"a": {"min": 0.6}, "b": {"min": 0.6}}}}, "minima sum to 1.2"),
        ({"data.mix": {"simplex": {"a": {"max": 0.4}, "b": {"max": 0.4}}}}, "maxima sum to 0.8"),
        ({"data.mix": {"simplex": {"a": {"min": 0.6, "max": 0.5}, "b": {}}}}, "at most max"),
        ({"data.mix": {"simplex": {"a": {"max_epochs": 2}, "b": {}}}}, "a.max_epochs: its stock isn't stated"),
        ({"data.mix": {"simplex": ["a"]}}, "expected 2 to"),
        ({"data.mix": {"simplex": "some"}}, "or all"),
        ({"optim.lr": {"simplex": ["a", "b"]}}, "only data.mix"),
        ({"model.params": {"low": 1, "high": "1B", "log": True}}, "model.params"),
        ({"targets.budget_usd": {"low": 1, "high": 2}}, "expected it under constraints"),
        ({"hardware": [{"count": 8}], "hardware.count": [8, 16]}, "lies within"),
        ({"hardware": [{"cuont": 8}]}, "hardware.cuont: unknown key; did you mean hardware.count"),
        ({"hardware": ["H100-SXM-80"]}, "expected settings that go together"),
        ({"hardware": [8], "hardware.count": [8, 16]}, "expected settings that go together"),
        ({"hardware": [{"accelerator": "H1000"}, {"count": 8}]}, "H1000"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value[:12],
)
def test_what_is_wrong_is_said(make_study, entry, message):
    with pytest.raises(ConfigError, match=message) as raised:
        make_study(space=entry)
    assert next(iter(entry)).split(".")[0] in str(raised.value)


def test_steps_on_logarithmic_and_plain_ranges():
    plain = RangeDimension("hardware.count", 64, 256, step=64, whole=True)
    assert [plain.snapped(value) for value in (0, 90, 100, 1e9)] == [64, 64, 128, 256]
    logarithmic = RangeDimension("hardware.count", 8, 1024, log=True, step=8, whole=True)
    assert all(logarithmic.snapped(value) % 8 == 0 for value in np.geomspace(8, 1024, 50))
    assert list(plain.moves({"hardware.count": 128}))
    assert not list(RangeDimension("data.tokens", 1e9, 1e12, log=True).moves({"data.tokens": 1e10}))
