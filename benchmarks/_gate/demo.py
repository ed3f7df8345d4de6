"""The demo and the pages: every command that they show runs on files that are there; and texts of monstrous length."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .case import Case, simulate

_ROOT = Path(__file__).parents[2]
_TABLE = "params,tokens,loss\n" + "".join(
    f"{n}e6,{t}e8,{2 + 3 / n**0.3 + 2 / t**0.3:.4f}\n" for n in (10, 30, 90) for t in (2, 6, 18)
)
_LOG = "step,loss\n" + "".join(f"{step},{3 + 7 / (step + 1) ** 0.5:.4f}\n" for step in range(0, 6000, 100))
_LONG = {"a word": "x" * 10_000, "words": ("word " * 2000).strip()}

_SHOWN = (
    ("README.md", "simulate predict --config examples/llama-7b.yaml"),
    ("docs/how-to/calibrate-your-cluster.md", "simulate cluster estimate --config examples/llama-70b.yaml"),
    ("docs/how-to/write-a-plan.md", "simulate predict --config run.yaml"),
    ("docs/how-to/choose-a-predictor.md", "simulate list predictors"),
    ("docs/how-to/write-a-plan.md", "simulate init --schema"),
    ("docs/how-to/train-proxies.md", "simulate data inspect corpora.yaml"),
    ("docs/how-to/find-a-better-plan.md", "simulate optimal point --flops 5.76e23"),
    ("docs/how-to/find-a-better-plan.md", "simulate optimal sensitivity --config run.yaml"),
    ("docs/how-to/find-a-better-plan.md", "simulate data stock --config run.yaml"),
)
"""A page, and the start of a command on it that needs nothing but `simulate init .` and the examples."""


def cases() -> Iterator[Case]:
    """The printed next steps, commands of the pages, then overlong texts in every place where one may be."""
    yield Case("demo", "init names commands whose files it or they write", _next_steps)
    yield Case("demo", "curves of a campaign that isn't there", _no_campaign)
    for page, start in _SHOWN:
        yield Case("demo", f"{page}: {start}", partial(_shown, page, start))
    for kind in _LONG:
        for place in _FILES:
            yield Case("demo", f"{kind} of 10 kB: {place}", partial(_long_in_a_file, kind, place))
        for words in _ARGUMENTS:
            yield Case("demo", f"{kind} of 10 kB: {' '.join(words)}", partial(_long_argument, kind, words))


def _next_steps(folder: Path) -> None:
    printed = simulate(folder, "init", "demo").answered("simulate proxies train space.yaml").out
    made = {path.name for path in (folder / "demo").iterdir()}
    steps = [shlex.split(line) for line in printed.splitlines() if line.startswith("simulate ")]
    assert [step[1] for step in steps] == ["proxies", "proxies", "fit", "predict", "proxies", "curve", "curve"], steps
    made |= {"proxies"} if steps[0][2:] == ["train", "space.yaml"] else set()
    for step in steps:
        named = {step[i + 1]: word == "--out" for i, word in enumerate(step[:-1]) if word.startswith("--")}
        named |= {word: False for word in step[-3:] if word.endswith((".csv", ".yaml")) and word not in named}
        assert {name for name, written in named.items() if not written} <= made, (step, made)
        made |= {name for name, written in named.items() if written}
    simulate(folder / "demo", "predict", "--config", "run.yaml").answered("next-size")


def _no_campaign(folder: Path) -> None:
    simulate(folder, "proxies", "curves", "proxies", "--out", "curves").refused("proxies")
    assert not (folder / "curves").exists()


def _shown(page: str, start: str, folder: Path) -> None:
    text = (_ROOT / page).read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.strip().removeprefix("$ ").startswith(start))
    simulate(folder, "init", ".").answered("wrote")
    shutil.copytree(_ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("project", "pipeline"))
    words = shlex.split(line.strip().removeprefix("$ "), comments=True)[1:]
    words = [word for word in words if word != "tokenizer.json" and word != "--tokenizer"]
    done = simulate(folder, *words).answered()
    assert re.search(r"\d", done.out), done.out[:200]


def _plan(**more: str) -> str:
    given = {
        "name": "n",
        "params": "1B",
        "tokens": "20B",
        "batch": "1M, lr: 1e-3, lr_final: 1e-4, schedule: cosine",
        **more,
    }
    return (
        f"name: {given['name']}\nmodel: {{params: {given['params']}}}\ndata: {{tokens: {given['tokens']}}}\n"
        f"optim: {{batch_tokens: {given['batch']}}}\n"
    )


_FILES = {
    "name of a plan": ("run.yaml", lambda long: _plan(name=long), 3),
    "key of a plan": ("run.yaml", lambda long: _plan() + f"{long}: 1\n", 3),
    "value in a plan": ("run.yaml", lambda long: _plan(params=long), 3),
    "corpus of a plan": ("run.yaml", lambda long: _plan(tokens=f"20B, corpus: {long}"), None),
    "domain of a plan": ("run.yaml", lambda long: _plan(tokens=f"20B, mix: {{? {long} : 1.0}}"), None),
    "optimizer of a plan": ("run.yaml", lambda long: _plan(batch=f"1M, optimizer: {long}"), 3),
    "tokenizer of a plan": ("run.yaml", lambda long: _plan(tokens=f"20B, tokenizer: {long}"), 3),
    "cell of a table": ("runs.csv", lambda long: _TABLE + f"{long},1,1\n", 3),
    "cell of a log": ("run.log", lambda long: _LOG + f"{long},{long}\n", None),
    "key of a loss": ("run.log", lambda long: _LOG.replace("loss", f"{long}/loss", 1), None),
}
"""A place, the file that it is in, its text, and the exit code; None where both an answer and a refusal are right."""
_COMMANDS = {
    "run.yaml": ("predict", "--config", "run.yaml"),
    "runs.csv": ("fit", "runs.csv", "--out", "mine"),
    "run.log": ("track", "--config", "run.yaml", "--log", "run.log"),
}
_ARGUMENTS = (
    (),
    ("predict", "--config"),
    ("predict", "--config", "run.yaml", "--predictor"),
    ("predict", "--config", "run.yaml", "--set"),
    ("fit", "runs.csv", "--out", "mine", "--law"),
    ("track", "--config", "run.yaml", "--log"),
    ("track", "--config", "run.yaml", "--log", "run.log", "--metric"),
    ("track", "--config", "run.yaml", "--log", "run.log", "--step-unit"),
    ("init",),
    ("data", "stock", "--growth"),
    ("curve", "fit", "--out", "law"),
    ("proxies", "train"),
    ("proxies", "table", "--out", "runs.csv"),
)


def _write(folder: Path, **texts: str) -> None:
    for name, text in {"run.yaml": _plan(), "runs.csv": _TABLE, "run.log": _LOG, **texts}.items():
        (folder / name).write_text(text, encoding="utf-8")


def _bounded(done, code: int | None) -> None:
    done.sound()
    assert done.code in ((0, 2, 3, 4) if code is None else (code,)), (done.code, done.err[-300:])
    assert len(done.err) < 3_000, f"a message of {len(done.err)} characters"
    assert max(map(len, done.out.splitlines()), default=0) < 2_000, "a line of over 2,000 characters"


def _long_in_a_file(kind: str, place: str, folder: Path) -> None:
    name, text, code = _FILES[place]
    _write(folder, **{name: text(_LONG[kind])})
    done = simulate(folder, *_COMMANDS[name])
    _bounded(done, code)
    assert done.code == 0 or name in done.err, done.err[-300:]


def _long_argument(kind: str, words: tuple[str, ...], folder: Path) -> None:
    _write(folder)
    done = simulate(folder, *words, _LONG[kind])
    _bounded(done, None)
    assert done.code in (2, 3), done.code
    assert done.err.strip(), "no message"
