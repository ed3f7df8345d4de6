"""What is computed in the process of one size: our engine and the plain trainer, on a GPU or on a processor."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from _eager_trainer import EagerTrainer
from foretrain.datasets.tokens.mixture import validation_rows
from foretrain.datasets.tokens.store import TokenStore
from foretrain.proxies.engine._checkpoint import load_checkpoint, save_checkpoint
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.runs import ProxyRun
from foretrain.proxies.settings import EngineSettings

from .case import Case

__all__ = ["Worker"]

_COMPILERS = 3  # processes of each size that compile at once, beside those of the other sizes
_WARM_UP = 4  # steps before any timing
_COMPARED_STEPS = 200


class Worker:
    """The trainers of one size. `ours` trains `case.copies` models at once, `plain` one: nanoGPT's way."""

    def __init__(self, store: str, device: str, case: Case) -> None:
        self.store, self.device, self.case = TokenStore.open(store), device, case
        self.on_gpu = device == "cuda"
        torch.set_num_threads(1)
        torch.set_float32_matmul_precision("high")  # as nanoGPT sets it; what is bf16 stays so
        self.trainers: dict[str, TrainingGroup | EagerTrainer] = {}
        self.settings = EngineSettings.model_validate(
            {"device": device, "compile": "always" if self.on_gpu else "never", "eval_tokens": 2_048}
        )

    def peak_flops(self) -> float:
        """FLOP/s of a large matrix product of random numbers, in bf16 on a GPU."""
        size, times = (8192, 50) if self.on_gpu else (512, 20)
        dtype = torch.bfloat16 if self.on_gpu else torch.float32
        a, b = (torch.randn(size, size, device=self.device, dtype=dtype) for _ in range(2))
        out = a @ b
        self._wait()
        start = time.perf_counter()
        for _ in range(times):
            torch.mm(a, b, out=out)
        self._wait()
        return times * 2 * size**3 / (time.perf_counter() - start)

    def hardware(self) -> dict[str, Any]:
        """What is computed with."""
        return resolve(self.settings, self._runs(1)).to_dict()

    # speed

    def build(self, kind: str) -> dict[str, Any]:
        """Make a trainer and take its first steps; say how long that took, and what memory it holds, GiB.

        Of the plain trainer that is the most that its tensors took; ours is recorded as a CUDA graph, whose memory
        stays reserved.
        """
        start, before = time.perf_counter(), self._reserved()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        if kind == "ours":
            trainer: TrainingGroup | EagerTrainer = self._group(self._runs(self.case.copies), self.settings)
        else:
            trainer = self._plain(self._runs(1)[0])
        self.trainers[kind] = trainer
        for _ in range(_WARM_UP):
            trainer.advance()
        self._wait()
        facts: dict[str, Any] = {"warm_up_s": time.perf_counter() - start, "memory_gib": None}
        if self.on_gpu and kind == "plain":
            facts["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        held = self._reserved() - before
        if self.on_gpu and kind == "ours":
            facts["memory_gib"] = held / 2**30
        if isinstance(trainer, TrainingGroup):
            facts |= {"cuda_graph": False, **trainer.computation.facts}
        return facts

    def step_s(self, kind: str, seconds: float) -> float:
        """Seconds of one step, over about this many seconds of steps; the GPU is waited for once, at their end.

        Memory that is free then is given back: the other sizes share the GPU.
        """
        trainer = self.trainers[kind]
        self._timed(trainer, 2)  # which take the memory that was given back
        one = self._timed(trainer, 2) / 2
        steps = max(2, round(seconds / one))
        took = self._timed(trainer, steps)
        self._reserved()
        return took / steps

    def _timed(self, trainer: TrainingGroup | EagerTrainer, steps: int) -> float:
        self._wait()
        start = time.perf_counter()
        for _ in range(steps):
            trainer.advance()
        self._wait()
        return time.perf_counter() - start

    # checks

    def same_bits(self) -> bool:
        """Whether a group that is interrupted after half of its steps ends with the bits of one that isn't."""
        steps = 2 * _WARM_UP
        runs = self._runs(self.case.copies, tokens=steps * self.case.batch_tokens)
        whole, first, second = (self._group(runs, self.settings) for _ in range(3))
        _advance(whole, steps)
        _advance(first, steps // 2)
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(first, Path(folder) / "group.safetensors")
            if not load_checkpoint(second, Path(folder) / "group.safetensors"):
                raise RuntimeError("the checkpoint wasn't taken")
        _advance(second, steps)
        return all(torch.equal(second.tensors[name], tensor) for name, tensor in whole.tensors.items())

    def losses_after(self, steps: int = _COMPARED_STEPS) -> dict[str, list[float]]:
        """Losses of the first two seeds on the same text, after as many steps of ours and of the plain trainer."""
        tokens = steps * self.case.batch_tokens
        group = self._group(self._runs(self.case.copies, tokens=tokens), self.settings)
        _advance(group, steps)
        rows_NT = validation_rows(self.store, self.store.domains[0], self.case.context, 4 * self.case.batch_tokens)
        size = self.case.sequences  # no other shape is compiled
        batches = [rows_NT[first : first + size] for first in range(0, len(rows_NT) - size + 1, size)]
        ours = []
        for rows in batches:
            rows_KBT = torch.from_numpy(rows).to(self.device).repeat(self.case.copies, 1, 1)
            ours.append(group.computation.losses(rows_KBT).detach().mean(1))
        found: dict[str, list[float]] = {"ours": torch.stack(ours).mean(0).tolist()[:2], "plain": []}
        for run in group.runs[:2]:
            trainer = self._plain(run)
            _advance(trainer, steps)
            found["plain"].append(mean(trainer.losses(rows).detach().mean().item() for rows in batches))
        return found

    # ladder

    def warm(self, runs: Sequence[ProxyRun], eval_tokens: int) -> float:
        """Compile what these runs need, in a group that is then dropped; return the seconds."""
        start = time.perf_counter()
        group = self._group(runs, self.settings.model_copy(update={"eval_tokens": eval_tokens}))
        _advance(group, 2)
        group._evaluate()
        self._wait()
        return time.perf_counter() - start

    def train(self, runs: Sequence[ProxyRun], eval_tokens: int, limit_s: float) -> dict[str, Any]:
        """Train runs, to their end or as far as there is time.

        Returns:
            `rows`: one for each run and validation, with the mean loss over domains; `finished`, `seconds`,
            `tokens_per_s` of all runs together, `diverged`: ids of the runs that did.
        """
        start = time.perf_counter()
        group = self._group(runs, self.settings.model_copy(update={"eval_tokens": eval_tokens}))
        while not group.finished and time.perf_counter() - start < limit_s:
            group.advance()
        self._wait()
        seconds = time.perf_counter() - start
        rows = []
        for run, evaluations in zip(group.runs, group.evaluations, strict=True):
            for evaluation in evaluations:
                loss = mean(domain.mean_nats for domain in evaluation.losses.values())
                facts = {"run_id": f"{run.run_id}@{evaluation.tokens}", "params": run.shape.params_total}
                rows.append({**facts, "tokens": evaluation.tokens, "lr": run.recipe.lr, "loss": loss})
        return {
            "rows": rows,
            "finished": group.finished,
            "seconds": seconds,
            "tokens_per_s": group.step * group.runs[0].batch_tokens * len(group.runs) / seconds,
            "diverged": [r.run_id for r, s in zip(group.runs, group.diverged_steps(), strict=True) if s is not None],
        }

    def _runs(self, copies: int, **more: Any) -> list[ProxyRun]:
        return [self.case.run(self.store.domains, seed, **more) for seed in range(copies)]

    def _group(self, runs: Sequence[ProxyRun], settings: EngineSettings) -> TrainingGroup:
        group = TrainingGroup(runs, self.store, settings, resolve(settings, runs))
        _compile_in_parallel()
        return group

    def _plain(self, run: ProxyRun) -> EagerTrainer:
        trainer = EagerTrainer(run, self.store, compiled=self.on_gpu, device=self.device)
        _compile_in_parallel()
        return trainer

    def _wait(self) -> None:
        """Wait for the GPU: its work is asynchronous."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def _reserved(self) -> int:
        """Bytes of the GPU that torch holds, once it has given back what it only keeps for later."""
        if not self.on_gpu:
            return 0
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()


def _advance(trainer: TrainingGroup | EagerTrainer, steps: int) -> None:
    while trainer.step < steps:
        trainer.advance()


def _compile_in_parallel() -> None:
    """Several compilers for this process, whose parent ends it: the engine allows itself one."""
    import torch._inductor.config as inductor

    inductor.compile_threads = _COMPILERS
