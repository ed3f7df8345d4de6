"""A group's checkpoint: one safetensors file, written whole; what isn't a tensor is JSON in its header."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...core.files import write_bytes
from ...core.version import __version__
from ..results import CurvePoint, DomainLoss, Validation
from ._group import TrainingGroup

__all__ = ["load_checkpoint", "save_checkpoint"]

_FORMAT = 1


def save_checkpoint(group: TrainingGroup, path: Path) -> None:
    """Write the group's state to `path`, whole. InputError if it can't be written; the old file is then still there."""
    from safetensors.torch import save

    facts = {
        "format": _FORMAT,
        "fingerprint": _fingerprint(group),
        "step": group.step,
        "curves": [[list(point) for point in curve] for curve in group.curves],
        "evaluations": [[_evaluation_facts(e) for e in evaluations] for evaluations in group.evaluations],
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in group.tensors.items()}
    text = json.dumps(facts)
    write_bytes(path, save(tensors, metadata={"foretrain": text, "checksum": _checksum(text, tensors)}))


def load_checkpoint(group: TrainingGroup, path: Path) -> bool:
    """Continue `group` from `path` if there is a checkpoint of these very runs, data and plan; say whether.

    A checkpoint of another campaign, device or number format, or a damaged one, isn't used: the group starts anew,
    which costs time and never mixes two ways of computing in one result.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as archive:
            metadata = archive.metadata() or {}
            text = metadata.get("foretrain", "")
            tensors = {name: archive.get_tensor(name) for name in group.tensors}
            if metadata.get("checksum") != _checksum(text, tensors):
                return False
            facts = json.loads(text)
            if facts["format"] != _FORMAT or facts["fingerprint"] != _fingerprint(group):
                return False
    except (OSError, SafetensorError, ValueError):
        return False
    group.restore(tensors, facts["step"])
    group.curves = [[CurvePoint(*point) for point in curve] for curve in facts["curves"]]
    group.evaluations = [[_evaluation(e) for e in evaluations] for evaluations in facts["evaluations"]]
    return True


def _fingerprint(group: TrainingGroup) -> str:
    """Digest of everything that decides the group's result."""
    runs = [run.model_dump(mode="json") for run in group.runs]
    facts = [__version__, runs, group.store.digest, int(group.settings.eval_tokens), group.plan.to_dict()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of everything in a checkpoint, as safetensors has none: a disk's slips must not become a result."""
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].numpy().data, total)
    return f"{total:08x}"


def _evaluation_facts(evaluation: Validation) -> list[Any]:
    losses = {domain: list(loss) for domain, loss in evaluation.losses.items()}
    return [evaluation.step, evaluation.tokens, losses, evaluation.train_tokens, evaluation.unique_tokens]


def _evaluation(facts: list[Any]) -> Validation:
    step, tokens, losses, train_tokens, unique_tokens = facts
    return Validation(step, tokens, {d: DomainLoss(*pair) for d, pair in losses.items()}, train_tokens, unique_tokens)
