"""Proxies of one shape in training: the state of all copies, one step of all, validation of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch
from torch import Tensor

from ...datasets.tokens.mixture import Mixture, validation_rows
from ...datasets.tokens.store import TokenStore
from ..models import build_model
from ..results import CurvePoint, DomainLoss, Validation
from ..runs import ProxyRun
from ..settings import EngineSettings
from ._adamw import Moments, StepSizes, update
from ._buffers import WeightLayout
from ._hardware import HardwareChoice

__all__ = ["TrainingGroup"]

_CURVE_POINTS = 200
# A model that is worse than guessing uniformly by this much over a tenth of its run won't come back.
_WORSE_THAN_GUESSING_NATS = 0.5


class TrainingGroup:
    """Runs that share `ProxyRun.shared`, trained together. Everything that training changes is in `tensors`, `step`,
    `curves` and `evaluations`, so that a checkpoint of these resumes to the same bits.
    """

    def __init__(
        self, runs: Sequence[ProxyRun], store: TokenStore, settings: EngineSettings, plan: HardwareChoice
    ) -> None:
        self.runs, self.store, self.settings, self.plan = tuple(runs), store, settings, plan
        first = self.runs[0]
        self.model = build_model(first.model, first.shape)
        self.layout = WeightLayout(self.model)
        self.steps, self.evaluate_steps = first.steps, frozenset(first.evaluate_steps)
        self.step = 0
        self.curves: list[list[CurvePoint]] = [[] for _ in runs]
        self.evaluations: list[list[Validation]] = [[] for _ in runs]
        length, sequences = first.shape.context_length, self.steps * first.batch_sequences
        self._mixtures = [Mixture(store, r.mix, length, sequences, r.seed, r.unique_tokens) for r in runs]
        self._validation = {d: validation_rows(store, d, length, int(settings.eval_tokens)) for d in store.domains}
        self._curve_stride = -(-self.steps // _CURVE_POINTS)
        self._tenth = max(1, self.steps // self._curve_stride // 10)  # points of the curve
        self._prepare_tensors()
        self._compile()

    def _prepare_tensors(self) -> None:
        device = self.plan.device
        self.state = Moments.start(self.layout.initial([run.seed for run in self.runs]).to(device))
        self._window = torch.zeros(len(self.runs), device=device)
        self._work = self.state.master.to(self.plan.dtype, copy=True).requires_grad_()
        self._sizes = StepSizes(self.runs, device)
        self._scales = self.layout.learning_rate_scales().to(device)
        self._decays = self.layout.decays().to(device)

    def _compile(self) -> None:
        self._update = update
        if self.plan.compiled:
            import torch._dynamo.config as dynamo
            import torch._inductor.config as inductor

            inductor.compile_threads = 1  # a pool of compilers would outlive a worker that is killed
            dynamo.recompile_limit = dynamo.accumulated_recompile_limit = 1_000  # one for each shape that is trained
            self.model.compile()
            self._update = torch.compile(update, dynamic=False)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that training changes, by name; they are changed in place."""
        state = {name: getattr(self.state, name) for name in Moments.__slots__}
        return {**state, "window": self._window}

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Continue from `tensors` after `step` steps."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self._load_weights(self.state.master)
        self.step = step

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or every copy has diverged."""
        return self.step >= self.steps or all(step is not None for step in self.diverged_steps())

    def diverged_steps(self) -> list[int | None]:
        """The step at which each copy diverged; None if it hasn't."""
        return [None if died < 0 else int(died) for died in self.state.died.flatten().tolist()]

    def advance(self) -> None:
        """Take one step of every copy; note the curve and validate where that is due."""
        batch, step = self.runs[0].batch_sequences, self.step
        rows = np.stack([mixture.rows(step * batch, (step + 1) * batch) for mixture in self._mixtures])
        losses = self._losses(torch.from_numpy(rows).to(self.plan.device)).mean(1)
        (gradient,) = torch.autograd.grad(losses.sum(), self._work)
        with torch.no_grad():
            self._window += losses.detach()
            now = torch.tensor(step, device=self.plan.device)
            self._update(self.state, gradient.float(), self._sizes.at(step), self._scales, self._decays, now)
        self._load_weights(self.state.master)
        self.step += 1
        if self.step % self._curve_stride == 0 or self.step == self.steps:
            self._note_curve()
        if self.step in self.evaluate_steps:
            self._evaluate()

    def _losses(self, tokens: Tensor) -> Tensor:
        """Mean loss of each sequence, (K, B), of tokens (K, B, T + 1), with the weights that are loaded."""
        return self.model.losses(self.layout.split(self._work), tokens)

    def _load_weights(self, weights: Tensor) -> None:
        with torch.no_grad():
            self._work.copy_(weights)

    def _note_curve(self) -> None:
        """Close the window of the training curve; declare copies diverged that are worse than guessing."""
        stride = self.step - (self.curves[0][-1].step if self.curves[0] else 0)
        means = (self._window / stride).tolist()
        self._window.zero_()
        guessing = math.log(self.runs[0].shape.vocab_size) + _WORSE_THAN_GUESSING_NATS
        for copy, (run, mean) in enumerate(zip(self.runs, means, strict=True)):
            rate = run.recipe.lr * float(run.schedule.at(self.step - 1))
            loss = mean if math.isfinite(mean) else math.inf
            self.curves[copy].append(CurvePoint(self.step, self.step * run.batch_tokens, loss, rate))
            recent = [point.loss_nats for point in self.curves[copy][-self._tenth :]]
            if len(self.curves[copy]) > self._tenth and median(recent) > guessing and self._alive(copy):
                self.state.died[copy] = self.step - 1

    def _alive(self, copy: int) -> bool:
        return self.state.died[copy].item() < 0

    def _evaluate(self) -> None:
        """Validate the averaged weights of every copy on every domain."""
        self._load_weights(self.state.average)
        losses = {domain: self._validate(rows) for domain, rows in self._validation.items()}
        self._load_weights(self.state.master)
        for copy, (run, mixture) in enumerate(zip(self.runs, self._mixtures, strict=True)):
            found = {domain: DomainLoss(*map(float, pair[:, copy])) for domain, pair in losses.items()}
            if self._alive(copy) and not all(math.isfinite(loss.mean_nats) for loss in found.values()):
                self.state.died[copy] = self.step - 1
            if not self._alive(copy):
                continue
            use = mixture.account(self.step * run.batch_sequences)
            tokens, unique = ({d: int(getattr(u, k)) for d, u in use.items()} for k in ("tokens", "unique_tokens"))
            evaluation = Validation(self.step, self.step * run.batch_tokens, found, tokens, unique)
            self.evaluations[copy].append(evaluation)

    def _validate(self, rows: np.ndarray) -> np.ndarray:
        """Mean and standard error of the loss over sequences, (2, K), on rows (n, T + 1)."""
        copies, batch, count = len(self.runs), self.runs[0].batch_sequences, len(rows)
        # Whole batches keep one compiled shape; the rows that fill the last one are not counted.
        padded = torch.from_numpy(np.resize(rows, (-(-count // batch) * batch, rows.shape[1]))).to(self.plan.device)
        parts = [self._losses(part.repeat(copies, 1, 1)).detach() for part in padded.split(batch)]
        losses = torch.cat(parts, 1)[:, :count].double().cpu().numpy()
        error = losses.std(1, ddof=1) / math.sqrt(count) if count > 1 else np.full(copies, np.inf)
        return np.stack([losses.mean(1), error])
