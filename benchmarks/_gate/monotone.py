"""Monotone where nature is: more tokens or parameters raise no end of an interval, and never hurt."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

from .case import Case, simulate

_ROUNDING = 3e-4  # in log loss
_PREDICTORS = ("web-text", "chinchilla-massivetext", "olmo-c4", "repeats-c4", "steplaw")
_TOKENS = ("100B", "400B", "2T", "4T", "10T", "50T", "200T")
_PARAMS = ("500M", "2B", "7B", "30B", "100B", "400B")


def cases() -> Iterator[Case]:
    """Each shipped predictor along tokens and along parameters, and its changes."""
    for predictor in _PREDICTORS:
        for params in ("200M", "7B"):
            yield Case("monotone", f"{predictor}: tokens of a {params}", partial(_tokens, predictor, params))
            yield Case("monotone", f"{predictor}: twice the tokens of a {params}", partial(_twice, predictor, params))
        yield Case("monotone", f"{predictor}: parameters", partial(_params, predictor))


def _upper(folder: Path, predictor: str, params: str, tokens: str) -> dict[str, float]:
    (folder / "run.yaml").write_text(f"model: {{params: {params}}}\ndata: {{tokens: {tokens}}}\n", encoding="utf-8")
    done = simulate(folder, "predict", "--config", "run.yaml", "--predictor", predictor, "--json").answered()
    return {level: ends[1] for level, ends in done.json["loss_nats"]["intervals"].items()}


def _falls(found: list[dict[str, float]]) -> None:
    for less, more in pairwise(found):
        for level in less:
            assert more[level] <= less[level] * (1 + _ROUNDING), f"{level}: {less[level]} rises to {more[level]}"


def _tokens(predictor: str, params: str, folder: Path) -> None:
    _falls([_upper(folder, predictor, params, tokens) for tokens in _TOKENS])


def _params(predictor: str, folder: Path) -> None:
    _falls([_upper(folder, predictor, params, "2T") for params in _PARAMS])


def _twice(predictor: str, params: str, folder: Path) -> None:
    for name, tokens in (("one", "2T"), ("two", "4T")):
        (folder / f"{name}.yaml").write_text(
            f"model: {{params: {params}}}\ndata: {{tokens: {tokens}}}\n", encoding="utf-8"
        )
    done = simulate(folder, "compare", "one.yaml", "two.yaml", "--predictor", predictor, "--json").answered()
    change = done.json["plans"][1]["difference"]["loss_nats"]
    assert all(ends[1] <= 0 for ends in change["intervals"].values()), change
