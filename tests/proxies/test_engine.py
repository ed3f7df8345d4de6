"""A group in training: what its results hold, that copies don't disturb one another, and what is refused."""

import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from foretrain.core.errors import ConfigError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.mixture import validation_rows
from foretrain.datasets.tokens.prepare import prepare
from foretrain.proxies.engine import _train as train_module
from foretrain.proxies.engine import train_group
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.kernels import find_compiler
from foretrain.proxies.settings import EngineSettings

pytestmark = pytest.mark.usefixtures("one_thread")

ABSURD = {"lr": 5.0}  # worse than guessing as soon as that is looked at
BREAKING = {"lr": 100.0, "weight_decay": 100.0}  # weights grow ten-thousandfold a step until gradients overflow


@pytest.fixture
def train(tiny_store, plain, tmp_path):
    """`train(*runs, store, settings, report)`: their results, computed anew."""

    def start(*runs, store=tiny_store, settings=plain, report=None):
        checkpoint = tmp_path / "group.safetensors"
        checkpoint.unlink(missing_ok=True)
        return train_group(runs, store, settings, checkpoint, report)

    return start


def facts(result):
    """A result without how fast it was computed."""
    return replace(result, engine={k: v for k, v in result.engine.items() if k not in ("tokens_per_s", "seconds")})


def losses(result) -> np.ndarray:
    """All losses of a result: of the curve and of every evaluation."""
    found = [point.loss_nats for point in result.curve]
    for evaluation in result.evaluations:
        found += [loss.mean_nats for loss in evaluation.losses.values()]
    return np.array(found)


def half_way(run):
    """The run with evaluations at a third and a half of it."""
    return run.model_copy(update={"evaluate_at": (run.tokens / 3, run.tokens / 2)})


# results


def test_results_come_in_the_order_of_the_runs_and_say_how_they_were_computed(train, tiny_run):
    results = train(tiny_run(run_id="second", seed=2), tiny_run(run_id="first", seed=1))
    assert [result.run_id for result in results] == ["second", "first"]
    for result in results:
        assert (result.status, result.diverged_step) == ("ok", None)
        engine = dict(result.engine)
        assert engine.pop("tokens_per_s") > 0
        assert engine.pop("torch_version") == torch.__version__
        assert engine.pop("device_name")
        assert engine.pop("kernels") is None
        seconds = engine.pop("seconds")
        assert min(seconds["start"], seconds["steps"], seconds["evaluation"]) > 0
        assert engine == {"device": "cpu", "precision": "fp32", "compiled": False, "threads": 1, "copies": 2}
        json.dumps(result.to_dict(), allow_nan=False)


def test_equal_runs_give_equal_bits(train, tiny_run):
    one, two = (train(half_way(tiny_run(seed=3)))[0] for _ in range(2))
    assert facts(one) == facts(two)
    (other,) = train(half_way(tiny_run(seed=4)))
    assert (losses(other)[1:] != losses(one)[1:]).all()  # the first is that of guessing


def test_evaluations_come_where_they_are_due_and_on_every_domain(train, tiny_run):
    run = tiny_run(24, evaluate_at=(64, 500, 1000))
    (result,) = train(run)
    assert [evaluation.step for evaluation in result.evaluations] == list(run.evaluate_steps) == [1, 8, 16, 24]
    for evaluation in result.evaluations:
        assert evaluation.tokens == evaluation.step * 64
        assert list(evaluation.losses) == ["a", "b", "c"]
        assert all(0 < loss.standard_error_nats < 0.5 for loss in evaluation.losses.values())
        assert all(0 < loss.mean_nats < 5 for loss in evaluation.losses.values())


def test_validating_on_the_way_changes_nothing_else(train, tiny_run):
    (often,), (once,) = train(tiny_run(evaluate_at=(64, 128, 192, 800))), train(tiny_run())
    assert often.curve == once.curve
    assert often.evaluations[-1] == once.evaluations[-1]


def test_tokens_are_accounted_for_by_domain(train, tiny_run):
    mix = {"a": 0.7, "c": 0.3, "b": 0.0}
    (result,) = train(tiny_run(40, mix=mix, unique_tokens={"c": 100}, evaluate_at=(640,)))
    for evaluation in result.evaluations:
        assert sum(evaluation.train_tokens.values()) == evaluation.tokens
        for domain, tokens in evaluation.train_tokens.items():
            assert abs(tokens - mix[domain] * evaluation.tokens) <= 2 * 16
        assert set(evaluation.train_tokens) == set(evaluation.unique_tokens) == {"a", "c"}
        assert evaluation.unique_tokens["c"] == 96  # whole windows of 16
        assert 19_900 < evaluation.unique_tokens["a"] <= 20_000
        assert all(type(n) is int for n in [*evaluation.train_tokens.values(), *evaluation.unique_tokens.values()])


@pytest.mark.parametrize("steps", [1, 2, 24, 201, 399])
def test_the_curve_is_short_and_covers_the_whole_run(train, tiny_run, steps):
    recipe = {"schedule": "linear", "lr": 1e-5}  # learns nothing, so that no tiny batch is far from guessing
    run = tiny_run(steps, recipe=recipe, shape={"context_length": 2}, batch_sequences=1)
    (result,) = train(run)
    taken = [point.step for point in result.curve]
    assert taken == sorted(set(taken))
    assert taken[-1] == steps
    assert len(taken) <= 201
    assert len(set(np.diff([0, *taken[:-1]]))) <= 1
    for point in result.curve:
        assert point.tokens == point.step * run.batch_tokens
        assert point.lr == pytest.approx(run.recipe.lr * float(run.schedule.at(point.step - 1)))


def test_curve_points_are_means_over_the_steps_since_the_last(tiny_run, tiny_store, plain):
    group = TrainingGroup(
        [tiny_run(500, shape={"context_length": 4}, batch_sequences=2)], tiny_store, plain, cpu(plain)
    )
    seen, real = [], group.computation.advance

    def spy(tokens, step):
        found = real(tokens, step)
        seen.append(found.item())
        return found

    group.computation.advance = spy
    for _ in range(40):
        group.advance()
    stride = group.curves[0][0].step
    assert stride > 1
    means = np.array(seen[: 40 // stride * stride]).reshape(-1, stride).mean(1)
    np.testing.assert_allclose([point.loss_nats for point in group.curves[0]], means, rtol=1e-5)


def test_training_lowers_the_loss_of_what_is_trained_on_alone(train, tiny_run):
    (result,) = train(tiny_run(300, mix={"a": 1.0}, recipe={"lr": 0.02}))
    ends = result.evaluations[-1].losses
    assert ends["a"].mean_nats < 0.8 * math.log(32)
    assert ends["c"].mean_nats > ends["a"].mean_nats + 0.5


# validation


def cpu(settings):
    return resolve(settings)


def by_hand(group, rows, weights):
    """Mean loss and its standard error over sequences, computed one sequence at a time."""
    parts = group.layout.split(weights)
    found = [group.model.losses(parts, torch.from_numpy(row)[None, None]).item() for row in rows]
    return np.mean(found), np.std(found, ddof=1) / math.sqrt(len(found))


@pytest.mark.parametrize("eval_tokens", [512, 400, 32])  # 8, 6.25 and half a batch
def test_validation_is_of_the_averaged_weights_over_the_first_rows(tiny_run, tiny_store, plain, eval_tokens):
    settings = plain.model_copy(update={"eval_tokens": eval_tokens})
    group = TrainingGroup([tiny_run(24, recipe={"averaging": 0.5})], tiny_store, settings, cpu(settings))
    while not group.finished:
        group.advance()
    assert (group.state.average - group.state.master).abs().max() > 1e-3
    (evaluation,) = group.evaluations[0]
    for domain, loss in evaluation.losses.items():
        rows = validation_rows(tiny_store, domain, 16, eval_tokens)
        assert len(rows) == eval_tokens // 16
        mean, error = by_hand(group, rows, group.state.average)
        assert loss.mean_nats == pytest.approx(mean, rel=1e-5)
        assert loss.standard_error_nats == pytest.approx(error, rel=1e-3)


def test_validation_text_shorter_than_asked_for_is_used_whole_and_once(tmp_path, train, tiny_run):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["one", "two", "three", "four", "five"], 40)) for _ in range(60)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    mapping = {"domains": {"t": {"path": "t.jsonl"}}, "validation_share": 0.2}
    store = prepare(Corpus.from_mapping(mapping, folder=tmp_path), tmp_path / "store")
    whole = store.count("t", "valid") // 16 * 16
    assert whole < 5_000
    run = tiny_run(4, shape={"vocab_size": store.vocab_size}, mix={"t": 1.0})
    found = [train(run, store=store, settings=short(tokens))[0] for tokens in (whole, 10**9)]
    assert facts(found[0]) == facts(found[1])
    assert train(run, store=store, settings=short(whole // 2))[0].evaluations != found[0].evaluations


def short(eval_tokens: float) -> EngineSettings:
    return EngineSettings(device="cpu", precision="fp32", compile="never", eval_tokens=eval_tokens)


def test_one_sequence_has_a_loss_but_no_standard_error(train, tiny_run):
    (result,) = train(tiny_run(2), settings=short(16))
    assert all(math.isinf(loss.standard_error_nats) for loss in result.evaluations[-1].losses.values())
    assert all(math.isfinite(loss.mean_nats) for loss in result.evaluations[-1].losses.values())


# copies beside one another


def test_runs_in_a_group_give_what_each_gives_alone(train, tiny_run):
    runs = [
        tiny_run(30, run_id="1", seed=1),
        tiny_run(30, run_id="2", seed=2, recipe={"lr": 0.02, "schedule": "cosine", "weight_decay": 0.5}),
        tiny_run(30, run_id="3", seed=1, mix={"c": 1.0}, unique_tokens={"c": 200}),
        tiny_run(30, run_id="4", seed=4, recipe={"averaging": 0.0, "warmup_tokens": 320, "clip_norm": 0.1}),
    ]
    runs = [half_way(run) for run in runs]
    together = train(*runs)
    for run, beside in zip(runs, together, strict=True):
        (alone,) = train(run)
        np.testing.assert_allclose(losses(beside), losses(alone), rtol=1e-4)
        for one, other in zip(beside.evaluations, alone.evaluations, strict=True):
            assert (one.step, one.train_tokens, one.unique_tokens) == (
                other.step,
                other.train_tokens,
                other.unique_tokens,
            )
        assert [point.lr for point in beside.curve] == [point.lr for point in alone.curve]
    ends = [losses(result)[-1] for result in together]
    assert len(set(ends)) == 4


def test_a_run_survives_the_order_of_its_group(train, tiny_run):
    runs = [tiny_run(20, run_id=name, seed=seed) for seed, name in enumerate("xyz")]
    forward, backward = train(*runs), train(*reversed(runs))
    for one, other in zip(forward, reversed(backward), strict=True):
        assert one.run_id == other.run_id
        np.testing.assert_allclose(losses(one), losses(other), rtol=1e-5)


@pytest.mark.parametrize(("recipe", "steps", "step"), [(ABSURD, 24, 2), (BREAKING, 80, 3)])
def test_a_diverged_copy_is_marked_and_disturbs_no_other(train, tiny_run, recipe, steps, step):
    def group(recipe):
        runs = [tiny_run(steps, run_id="1", seed=1), tiny_run(steps, run_id="2", recipe=recipe)]
        return train(*(half_way(run) for run in [*runs, tiny_run(steps, run_id="3", seed=3)]))

    mad, sane = group(recipe), group({})
    assert [result.status for result in mad] == ["ok", "diverged", "ok"]
    assert [result.diverged_step for result in mad] == [None, step, None]
    assert mad[1].evaluations == ()
    assert mad[1].curve[-1].step == steps
    for at in (0, 2):
        assert facts(mad[at]) == facts(sane[at])


def test_the_two_ways_to_diverge_are_both_met(tiny_run, tiny_store, plain):
    broken = TrainingGroup([tiny_run(80, recipe=BREAKING)], tiny_store, plain, cpu(plain))
    while not broken.finished:
        broken.advance()
    assert broken.step < 8, "long before losses are compared with guessing, after a tenth of the run"
    assert broken.state.master.isfinite().all()
    absurd = TrainingGroup([tiny_run(24, recipe=ABSURD)], tiny_store, plain, cpu(plain))
    while not absurd.finished:
        absurd.advance()
    assert absurd.step == 3
    assert absurd.curves[0][-1].loss_nats > math.log(32) + 0.5
    assert absurd.state.first.isfinite().all()


def test_a_diverged_run_keeps_the_evaluations_before(tiny_run, tiny_store, plain):
    run = tiny_run(24, evaluate_at=(64, 128, 640))
    group = TrainingGroup([run, run], tiny_store, plain, cpu(plain))
    for _ in range(5):
        group.advance()
    with torch.no_grad():
        group.state.master[0] *= float("nan")
    group.computation.load(group.state.master)
    while not group.finished:
        group.advance()
    assert group.diverged_steps() == [5, None]
    assert [e.step for e in group.evaluations[0]] == [1, 2]
    assert [e.step for e in group.evaluations[1]] == [1, 2, 10, 24]
    assert all(math.isinf(point.loss_nats) for point in group.curves[0][5:])


def test_a_group_of_diverged_runs_ends_early(train, tiny_run):
    results = train(*(tiny_run(400, run_id=name, seed=1, recipe=BREAKING) for name in "xy"))
    assert [result.status for result in results] == ["diverged"] * 2
    assert all(result.curve[-1].step < 20 for result in results if result.curve)


def test_a_run_whose_last_weights_break_has_diverged(tiny_run, tiny_store, plain):
    """A run that is "ok" without its last evaluation can never be read back, and would be trained again for ever."""
    group = TrainingGroup([tiny_run(4)] * 2, tiny_store, plain, cpu(plain))
    for _ in range(3):
        group.advance()
    with torch.no_grad():
        group.state.average[0] = float("nan")
    group.advance()
    assert group.diverged_steps() == [3, None]


def test_a_batch_of_a_rare_domain_is_not_taken_for_divergence(tmp_path, train, tiny_run):
    """Its tokens are unlikely to a model that has hardly seen them: a loss above guessing, and nothing is wrong."""
    source = {"kind": "zipf", "vocab_size": 256, "exponent": 2.5, "tokens": 50_000}
    domains = {name: {"synthetic": {**source, "seed": seed}} for seed, name in enumerate("ab")}
    store = prepare(Corpus.from_mapping({"domains": domains}), tmp_path / "store")
    shape = {"vocab_size": 256}
    (result,) = train(tiny_run(150, shape=shape, mix={"a": 0.98, "b": 0.02}, batch_sequences=1), store=store)
    assert max(point.loss_nats for point in result.curve) > math.log(256) + 0.5
    assert result.status == "ok"


# number formats and compilation


def test_bf16_is_within_noise_of_fp32(train, tiny_run):
    """Emulated here, and slow; the master weights are fp32 all the same."""
    runs = [tiny_run(40, run_id=str(seed), seed=seed, recipe={"lr": 0.005}) for seed in range(2)]
    wide = train(*runs)
    narrow = train(*runs, settings=EngineSettings(device="cpu", precision="bf16", compile="never", eval_tokens=512))
    for one, other in zip(wide, narrow, strict=True):
        assert other.engine["precision"] == "bf16"
        assert losses(one).tolist() != losses(other).tolist()
        np.testing.assert_allclose(losses(other), losses(one), atol=0.02)
        assert losses(one)[20:40].mean() < 0.8 * math.log(32)


# Inductor itself uses what Python deprecates; those warnings are not ours to fix.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning")
@pytest.mark.skipif(find_compiler() is None, reason="compiling takes a C++ compiler")
@pytest.mark.parametrize("gated", [True, False], ids=["kernels", "torch"])
def test_compiled_is_the_same_within_rounding(train, tiny_run, gated):
    runs = [half_way(tiny_run(12, run_id=str(seed), seed=seed, shape={"ffn_gated": gated})) for seed in range(2)]
    written = train(*runs)
    compiled = train(*runs, settings=EngineSettings(device="cpu", precision="fp32", compile="always", eval_tokens=512))
    for one, other in zip(written, compiled, strict=True):
        assert other.engine["compiled"] is True
        assert (other.engine["kernels"] is not None) == gated
        np.testing.assert_allclose(losses(other), losses(one), atol=1e-4)


def test_auto_is_resolved_and_recorded(monkeypatch, tiny_run):
    auto = EngineSettings()
    brief, long = (tiny_run(steps, shape={"ffn_gated": False}) for steps in (10, 10**8))
    assert resolve(auto, [brief]).compiled is False
    found = resolve(auto, [long])
    assert found.precision in ("fp32", "bf16")
    assert found.device in ("cpu", "cuda")
    assert found.threads == 1
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("PATH", "/nowhere")
    assert resolve(auto, [long]).compiled is False
    with pytest.raises(ConfigError, match=r"engine\.compile: got 'always', but no C\+\+ compiler"):
        resolve(EngineSettings(compile="always"), [long])


# progress and refusals


def test_progress_is_reported_at_the_end_and_on_the_way(train, tiny_run, monkeypatch):
    seen = []
    train(tiny_run(5), tiny_run(5, run_id="2"), report=seen.append)
    assert [tuple(progress)[:4] for progress in seen] == [(5, 5, 640, 2)]
    monkeypatch.setattr(train_module, "_REPORT_EVERY_S", 0.0)
    seen.clear()
    train(tiny_run(5), report=seen.append)
    assert [progress.step for progress in seen] == [1, 2, 3, 4, 5, 5]


def test_a_group_trains_in_a_thread_too(train, tiny_run):
    """Only a main thread may set signal handlers."""
    results = []
    thread = threading.Thread(target=lambda: results.extend(train(tiny_run(3))))
    thread.start()
    thread.join()
    assert facts(results[0]) == facts(train(tiny_run(3))[0])


def test_training_leaves_the_random_state_alone(train, tiny_run):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(tiny_run(3))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 5},
        {"shape": {"width": 32}},
        {"shape": {"short_conv": 0}},
        {"batch_sequences": 2, "tokens": 256},
        {"evaluate_at": (64,)},
        {"model": "other"},
    ],
)
def test_runs_that_differ_in_what_they_must_share_are_refused(train, tiny_run, change):
    with pytest.raises(ConfigError, match="must have the same"):
        train(tiny_run(4), tiny_run(**{"steps": 4, **change}))


def test_no_runs_are_refused(train):
    with pytest.raises(ConfigError, match="must have the same"):
        train()


@pytest.mark.parametrize(
    ("change", "error", "fragment"),
    [
        ({"mix": {"a": 0.5, "z": 0.5}}, ConfigError, "there is no domain 'z'; the domains are a, b, c"),
        ({"unique_tokens": {"a": 15}}, ConfigError, "expected at least the context of 16"),
        ({"model": "mamba"}, ConfigError, "model: got 'mamba'; expected one of .*transformer"),
        ({"shape": {"norm": "layer"}}, ConfigError, r"shape\.norm: got 'layer'"),
        ({"shape": {"vocab_size": 31}}, ConfigError, r"shape\.vocab_size: got 31; .*32"),
        ({"shape": {"context_length": 30_000}}, CorpusError, "training text holds no window of 30001 tokens"),
    ],
)
def test_runs_that_this_data_cannot_train_are_refused(train, tiny_run, change, error, fragment):
    with pytest.raises(error, match=fragment):
        train(tiny_run(2, **change))


def test_a_larger_vocabulary_than_the_data_has_is_padding(train, tiny_run):
    (result,) = train(tiny_run(60, shape={"vocab_size": 40}))
    assert result.evaluations[-1].losses["a"].mean_nats < math.log(32)


def test_validation_below_one_window_is_refused(train, tiny_run):
    with pytest.raises(CorpusError, match="at least the context of 16"):
        train(tiny_run(2), settings=short(15))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(train, tiny_run):
    with pytest.raises(ConfigError, match=r"engine\.device: got 'cuda', but torch sees no GPU here"):
        train(tiny_run(2), settings=EngineSettings(device="cuda"))
