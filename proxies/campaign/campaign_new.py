"""The file of a new campaign: its runs, checked against the tokens, then planned and divided into groups."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import CampaignError
from ...core.processors import processor_name
from ...core.reading.config_messages import Origins
from ...core.reading.config_reader import validated
from ...core.units import shown
from ...core.version import __version__
from ...datasets.tokens.store import TokenStore
from ..compute_plan import ComputePlan, grouped, shape_plans
from ..runs import ProxyRun
from ..settings import EngineSettings
from .campaign_files import FORMAT, CampaignFile, SelectionFacts, StoreFacts
from .run_rows import row_ids

__all__ = ["claim_folder", "new_campaign_file", "planned"]


def new_campaign_file(
    folder: Path,
    runs: Sequence[ProxyRun],
    store: TokenStore,
    settings: EngineSettings,
    space: Mapping[str, Any] | None,
    predicted_s: float | None,
    starts: Mapping[str, Path] | None = None,
) -> CampaignFile:
    """What campaign.json will say of what is asked for; `planned` adds how it is done.

    Raises CampaignError for runs that can't be told apart or trained here.
    """
    _check_against(store, runs)
    for run in runs:
        if run.start is not None and run.start.digest not in (starts or {}):
            raise CampaignError(f"run {run.run_id}: start: it isn't said where the weights of {run.start.run_id} lie")
    wanted = {
        "format": FORMAT,
        "foretrain": __version__,
        "store": _store_facts(store, folder, runs),
        "settings": settings,
        "runs": list(runs),
        "groups": [[run.run_id] for run in runs],
        "space": None if space is None else json.loads(json.dumps(dict(space), allow_nan=False)),  # as it comes back
        "predicted_s": predicted_s,
        "starts": {digest: _seen_from(folder, where) for digest, where in (starts or {}).items()},
    }
    file = validated(CampaignFile, wanted, Origins("campaign"), error=CampaignError)
    _check_row_ids(file.runs)
    return file


def claim_folder(folder: Path) -> bool:
    """Make the folder; return whether it is free. Raises CampaignError if it holds anything but a campaign."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise CampaignError(f"{folder}: can't be a campaign's folder: {error.strerror or error}") from None
    if there and "campaign.json" not in there:
        raise CampaignError(f"{folder}: holds other files, such as {there[0]!r}; expected a new or empty folder")
    return not there


def planned(file: CampaignFile, decided: ComputePlan | None = None) -> CampaignFile:
    """The file with its plan and the groups that follow from it; what is `auto` is as `decided`, else for this machine.

    Raises ConfigError if a GPU is asked for and there is none, or for a model that can't have its shape.
    """
    plan = _plan(file.runs, file.settings) if decided is None else _narrowed(decided, file.runs, file.settings)
    groups = grouped(file.runs, file.settings, plan.device)
    return file.model_copy(
        update={"plan": plan, "groups": tuple(tuple(run.run_id for run in group) for group in groups)}
    )


def _plan(runs: Sequence[ProxyRun], settings: EngineSettings) -> ComputePlan:
    device, precision = settings.device, settings.precision
    if device == "auto" or precision == "auto":
        from ..engine import measure_plan  # torch takes seconds

        return measure_plan(runs, settings)
    shapes = shape_plans(runs, settings, device, {})
    return ComputePlan(device=device, precision=precision, processor=processor_name(), shapes=shapes)


def _narrowed(decided: ComputePlan, runs: Sequence[ProxyRun], settings: EngineSettings) -> ComputePlan:
    """A plan that was made for more runs than these, for these."""
    return decided.model_copy(update={"shapes": shape_plans(runs, settings, decided.device, {})})


def _store_facts(store: TokenStore, campaign: Path, runs: Sequence[ProxyRun]) -> StoreFacts:
    tokenizer = store.tokenizer
    named = None if tokenizer is None else f"{tokenizer.kind}-{tokenizer.vocab_size}-{tokenizer.digest[:8]}"
    return StoreFacts(
        folder=_seen_from(campaign, store.folder),
        digest=store.digest,
        name=store.index.name,
        tokenizer=named,
        bytes_per_token={domain: store.bytes_per_token(domain) for domain in store.domains},
        selections={key: _selection_facts(store, key) for run in runs if (key := run.selection) is not None},
        texts={key: store.text_digest(key) for run in runs for key in run.texts},
    )


def _seen_from(campaign: Path, folder: Path) -> str:
    """The path from a campaign's folder to another one, both as they really lie."""
    there, home = os.path.realpath(folder), os.path.realpath(campaign)
    try:
        return Path(os.path.relpath(there, home)).as_posix()
    except ValueError:  # on another drive
        return there


def _selection_facts(store: TokenStore, key: str) -> SelectionFacts:
    held = [name for name in store.domains if key in store.index.domains[name].selections]
    shares = {name: store.kept_share(name, key) for name in held}
    return SelectionFacts(kind=store.selections[key], digest=store.selection_digest(key), kept_shares=shares)


def _check_against(store: TokenStore, runs: Sequence[ProxyRun]) -> None:
    """Raise CampaignError for runs that can't be trained on this store."""
    known = ", ".join(store.domains)
    for run in runs:
        for text in run.texts:
            if text not in store.texts:
                held = ", ".join(store.texts) or "none"
                raise CampaignError(
                    f"run {run.run_id}: the tokens hold no text {shown(text)}; those that they hold: {held}"
                )
        for domain in [*run.mix, *run.unique_tokens]:
            if domain not in store.domains and domain not in run.texts:
                raise CampaignError(
                    f"run {run.run_id}: the tokens have no domain {shown(domain)}; the domains are {known}"
                )
        if run.selection is not None and run.selection not in store.selections:
            kept = ", ".join(store.selections) or "none"
            raise CampaignError(
                f"run {run.run_id}: the tokens hold no selection {shown(run.selection)}; those that they hold: {kept}"
            )
        if run.shape.vocab_size < store.vocab_size:
            raise CampaignError(
                f"run {run.run_id}: shape.vocab_size: got {run.shape.vocab_size}; expected at least the "
                f"{store.vocab_size} of the tokens"
            )


def _check_row_ids(runs: Sequence[ProxyRun]) -> None:
    """Raise CampaignError where a run is named as another one's validation on the way will be."""
    seen: set[str] = set()
    for name in (name for run in runs for name in row_ids(run)):
        if name in seen:
            raise CampaignError(f"two rows of the run table would be named {name!r}; rename one of the runs")
        seen.add(name)
