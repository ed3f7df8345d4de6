"""Numbers that no run has, in plans and tables: refused, or doubted with what was probably meant."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .case import Case, simulate

_SIZES = ((5e7, 1e9), (1e8, 2e9), (2e8, 4e9), (4e8, 8e9))


def cases() -> Iterator[Case]:
    """Plans first, then tables."""
    for name, (key, value, words) in _PLANS.items():
        yield Case("plausibility", f"plan: {name}", partial(_plan_refused, key, value, words))
    for name, (key, value) in _SOUND.items():
        yield Case("plausibility", f"plan: {name}", partial(_plan_read, key, value))
    for name, (scale, word) in _REFUSED.items():
        yield Case("plausibility", f"table: {name}", partial(_table_refused, scale, word))
    for name, (scale, word) in _DOUBTED.items():
        yield Case("plausibility", f"table: {name}", partial(_table_doubted, scale, word))
    for name, scale in _FINE.items():
        yield Case("plausibility", f"table: {name}", partial(_table_fine, scale))
    yield Case("plausibility", "all losses equal", _equal)
    yield Case("plausibility", "ten decades beyond the fit", partial(_beyond, 1e15, 1e17, True))
    yield Case("plausibility", "two decades beyond the fit", partial(_beyond, 4e9, 8e10, False))
    for command in ("10", "5", "99"):
        yield Case("plausibility", f"--budget {command} for percent", partial(_budget, command))


_PLANS = {
    "params 7": ("model.params", "7", ("model.params", "7B?")),
    "params 1.3": ("model.params", "1.3", ("1.3B?",)),
    "params 70": ("model.params", "70", ("70B?",)),
    "params 999": ("model.params", "999", ("is no run",)),
    "params 9.5": ("model.params", "9.5", ("10^9.5",)),
    "tokens 2": ("data.tokens", "2", ("data.tokens", "2T?")),
    "tokens 15": ("data.tokens", "15", ("15T?",)),
    "tokens 300": ("data.tokens", "300", ("300T?",)),
    "tokens 11.5": ("data.tokens", "11.5", ("10^11.5",)),
    "lr 3": ("optim.lr", "3", ("optim.lr", "no learning rate")),
    "lr 30": ("optim.lr", "30", ("no learning rate",)),
    "lr 0": ("optim.lr", "0", ("optim.lr",)),
    "lr negative": ("optim.lr", "-1e-3", ("optim.lr",)),
    "mix in percent": ("data.mix", "{web: 60, code: 40}", ("60%?",)),
    "mix of 2": ("data.mix", "{web: 1, code: 1}", ("sums to 2",)),
    "mix of 0.5": ("data.mix", "{web: 0.5}", ("sums to 0.5",)),
    "mix in other text": ("data.mix", "{web: most}", ("data.mix.web",)),
    "mix above 100 percent": ("data.mix", "{web: 140%}", ("at most 1",)),
    "mix in a percent too many": ("data.mix", "{web: 60%, code: 60%}", ("sums to 1.2",)),
    "tokens with an uncertainty": ("data.tokens", "2T ± 1B", ("uncertainty",)),
    "tokens with a decimal comma": ("data.tokens", "'0,345'", ("data.tokens",)),
    "a deadline with an uncertainty": ("targets.deadline", "± 2.41 s", ("uncertainty",)),
    "a deadline in months": ("targets.deadline", "3m", ("min for minutes",)),
    "a deadline without a unit": ("targets.deadline", "30", ("with its unit",)),
}
_SOUND = {
    "params 7B": ("model.params", "7B"),
    "params 1000": ("model.params", "1000"),
    "tokens with commas": ("data.tokens", "'20,000,000,000'"),
    "tokens with underscores": ("data.tokens", "20_000_000_000"),
    "lr 1": ("optim.lr", "1"),
    "lr 3e-4": ("optim.lr", "3e-4"),
    "mix in percent signs": ("data.mix", "{web: 60%, code: 40%}"),
    "mix of shares": ("data.mix", "{web: 0.6, code: 0.4}"),
    "mix of both": ("data.mix", "{web: 60%, code: 0.4}"),
    "a domain with a dot": ("data.mix.wiki.en", "1"),
    "a deadline in milliseconds": ("targets.deadline", "1930ms"),
}
_REFUSED = {
    "params in billions": ({"params": 1e-9}, "params"),
    "params in thousands of millions, whole": ({"params": 2e-8}, "B?"),
    "tokens in billions": ({"tokens": 1e-9}, "tokens"),
    "tokens in tens of millions": ({"tokens": 1e-7}, "tokens"),
    "losses beyond guessing": ({"loss": 20.0}, "perplexity"),
    "losses of 15 nats": ({"loss": 5.0}, "uniform guess"),
}
_DOUBTED = {
    "tokens in tens of thousands": ({"tokens": 1e-5}, "counted in millions"),
    "params in units of 1e5": ({"params": 1e-5}, "parameters counted in millions"),
    "params and tokens swapped": ({"params": 20.0, "tokens": 0.05}, "swapped?"),
    "lr 3": ({"lr": 3.0}, "no learning rate"),
    "lr in units of 1e-4": ({"lr": 6.0}, "units of 1e-4"),
    "a batch of 32": ({"batch_tokens": 32.0}, "in sequences?"),
    "a batch of 512": ({"batch_tokens": 512.0}, "in sequences?"),
    "losses of 0.03": ({"loss": 0.01}, "bits per byte"),
}
_FINE = {
    "a batch of 4096 tokens": {"batch_tokens": 4096.0},
    "a batch of 4M": {"batch_tokens": 4e6},
    "lr 3e-4": {"lr": 3e-4},
    "lr 0.1": {"lr": 0.1},
    "few tokens per parameter": {"tokens": 0.02},
    "a thousand tokens per parameter": {"tokens": 50.0},
    "losses of code": {"loss": 0.3},
    "losses of bytes": {"loss": 0.2},
}


def _plan_refused(key: str, value: str, words: tuple[str, ...], folder: Path) -> None:
    _plan(folder, key, value).refused(*words)


def _plan(folder: Path, key: str, value: str):
    (folder / "run.yaml").write_text("model: {params: 1.3B}\ndata: {tokens: 100B}\n", encoding="utf-8")
    return simulate(folder, "predict", "--config", "run.yaml", "--set", f"{key}={value}")


def _plan_read(key: str, value: str, folder: Path) -> None:
    from foretrain import RunConfig

    (folder / "run.yaml").write_text("model: {params: 1.3B}\ndata: {tokens: 100B}\n", encoding="utf-8")
    run = RunConfig.load(folder / "run.yaml", overrides=[f"{key}={value}"])
    if key.startswith("data.mix"):
        mix = run.data.mix
        assert mix is not None
        assert abs(sum(mix.values()) - 1) < 1e-9, mix
        assert mix == ({"wiki.en": 1.0} if key != "data.mix" else {"web": 0.6, "code": 0.4}), mix
    if value.startswith(("'20", "20_")):
        assert run.data.tokens == 2e10, run.data.tokens
    if value == "1930ms":
        assert run.targets.deadline == 1.93, run.targets.deadline


def _table(scale: dict[str, float]) -> str:
    names = ["params", "tokens", "loss", *(name for name in scale if name not in ("params", "tokens", "loss"))]
    lines = [",".join(names)]
    for number, (params, tokens) in enumerate(_SIZES):
        plain = {"params": params, "tokens": tokens, "loss": 3.5 - 0.2 * number}
        lines.append(",".join(repr(plain.get(name, 1.0) * scale.get(name, 1.0)) for name in names))
    return "\n".join(lines) + "\n"


def _said(folder: Path, scale: dict[str, float]) -> tuple[list[str], Any]:
    from foretrain import RunTable

    (folder / "runs.csv").write_text(_table(scale), encoding="utf-8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = RunTable.read(folder / "runs.csv")
    return [str(one.message) for one in caught], table


def _table_refused(scale: dict[str, float], word: str, folder: Path) -> None:
    from foretrain.core.errors import RunTableError

    try:
        _said(folder, scale)
    except RunTableError as error:
        refusal = str(error)
    else:
        raise AssertionError("it was taken")
    assert word in refusal, refusal
    assert "runs.csv, line 2" in refusal, refusal


def _table_doubted(scale: dict[str, float], word: str, folder: Path) -> None:
    said, table = _said(folder, scale)
    assert any(word in message for message in said), said
    assert len(table.doubts) == len(said), (table.doubts, said)


def _table_fine(scale: dict[str, float], folder: Path) -> None:
    said, _ = _said(folder, scale)
    assert not said, said


def _equal(folder: Path) -> None:
    lines = _table({}).splitlines()
    rows = [line.rsplit(",", 1)[0] + ",2.5" for line in lines[1:]]
    (folder / "runs.csv").write_text("\n".join([lines[0], *rows]) + "\n", encoding="utf-8")
    for command in ("fit", "backtest"):
        simulate(folder, command, "runs.csv").refused("all 4 losses are 2.5")


def _beyond(params: float, tokens: float, refused: bool, folder: Path) -> None:
    (folder / "runs.csv").write_text(_table({}), encoding="utf-8")
    simulate(folder, "fit", "runs.csv", "--law", "kaplan", "--prior", "public", "--out", "mine").answered("wrote mine")
    (folder / "run.yaml").write_text(f"model: {{params: {params}}}\ndata: {{tokens: {tokens}}}\n", encoding="utf-8")
    answer = simulate(folder, "predict", "--config", "run.yaml", "--predictor", "mine")
    if refused:
        answer.refused("decades beyond the runs", "expected at most 8 decades")
    else:
        answer.answered("beyond the fitted runs by")


def _budget(text: str, folder: Path) -> None:
    (folder / "run.yaml").write_text("model: {params: 1.3B}\ndata: {tokens: 100B}\n", encoding="utf-8")
    simulate(folder, "optimal", "more", "--config", "run.yaml", "--budget", text).refused(f"({text}%?)", code=2)
