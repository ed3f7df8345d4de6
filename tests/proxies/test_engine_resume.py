"""However often a group is interrupted, its result is the same bits; and no foreign checkpoint ever gets into one."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from foretrain.core.errors import InputError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
from foretrain.proxies.engine import _train as train_module
from foretrain.proxies.engine import train_group
from foretrain.proxies.engine._checkpoint import load_checkpoint, save_checkpoint
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.subset import Subset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 24
BREAKING = {"lr": 100.0, "weight_decay": 100.0}


@pytest.fixture(scope="module")
def runs(tiny_run):
    """Three unlike runs, one of which diverges in its seventh step; evaluations after steps 3, 10 and 24."""
    recipes = [{"schedule": "cosine", "warmup_tokens": 256}, {"averaging": 0.5, "lr": 0.02}, BREAKING]
    plain = {"steps": STEPS, "evaluate_at": (192, 640), "unique_tokens": {"a": 200}}
    return [tiny_run(**plain, run_id=str(at), seed=at, recipe=recipe) for at, recipe in enumerate(recipes)]


@pytest.fixture(scope="module")
def new_group(runs, tiny_store, plain):
    """`new_group(runs, settings)`: a group before its first step."""

    def make(runs=runs, settings=plain, store=tiny_store):
        return TrainingGroup(runs, store, settings, resolve(settings, runs))

    return make


@pytest.fixture(scope="module")
def straight(new_group):
    """The group, trained without a break."""
    group = new_group()
    advance(group, STEPS)
    return group


def advance(group, steps: int) -> None:
    for _ in range(steps):
        if not group.finished:
            group.advance()


def assert_same_bits(group, other) -> None:
    assert group.step == other.step
    assert group.curves == other.curves
    assert group.evaluations == other.evaluations
    for name, tensor in group.tensors.items():
        assert torch.equal(tensor.nan_to_num(7.0), other.tensors[name].nan_to_num(7.0)), name


def test_what_is_interrupted_here_has_everything_worth_losing(straight):
    assert straight.finished
    assert straight.diverged_steps()[:2] == [None, None]
    assert straight.diverged_steps()[2] is not None
    assert [e.step for e in straight.evaluations[0]] == [3, 10, STEPS]


def test_a_break_after_every_step_changes_nothing(new_group, straight, tmp_path):
    path = tmp_path / "c.safetensors"
    for step in range(STEPS):
        group = new_group()
        assert load_checkpoint(group, path) is (step > 0)
        assert group.step == step
        group.advance()
        save_checkpoint(group, path)
    assert_same_bits(group, straight)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(breaks=st.sets(st.integers(0, STEPS), max_size=4))
def test_breaks_anywhere_change_nothing(new_group, straight, tmp_path, breaks):
    path = tmp_path / "c.safetensors"
    path.unlink(missing_ok=True)
    group = new_group()
    for step in sorted(breaks):
        advance(group, step - group.step)
        save_checkpoint(group, path)
        group = new_group()
        assert load_checkpoint(group, path)
    advance(group, STEPS)
    assert_same_bits(group, straight)


def test_a_curve_with_many_steps_to_a_point_resumes_within_a_point(new_group, tiny_run, tmp_path):
    runs = [tiny_run(450, shape={"context_length": 4}, batch_sequences=2)]
    straight, broken = new_group(runs), new_group(runs)
    advance(straight, 40)
    assert len(straight.curves[0]) < 20
    for steps in (7, 1, 12):
        advance(broken, steps)
        save_checkpoint(broken, tmp_path / "c")
        broken = new_group(runs)
        assert load_checkpoint(broken, tmp_path / "c")
    advance(broken, 20)
    assert_same_bits(broken, straight)


# what isn't used


def test_no_checkpoint_is_no_error(new_group, tmp_path):
    assert load_checkpoint(new_group(), tmp_path / "missing") is False
    assert load_checkpoint(new_group(), tmp_path) is False


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 9},
        {"run_id": "other"},
        {"mix": {"a": 0.4, "b": 0.6}},
        {"unique_tokens": {"a": 300}},
        {"recipe": {"lr": 0.011}},
        {"recipe": {"averaging": 0.2}},
        {"evaluate_at": (128,)},
        {"steps": 25},
        {"shape": {"ffn_width": 48}},
    ],
)
def test_a_checkpoint_of_another_run_is_not_used(new_group, tiny_run, tmp_path, change):
    first, second = new_group([tiny_run(STEPS)]), new_group([tiny_run(**{"steps": STEPS, **change})])
    advance(first, 3)
    save_checkpoint(first, tmp_path / "c")
    before = second.layout.initial([run.seed for run in second.runs])
    assert load_checkpoint(second, tmp_path / "c") is False
    assert second.step == 0
    assert second.curves == [[]]
    assert torch.equal(second.state.master, before)


@pytest.mark.parametrize(
    "change", [{"precision": "bf16"}, {"threads": 2}, {"torch_version": "1"}, {"device_name": "?"}]
)
def test_a_checkpoint_of_another_way_to_compute_is_not_used(new_group, tmp_path, change):
    save_checkpoint(new_group(), tmp_path / "c")
    other = new_group()
    other.hardware = replace(other.hardware, **change)
    assert load_checkpoint(other, tmp_path / "c") is False


def test_a_checkpoint_of_another_validation_is_not_used(new_group, plain, tmp_path):
    """Once, a group validated on fewer tokens after a break than before it."""
    save_checkpoint(new_group(), tmp_path / "c")
    other = new_group(settings=plain.model_copy(update={"eval_tokens": 256}))
    assert load_checkpoint(other, tmp_path / "c") is False


@pytest.mark.parametrize("change", [{"checkpoint_every_s": 1.0}, {"group_size": 9}])
def test_settings_that_change_no_result_may_change(new_group, plain, tmp_path, change):
    first, second = new_group(), new_group(settings=plain.model_copy(update=change))
    save_checkpoint(first, tmp_path / "c")
    assert load_checkpoint(second, tmp_path / "c") is True


def test_a_checkpoint_of_other_data_is_not_used(new_group, tmp_path):
    source = {"kind": "zipf_markov", "vocab_size": 32, "branching": 4, "tokens": 20_000}
    domains = {name: {"synthetic": {**source, "seed": seed}} for seed, name in zip((0, 1, 5), "abc", strict=True)}
    store = prepare(Corpus.from_mapping({"domains": domains}), tmp_path / "store")
    save_checkpoint(new_group(), tmp_path / "c")
    assert load_checkpoint(new_group(store=store), tmp_path / "c") is False


def test_runs_in_another_order_do_not_get_one_anothers_weights(new_group, runs, tmp_path):
    save_checkpoint(new_group(), tmp_path / "c")
    assert load_checkpoint(new_group(runs=runs[::-1]), tmp_path / "c") is False


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


DAMAGE = {
    "empty": lambda data: b"",
    "cut in its header": lambda data: data[:50],
    "cut in its tensors": lambda data: data[:-7],
    "cut to the length of its header": lambda data: data[:8],
    "text": lambda data: b"this is no checkpoint at all, but long enough to have a header",
    "zeros": lambda data: bytes(len(data)),
    "longer": lambda data: data + b"more",
    "a header without end": lambda data: (2**62).to_bytes(8, "little") + data[8:],
    "no facts": lambda data: header(b'{"__metadata__": {"other": "1"}}'),
    "facts that are no object": lambda data: header(b'{"__metadata__": {"foretrain": "[1, 2]"}}'),
    "facts that are no JSON": lambda data: header(b'{"__metadata__": {"foretrain": "{"}}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_not_used(new_group, straight, tmp_path, damage):
    path = tmp_path / "c"
    first = new_group()
    advance(first, 3)
    save_checkpoint(first, path)
    path.write_bytes(damage(path.read_bytes()))
    second = new_group()
    assert load_checkpoint(second, path) is False
    assert second.step == 0
    advance(second, 3)
    assert_same_bits(second, first)


def test_one_flipped_bit_is_noticed_wherever_it_is(new_group, tmp_path):
    path = tmp_path / "c"
    first, second = new_group(), new_group()
    advance(first, 3)
    save_checkpoint(first, path)
    whole = path.read_bytes()
    for at in [*np.random.default_rng(0).integers(0, len(whole), 50).tolist(), *range(0, 5000, 37)]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x04]) + whole[at + 1 :])
        assert load_checkpoint(second, path) is False, at
    assert second.step == 0


def test_a_checkpoint_that_cannot_be_written_is_an_error(new_group, tmp_path):
    with pytest.raises(InputError):
        save_checkpoint(new_group(), tmp_path / "missing" / "c")


# whole runs


def facts(results):
    return [
        replace(result, engine={k: v for k, v in result.engine.items() if k not in ("tokens_per_s", "seconds")})
        for result in results
    ]


def test_a_result_is_the_same_after_an_error_a_foreign_checkpoint_or_none(
    runs, tiny_run, tiny_store, plain, tmp_path, monkeypatch
):
    path = tmp_path / "c"
    every_step = plain.model_copy(update={"checkpoint_every_s": 1e-9})
    expected = facts(train_group(runs, tiny_store, plain, tmp_path / "unused"))
    assert not (tmp_path / "unused").exists(), "no checkpoint before its time"

    def fail(progress):
        if progress.step == 9:
            raise OSError("no more")

    monkeypatch.setattr(train_module, "_REPORT_EVERY_S", 0.0)
    with pytest.raises(OSError, match="no more"):
        train_group(runs, tiny_store, every_step, path, fail)
    seen = []
    resumed = train_group(runs, tiny_store, every_step, path, seen.append)
    assert seen[0].step == 9, "the step that failed wasn't saved yet"
    assert facts(resumed) == expected
    assert facts(train_group(runs, tiny_store, every_step, path)) == expected, "finished, so nothing is left to do"
    other = [tiny_run(STEPS, seed=77)]
    fresh = facts(train_group(other, tiny_store, plain, tmp_path / "unused"))
    assert facts(train_group(other, tiny_store, plain, path)) == fresh
    path.write_bytes(b"damaged")
    assert facts(train_group(runs, tiny_store, plain, path)) == expected


CHILD = """
import sys, time, torch
from pathlib import Path
from foretrain.datasets.tokens.store import TokenStore
from foretrain.proxies.engine import train_group
from foretrain.proxies.settings import EngineSettings
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.runs import ProxyRun

torch.set_num_threads(1)
folder, settings = Path(sys.argv[1]), EngineSettings.model_validate_json(sys.argv[2])
runs = [ProxyRun.model_validate_json(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
step = TrainingGroup.advance

def advance(group):
    step(group)
    print(group.step, flush=True)
    time.sleep(0.02)

TrainingGroup.advance = advance
try:
    train_group(runs, TokenStore.open(sys.argv[3]), settings, folder / "c")
except KeyboardInterrupt:
    sys.exit(42)
"""


@pytest.mark.parametrize(
    ("number", "subset"),
    [(signal.SIGINT, None), (signal.SIGTERM, None), (signal.SIGKILL, None), (signal.SIGKILL, Subset(warmup=0.1))],
    ids=["SIGINT", "SIGTERM", "SIGKILL", "SIGKILL between two refreshes of a subset"],
)
def test_a_stopped_process_leaves_what_resumes_to_the_same_bits(
    number, subset, runs, tiny_store, plain, tmp_path, plain_environment
):
    """SIGKILL leaves no time for a last checkpoint; there the one before it counts."""
    runs = [run.model_copy(update={"recipe": run.recipe.model_copy(update={"subset": subset})}) for run in runs]
    every_s = 1e-9 if number == signal.SIGKILL else 60.0
    settings = plain.model_copy(update={"checkpoint_every_s": every_s})
    (tmp_path / "runs.jsonl").write_text("\n".join(run.model_dump_json() for run in runs), encoding="utf-8")
    command = [sys.executable, "-c", CHILD, str(tmp_path), settings.model_dump_json(), str(tiny_store.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=plain_environment) as child:
        for line in child.stdout:
            if int(line) == 5:
                child.send_signal(number)
                break
        last = max([5, *(int(line) for line in child.stdout)])
        code = child.wait(timeout=60)
    assert code == (-number if number == signal.SIGKILL else 42)
    assert 5 <= last < STEPS
    group = TrainingGroup(runs, tiny_store, plain, resolve(plain))
    assert load_checkpoint(group, tmp_path / "c")
    assert group.step in ((last - 1, last) if number == signal.SIGKILL else (last,))
    resumed = train_group(runs, tiny_store, plain, tmp_path / "c")
    assert facts(resumed) == facts(train_group(runs, tiny_store, plain, tmp_path / "none"))


def test_signals_are_handled_as_before_once_training_is_over(tiny_run, tiny_store, plain, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train_group([tiny_run(2)], tiny_store, plain, tmp_path / "c")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_clock_decides_when_to_save(tiny_run, tiny_store, plain, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(train_module, "save_checkpoint", lambda group, path: saved.append(group.step))
    settings = plain.model_copy(update={"checkpoint_every_s": 10.0})
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(train_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    train_group([tiny_run(12)], tiny_store, settings, tmp_path / "c")
    assert saved == [4, 8, 12]  # each later save starts from the end of the last


def test_a_checkpoint_is_plain_data(new_group, tmp_path):
    """Read without this program: named tensors, and JSON for the rest."""
    from safetensors import safe_open

    group = new_group()
    advance(group, 3)
    save_checkpoint(group, tmp_path / "c")
    with safe_open(tmp_path / "c", framework="pt") as archive:
        assert set(archive.keys()) == {"master", "first", "second", "average", "died", "window"}
        assert torch.equal(archive.get_tensor("master"), group.state.master)
        assert json.loads(archive.metadata()["foretrain"])["step"] == 3
    assert time.time() - (tmp_path / "c").stat().st_mtime < 600
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
