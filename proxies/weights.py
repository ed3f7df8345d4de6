"""`RunWeights`: the weights that a run ended with, as one safetensors file beside its result.

They are those that the run was validated with, averaged over its last part, in fp32. What isn't a tensor is JSON in the
header: the model and its shape, the tokens and the run that they come from, and a digest of all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from ..core.errors import CampaignError, ConfigError
from ..core.extras import require
from ..core.files import write_bytes
from ..core.model.architecture import Architecture
from ..core.reading.fields import Frozen, Label
from ..core.units import shown
from ..datasets.tokens.store import TokenStore
from .runs import ProxyRun

__all__ = ["WEIGHTS_NAME", "RunWeights", "WeightsFacts", "read_weights", "run_digest", "write_weights"]

WEIGHTS_NAME = "weights.safetensors"
"""Name of the file in a run's folder."""

_MOST_HEADER_BYTES = 4_000_000
_MOST_BYTES = 4 << 30  # a billion parameters in fp32: no proxy is larger
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class WeightsFacts(Frozen):
    """What a file of weights says of them."""

    format: Literal[1] = 1
    model: Label = Field(description="Kind of model, by its name in proxies/models.")
    shape: Architecture
    tokenizer_digest: _Digest | None = Field(description="Of the tokens that it was trained on; none: no text.")
    run_digest: _Digest = Field(description="Stands for the run and the tokens that it was trained on.")
    diverged: bool = Field(default=False, description="The run didn't come to a sensible end.")


class _Header(Frozen):
    """All that the file says beside its tensors. One text, as safetensors writes several in any order."""

    facts: WeightsFacts
    digest: _Digest


@dataclass(frozen=True)
class RunWeights:
    """The weights of one run by name, fp32 in the shapes of one copy, with what they belong to."""

    facts: WeightsFacts
    arrays: Mapping[str, np.ndarray] = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the facts and of every number: equal digests are equal models of equal origin."""
        sha = hashlib.sha256(_text(self.facts).encode())
        for name, array in sorted(self.arrays.items()):
            sha.update(f"\n{name} {array.shape}\n".encode())
            sha.update(np.ascontiguousarray(array, "<f4").data)
        return sha.hexdigest()


def write_weights(folder: Path, weights: RunWeights) -> None:
    """Write weights into a run's folder, whole. Raises InputError if the disk refuses."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in weights.arrays.items()}
    header = _text(_Header(facts=weights.facts, digest=weights.digest))
    write_bytes(folder / WEIGHTS_NAME, save(arrays, {"foretrain": header}))


def read_weights(folder: str | os.PathLike[str]) -> RunWeights:
    """Read the weights in a run's folder: every value checked, nothing executed.

    Raises CampaignError, naming the file, if there is none, if it is damaged, or if its weights aren't those of the
    model that it names.
    """
    require("the weights of a proxy", "safetensors")
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / WEIGHTS_NAME
    _check_size(path)
    try:
        with safe_open(path, framework="np") as archive:
            header = _header(path, archive.metadata() or {})
            expected = _sizes(path, header.facts)
            _check_sizes(path, {name: archive.get_slice(name) for name in archive.keys()}, expected)  # noqa: SIM118
            weights = RunWeights(header.facts, {name: archive.get_tensor(name) for name in expected})
    except (OSError, SafetensorError) as error:
        raise CampaignError(f"{path}: isn't a file of weights: {error}; train the run again") from None
    if header.digest != weights.digest:
        raise CampaignError(
            f"{path}: is damaged: its digest is {weights.digest}, not the {header.digest} that it names; remove it and "
            "train the run again"
        )
    return weights


def _text(value: Frozen) -> str:
    return json.dumps(value.model_dump(mode="json"), sort_keys=True)


def _check_size(path: Path) -> None:
    """Raise CampaignError for a file that is missing or larger than any proxy's, before anything in it is read."""
    if not path.is_file():
        raise CampaignError(
            f"{path}: there is no such file; expected a run trained with `engine: {{keep_weights: true}}`"
        )
    size = path.stat().st_size
    with open(path, "rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    if size > _MOST_BYTES or header > _MOST_HEADER_BYTES:
        raise CampaignError(f"{path}: is larger than the weights of any proxy; is this the right file?")


def _header(path: Path, metadata: Mapping[str, str]) -> _Header:
    try:
        return _Header.model_validate_json(metadata.get("foretrain", ""))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])[:200]
        raise CampaignError(f"{path}: isn't a file of weights: {key or 'its header'}: {first['msg']}") from None


def _sizes(path: Path, facts: WeightsFacts) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of the model that a file names, which must be a proxy's in size."""
    from .models import build_model

    if facts.shape.params_total * 4 > _MOST_BYTES:
        raise CampaignError(f"{path}: shape: got {facts.shape.params_total} parameters; expected those of a proxy")
    try:
        model = build_model(facts.model, facts.shape)
    except ConfigError as error:
        raise CampaignError(f"{path}: {error}") from None
    return {weight.name: weight.shape for weight in model.weights}


def _check_sizes(path: Path, found: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise CampaignError unless a file holds exactly these weights."""
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())[0]
        raise CampaignError(f"{path}: {shown(odd)}: {'missing' if odd in expected else 'no weight of this model'}")
    for name, size in expected.items():
        got, kind = tuple(found[name].get_shape()), found[name].get_dtype()
        if got != size or kind != "F32":
            raise CampaignError(f"{path}: {shown(name)}: got {kind} {got}; expected F32 {size}: it is another model's")


def run_digest(run: ProxyRun, store: TokenStore) -> str:
    """SHA-256 (hex) that stands for a run and exactly the tokens that it is trained on."""
    digests = [store.digest, *(store.text_digest(key) for key in sorted(run.texts))]
    if run.selection is not None:
        digests.append(store.selection_digest(run.selection))
    return hashlib.sha256(json.dumps([run.model_dump(mode="json"), digests], sort_keys=True).encode()).hexdigest()
