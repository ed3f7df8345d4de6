"""Configs that can't be read, and commands that can't be meant."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .case import Case, simulate

_SOUND = """\
name: small
model: {params: 1.3B}
data: {tokens: 100B}
"""


def cases() -> Iterator[Case]:
    """One broken config each, with a word that its refusal must hold; then what YAML makes of sound ones."""
    for name, (text, word) in _BROKEN.items():
        yield Case("config", name, partial(_refused, text, word))
    for name, (section, word) in _SECTIONS.items():
        yield Case("config", name, partial(_refused, _SOUND + section + "\n", word))
    for name, (override, word) in _OVERRIDES.items():
        yield Case("config", f"--set {name}", partial(_override_refused, override, word))
    for name, text in _READ.items():
        yield Case("config", f"read: {name}", partial(_read, text))


def _with(old: str, new: str) -> str:
    return _SOUND.replace(old, new)


_BROKEN = {
    "empty file": ("", "run.yaml"),
    "only a comment": ("# nothing\n", "run.yaml"),
    "a list": ("- 1\n- 2\n", "run.yaml"),
    "a word": ("llama\n", "run.yaml"),
    "negative tokens": (_with("100B", "-100B"), "data.tokens"),
    "no tokens": (_with("100B", "0"), "data.tokens"),
    "misspelt section": (_with("model:", "modell:"), "model"),
    "misspelt key": (_with("tokens:", "token:"), "data.tokens"),
    "unknown suffix": (_with("1.3B", "1.3X"), "model.params"),
    "NaN tokens": (_with("100B", ".nan"), "run.yaml:3"),
    "infinite tokens": (_with("100B", ".inf"), "run.yaml:3"),
    "null tokens": (_with("100B", "null"), "data.tokens"),
    "true tokens": (_with("100B", "true"), "data.tokens"),
    "a list of tokens": (_with("100B", "[100B]"), "data.tokens"),
    "a section of tokens": (_with("100B", "{web: 100B}"), "data.tokens"),
    "a date as tokens": (_with("100B", "2026-01-01"), "data.tokens"),
    "too many tokens": (_with("100B", "1e30"), "data.tokens"),
    "too many digits": (_with("100B", "9" * 400), "run.yaml:3"),
    "missing model": ("data: {tokens: 100B}\n", "model"),
    "missing data": ("model: {params: 7B}\n", "data"),
    "a null section": ("model:\ndata: {tokens: 100B}\n", "model"),
    "a section that is a word": ("model: llama\ndata: {tokens: 100B}\n", "model"),
    "a key twice": (_SOUND + "data: {tokens: 2T}\n", "data"),
    "a key twice inside": (_with("{tokens: 100B}", "{tokens: 100B, tokens: 2T}"), "tokens"),
    "a tab for indentation": ("model:\n\tparams: 7B\ndata: {tokens: 1T}\n", "run.yaml:2"),
    "an open bracket": (_with("100B}", "100B"), "run.yaml"),
    "an open quote": (_with("small", "'small"), "run.yaml"),
    "two documents": (_SOUND + "---\n" + _SOUND, "run.yaml"),
    "a tag that runs code": (_with("100B", "!!python/object/apply:os.getcwd []"), "run.yaml"),
    "an unknown tag": (_with("100B", "!count 100B"), "run.yaml"),
    "an alias of nothing": (_with("100B", "*more"), "run.yaml"),
    "a name of control characters": (_with("small", '"a\\u001b[2Jb"'), "name"),
    "an empty name": (_with("small", "''"), "name"),
    "params and experts": (_with("{params: 1.3B}", "{params: 8B, num_experts: 8}"), "experts_per_token"),
    "more active than all": (_with("{params: 1.3B}", "{params: 8B, params_active: 9B}"), "params_active"),
}
_SECTIONS = {
    "lr in words": ("optim: {lr: high}", "optim.lr"),
    "lr_final above lr": ("optim: {lr: 1e-4, lr_final: 1e-3}", "lr_final"),
    "an unknown schedule": ("optim: {schedule: cosinus}", "optim.schedule"),
    "a negative warm-up": ("optim: {warmup_steps: -1}", "warmup_steps"),
    "warm-up of a half step": ("optim: {warmup_steps: 0.5}", "warmup_steps"),
    "a perplexity of 1": ("targets: {perplexity: 1}", "targets.perplexity"),
    "a loss and another perplexity": ("targets: {perplexity: 10, loss_nats: 3}", "loss_nats"),
    "a deadline of nothing": ("targets: {deadline: 0d}", "targets.deadline"),
    "a deadline in the past of the calendar": ("targets: {deadline: 2026-02-30}", "deadline"),
    "a budget in words": ("targets: {budget_usd: lots}", "budget_usd"),
    "an unknown accelerator": ("hardware: {accelerator: h1000, count: 8}", "accelerator"),
    "no accelerators": ("hardware: {accelerator: h100-sxm, count: 0}", "hardware.count"),
    "half an accelerator": ("hardware: {accelerator: h100-sxm, count: 1.5}", "hardware.count"),
}
_OVERRIDES = {
    "without a value": ("data.tokens", "expected key=value"),
    "of an unknown key": ("data.tokns=2T", "did you mean data.tokens"),
    "below a number": ("data.tokens.web=1", "has no keys of its own"),
    "of an empty key": ("=2T", "expected key=value"),
    "of bad YAML": ("data.tokens={", "--set"),
    "of a bare percent": ("data.mix.web=40", "(40%?)"),
}
_READ = {
    "comments and blank lines": "# a run\n\n" + _SOUND.replace("\n", "  # why\n\n"),
    "windows line ends": _SOUND.replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + _SOUND,
    "block style": "name: small\nmodel:\n  params: 1.3B\ndata:\n  tokens: 100B\n",
    "JSON": '{"name": "small", "model": {"params": 1.3e9}, "data": {"tokens": 1e11}}',
    "an exponent without a point": _with("100B", "1e11"),
    "quoted numbers": _with("100B", "'100B'"),
    "a name that is a yes": _with("small", "'yes'"),
    "no last line end": _SOUND.rstrip("\n"),
    "a start of document": "---\n" + _SOUND,
}


def _refused(text: str, word: str, folder: Path) -> None:
    (folder / "run.yaml").write_bytes(text.encode())
    simulate(folder, "predict", "--config", "run.yaml").refused(word)


def _override_refused(override: str, word: str, folder: Path) -> None:
    (folder / "run.yaml").write_text(_SOUND, encoding="utf-8")
    simulate(folder, "predict", "--config", "run.yaml", "--set", override).refused(word)


def _read(text: str, folder: Path) -> None:
    from foretrain import RunConfig

    (folder / "run.yaml").write_bytes(text.encode())
    run = RunConfig.load(folder / "run.yaml")
    assert run.model.params_total == 1.3e9, run.model.params_total
    assert run.data.tokens == 1e11, run.data.tokens
