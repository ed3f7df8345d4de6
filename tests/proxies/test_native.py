"""The kernels in C++: the same losses and gradients as the model written in torch, and what happens without them."""

import math
import os
import platform
import stat

import numpy as np
import pytest
import torch
from foretrain.core.errors import CorpusError, InputError
from foretrain.proxies.engine._adamw import Moments
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.engine._checkpoint import load_checkpoint, save_checkpoint
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.engine.native import library
from foretrain.proxies.engine.native.computation import NativeComputation
from foretrain.proxies.engine.native.transformer import Buffers
from foretrain.proxies.kernels import find_compiler
from foretrain.proxies.models import build_model
from foretrain.proxies.settings import EngineSettings

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(find_compiler() is None, reason="the kernels take a C++ compiler"),
]

PLAIN = {"layers": 2, "width": 24, "heads": 2, "ffn_width": 40, "vocab_size": 33, "context_length": 17, "short_conv": 4}
SHAPES = {
    "plain": {},
    "one head, even length": {"heads": 1, "context_length": 32, "vocab_size": 256},
    "shared keys": {"width": 32, "heads": 4, "kv_heads": 2},
    "wide heads": {"head_width": 40, "context_length": 50},
    "narrow heads": {"heads": 12, "context_length": 8},
    "no convolution": {"short_conv": 0},
    "two taps": {"short_conv": 2},
    "as many taps as tokens": {"short_conv": 3, "context_length": 3},
    "one token": {"short_conv": 1, "context_length": 1},
    "tied": {"tied_embeddings": True},
}


GUARD = 64  # numbers behind the kernels' scratch memory that none may write to


@pytest.fixture(autouse=True)
def guarded(monkeypatch):
    needed = Buffers._scratch_numbers
    monkeypatch.setattr(Buffers, "_scratch_numbers", lambda buffers: needed(buffers) + GUARD)


def settings(precision="fp32"):
    return EngineSettings(device="cpu", precision=precision, compile="always", eval_tokens=512)


def native(tiny_run, shape, precision="fp32", sequences=3):
    """A computation by the kernels of a model with every weight away from its special first values, and its tokens."""
    run = tiny_run(4, shape={**PLAIN, **shape}, batch_sequences=sequences)
    model = build_model("transformer", run.shape)
    layout = WeightLayout(model)
    generator = torch.Generator().manual_seed(0)
    weights = layout.initial([1])
    weights += 0.2 * torch.randn(weights.shape, generator=generator)
    hardware = resolve(settings(precision), [run])
    computation = NativeComputation([run], model, layout, Moments.start(weights), hardware)
    size = (1, sequences, run.shape.context_length + 1)
    return computation, torch.randint(run.shape.vocab_size, size, generator=generator)


def expected(computation, tokens, dtype=torch.float64):
    """Losses of sequences and the gradient of their mean by name, from the model written in torch."""
    weights = computation.state.master.to(dtype).requires_grad_()
    losses = computation.model.losses(computation.layout.split(weights), tokens)
    (gradient,) = torch.autograd.grad(losses.mean(), weights)
    return losses.detach(), computation.layout.split(gradient)


def found(computation, tokens):
    """The same from the kernels, whatever their scratch memory held before."""
    scratch = computation._buffers.scratch
    scratch.fill_(math.nan)
    losses = computation._run(0, tokens[0], training=True)
    assert scratch[-GUARD:].isnan().all()
    return losses[None], computation.layout.split(computation._gradient_P[None].float())


def check(tiny_run, shape):
    """Losses and gradients against those of automatic differentiation."""
    computation, tokens = native(tiny_run, shape)
    losses, gradients = expected(computation, tokens)
    ours, theirs = found(computation, tokens), computation.losses(tokens)
    torch.testing.assert_close(ours[0].double(), losses.double(), rtol=2e-6, atol=1e-6)
    assert torch.equal(ours[0], theirs), "validation computes what training does"
    for name, gradient in gradients.items():
        error = (ours[1][name].double() - gradient).norm() / gradient.norm()
        assert error < 5e-6 or gradient.norm() < 1e-9, (name, float(error))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_losses_and_gradients_are_those_of_automatic_differentiation(tiny_run, shape):
    check(tiny_run, shape)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the widths of vectors on other processors don't differ")
@pytest.mark.parametrize("without", ["-mno-avx512f", "-mno-avx"])
def test_narrower_vectors_of_older_processors_compute_the_same(fresh, tiny_run, monkeypatch, without):
    monkeypatch.setattr(library, "_FLAGS", ("-std=c++17", "-O1", without))
    check(tiny_run, {"width": 32, "heads": 4, "kv_heads": 2, "head_width": 22, "context_length": 37})
    check(tiny_run, {"head_width": 10, "context_length": 9})


@pytest.mark.parametrize("shape", [{}, {"tied_embeddings": True}], ids=["plain", "tied"])
def test_bf16_gradients_are_no_further_off_than_those_of_torch(tiny_run, shape):
    computation, tokens = native(tiny_run, shape, "bf16")
    losses, gradients = expected(computation, tokens)
    ours, theirs = found(computation, tokens), expected(computation, tokens, torch.bfloat16)
    np.testing.assert_allclose(ours[0], losses, rtol=0.01)
    for name, gradient in gradients.items():
        our_error, their_error = ((found[name].double() - gradient).norm() for found in (ours[1], theirs[1]))
        assert our_error < 1.3 * their_error + 1e-4 * gradient.norm(), name


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.01)])
@pytest.mark.parametrize(("sequences", "rows", "sizes"), [(7, 60, (3, 3)), (113, 17, (113, 1))], ids=["uneven", "many"])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(
    tiny_run, monkeypatch, precision, tolerance, sequences, rows, sizes
):
    """Also of so many that their sum in bf16 would no longer take up what is added."""
    whole, tokens = native(tiny_run, {}, precision, sequences)
    tokens = tokens[:, :1].expand_as(tokens) if sizes[1] == 1 else tokens  # alike, so that errors don't cancel
    monkeypatch.setattr("foretrain.proxies.engine.native.computation._MOST_ROWS", rows)
    parts, _ = native(tiny_run, {}, precision, sequences)
    assert (whole._parts, parts._parts, parts._sequences) == (1, *sizes)
    one, other = found(whole, tokens), found(parts, tokens)
    torch.testing.assert_close(other[0], one[0])
    torch.testing.assert_close(parts.losses(tokens), one[0])
    for name, gradient in one[1].items():
        assert (other[1][name] - gradient).norm() < tolerance * gradient.norm(), name


RECIPES = [
    {"lr": 0.02, "clip_norm": 0.05, "weight_decay": 1.0},
    {"schedule": "cosine", "warmup_tokens": 320.0, "beta2": 0.99},
]
"""Of the two runs that are trained side by side."""
ROUNDING = 3e-3
"""How far two trainings may end from one another: the distance of weights as a share of the way that they came, of
moments as a share of their length. Numbers whose gradient is about AdamW's ε move by whole steps for one bit of it, so
numbers one by one say nothing. Measured: 3e-4 between the kernels and torch, 1e-4 between torch and torch from weights
that differ in their last bit."""


def trained(tiny_run, tiny_store, how, changes=({}, {})):
    """A group of `RECIPES` with changes at its end, and the weights that it began with."""
    runs = [tiny_run(30, {**RECIPES[i], **changes[i]}, run_id=str(i), seed=i + 1) for i in range(2)]
    group = TrainingGroup(runs, tiny_store, how, resolve(how, runs))
    start = group.state.master.clone()
    while not group.finished:
        group.advance()
    return group, start


def distances(group, other, start):
    """How far two trainings from the same start ended from one another, by copy, in the largest of their tensors."""
    found = []
    for name in ("master", "average", "first", "second"):
        ours, theirs = (getattr(one.state, name).double() for one in (group, other))
        length = theirs - start if name in ("master", "average") else theirs
        found.append((ours - theirs).norm(dim=1) / length.norm(dim=1))
    return torch.stack(found).amax(0).tolist()


def test_training_is_that_of_torch(tiny_run, tiny_store, plain):
    """Clipping, decay, warm-up, learning rates by role, averaging: two runs of different recipes, side by side."""
    (theirs, start), (ours, _) = (trained(tiny_run, tiny_store, how) for how in (plain, settings()))
    assert ours.hardware.kernels
    assert max(distances(ours, theirs, start)) < ROUNDING
    assert torch.equal(ours.state.died, theirs.state.died)
    torch.testing.assert_close(ours.tensors["window"], theirs.tensors["window"], rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("copy", "change"),
    [
        (0, {"clip_norm": 0.051}),
        (0, {"weight_decay": 0.95}),
        (0, {"lr": 0.0201}),
        (0, {"beta1": 0.899}),
        (1, {"weight_decay": 0.13}),
        (1, {"warmup_tokens": 384.0}),
        (1, {"beta2": 0.9902}),
        (1, {"schedule": "linear"}),
        (1, {"averaging": 0.13}),
    ],
    ids=str,
)
def test_another_recipe_ends_further_away_than_rounding(tiny_run, tiny_store, plain, copy, change):
    """Else the test above would say nothing of what it names."""
    theirs, start = trained(tiny_run, tiny_store, plain)
    changed, _ = trained(tiny_run, tiny_store, plain, ({}, change) if copy else (change, {}))
    far = distances(changed, theirs, start)
    assert far[copy] > 1.5 * ROUNDING, far
    assert far[1 - copy] == 0


def test_another_learning_rate_of_a_role_ends_further_away_than_rounding(tiny_run, tiny_store, plain, monkeypatch):
    theirs, start = trained(tiny_run, tiny_store, plain)
    scales = WeightLayout.learning_rate_scales
    monkeypatch.setattr(WeightLayout, "learning_rate_scales", lambda layout: scales(layout).clamp(max=2))
    changed, _ = trained(tiny_run, tiny_store, plain)
    assert min(distances(changed, theirs, start)) > 1.5 * ROUNDING


@pytest.mark.parametrize(("precision", "recipe"), [("fp32", {}), ("bf16", {}), ("fp32", {"subset": {"keep": 0.3}})])
def test_a_checkpoint_resumes_to_the_same_bits(tiny_run, tiny_store, tmp_path, precision, recipe):
    run = tiny_run(12, recipe, batch_sequences=6, evaluate_at=(192, 768))
    wanted = settings(precision)
    whole, stopped, resumed = (TrainingGroup([run], tiny_store, wanted, resolve(wanted, [run])) for _ in range(3))
    while not whole.finished:
        whole.advance()
    for _ in range(5):
        stopped.advance()
    save_checkpoint(stopped, tmp_path / "c")
    assert load_checkpoint(resumed, tmp_path / "c")
    while not resumed.finished:
        resumed.advance()
    assert resumed.evaluations == whole.evaluations
    assert all(torch.equal(tensor, resumed.tensors[name]) for name, tensor in whole.tensors.items())


def test_a_copy_that_breaks_is_left_alone_and_disturbs_no_other(tiny_run, tiny_store):
    breaking = {"lr": 100.0, "weight_decay": 100.0}
    runs = [tiny_run(60, run_id="1", recipe=breaking), tiny_run(60, run_id="2", seed=2)]
    alone = [tiny_run(60, run_id="2", seed=2)]
    both, single = (TrainingGroup(group, tiny_store, settings(), resolve(settings(), group)) for group in (runs, alone))
    for group in (both, single):
        while not group.finished:
            group.advance()
    assert both.diverged_steps()[0] is not None
    assert both.state.master.isfinite().all()
    assert torch.equal(both.state.master[1], single.state.master[0])


def test_tokens_beyond_the_vocabulary_are_refused(tiny_run):
    computation, tokens = native(tiny_run, {})
    for number in (-1, PLAIN["vocab_size"]):
        damaged = tokens.clone()
        damaged[0, 1, 2] = number
        with pytest.raises(CorpusError, match="expected 0 to 32"):
            computation.losses(damaged)


# the library


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache of kernels, which are compiled in half a second, for nothing is computed; returns its folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(library, "_FLAGS", ("-std=c++17", "-O0"))
    library.load_library.cache_clear()
    yield tmp_path / "foretrain" / "kernels"
    library.load_library.cache_clear()


def test_the_kernels_are_compiled_once_and_kept_for_their_owner_alone(fresh):
    first = library.load_library("fp32")
    (path,) = fresh.iterdir()
    assert first.key in path.name
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    written = path.stat().st_mtime_ns
    library.load_library.cache_clear()
    assert library.load_library("fp32").key == first.key
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", [lambda code: b"", lambda code: code[:5000], lambda code: b"text" + code[4:]])
def test_a_damaged_library_is_compiled_again(fresh, damage):
    """Opening it could end the process."""
    assert library.load_library("fp32") is not None
    (path,) = fresh.iterdir()
    whole = path.read_bytes()
    path.unlink()  # the file itself is mapped into this process
    path.write_bytes(damage(whole))
    (fresh / path.name.replace(".so", "-.so")).symlink_to("nowhere")  # as good as one that another process removes
    library.load_library.cache_clear()
    assert library.load_library("fp32") is not None
    assert [found.read_bytes() for found in fresh.iterdir() if found.exists()] == [whole]


def test_a_library_that_can_not_be_kept_or_run_from_the_cache_is_used_all_the_same(fresh, monkeypatch):
    full, kept, opened = OSError(28, "No space left on device"), [], []

    def refuse(path, code):
        raise InputError(f"{path}: can't be written") from full

    def run_from_elsewhere(path):
        opened.append(path)
        if str(fresh) in path:
            raise OSError("failed to map segment from shared object")  # a file system mounted with noexec
        return path

    monkeypatch.setattr(library.ctypes, "CDLL", run_from_elsewhere)
    for write in (refuse, lambda path, code: kept.append(path) or path.write_bytes(code)):
        monkeypatch.setattr(library, "write_bytes", write)
        library.load_library.cache_clear()
        assert str(fresh) not in library.load_library("fp32").functions
    assert opened[1:-1] == [str(path) for path in kept]


@pytest.mark.parametrize("home", ["/proc/nowhere", "somewhere"], ids=["absent", "relative"])
def test_without_a_home_the_kernels_are_compiled_each_time(fresh, monkeypatch, tmp_path, home):
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    monkeypatch.chdir(tmp_path)
    assert library.load_library("fp32") is not None
    assert not list(tmp_path.iterdir())


def test_a_compiler_may_come_with_arguments(fresh, monkeypatch):
    monkeypatch.setenv("CXX", "env LC_ALL=C g++")
    assert find_compiler()[1:] == ("LC_ALL=C", "g++")
    assert library.load_library("fp32") is not None
    monkeypatch.setenv("CXX", "env 'g++")
    assert find_compiler() is not None


def test_a_folder_that_others_can_write_to_is_not_used(fresh):
    fresh.mkdir(parents=True)
    os.chmod(fresh, 0o777)
    assert library.load_library("fp32") is not None
    assert not list(fresh.iterdir())


@pytest.mark.parametrize("compiler", [None, "exit 1"], ids=["none", "broken"])
def test_without_a_compiler_torch_computes_and_that_is_said_once(
    fresh, monkeypatch, tmp_path, caplog, compiler, tiny_run
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if compiler:
        (tmp_path / "g++").write_text(f"#!/bin/sh\n{compiler}\n")
        os.chmod(tmp_path / "g++", 0o755)
    auto = EngineSettings(device="cpu", precision="fp32")
    found = [resolve(auto, [tiny_run(steps)]) for steps in (1, 1, 10**8)]
    assert [(hardware.kernels, hardware.compiled) for hardware in found] == [(None, False)] * 3
    assert len([record for record in caplog.records if "slower" in record.message]) == 1


def test_a_compiler_that_hangs_is_given_up(fresh, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(library, "_TIMEOUT_S", 0.2)
    (tmp_path / "slow").write_text("#!/bin/sh\nexec sleep 60\n")
    os.chmod(tmp_path / "slow", 0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "slow"))
    assert library.load_library("fp32") is None
    assert "timed out after 0.2 seconds" in caplog.text


def test_another_processor_has_another_key(monkeypatch, tmp_path):
    described = tmp_path / "cpuinfo"
    keys = []
    for flags in ("avx2", "avx2 avx512f"):
        described.write_text(f"processor\t: 0\nmodel name\t: a processor\nflags\t\t: {flags}\n")
        monkeypatch.setattr(library, "_CPU_INFO", described)
        keys.append(library._key(b"source", find_compiler(), []))
    assert keys[0] != keys[1]
