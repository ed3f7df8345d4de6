"""The one text that stands for the texts of a run's stages, as laws of the data mix read it.

When a run saw a text matters: what it saw late counts more than its share of the tokens, unless the rate had fallen
by then. How much is known from two sides. Counted by tokens, no token matters more than another; that is what laws of
one mix for the whole run say. AdamW's weights, on the other hand, are an average of all updates, in which an update
fades while others follow (Wang & Aitchison 2024, arXiv:2405.13698): it counts η(u)·exp(−∫ η/τ from u to 1) at share u
of the run, with τ = B/(η·λ·D) at the peak. Where the trained model does best on its own batches follows that (Bergsma
et al. 2025, arXiv:2509.25380). The truth lies between: what is learned early is kept as far as it helps later. So the
middle of the two is taken, and half their difference is one standard deviation (`adjustments.stages`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ....core.errors import ConfigError
from ...config.run_config import RunConfig
from ...config.stages.spans import spans
from ...curve.rates.planned_changes import TEXT_LOG_SD
from ...curve.rates.planned_rates import path_of

__all__ = ["LOG_LOSS_PER_SHARE", "TextStages", "as_one_text", "likeness", "text_stages"]

_TIMESCALE, _TIMESCALE_POWER = 1.084, -0.527
"""Best τ of runs, as a share of the run, by their tokens per parameter (Bergsma et al. 2025, arXiv:2505.13738): taken
where the plan doesn't state what it follows from."""
LOG_LOSS_PER_SHARE = 0.16
"""Log loss on a text by the share of the tokens that are of it, where no law says more: C4's falls by 13 % from a share
of .1 to .9 beside code (public code_mix, 4.2B, 84B tokens)."""
_GRID = 2_000
_BLEND = 0.5
_DIGITS = 4  # of shares of corpora, which are told to people
_READ_AS = ("tokenizer", "bytes_per_token", "evaluated_on")
_LIKE_ADAMW = ("adamw", "lion", "muon", "sophia", "adam_mini")  # optimizers with decoupled weight decay


class TextStages:
    """The texts of a plan's stages: `tokens: (K,)` their shares of the tokens, `kept: (K,)` what AdamW keeps of them.

    `mixes` and `corpora` are their texts; None where the plan states none.
    """

    def __init__(self, config: RunConfig) -> None:
        data = config.data
        self.mixes, self.corpora = list[Mapping[str, float] | None](), list[str | Mapping[str, float] | None]()
        mix, corpus = data.mix, data.corpus
        for stage in data.stages:
            mix, corpus = stage.mix or mix, stage.corpus or corpus
            self.mixes.append(mix)
            self.corpora.append(corpus)
        edges = np.array([0.0, *(span.end for span in spans(data.stages, data.tokens))]) / data.tokens
        self.tokens = np.diff(edges)
        self.kept = self.tokens if self.alike else _kept(config, edges)

    @property
    def alike(self) -> bool:
        """Whether all stages have one text."""
        return all(mix == self.mixes[0] for mix in self.mixes) and all(one == self.corpora[0] for one in self.corpora)

    def mix(self, blend: float = _BLEND) -> dict[str, float] | None:
        """The one mix: by tokens at `blend` 0, by what AdamW keeps at 1."""
        if self.mixes[0] is None or all(mix == self.mixes[0] for mix in self.mixes):
            return None if self.mixes[0] is None else dict(self.mixes[0])
        return _mixed([mix or {} for mix in self.mixes], self._weights(blend))

    def corpus(self, blend: float = _BLEND) -> str | dict[str, float] | None:
        """The one corpus, a composition where stages have different ones."""
        first = self.corpora[0]
        if first is None or all(one == first for one in self.corpora):
            return first if first is None or isinstance(first, str) else dict(first)
        mixed = _mixed([_shares(one) for one in self.corpora if one is not None], self._weights(blend))
        return {name: round(share, _DIGITS) for name, share in mixed.items()}

    @property
    def open_share(self) -> float:
        """Half the share of the text that differs between the two ways to count."""
        texts = [(self.mix(0.0), self.mix(1.0)), (self.corpus(0.0), self.corpus(1.0))]
        return 0.5 * max(_apart(_shares(a), _shares(b)) for a, b in texts)

    def _weights(self, blend: float) -> np.ndarray:
        return (1.0 - blend) * self.tokens + blend * self.kept


def text_stages(config: RunConfig) -> TextStages | None:
    """The texts of a plan's stages; None for a plan without any."""
    return TextStages(config) if config.data.stages else None


def as_one_text(config: RunConfig) -> RunConfig:
    """The plan with one text that stands for those of its stages; the very same one where it has no stages.

    >>> stages = [{"mix": {"web": 1}}, {"share": 0.2, "mix": {"math": 1}}]
    >>> plan = RunConfig.from_mapping({"model": {"params": "1B"}, "data": {"tokens": "100B", "stages": stages}})
    >>> mix = as_one_text(plan).data.mix
    >>> round(mix["math"], 2)  # no rate is stated: a fall to 0 is taken, in whose end little is learned
    0.19
    """
    stages = text_stages(config)
    if stages is None:
        return config
    text = {"mix": stages.mix(), "corpus": stages.corpus(), "stages": ()}
    return config.model_copy(update={"data": config.data.model_copy(update=text)})


def likeness(configs: Sequence[RunConfig], log_sd: float) -> np.ndarray:
    """`(n, n)` how much of what is unknown of one plan's text is unknown of another's, where both have stages.

    Stages of the same texts, in the same order, may be of other lengths, or count otherwise by their rates: the one
    text that stands for them then differs by some percent, by which its loss may differ by `TEXT_LOG_SD` a share. It
    is 0 for plans without stages, or with other texts.

    Args:
        configs: The plans.
        log_sd: What is unknown of the text, as a standard deviation of the logarithm of the loss.
    """
    plans = [(config.data, text_stages(config)) for config in configs]
    found = np.zeros((len(plans), len(plans)))
    for row, (data, stages) in enumerate(plans):
        for column, (other, its) in enumerate(plans):
            if stages is None or its is None or (stages.corpora, stages.mixes) != (its.corpora, its.mixes):
                continue
            if any(getattr(data, key) != getattr(other, key) for key in _READ_AS):
                continue
            texts = ((stages.mix(), its.mix()), (stages.corpus(), its.corpus()))
            apart = max(_distance(_shares(a), _shares(b)) for a, b in texts)
            found[row, column] = math.exp(-0.5 * (TEXT_LOG_SD * apart / log_sd) ** 2)
    return found


def _distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Euclidean, so that `likeness` is a matrix of correlations whatever the texts."""
    return math.sqrt(math.fsum((one.get(name, 0.0) - other.get(name, 0.0)) ** 2 for name in {*one, *other}))


def _shares(text: str | Mapping[str, float] | None) -> Mapping[str, float]:
    return {} if text is None else {text: 1.0} if isinstance(text, str) else text


def _apart(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return 0.5 * math.fsum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in {*one, *other})


def _mixed(texts: Sequence[Mapping[str, float]], weights: np.ndarray) -> dict[str, float]:
    found: dict[str, float] = {}
    for text, weight in zip(texts, weights.tolist(), strict=True):
        for name, share in text.items():
            found[name] = found.get(name, 0.0) + weight * share
    total = math.fsum(found.values())
    return {name: share / total for name, share in found.items()}


def _kept(config: RunConfig, edges: np.ndarray) -> np.ndarray:
    """What AdamW keeps of the stretches between `edges: (K + 1,)`, shares of the run's tokens: `(K,)`, sums to 1."""
    at = (np.arange(_GRID) + 0.5) / _GRID
    rate = _rates(config, at)
    later = (np.cumsum(rate[::-1])[::-1] - rate) / _GRID
    kept = rate * np.exp(-later / _timescale(config))
    behind = np.concatenate([[0.0], np.cumsum(kept)]) / kept.sum()
    return np.diff(np.interp(edges, np.linspace(0.0, 1.0, _GRID + 1), behind))


def _rates(config: RunConfig, at: np.ndarray) -> np.ndarray:
    """Rate at shares `at: (n,)` of the tokens, as a share of the peak; a straight fall to 0 where none is stated."""
    try:
        path = path_of(config)
    except ConfigError:
        return 1.0 - at
    step = path.step_after(at * float(path.batches(path.steps)))
    return path.rate[np.clip(step.astype(int), 0, path.steps - 1)]


def _timescale(config: RunConfig) -> float:
    """AdamW's timescale at the peak, as a share of the run's tokens."""
    optim, tokens = config.optim, config.data.tokens
    stated = optim.batch_tokens, optim.lr, optim.weight_decay
    if all(stated) and optim.optimizer in _LIKE_ADAMW:
        batch, lr, decay = (float(value or 0.0) for value in stated)
        return batch / (lr * decay * tokens)
    return _TIMESCALE * (tokens / config.model.params_active) ** _TIMESCALE_POWER
