"""`StartingWeights`: the trained weights that a design's runs start from, found among the runs of another project.

A space names that project, or campaign, by `continue_from`. Of its runs that kept their weights, the one with the most
tokens counts for each shape and seed; of several with equally many, the first in the campaign's order, in which a
ladder comes before its mixes. What is chosen is kept with the design, digest and all, so that nothing that is trained
there later changes it. Weights are read as `weights.read_weights` reads them: nothing is executed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ..core.model.architecture import Architecture
from ..core.reading.fields import FieldError, Frozen, Label, Whole
from ..core.units import format_count, shown
from .campaign.campaign import Campaign
from .results import RunResult
from .runs import ProxyRun, Start
from .weights import read_weights

__all__ = ["KEY", "StartingWeights", "find_starting_weights", "started"]

KEY = "continue_from"
"""The key of a space that names where weights come from."""

_KEEP = "`engine: {keep_weights: true}`"


class StartingWeights(Frozen):
    """The weights that one run ended with: where they lie, what they are of, and what they were trained on."""

    folder: str = Field(min_length=1, max_length=4096, description="Folder of the run, seen from the project's.")
    model: Label = Field(description="Kind of model, by its name in proxies/models.")
    shape: Architecture
    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1)]
    start: Start


def find_starting_weights(
    source: Path, project: Path, model: str, shapes: Sequence[Architecture], tokenizer_digest: str | None
) -> tuple[StartingWeights, ...]:
    """The weights of each seed for all `shapes`, by shape and seed, ascending; folders are seen from `project`.

    Args:
        source: The folder of a project, or of a campaign, whose runs kept their weights.
        project: The folder of the project that continues from it.
        model: Kind of the models that are to start from them.
        shapes: Their shapes.
        tokenizer_digest: Of the tokens that they are to be trained on; None where those are of no text.

    Raises:
        FieldError: At `continue_from`: no such folder, no weights kept, no run of a shape, another kind of model or
            tokenizer, or weights of runs that diverged.
        CampaignError: A campaign or a file of weights is damaged.
    """
    campaigns = _campaigns(source)
    found: list[StartingWeights] = []
    for shape in shapes:
        best = _best_by_seed(campaigns, source, model, shape)
        for seed, (run, result, folder) in sorted(best.items()):
            weights = read_weights(folder)
            if weights.facts.tokenizer_digest != tokenizer_digest:
                raise FieldError(
                    KEY,
                    f"the run {run.run_id} of {source} was trained with {_tokenizer(weights.facts.tokenizer_digest)}, "
                    f"the corpora here have {_tokenizer(tokenizer_digest)}; expected the same",
                )
            before = 0 if run.start is None else run.start.tokens
            tokens = before + result.evaluations[-1].tokens
            start = Start(run_id=run.run_id, tokens=tokens, digest=weights.digest)
            where = Path(os.path.relpath(folder, project)).as_posix()
            found.append(StartingWeights(folder=where, model=model, shape=shape, seed=seed, start=start))
    return tuple(found)


def started(runs: Sequence[ProxyRun], weights: Sequence[StartingWeights]) -> list[ProxyRun]:
    """The runs, each with the start of its shape and seed; of a seed that there is none of, that of the lowest one."""
    by_shape: dict[Architecture, dict[int, Start]] = {}
    for each in weights:
        by_shape.setdefault(each.shape, {})[each.seed] = each.start
    found = []
    for run in runs:
        starts = by_shape.get(run.shape)
        if starts is None:
            raise FieldError(KEY, f"there are no weights for the run {run.run_id}, of a size that isn't the space's")
        found.append(run.model_copy(update={"start": starts.get(run.seed, starts[min(starts)])}))
    return found


_Run = tuple[ProxyRun, RunResult, Path]


def _campaigns(source: Path) -> list[Campaign]:
    """The campaigns of a folder: its own, or those of a project, the main one first. Raises FieldError for none."""
    if not source.is_dir():
        raise FieldError(
            KEY, f"there is no folder {source}; expected that of a project or campaign whose runs kept their weights"
        )
    folders = [source] if (source / "campaign.json").is_file() else [source / "main", *sorted(source.glob("next-*"))]
    found = [Campaign.open(folder) for folder in folders if (folder / "campaign.json").is_file()]
    if not found:
        raise FieldError(
            KEY,
            f"{source} holds no campaign of proxies; expected the folder of a project that `simulate proxies train` "
            "has trained",
        )
    kept = [campaign for campaign in found if campaign.file.settings.keep_weights]
    if not kept:
        raise FieldError(
            KEY,
            f"the runs of {source} kept no weights; expected runs of a space with {_KEEP}: train it with that, in "
            "another folder",
        )
    return kept


def _done(campaigns: Sequence[Campaign]) -> Iterator[_Run]:
    for campaign in campaigns:
        for run, result in campaign.results():
            yield run, result, campaign.layout.run(run.run_id)


def _best_by_seed(campaigns: Sequence[Campaign], source: Path, model: str, shape: Architecture) -> dict[int, _Run]:
    """By seed, the run of this model with the most tokens. Raises FieldError that says which models there are."""
    done = list(_done(campaigns))
    if not done:
        raise FieldError(KEY, f"no run of {source} is done; train it to its end first")
    if model not in (models := sorted({run.model for run, _, _ in done})):
        raise FieldError(KEY, f"the models of {source} are {', '.join(models)}, here they are {model}; expected equal")
    alike = [one for one in done if (one[0].model, one[0].shape) == (model, shape)]
    if not alike:
        raise FieldError(KEY, _no_such_shape(source, shape, [run.shape for run, _, _ in done if run.model == model]))
    sound = [one for one in alike if one[1].status == "ok"]
    if not sound:
        names = ", ".join(run.run_id for run, _, _ in alike[:4])
        raise FieldError(
            KEY,
            f"the runs of {source} with {_size(shape)} diverged ({names}), so that their weights are of no use; "
            "expected runs at a lower learning rate",
        )
    best: dict[int, _Run] = {}
    for one in sound:
        other = best.get(one[0].seed)
        if other is None or _all_tokens(one) > _all_tokens(other):
            best[one[0].seed] = one
    return best


def _all_tokens(one: _Run) -> float:
    run, result, _ = one
    return result.evaluations[-1].tokens + (0 if run.start is None else run.start.tokens)


def _no_such_shape(source: Path, shape: Architecture, others: Sequence[Architecture]) -> str:
    """What to tell of a shape that there are no runs of: what else differs at its width, or which sizes there are."""
    for other in others:
        if other.width == shape.width:
            mine, theirs = shape.model_dump(mode="json"), other.model_dump(mode="json")
            odd = [f"{key} {shown(theirs[key])}" for key in mine if mine[key] != theirs[key]]
            here = [f"{key} {shown(mine[key])}" for key in mine if mine[key] != theirs[key]]
            return f"the runs of {source} of width {shape.width} have {', '.join(odd)}, here it is {', '.join(here)}"
    sizes = ", ".join(_size(one) for one in sorted(set(others), key=lambda one: one.params_active))
    return f"{source} has no run with {_size(shape)}; those that it has: {sizes}"


def _size(shape: Architecture) -> str:
    return f"{format_count(shape.params_active)} parameters (width {shape.width})"


def _tokenizer(digest: str | None) -> str:
    return "tokens of no text" if digest is None else f"the tokenizer {digest[:16]}"
