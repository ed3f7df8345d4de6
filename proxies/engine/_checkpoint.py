"""A group's checkpoint: one safetensors file, written whole; what isn't a tensor is JSON in its header."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import astuple
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

    evaluations = []
    for of_copy in group.evaluations:
        evaluations.append([astuple(evaluation) for evaluation in of_copy])
    facts = {
        "format": _FORMAT,
        "fingerprint": _fingerprint(group),
        "step": group.step,
        "curves": group.curves,
        "evaluations": evaluations,
    }
    text = json.dumps(facts)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in group.tensors.items()}
    metadata = {"foretrain": text, "checksum": _checksum(text, tensors)}
    write_bytes(path, save(tensors, metadata=metadata))


def load_checkpoint(group: TrainingGroup, path: Path) -> bool:
    """Continue `group` from `path` if there is a checkpoint of these very runs, data and hardware; say whether.

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
    for copy in range(len(group.runs)):
        group.curves[copy] = [CurvePoint(*point) for point in facts["curves"][copy]]
        group.evaluations[copy] = [_read_evaluation(values) for values in facts["evaluations"][copy]]
    return True


def _read_evaluation(values: list[Any]) -> Validation:
    """A validation from its fields as JSON gives them back, in the order of the class."""
    step, tokens, losses, *more = values
    by_domain = {domain: DomainLoss(*loss) for domain, loss in losses.items()}
    return Validation(step, tokens, by_domain, *more)


def _fingerprint(group: TrainingGroup) -> str:
    """Digest of everything that decides the group's result."""
    runs = [run.model_dump(mode="json") for run in group.runs]
    facts = [
        __version__,
        runs,
        group.store.digest,
        int(group.settings.eval_tokens),
        group.hardware.to_dict(),
    ]
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of everything in a checkpoint, as safetensors has none: a disk's slips must not become a result."""
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].numpy().data, total)
    return f"{total:08x}"
