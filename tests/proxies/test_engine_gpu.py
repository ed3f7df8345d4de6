"""What the engine does on GPUs, on a processor: recording is replaced by a call, memory is said to have run out."""

import gc
import logging
import weakref

import pytest
import torch
from foretrain.proxies.engine import _cuda_graph, train_group
from foretrain.proxies.engine._cuda_graph import StepGraph
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.engine._memory import is_out_of_memory
from foretrain.proxies.models._layered import _one_hot, embed, matmul

pytestmark = pytest.mark.usefixtures("one_thread")

CPU_MEMORY = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to …"


@pytest.fixture
def group(tiny_run, tiny_store, plain):
    """`group()`: two copies before their first step."""
    runs = [tiny_run(12, run_id=str(seed), seed=seed, evaluate_at=(320,)) for seed in range(2)]
    return lambda: TrainingGroup(runs, tiny_store, plain, resolve(plain, runs))


def finish(group, steps=12):
    while group.step < steps:
        group.advance()
    return {name: tensor.clone() for name, tensor in group.tensors.items()}, group.curves, group.evaluations


def graphed(group):
    computation = group.computation
    computation.graph = StepGraph([*group.tensors.values(), computation._weights_KP])
    return group


def played(step):
    """In the place of recording: steps are taken on the way, and replaying takes one from the same tensors."""
    for _ in range(3):
        step()
    return step


def refused(step):
    step()
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize("capture", [played, refused])
def test_a_recorded_step_computes_the_same_bits(group, monkeypatch, caplog, capture):
    monkeypatch.setattr(_cuda_graph, "_capture", capture)
    plain = finish(group())
    with caplog.at_level(logging.WARNING):
        recorded = graphed(group())
        found = finish(recorded)
    assert recorded.computation.facts == {"cuda_graph": capture is played}
    assert [record.message.split(":")[0] for record in caplog.records] == (
        [] if capture is played else ["a training step can't be recorded as a CUDA graph, and is launched in parts"]
    )
    assert all(torch.equal(found[0][name], plain[0][name]) for name in plain[0])
    assert found[1:] == plain[1:]


def test_a_resumed_group_is_recorded_again_and_goes_on_with_the_same_bits(group, monkeypatch):
    monkeypatch.setattr(_cuda_graph, "_capture", played)
    whole, _, _ = finish(group())
    tensors, _, _ = finish(graphed(group()), 5)
    resumed = graphed(group())
    resumed.restore(tensors, 5)
    assert all(torch.equal(value, whole[name]) for name, value in finish(resumed)[0].items())


def test_memory_that_runs_out_while_recording_is_not_hidden(group, monkeypatch):
    def full(step):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(_cuda_graph, "_capture", full)
    with pytest.raises(torch.OutOfMemoryError):
        graphed(group()).advance()


def test_tokens_of_a_product_are_those_of_a_lookup_and_bf16_sums_their_gradient_in_fp32():
    """Summed one by one in bf16, the gradient of frequent tokens stops growing: it was off by 4 %."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(2, 50, 8, generator=generator)
    tokens = torch.randint(0, 3, (2, 4, 500), generator=generator)  # few, so that each is met often
    pull = torch.rand(2, 4, 500, 8, generator=generator)
    (exact,) = torch.autograd.grad(embed(table.requires_grad_(), tokens), table, pull)
    narrow = table.detach().bfloat16().requires_grad_()
    for rows_of in (embed, lambda table, tokens: matmul(_one_hot(tokens, 50).to(table.dtype), table)):
        rows = rows_of(narrow, tokens)
        assert torch.equal(rows, narrow[torch.arange(2)[:, None, None], tokens])
        (gradient,) = torch.autograd.grad(rows, narrow, pull.bfloat16())
        torch.testing.assert_close(gradient.float(), exact, rtol=0.01, atol=0)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError(CPU_MEMORY), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_say_that_memory_ran_out_are_told_from_others(error, memory):
    assert is_out_of_memory(error) is memory
    wrapped = RuntimeError("backend compiler failed")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped) is memory


def test_a_group_that_does_not_fit_is_one_error_and_leaves_no_tensors(
    tiny_run, tiny_store, plain, tmp_path, monkeypatch
):
    held = []

    def full(self):
        held.append(weakref.ref(self.state.master))
        raise RuntimeError(CPU_MEMORY)

    monkeypatch.setattr(TrainingGroup, "advance", full)
    with pytest.raises(MemoryError, match="DefaultCPUAllocator") as caught:
        train_group([tiny_run(4)], tiny_store, plain, tmp_path / "group.safetensors")
    gc.collect()
    assert caught.value is not None
    assert held[0]() is None
