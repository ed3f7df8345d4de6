"""`simulate proxies radioactivity`: was a trained proxy trained on marked text?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...core.errors import UsageError
from .._shared import json_option, show

if TYPE_CHECKING:
    from ...datasets.watermark.detection import Detection

__all__ = ["radioactivity"]


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--watermark",
    "watermarks",
    multiple=True,
    required=True,
    metavar="FILE",
    help="The watermark of this file (key: ...); may be repeated.",
)
@click.option(
    "--text",
    metavar="PATH",
    help="Show it this text, a file, folder or glob, rather than the validation text of its campaign.",
)
@json_option
def radioactivity(run: str, watermarks: tuple[str, ...], text: str | None, as_json: bool) -> None:
    """Was a trained proxy trained on text that carries a watermark? An exact p-value of what it foretells.

    RUN is the folder of a run, DIR/runs/RUN_ID, of a campaign that keeps weights (engine: {keep_weights: true}). After
    each context of a text, once each, the token that the proxy finds most probable is looked up in the green lists.
    Text that the key's own generator wrote shows more than real text does; either way p is exact.

    \b
    Example:  simulate proxies radioactivity proxies/main/runs/0001 --watermark mark.yaml
              simulate proxies radioactivity proxies/main/runs/0001 --watermark mark.yaml --text written.jsonl
    """
    from ...core.extras import require

    require("trained proxies", "torch", "safetensors")
    from ...datasets.watermark.texts import detector_of_files
    from ...proxies.campaign.campaign import Campaign
    from ...proxies.sampling import radioactivity as test
    from ...proxies.sampling.trained import TrainedProxy

    proxy = TrainedProxy.open(run)
    store = Campaign.open(Path(run).resolve().parent.parent).open_store()
    if store.tokenizer is None:
        raise UsageError(f"{run}: was trained on synthetic tokens, which no watermark marks; expected a run on text")
    files = [Path(file) for file in watermarks]
    detector = detector_of_files(files, store.tokenizer, "--watermark", UsageError)
    if text is None:
        windows = test.validation_windows(store, proxy)
    else:
        windows = test.text_windows(_texts(text), store.tokenizer, proxy)
    found = test.radioactivity(proxy, windows, detector)
    show(as_json, found.to_dict(), lambda: _view(found, "validation text" if text is None else text))


def _texts(pattern: str) -> Iterator[str]:
    from ...datasets.corpus.text_files import find_files
    from ...datasets.corpus.text_readers import read_texts

    for file in find_files(Path(), pattern, "--text"):
        for found in read_texts(file, "text"):
            yield found.text


def _view(found: Detection, shown: str) -> str:
    """What was found, in words."""
    keys = f"the key {found.fingerprint}" if found.keys == 1 else f"{found.keys} keys ({found.fingerprint} most)"
    verdict = (
        "the proxy was trained on text that carries the mark"
        if found.verdict == "marked"
        else "undecided: no sign of the mark, which doesn't say that there was none"
    )
    return (
        f"{found.green:,} of {found.scored:,} tokens that the proxy finds most probable, after as many contexts of "
        f"{shown}, are green\np {found.p:.2g} for a model trained without {keys}: {verdict}"
    )
