"""`simulate proxies score`: how well a trained proxy foretells each document of a corpus, for a selection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._shared import json_option, log_json_option, progress_bar, show

if TYPE_CHECKING:
    from ...datasets.tokens.tokenizer import Tokenizer
    from ...proxies.sampling.trained import TrainedProxy

__all__ = ["score"]


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("corpora", metavar="CORPORA")
@click.option("--domain", required=True, metavar="NAME", help="The domain whose training documents are scored.")
@click.option(
    "--out", required=True, metavar="FILE", help="Write digest and nats per byte of each document here: .csv."
)
@json_option
@log_json_option
def score(run: str, corpora: str, domain: str, out: str, as_json: bool, log_json: bool) -> None:
    """Score the documents of a corpus with a trained proxy: nats per byte, for the step `perplexity` of a selection.

    RUN is the folder of a run, DIR/runs/RUN_ID, of a campaign that keeps weights (engine: {keep_weights: true});
    CORPORA a YAML file that names domains. The selection then says `perplexity: {scores: FILE}`. What the proxy was
    itself trained on is easier for it: take one that was trained on other text of the kind.

    \b
    Example:  simulate proxies score proxies/main/runs/0001 corpora.yaml --domain web --out web.csv
    """
    from ...core.extras import require

    require("trained proxies", "torch", "safetensors")
    from ...core.processors import one_torch_thread
    from ...datasets.corpus.corpus import Corpus
    from ...proxies.sampling.scores import write_scores
    from ...proxies.sampling.trained import TrainedProxy

    proxy = TrainedProxy.open(run)
    corpus = Corpus.load(corpora)
    with progress_bar("scoring", log_json) as progress, one_torch_thread():
        count = write_scores(proxy, corpus, domain, out, _tokenizer(run, proxy), progress)
    facts = {"documents": count, "domain": domain, "out": out, "proxy": proxy.digest}
    show(as_json, facts, lambda: f"{count:,} documents of {domain} scored: {out}")


def _tokenizer(run: str, proxy: TrainedProxy) -> Tokenizer | None:
    """The one of the run's campaign; None where tokens are bytes, so that the weights are enough."""
    from ...datasets.tokens.tokenizer import ByteTokenizer
    from ...proxies.campaign.campaign import Campaign

    if proxy.facts.tokenizer_digest == ByteTokenizer().digest:
        return None
    return Campaign.open(Path(run).resolve().parent.parent).open_store().tokenizer
