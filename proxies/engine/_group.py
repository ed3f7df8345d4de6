"""Proxies of one shape in training: the state of all copies, one step of all, validation of all.

Letters at the end of a tensor's name are its shape: K copies, P numbers in the weights of one copy, B sequences of a
batch, T tokens (in sequences of tokens one more, since each token is the target of those before it), N validation rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from torch import Tensor

from ...core.errors import ConfigError
from ...datasets.tokens.mixture import Mixture, validation_rows
from ...datasets.tokens.store import TokenStore
from ..models import build_model
from ..results import CurvePoint, DomainLoss, Validation
from ..runs import ProxyRun
from ..settings import EngineSettings
from ..stopwatch import Stopwatch
from ..weights import RunWeights
from ._adamw import ALIVE, Moments
from ._buffers import WeightLayout
from ._hardware import HardwareChoice
from ._torch import TorchComputation
from .native.computation import NativeComputation
from .subset import GroupSubsets

__all__ = ["TrainingGroup"]

_CURVE_POINTS = 200
_AHEAD_SEQUENCES = 256
# A model that is worse than guessing uniformly by this much over a tenth of its run won't come back.
_WORSE_THAN_GUESSING_NATS = 0.5


class TrainingGroup:
    """Runs that share `ProxyRun.shared`, trained together. Everything that training changes is in `tensors`, `step`,
    `curves` and `evaluations`, so that a checkpoint of these resumes to the same bits. `stopwatch` says what took time;
    `starts` are the trained weights that runs start from, by digest.
    """

    def __init__(
        self,
        runs: Sequence[ProxyRun],
        store: TokenStore,
        settings: EngineSettings,
        hardware: HardwareChoice,
        stopwatch: Stopwatch | None = None,
        starts: Mapping[str, RunWeights] | None = None,
    ) -> None:
        self.stopwatch = stopwatch or Stopwatch()
        self.runs = tuple(runs)
        self.store = store
        self.settings = settings
        self.hardware = hardware

        first = self.runs[0]  # what is shared can be read off any run
        self.steps = first.steps
        self.evaluate_steps = frozenset(first.evaluate_steps)
        self.step = 0
        self.curves: list[list[CurvePoint]] = [[] for _ in runs]
        self.evaluations: list[list[Validation]] = [[] for _ in runs]
        self._curve_stride = math.ceil(self.steps / _CURVE_POINTS)
        self._tenth = max(1, self.steps // self._curve_stride // 10)  # points of the curve

        # Data: each run draws sequences by its own mix and seed; all are validated on the same rows.
        length = first.shape.context_length
        sequences = self.steps * first.batch_sequences
        self._mixtures = [
            Mixture(
                store,
                run.mix,
                length,
                sequences,
                run.data_seed,
                run.unique_tokens,
                selection=run.selection,
                texts=run.texts,
            )
            for run in runs
        ]
        subset = first.recipe.subset
        self.subsets = None if subset is None else GroupSubsets(subset, self.runs, self._mixtures)
        self._ahead = 0, np.empty((len(runs), 0, length + 1), np.int64)  # first sequence, and those read
        self._validation = {}
        for domain in store.domains:
            self._validation[domain] = validation_rows(store, domain, length, int(settings.eval_tokens))

        # Weights: the optimizer changes fp32 ones.
        device = hardware.device
        self.model = build_model(first.model, first.shape)
        self.layout = WeightLayout(self.model)
        initial_KP = self.layout.initial([run.seed for run in self.runs])
        for copy, run in enumerate(self.runs):
            if run.start is not None:
                self._begin_with(initial_KP[copy : copy + 1], run, starts or {})
        self.state = Moments.start(initial_KP.to(device))
        self._loss_sum_K = torch.zeros(len(self.runs), device=device)  # since the last point of the curve
        way = NativeComputation if hardware.kernels else TorchComputation
        self.computation = way(self.runs, self.model, self.layout, self.state, hardware)

    def _begin_with(self, flat_1P: Tensor, run: ProxyRun, starts: Mapping[str, RunWeights]) -> None:
        """Put the trained weights that a run starts from in the place of its random ones. Raises ConfigError."""
        assert run.start is not None
        weights = starts.get(run.start.digest)
        if weights is None:
            digest = run.start.digest[:16]
            raise ConfigError(f"run {run.run_id}: start: expected its weights, of digest {digest}; got none")
        if (weights.facts.model, weights.facts.shape) != (run.model, run.shape):
            raise ConfigError(f"run {run.run_id}: start: got weights of another model or shape; expected its own")
        for name, weight in self.layout.split(flat_1P).items():
            weight[0].copy_(torch.from_numpy(weights.arrays[name]))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that training changes, by name; they are changed in place."""
        state = {name: getattr(self.state, name) for name in Moments.__slots__}
        chosen = {} if self.subsets is None else {f"subset.{name}": t for name, t in self.subsets.tensors.items()}
        return {**state, **chosen, "window": self._loss_sum_K}

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Continue from `tensors` after `step` steps."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self.computation.load(self.state.master)
        if self.subsets is not None:
            self.subsets.changed()
        self.step = step

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or every copy has diverged; that is looked at with each point of the curve."""
        if self.step < self.steps and self.step % self._curve_stride:
            return False  # asking a GPU waits for it
        return self.step >= self.steps or None not in self.diverged_steps()

    def diverged_steps(self) -> list[int | None]:
        """The step at which each copy diverged; None if it hasn't."""
        steps: list[int | None] = self.state.died.flatten().tolist()
        return [None if step == ALIVE else step for step in steps]

    def advance(self) -> None:
        """Take one step of every copy; choose its text, note the curve and validate where that is due."""
        if self.subsets is not None and self.subsets.is_due(self.step):
            with self.stopwatch.timing("scoring"):
                self.subsets.refresh(self.step, self._losses_now)
        tokens_KBT = torch.from_numpy(self._batches())
        self._loss_sum_K += self.computation.advance(tokens_KBT, self.step)
        self.step += 1

        if self.step % self._curve_stride == 0 or self.step == self.steps:
            self._note_curve()
        if self.step in self.evaluate_steps:
            with self.stopwatch.timing("evaluation"):
                self._evaluate()

    def _batches(self) -> np.ndarray:
        """A batch for each copy, from its own mixture: (K, B, T + 1). Read ahead, as each reading has a cost."""
        batch = self.runs[0].batch_sequences
        begin = self.step * batch
        start, read = self._ahead
        if not start <= begin < start + read.shape[1]:
            stop = min(begin + max(1, _AHEAD_SEQUENCES // batch) * batch, self.steps * batch)
            if self.subsets is None:
                read = np.stack([mixture.rows(begin, stop) for mixture in self._mixtures])
            else:
                stop = min(stop, self.subsets.end_of_span(self.step) * batch)
                read = self.subsets.rows(begin, stop)
            start = begin
            self._ahead = start, read
        return read[:, begin - start : begin - start + batch]

    def _note_curve(self) -> None:
        """Add a point to each training curve; declare copies diverged that are worse than guessing."""
        previous = self.curves[0][-1].step if self.curves[0] else 0
        means = (self._loss_sum_K / (self.step - previous)).tolist()
        self._loss_sum_K.zero_()
        hopeless = math.log(self.runs[0].shape.vocab_size) + _WORSE_THAN_GUESSING_NATS
        for copy, run in enumerate(self.runs):
            curve = self.curves[copy]
            loss = means[copy] if math.isfinite(means[copy]) else math.inf
            rate = run.recipe.lr * float(run.schedule.at(self.step - 1))
            curve.append(CurvePoint(self.step, self.step * run.batch_tokens, loss, rate))
            recent = [point.loss_nats for point in curve[-self._tenth :]]
            if len(curve) > self._tenth and median(recent) > hopeless:
                self._declare_diverged(copy)

    def _evaluate(self) -> None:
        """Validate the averaged weights of every copy on every domain."""
        self.computation.load(self.state.average)
        measured = {domain: self._validate(rows_NT) for domain, rows_NT in self._validation.items()}
        noted = self._diagnostics()
        self.computation.load(self.state.master)
        for copy, run in enumerate(self.runs):
            losses = {}
            for domain, (means_K, errors_K) in measured.items():
                losses[domain] = DomainLoss(float(means_K[copy]), float(errors_K[copy]))
            if not all(math.isfinite(loss.mean_nats) for loss in losses.values()):
                self._declare_diverged(copy)
            if self.diverged_steps()[copy] is not None:
                continue
            use = self._mixtures[copy].account(self.step * run.batch_sequences)
            evaluation = Validation(
                step=self.step,
                tokens=self.step * run.batch_tokens,
                losses=losses,
                train_tokens={domain: int(used.tokens) for domain, used in use.items()},
                unique_tokens={domain: int(used.unique_tokens) for domain, used in use.items()},
                diagnostics={name: float(values_K[copy]) for name, values_K in noted.items()},
            )
            self.evaluations[copy].append(evaluation if self.subsets is None else self._as_drawn(copy, evaluation))

    def _as_drawn(self, copy: int, evaluation: Validation) -> Validation:
        """A validation with what the copy's subsets let it see: where it has repeated any of it, that is its stock."""
        assert self.subsets is not None
        length = self.runs[copy].shape.context_length
        seen = self.subsets.distinct(copy, self.step).tolist()
        unique_tokens = dict(evaluation.unique_tokens)
        for domain, windows in zip(self._mixtures[copy].domains, seen, strict=True):
            if windows * length < evaluation.train_tokens[domain]:
                unique_tokens[domain] = windows * length
        scored_tokens = self.subsets.scored(copy, self.step) * length
        return replace(evaluation, unique_tokens=unique_tokens, scored_tokens=scored_tokens)

    def _diagnostics(self) -> dict[str, np.ndarray]:
        """What else the model notes of each copy, (K,) each, on a batch of every domain: the mean over them."""
        found: dict[str, list[np.ndarray]] = {}
        for rows_NT in self._validation.values():
            rows_BT = torch.from_numpy(np.resize(rows_NT, (self.runs[0].batch_sequences, rows_NT.shape[1])))
            noted = self.computation.diagnostics(rows_BT.to(self.hardware.device).repeat(len(self.runs), 1, 1))
            for name, values_K in noted.items():
                found.setdefault(name, []).append(values_K.detach().double().cpu().numpy())
        return {name: np.mean(values, axis=0) for name, values in found.items()}

    def _losses_now(self, tokens_KBT: np.ndarray) -> np.ndarray:
        """The mean loss of each sequence with the weights of now, not averaged ones: (K, B)."""
        return self.computation.losses(torch.from_numpy(tokens_KBT).to(self.hardware.device)).detach().cpu().numpy()

    def _declare_diverged(self, copy: int) -> None:
        """Note the last step as the one at which a copy diverged, unless it has before."""
        if self.state.died[copy].item() == ALIVE:
            self.state.died[copy] = self.step - 1

    def _validate(self, rows_NT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard error of each copy's loss over sequences, (K,) each, all copies on the same rows."""
        copies = len(self.runs)
        batch = self.runs[0].batch_sequences
        count, width = rows_NT.shape
        # Whole batches keep one compiled shape; the rows that fill the last one are not counted.
        batches = math.ceil(count / batch)
        filled = torch.from_numpy(np.resize(rows_NT, (batches * batch, width))).to(self.hardware.device)
        parts = []
        for rows_BT in filled.split(batch):
            rows_KBT = rows_BT.repeat(copies, 1, 1)
            parts.append(self.computation.losses(rows_KBT).detach())
        losses_KN = torch.cat(parts, 1)[:, :count].double().cpu().numpy()
        means_K = losses_KN.mean(1)
        if count == 1:
            return means_K, np.full(copies, np.inf)
        return means_K, losses_KN.std(1, ddof=1) / math.sqrt(count)
