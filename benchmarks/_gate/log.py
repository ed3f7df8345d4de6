"""Logs of running jobs: what trainers print and trackers export, whole and damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

from .case import Case, simulate

_PLAN = """\
name: small
model: {params: 100M, vocab_size: 32000, context_length: 1024}
data: {tokens: 1.024B}
optim: {lr: 1e-3, lr_final: 1e-4, batch_tokens: 102400, schedule: cosine, warmup_steps: 100}
targets: {loss_nats: 3.6}
"""
_STEPS = range(0, 6001, 100)  # of 10,000
_LAST = 6000


def _loss(step: int) -> float:
    return 3.4 + 7.0 * math.exp(-step / 150) + 20.0 / math.sqrt(step + 900)


_LINES: dict[str, tuple[str, Callable[[int, float], str]]] = {
    "JSON lines": ("", lambda s, x: json.dumps({"step": s, "loss": x})),
    "nested JSON": ("", lambda s, x: json.dumps({"step": s, "train": {"loss": x}})),
    "CSV": ("step,loss\n", lambda s, x: f"{s},{x:.4f}"),
    "W&B export": ('"Step","run - train/loss"\n', lambda s, x: f'"{s}","{x:.4f}"'),
    "Lightning CSV": ("epoch,step,train_loss_epoch,train_loss_step,val_loss\n", lambda s, x: f"0,{s},,{x:.4f},"),
    "own curve.csv": ("step,tokens,loss_nats,lr\n", lambda s, x: f"{s},{s * 102400},{x:.4f},"),
    "pipes": (
        "starting\n",
        lambda s, x: f" iteration {s:8d}/   10000 | consumed samples: {s * 100:9d} | lm loss: {x:.5E} | norm: 1.0 |",
    ),
    "iter lines": ("compiling, wait\n", lambda s, x: f"iter {s}: loss {x:.4f}, time 40.1ms, mfu 40.00%"),
    "key:value": ("", lambda s, x: f"step:{s}/10000 train_loss:{x:.4f} train_time:{s * 40}ms step_avg:40.0ms"),
    "coloured": ("", lambda s, x: f"[t] 2026-01-01 {s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d},1 - root - INFO - "
                                  f"\x1b[31mstep: {s:2d}  \x1b[32mloss: {x:7.4f}  \x1b[0mtps: 5,432"),
    "blocks": ("", lambda s, x: f"[step={s}/10000,epoch=1]\n    optim/total grad norm=1.0\n    train/CE loss={x:.4f}"),
    "printed mapping": ("", lambda s, x: f"  5%|  | {s}/10000 [00:10<16:30]\n{{'loss': {x:.4f}, 'epoch': 0.1}}"),
    "completed step": ("", lambda s, x: f"completed step: {s}, seconds: 1.2, total_weights: 65536, loss: {x:.4f}"),
    "norms and z": ("", lambda s, x: f"step {s:4d}/10000 | loss {x:.6f} (+0.4z)| norm 2.1 | 40.2 ms | 3026 tok/s"),
}  # fmt: skip


def cases() -> Iterator[Case]:
    """Every format whole and under each damage, then single things that logs do."""
    for name, damage in product(_LINES, _DAMAGES):
        yield Case("log", f"{name}: {damage}", partial(_tracked, name, damage))
    for multiple in (10, 250, 500, 1000):
        yield Case("log", f"a record every {multiple} steps, stated", partial(_stated, multiple))
    for earlier in (1, 20, 61):
        yield Case("log", f"two runs in one file, the first of {earlier} points", partial(_two_runs, earlier))
    for style in ("val_loss", "val/loss", "eval_loss", "validation loss"):
        yield Case("log", f"only validation losses: {style}", partial(_only_validated, style))
    for style in _TIMES:
        yield Case("log", f"unit of times: {style}", partial(_timed, style))
    for name in ("before", "between", "after"):
        yield Case("log", f"a blank column {name} the others", partial(_blank_column, name))
    for name in ("empty lines", "prose", "steps without a loss", "a loss without steps"):
        yield Case("log", f"no log: {name}", partial(_refused, name))


def _lines(name: str, steps=_STEPS) -> list[str]:
    return [_LINES[name][1](step, _loss(step)) for step in steps]


def _again(name: str) -> str:
    return "\n".join([*_lines(name, range(0, 3001, 100)), *_lines(name, range(2000, 6001, 100))]) + "\n"


def _not_a_number(name: str) -> str:
    lines = _lines(name)
    lines[30] = _LINES[name][1](3000, math.nan)
    return "\n".join(lines) + "\n"


_DAMAGES: dict[str, tuple[Callable[[str], str], str | None]] = {
    "whole": (lambda name: "\n".join(_lines(name)) + "\n", None),
    "a torn line after the last": (lambda name: "\n".join(_lines(name)) + "\n" + _lines(name)[1][:6], None),
    "blank lines": (lambda name: "\n\n".join(_lines(name)) + "\n", None),
    "a restart": (_again, "restart from a checkpoint"),
    "NaN within": (_not_a_number, "aren't finite"),
    "Windows line ends": (lambda name: "\r\n".join(line.replace("\n", "\r\n") for line in _lines(name)) + "\r\n", None),
}


def _write(folder: Path, text: str) -> None:
    (folder / "run.yaml").write_text(_PLAN, encoding="utf-8")
    (folder / "run.log").write_text(text, encoding="utf-8", newline="")


def _track(folder: Path, *more: str):
    return simulate(folder, "track", "--config", "run.yaml", "--log", "run.log", "--json", *more)


def _tracked(name: str, damage: str, folder: Path) -> None:
    make, said = _DAMAGES[damage]
    _write(folder, _LINES[name][0] + make(name))
    done = _track(folder)
    assert done.code in (0, 4), done.err[-400:]
    done.sound()
    facts = done.json
    assert facts["step"] == _LAST, facts["step"]
    assert abs(facts["last_loss_nats"] - _loss(_LAST)) < 1e-3, facts["last_loss_nats"]
    assert facts["points"] == len(_STEPS) - ("NaN" in damage), facts["points"]
    texts = " ".join(notice["text"] for notice in facts["notices"])
    assert said is None or said in texts, texts
    assert "can't be optimizer steps" not in texts, texts


def _stated(multiple: int, folder: Path) -> None:
    steps = range(0, 6001, multiple)
    _write(folder, "step,loss\n" + "".join(f"{i},{_loss(step):.4f}\n" for i, step in enumerate(steps)))
    done = _track(folder, "--step-unit", f"{multiple}steps")
    assert done.code in (0, 4), done.err[-400:]
    assert done.json["step"] == steps[-1], done.json["step"]


def _answered(folder: Path) -> dict:
    done = _track(folder)
    assert done.code in (0, 4), done.err[-400:]
    done.sound()
    return done.json


def _rows(keys: str, row: Callable[[int, float], str], steps=_STEPS) -> str:
    return keys + "\n" + "".join(row(step, _loss(step)) + "\n" for step in steps)


def _two_runs(earlier: int, folder: Path) -> None:
    first = list(_STEPS)[:earlier]
    _write(folder, _rows("step,loss", lambda s, x: f"{s},{x:.4f}", [*first, *_STEPS]))
    facts = _answered(folder)
    assert (facts["step"], facts["points"]) == (_LAST, len(_STEPS)), facts["points"]
    texts = " ".join(notice["text"] for notice in facts["notices"])
    assert earlier == 1 or "is it all one run?" in texts, texts


def _only_validated(style: str, folder: Path) -> None:
    _write(folder, _rows(f"step,{style}", lambda s, x: f"{s},{x:.4f}"))
    facts = _answered(folder)
    assert (facts["step"], facts["points"]) == (_LAST, len(_STEPS)), facts
    assert abs(facts["last_loss_nats"] - _loss(_LAST)) < 1e-3, facts["last_loss_nats"]


_TIMES: dict[str, Callable[[int, float], str]] = {
    "train_time:…ms": lambda s, x: f"step:{s}/10000 train_loss:{x:.4f} train_time:{s * 500}ms",
    "train_time:…s": lambda s, x: f"step:{s}/10000 train_loss:{x:.4f} train_time:{s * 0.5}s",
    "time …ms of a step": lambda s, x: f"iter {s}: loss {x:.4f}, time 500.00ms",
    "dt …s of a step": lambda s, x: f"step {s}: loss {x:.4f}, dt 0.5s",
    "_runtime": lambda s, x: json.dumps({"_step": s, "loss": x, "_runtime": s * 0.5}),
    "elapsed_s": lambda s, x: json.dumps({"step": s, "loss": x, "elapsed_s": s * 0.5}),
}
"""Lines of a run whose steps take half a second."""


def _timed(style: str, folder: Path) -> None:
    _write(folder, "".join(_TIMES[style](step, _loss(step)) + "\n" for step in _STEPS))
    facts = _answered(folder)
    assert (facts["step"], facts["points"]) == (_LAST, len(_STEPS)), facts
    assert facts["time"] is not None, "no time"
    assert abs(facts["time"]["step_time_s"] / 0.5 - 1) < 0.02, facts["time"]["step_time_s"]


def _blank_column(where: str, folder: Path) -> None:
    keys, row = {
        "before": ("empty,step,loss", lambda s, x: f",{s},{x:.4f}"),
        "between": ("step,val_loss,loss", lambda s, x: f"{s},,{x:.4f}"),
        "after": ("step,loss,lr", lambda s, x: f"{s},{x:.4f},"),
    }[where]
    _write(folder, _rows(keys, row))
    facts = _answered(folder)
    assert (facts["step"], facts["points"]) == (_LAST, len(_STEPS)), facts
    assert not facts["notices"], facts["notices"]


def _refused(name: str, folder: Path) -> None:
    text = {
        "empty lines": "\n\n\n",
        "prose": "The run went well.\nIt ended.\n",
        "steps without a loss": "step 10 of the plan\nstep 20 of the plan\n",
        "a loss without steps": "loss 3.4\nloss 3.3\n",
    }[name]
    _write(folder, text)
    simulate(folder, "track", "--config", "run.yaml", "--log", "run.log").refused("run.log")
