"""A plan from a few words: a size or a shape, tokens, accelerators, a price. What isn't said is usual, and is stated.

The command line (`simulate init`, `simulate predict` without a file), the web page and Python make their plans here,
so that the same words give the same plan.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ....core.errors import ConfigError, InputError
from ....core.model.architecture import Architecture
from ....core.model.huggingface import read_huggingface
from ....core.model.plausibility import LEAST_COUNT
from ....core.model.shape_family import USUAL, sized_shape
from ....core.reading.fields import MAX_COUNT
from ....core.units import format_count, parse_count, shown
from ....datasets.facts import models
from ....datasets.facts.prices import price as published_price
from ..run_config import RunConfig
from .machines import read_machines
from .plan_text import plan_text

__all__ = ["PlanSketch", "sketch_plan"]

# Hoffmann et al. 2022 (arXiv:2203.15556), table 3: 20 tokens per parameter are about compute-optimal.
_TOKENS_PER_PARAM = 20.0
# DeepSeek LLM (arXiv:2401.02954), equation 1: the best batch in tokens at a compute budget in FLOPs.
_BATCH, _BATCH_EXPONENT = 0.2920, 0.3271
_MOST_BATCH_TOKENS = 2**24  # Llama 3 405B's (arXiv:2407.21783), section 3.4.1; no published run has a much larger one
_DIGITS = 3  # of tokens that nobody stated
_NUMBER = re.compile(r"\s*\$?\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*", re.ASCII)
_SUFFIXES = {"T": 12, "B": 9, "M": 6, "k": 3}


@dataclass(frozen=True)
class PlanSketch:
    """A plan made of a few words, with the reason for everything in it, as `sketch_plan` gives it.

    >>> import foretrain
    >>> sketch = foretrain.sketch_plan(model="llama-3-8b", tokens="15T")
    >>> sketch.title
    'llama-3-8b: 8.03B parameters, 15.0T tokens'
    >>> sketch.config(["data.corpus=fineweb"]).data.corpus
    'fineweb'
    >>> sketch.assumed
    ('optim.batch_tokens',)
    """

    mapping: Mapping[str, Any]
    """The plan, as a file would state it."""
    title: str
    """What it is a plan of, in a line."""
    reasons: Mapping[str, str]
    """Why something stands in it, by its path, such as `data.tokens`."""
    assumed: tuple[str, ...]
    """Paths of what nobody stated."""

    def config(self, overrides: Sequence[str] = (), folder: str | os.PathLike[str] | None = None) -> RunConfig:
        """The plan, checked, with changes such as ``data.corpus=fineweb``, in a folder. Raises `ConfigError`."""
        return RunConfig.from_mapping(self.mapping, "plan", overrides, folder)

    def to_yaml(self) -> str:
        """The plan as a file: the same plan, with the reasons as comments and what else it could state."""
        return plan_text(self.mapping, self.title, self.reasons)


def sketch_plan(
    *,
    params: str | float | None = None,
    model: str | None = None,
    hugging_face: Mapping[str, Any] | None = None,
    tokens: str | float | None = None,
    on: str | None = None,
    price: str | float | None = None,
    name: str | None = None,
) -> PlanSketch:
    """Make a plan of a few words.

    Args:
        params: A number of parameters, such as "7B": the plan has a shape of that size in the usual family, within
            2 % from 100M on. Exactly one of this, `model` and `hugging_face` is given.
        model: A published model by name, such as "llama-3-8b" (`simulate list models`).
        hugging_face: What a model's `config.json` on the Hugging Face hub holds.
        tokens: Training tokens, such as "2T"; by default 20 for each parameter that a token uses.
        on: How many of which accelerator, such as "512xH100"; by default none, so that there are no times and costs.
        price: US dollars per accelerator and hour, or a published price by name (`simulate list prices`).
        name: Name of the run; by default of its size or model.

    Returns:
        The plan, with what was taken without being said.

    Raises:
        ConfigError: Something can't be read; the message begins with its name here.

    >>> import foretrain
    >>> sketch = foretrain.sketch_plan(params="7B", tokens="2T", on="512xH100")
    >>> config = sketch.config()
    >>> round(config.model.params_total / 1e9, 1), config.hardware.count, config.optim.batch_tokens
    (7.0, 512, 8388608.0)
    """
    given = [
        key for key, value in (("params", params), ("model", model), ("config", hugging_face)) if value is not None
    ]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise ConfigError(f"params, model, config.json: got {got}; expected exactly one of them, such as params 7B")
    if params is not None:
        of_model = _of_size(_count("params", params, "7B"))
    elif model is not None:
        of_model = _of_name(model)
    else:
        of_model = _of_config(hugging_face or {})
    amount, why_tokens = _tokens(tokens, of_model)
    batch, why_batch = _batch(of_model.shape, amount)
    data: dict[str, Any] = {"tokens": _written(amount)}
    reasons = {"model": of_model.why, "data.tokens": why_tokens, "optim.batch_tokens": why_batch}
    if of_model.tokenizer is not None:
        data["tokenizer"] = of_model.tokenizer
        reasons["data.tokenizer"] = "the model's own"
    mapping: dict[str, Any] = {
        "name": name or of_model.name,
        "model": {"architecture": _stated(of_model.shape)},
        "data": data,
        "optim": {"batch_tokens": batch},
    }
    size = format_count(of_model.shape.params_total)
    title = f"{mapping['name']}: {size} parameters, {format_count(amount)} tokens"
    if on is not None:
        with _named("on"):
            count, machine = read_machines(on)
        mapping["hardware"] = {"accelerator": machine, "count": count}
        title += f" on {count:,} × {machine}"
    if price is not None:
        _add_price(mapping, reasons, price)
    unsaid = {"model": params is not None, "data.tokens": tokens is None, "optim.batch_tokens": True}
    return PlanSketch(mapping, title, reasons, tuple(path for path, so in unsaid.items() if so))


@dataclass(frozen=True)
class _Model:
    """A shape, and where it is from."""

    name: str
    shape: Architecture
    why: str
    tokenizer: str | None = None
    tokens: float | None = None


def _of_size(params: float) -> _Model:
    try:
        shape = sized_shape(USUAL, params)
    except InputError as error:
        raise ConfigError(str(error)) from None
    asked = _written(params)
    why = (
        f"{shape.params_total:,} parameters for {asked}: a shape of Llama 2's family (arXiv:2307.09288), whose "
        "feed-forward width was moved to meet the size; put your own"
    )
    return _Model(str(asked).lower(), shape, why)


def _of_name(name: str) -> _Model:
    with _named("model"):
        found = models.model(name)
    source = "; ".join(models.sources()[one] for one in found.sources)
    notes = f"; {found.notes}" if found.notes else ""
    why = f"{found.what} as published, {found.params:,.0f} parameters ({source}){notes}"
    return _Model(found.name, found.shape, why, found.tokenizer, found.tokens)


def _of_config(mapping: Mapping[str, Any]) -> _Model:
    found = read_huggingface(mapping)
    size = found.architecture.params_total
    why = "; ".join((f"{size:,} parameters, as the config.json of a {found.model_type} says", *found.notes))
    return _Model(f"{found.model_type}-{format_count(size).lower()}", found.architecture, why)


def _tokens(stated: str | float | None, of_model: _Model) -> tuple[float, str]:
    """Training tokens, and why so many."""
    published = "" if of_model.tokens is None else f"; the published model saw {format_count(of_model.tokens)}"
    dense = of_model.shape.num_experts is None
    per = "per parameter" if dense else "for each parameter that a token uses"
    if stated is not None:
        amount = _count("tokens", stated, "2T")
        return amount, f"{amount / of_model.shape.params_active:.3g} {per}{published}"
    amount = max(_TOKENS_PER_PARAM * of_model.shape.params_active, LEAST_COUNT)
    why = f"{_TOKENS_PER_PARAM:g} {per}, about compute-optimal (arXiv:2203.15556){published}; put your own"
    return float(f"{amount:.{_DIGITS - 1}e}"), why


def _batch(shape: Architecture, tokens: float) -> tuple[int, str]:
    """Tokens of an optimizer step, a power of two times a sequence, and why so many."""
    best = _BATCH * (shape.training_flops_per_token() * tokens) ** _BATCH_EXPONENT
    most = min(_MOST_BATCH_TOKENS, tokens)
    sequences = 2 ** max(0, round(math.log2(best / shape.context_length)))
    while sequences > 1 and sequences * shape.context_length > most:
        sequences //= 2
    batch = min(sequences * shape.context_length, math.floor(tokens))
    return batch, "about the best at this compute by DeepSeek LLM's fit (arXiv:2401.02954); put your own"


def _add_price(mapping: dict[str, Any], reasons: dict[str, str], price: str | float) -> None:
    """Add a price of one's own to the hardware, or a published one to the prices."""
    if "hardware" not in mapping:
        raise ConfigError(f"price: got {shown(price)} without accelerators; expected them beside it, such as on 8xH100")
    number = _NUMBER.fullmatch(price) if isinstance(price, str) else None
    if number is not None or not isinstance(price, str):
        mapping["hardware"]["price_usd_per_hour"] = float(number[1]) if number else price
        return
    try:
        found = published_price(price)
    except ConfigError as error:
        raise ConfigError(f"price: {error}, or US dollars such as 2.5") from None
    mapping["prices"] = {"preset": found.name}
    reasons["prices.preset"] = f"{found.in_words}; prices change monthly"


def _stated(shape: Architecture) -> dict[str, Any]:
    """A shape as a plan states it: without what its family has anyway."""
    every = shape.model_dump()
    needed = {key: every[key] for key, field in Architecture.model_fields.items() if field.is_required()}
    usual = Architecture.model_validate({**needed, "family": shape.family}).model_dump()
    usual["family"] = Architecture.model_fields["family"].default
    return {key: value for key, value in every.items() if key in needed or value != usual[key]}


def _count(name: str, value: str | float, example: str) -> float:
    """A count above what no run has. Raises `ConfigError`."""
    with _named(name):
        count = parse_count(value)
        if not LEAST_COUNT <= count <= MAX_COUNT:
            raise ConfigError(f"got {shown(value)}; expected {LEAST_COUNT:,.0f} to {MAX_COUNT:g}, such as {example}")
    return count


def _written(count: float) -> str | float:
    """A count as people write it, where that is the very same number."""
    for suffix, exponent in _SUFFIXES.items():
        text = f"{count / 10**exponent:.12g}{suffix}"
        if count >= 10**exponent and parse_count(text) == count:
            return text
    return int(count) if count.is_integer() else count


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the name of what was given before what is wrong with it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
