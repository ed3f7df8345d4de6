"""Bits per byte of a forecast: the text that a loss is measured on, its bytes in a token, what their doubt adds."""

from __future__ import annotations

import math
from statistics import NormalDist

from ...core.quantity import Quantity
from ...datasets.facts.corpora import kinds_of
from ...datasets.facts.tokenizers import find_tokenizer
from ..config.model_and_data import DataConfig
from ..config.text.scale import BytesPerToken, planned_bytes_per_token
from ..predictor.predictor import Predictor

__all__ = ["bits_per_byte", "evaluated_text", "is_of_plan", "loss_bytes_per_token"]


def evaluated_text(data: DataConfig, predictor: Predictor, loss: str) -> str | None:
    """The name of the text that one of the predictor's losses is measured on; None for what the plan evaluates on."""
    domain = loss.removeprefix("loss.")
    if domain != loss and kinds_of(domain, evaluation=True) is not None:
        return domain
    if data.evaluated_on or data.corpus or data.mix:
        return None
    known = predictor.about.get("val_domain")
    return None if known is None or kinds_of(str(known), evaluation=True) is None else str(known)


def loss_bytes_per_token(data: DataConfig, predictor: Predictor, loss: str) -> BytesPerToken | None:
    """Bytes per token of that text; None where neither the plan nor a known tokenizer tells.

    The model over tables has taken its own, of the tokenizer that the plan names, whatever the text.
    """
    named = isinstance(data.tokenizer, str) and find_tokenizer(data.tokenizer) is not None
    if is_of_plan(predictor) and named and data.bytes_per_token is None:
        facts = (predictor.about[key] for key in ("bytes_per_token", "bytes_per_token_log_sd"))
        return BytesPerToken(*(float(str(fact)) for fact in facts))
    return planned_bytes_per_token(data, evaluated_text(data, predictor, loss))


def is_of_plan(predictor: Predictor) -> bool:
    """Whether it is of the text that a plan names: then its facts are the plan's, not those of fitted runs."""
    return bool(predictor.about.get("text_of_plan"))


def bits_per_byte(loss: Quantity, scale: BytesPerToken, *, known_in_bits: bool = False) -> Quantity:
    """A loss in nats per token as bits per byte, its intervals wider by what is in doubt of the bytes per token.

    Args:
        loss: The loss in nats per token.
        scale: Bytes per token.
        known_in_bits: Whether the loss in nats was found from bits per byte, so that it has that doubt already, and
            bits per byte are known no worse.

    >>> found = bits_per_byte(Quantity(2.0, {0.9: (1.9, 2.1)}), BytesPerToken(4.0, 0.05))
    >>> round(found.median, 3), [round(end, 3) for end in found.intervals[0.9]]
    (0.721, [0.655, 0.794])
    """
    nats = math.log(2.0) * scale.value  # of one bit per byte
    intervals = {}
    for level, (low, high) in loss.intervals.items():
        if scale.log_sd and not known_in_bits:
            reach = scale.log_sd * NormalDist().inv_cdf((1 + level) / 2)
            low = loss.median * math.exp(-math.hypot(math.log(loss.median / low), reach))
            high = loss.median * math.exp(math.hypot(math.log(high / loss.median), reach))
        intervals[level] = (low / nats, high / nats)
    return Quantity(loss.median / nats, intervals)
