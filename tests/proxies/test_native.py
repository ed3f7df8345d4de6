"""The kernels in C++: the same losses and gradients as the model written in torch, and what happens without them."""

import os
import stat

import numpy as np
import pytest
import torch
from foretrain.core.errors import CorpusError
from foretrain.proxies.engine._adamw import Moments
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.engine.native import library
from foretrain.proxies.engine.native.computation import NativeComputation
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
    "more taps than tokens": {"short_conv": 6, "context_length": 3},
    "one token": {"context_length": 1},
    "tied": {"tied_embeddings": True},
}


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
    """The same from the kernels."""
    losses = computation._run(0, tokens[0], training=True)
    return losses[None], computation.layout.split(computation._gradient_P[None].float())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_losses_and_gradients_are_those_of_automatic_differentiation(tiny_run, shape):
    computation, tokens = native(tiny_run, shape)
    losses, gradients = expected(computation, tokens)
    ours, theirs = found(computation, tokens), computation.losses(tokens)
    torch.testing.assert_close(ours[0].double(), losses.double(), rtol=2e-6, atol=1e-6)
    assert torch.equal(ours[0], theirs), "validation computes what training does"
    for name, gradient in gradients.items():
        error = (ours[1][name].double() - gradient).norm() / gradient.norm()
        assert error < 5e-6 or gradient.norm() < 1e-9, (name, float(error))


@pytest.mark.parametrize("shape", [{}, {"tied_embeddings": True}], ids=["plain", "tied"])
def test_bf16_gradients_are_no_further_off_than_those_of_torch(tiny_run, shape):
    computation, tokens = native(tiny_run, shape, "bf16")
    losses, gradients = expected(computation, tokens)
    ours, theirs = found(computation, tokens), expected(computation, tokens, torch.bfloat16)
    np.testing.assert_allclose(ours[0], losses, rtol=0.01)
    for name, gradient in gradients.items():
        our_error, their_error = ((found[name].double() - gradient).norm() for found in (ours[1], theirs[1]))
        assert our_error < 1.3 * their_error + 1e-4 * gradient.norm(), name


def test_a_batch_in_parts_has_the_gradient_of_the_whole(tiny_run, monkeypatch):
    whole, tokens = native(tiny_run, {}, sequences=6)
    monkeypatch.setattr("foretrain.proxies.engine.native.computation._MOST_ROWS", 40)
    parts, _ = native(tiny_run, {}, sequences=6)
    assert (whole._parts, parts._parts) == (1, 3)
    one, other = found(whole, tokens), found(parts, tokens)
    torch.testing.assert_close(one[0], other[0])
    for name, gradient in one[1].items():
        torch.testing.assert_close(other[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_training_is_that_of_torch(tiny_run, tiny_store, plain):
    """Clipping, decay, warm-up, learning rates by role, averaging: two runs of different recipes, side by side."""
    runs = [
        tiny_run(30, run_id="1", seed=1, recipe={"lr": 0.02, "clip_norm": 0.05, "weight_decay": 1.0}),
        tiny_run(30, run_id="2", seed=2, recipe={"schedule": "cosine", "warmup_tokens": 320, "beta2": 0.99}),
    ]
    groups = [TrainingGroup(runs, tiny_store, how, resolve(how, runs)) for how in (plain, settings())]
    for group in groups:
        while not group.finished:
            group.advance()
    torch_group, ours = groups
    assert ours.hardware.kernels
    for name, tensor in torch_group.tensors.items():
        torch.testing.assert_close(ours.tensors[name], tensor, rtol=2e-3, atol=2e-5)


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
    """An empty cache of compiled kernels; returns its folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
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
    assert [resolve(auto, [tiny_run()]).kernels for _ in range(3)] == [None] * 3
    assert len([record for record in caplog.records if "slower" in record.message]) == 1


def test_another_processor_has_another_key(monkeypatch, tmp_path):
    described = tmp_path / "cpuinfo"
    keys = []
    for flags in ("avx2", "avx2 avx512f"):
        described.write_text(f"processor\t: 0\nmodel name\t: a processor\nflags\t\t: {flags}\n")
        monkeypatch.setattr(library, "_CPU_INFO", described)
        keys.append(library._key(b"source", find_compiler(), []))
    assert keys[0] != keys[1]
