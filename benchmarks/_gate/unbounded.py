"""Crafted predictors, folders that are rewritten, packed files that never end, escapes, streams that are gone."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

from .case import Case, simulate

_RUN = "name: s\nmodel: {params: 1.3B}\ndata: {tokens: 100B}\n"
_TRACKED = _RUN + "optim: {schedule: cosine, lr: 3e-4, lr_final: 3e-5, batch_tokens: 4M, warmup_steps: 2000}\n"
_ODD = {
    "narrow no-break space": "12\u202f000",
    "no-break space": "a\u00a0b",
    "joined emoji": "\U0001f469\u200d\U0001f52c",
    "flag": "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "soft hyphen": "a\u00adb",
    "accent of two characters": "e\u0301",
    "Persian joiner": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "quotes": "a\"b'c",
    "a bracket of rich": "[red]x[/]",
    "YAML's own signs": "a: #b",
    "a leading dash": "-x",
    "a byte order mark": "a\ufeffb",
    "a new character": "\U0001fae9",
    "half of a pair": "a\udcffb",
}
_ESCAPES = {
    "clear the screen": "\x1b[2J",
    "a title": "\x1b]0;x\x07",
    "C1": "\x9b31m",
    "backspaces": "abc\x08\x08\x08",
    "turned around": "\u202etxt",
    "carriage return": "a\rb",
    "bell": "a\x07",
    "delete": "a\x7f",
    "isolate": "\u2066x\u2069",
}


def cases() -> Iterator[Case]:
    """Every case of nothing lost, nothing executed, nothing unbounded."""
    for name, change in _array_changes():
        yield Case("pack", f"arrays: {name}", partial(_crafted, change, None))
    for name, change in _json_changes():
        yield Case("pack", f"values: {name}", partial(_crafted, None, change))
    for step in range(0, 32):
        yield Case("kill", f"a save that dies at step {step}", partial(_killed, step))
    for call in range(5):
        yield Case("disk", f"full at sync {call}", partial(_full, call))
    for name, text in _ODD.items():
        yield Case("writer", f"predictor in a folder: {name}", partial(_odd_folder, text))
        yield Case("writer", f"loss column: {name}", partial(_odd_column, text))
        if "\udcff" not in text:
            yield Case("writer", f"value of a configuration: {name}", partial(_odd_value, text))
    for text in ("1e3", "1_0", "no", "null", "~", "0x10", "2026-01-01", "1:30"):
        yield Case("writer", f"value of a configuration: {text}", partial(_odd_value, text))
    for name, text in _ESCAPES.items():
        yield Case("escape", f"column of a table: {name}", partial(_escape_column, text))
        yield Case("escape", f"argument: {name}", partial(_escape_argument, text))
        yield Case("escape", f"file name: {name}", partial(_escape_file, text))
        yield Case("escape", f"key of a log: {name}", partial(_escape_key, text))
        yield Case("escape", f"value of a config: {name}", partial(_escape_config, text))
    for name, data in _bombs().items():
        yield Case("bomb", name, partial(_bomb, name, data))
    yield Case("stream", "a named pipe as config", _pipe)
    yield Case("stream", "an empty --storage", _empty_storage)
    yield Case("stream", "a full standard output", partial(_process, ">/dev/full", 3, "No space left"))
    yield Case("stream", "a closed standard output", partial(_process, ">&-", 3, "closed"))
    for option in ("fit", "predict", "track", "optimize", "score", "compare"):
        yield Case("stream", f"the error of {option} as JSON", partial(_json_error, option))


@cache
def _predictor() -> dict[str, bytes]:
    """A fitted predictor's files."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        _table(folder / "runs.csv")
        simulate(folder, "fit", "runs.csv", "--out", "mine").answered()
        return {path.name: path.read_bytes() for path in (folder / "mine").iterdir()}


def _table(path: Path, loss: str = "loss", extra: str = "") -> None:
    rows = [f"params,tokens,{loss}" + (f",{extra}" if extra else "")]
    for params in (1e7, 3e7, 1e8, 3e8):
        for tokens in (3e8, 3e9, 3e10):
            value = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
            rows.append(f"{params:g},{tokens:g},{value:.5f}" + (",1" if extra else ""))
    path.write_bytes(("\n".join(rows) + "\n").encode("utf-8", "surrogatepass"))


def _put(folder: Path) -> Path:
    (folder / "mine").mkdir(exist_ok=True)
    for name, data in _predictor().items():
        (folder / "mine" / name).write_bytes(data)
    (folder / "run.yaml").write_text(_RUN)
    return folder / "mine"


def _array_changes() -> Iterator[tuple[str, Callable]]:
    def one(change: Callable) -> Callable:
        return lambda arrays: {**arrays, "draws_0": change(arrays["draws_0"])}

    yield "NaN", one(lambda a: a * np.nan)
    yield "infinite", one(lambda a: a + np.inf)
    yield "huge", one(lambda a: a * 1e30)
    yield "negative", one(lambda a: -a - 50)
    yield "no rows", one(lambda a: a[:0])
    yield "one dimension", one(lambda a: a.ravel())
    yield "three dimensions", one(lambda a: a[None])
    yield "no columns", one(lambda a: a[:, :0])
    yield "a column less", one(lambda a: a[:, 1:])
    yield "a column more", one(lambda a: np.hstack([a, a]))
    for part in ("runs", "shares", "variance"):
        yield f"the misfit's {part} NaN", lambda arrays, key=f"misfit_{part}_0": {**arrays, key: arrays[key] * np.nan}
    yield "too many draws", one(lambda a: np.repeat(a, 60, axis=0))
    yield "a scalar", one(lambda a: a[0, 0])
    yield "whole numbers", one(lambda a: a.astype(int))
    yield "complex", one(lambda a: a.astype(complex))
    yield "text", one(lambda a: a.astype("U8"))
    yield "bytes", one(lambda a: a.astype("S8"))
    yield "truth", one(lambda a: a > 0)
    yield "dates", one(lambda a: a.astype("M8[s]"))
    yield "records", one(lambda a: np.zeros(3, [("x", float)]))
    yield "larger than is read", one(lambda a: np.zeros((9_000_000,), np.float64))
    yield "other names", lambda arrays: {f"x{name}": array for name, array in arrays.items()}
    yield "none", lambda arrays: {}


def _json_changes() -> Iterator[tuple[str, tuple[tuple, object]]]:
    target = ("targets", "loss")
    wrong = (None, -1, "x", [], {}, float("nan"), 1e308, True)
    for key in ("law", "noise", "rows", "theta", "reference", "seen", "calibration", "fixed"):
        for value in wrong[:6]:
            if (key, value) not in (("fixed", {}), ("fixed", None), ("fixed", [])):
                yield f"{key} = {value!r}", ((*target, key), value)
    for key in ("order", "targets", "notes", "about", "format"):
        for value in (None, 7, "x", [["a"], {}]):
            yield f"{key} = {value!r}", ((key,), value)
    for key, value in (("follows_plan", True), ("table", ["x"]), ("seed", float("inf")), ("bytes_per_token", "3")):
        yield f"about.{key} = {value!r}", (("about", key), value)
    yield "a name that is no text", (("name",), float("nan"))
    yield (
        "a range that starts at nothing",
        ((*target, "seen"), {"params": [1, 2], "tokens": [1, 2], "compute": [1e-308, 1e20]}),
    )
    yield "a reason of 200,000 characters", ((*target, "choice"), {"why": "x" * 200_000})
    yield "spreads beyond all", ((*target, "misfit"), {"spreads": [[1e9, 1e9]]})
    yield "an escape in the name", (("name",), "\x1b[2J")
    yield "half of a pair in the name", (("name",), "\ud800")


def _crafted(arrays: Callable | None, change: tuple | None, folder: Path) -> None:
    mine = _put(folder)
    if arrays is not None:
        buffer = io.BytesIO()
        with np.load(io.BytesIO(_predictor()["draws.npz"])) as archive:
            np.savez_compressed(buffer, **arrays(dict(archive)))
        (mine / "draws.npz").write_bytes(buffer.getvalue())
    if change is not None:
        data = json.loads(_predictor()["predictor.json"])
        *path, last = change[0]
        inner = data
        for key in path:
            inner = inner[key]
        inner[last] = change[1]
        (mine / "predictor.json").write_text(json.dumps(data), encoding="utf-8")
    from foretrain.core.files import write_manifest

    (mine / "MANIFEST.json").unlink()
    write_manifest(mine)
    simulate(folder, "predict", "--config", "run.yaml", "--predictor", "mine").refused("mine")


def _killed(step: int, folder: Path) -> None:
    from foretrain.simulator.predictor.storage.folder import load, save

    mine = _put(folder)
    old = load(mine)
    renamed = old.renamed("new", old.about)
    child = os.fork()
    if child == 0:
        left = iter(range(step, -1, -1))

        def counted(function: Callable) -> Callable:
            def call(*words: object, **more: object) -> object:
                if next(left, None) == 0:
                    os._exit(9)
                return function(*words, **more)

            return call

        try:
            for name in ("mkdir", "rename", "replace", "link", "unlink", "fsync", "rmdir"):
                setattr(os, name, counted(getattr(os, name)))
            save(renamed, mine)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert load(mine).name in ("mine", "new")
    save(old, mine)
    names = sorted(path.name for path in mine.iterdir())
    assert names == ["MANIFEST.json", "MODEL_CARD.md", "draws.npz", "predictor.json"], names


def _full(call: int, folder: Path) -> None:
    mine = _put(folder)
    _table(folder / "runs.csv")
    sync, left = os.fsync, iter(range(call, -1000, -1))

    def full(descriptor: int) -> None:
        if next(left) <= 0:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    before = (mine / "draws.npz").read_bytes()
    os.fsync = full
    try:
        simulate(folder, "fit", "runs.csv", "--law", "kaplan", "--out", "mine").refused("No space left")
    finally:
        os.fsync = sync
    assert (mine / "draws.npz").read_bytes() == before
    simulate(folder, "predict", "--config", "run.yaml", "--predictor", "mine").answered("perplexity")


def _odd_folder(text: str, folder: Path) -> None:
    _table(folder / "runs.csv")
    (folder / "run.yaml").write_text(_RUN)
    name = f"./{text}"
    simulate(folder, "fit", "runs.csv", "--law", "kaplan", "--out", name).answered()
    simulate(folder, "predict", "--config", "run.yaml", "--predictor", name).answered("perplexity")


def _odd_column(text: str, folder: Path) -> None:
    if "\udcff" in text:
        _table(folder / "runs.csv", f"loss.{text}")
        simulate(folder, "fit", "runs.csv").refused("not UTF-8")
        return
    quoted = '"' + f"loss.{text}".replace('"', '""') + '"'
    _table(folder / "runs.csv", quoted)
    (folder / "run.yaml").write_text(_RUN)
    simulate(folder, "fit", "runs.csv", "--law", "kaplan", "--out", "mine").answered()
    simulate(folder, "predict", "--config", "run.yaml", "--predictor", "mine").answered()


def _odd_value(text: str, folder: Path) -> None:
    from foretrain.core.reading.yaml_reader import dumps_yaml, load_yaml

    values = {"name": text, "data": {"mix": {text: 0.5, "rest": 0.5}, "corpora": [text, text]}}
    (folder / "run.yaml").write_text(dumps_yaml(values), encoding="utf-8")
    assert load_yaml(folder / "run.yaml") == values


def _sound(answer: object) -> None:
    for text in (answer.out, answer.err):
        for sign in text:
            assert sign in "\n\t" or not (ord(sign) < 32 or 127 <= ord(sign) < 160 or sign in "\u202e\u2066\u2069"), (
                repr(text[-300:])
            )
    assert answer.code != 5, answer.err[-300:]


def _escape_column(text: str, folder: Path) -> None:
    _table(folder / "runs.csv", "loss", f'"x{text}"')
    _sound(simulate(folder, "fit", "runs.csv", "--law", "kaplan"))
    _sound(simulate(folder, "fit", "runs.csv", "--columns", "params=nothing"))


def _escape_argument(text: str, folder: Path) -> None:
    _sound(simulate(folder, "predict", "--config", f"no{text}"))
    _sound(simulate(folder, f"pre{text}"))
    _sound(simulate(folder, "predict", "--set", f"x{text}=1", "--config", "run.yaml"))


def _escape_file(text: str, folder: Path) -> None:
    _table(folder / f"runs{text}.csv")
    _sound(simulate(folder, "fit", f"runs{text}.csv", "--law", "kaplan"))
    (folder / f"run{text}.yaml").write_text("model: 3\n")
    _sound(simulate(folder, "predict", "--config", f"run{text}.yaml"))


def _escape_key(text: str, folder: Path) -> None:
    (folder / "run.yaml").write_text(_TRACKED)
    lines = [json.dumps({f"st{text}": step, f"x{text}": 3.0}) for step in range(5)]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
    _sound(simulate(folder, "track", "--config", "run.yaml", "--log", "log.jsonl"))
    _sound(simulate(folder, "track", "--config", "run.yaml", "--log", "log.jsonl", "--metric", f"x{text}"))


def _escape_config(text: str, folder: Path) -> None:
    spelled = json.dumps(f"s{text}")
    (folder / "run.yaml").write_text(_RUN.replace("name: s", f"name: {spelled}"))
    _sound(simulate(folder, "predict", "--config", "run.yaml"))
    (folder / "run.yaml").write_text(f"{spelled}: 3\n")
    _sound(simulate(folder, "predict", "--config", "run.yaml"))


def _bombs() -> dict[str, Callable[[], bytes]]:
    return {
        "runs.csv.gz of blanks": lambda: gzip.compress(b" " * 3_000_000),
        "runs.csv.gz of line ends": lambda: gzip.compress(b"\n" * 3_000_000),
        "runs.csv of line ends": lambda: b"\n" * 900_000,
        "runs.csv of line ends after its header": lambda: b"params,tokens,loss\n" + b"\n" * 900_000,
        "runs.csv of one quote": lambda: b'params,tokens,loss\n"' + b"x" * 900_000,
        "runs.parquet of one text": _repeated,
        "log.jsonl of line ends": lambda: b'{"step": 1}\n' + b"\n" * 900_000,
        "log.csv of empty rows": lambda: b"step,loss\n" + b",\n" * 400_000,
    }


def _repeated() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    cells = {"params": [1e6] * 100, "tokens": [1e8] * 100, "loss": [3.0] * 100, "note": ["x" * 100_000] * 100}
    pq.write_table(pa.table(cells), buffer)
    return buffer.getvalue()


def _bomb(name: str, data: Callable[[], bytes], folder: Path) -> None:
    from foretrain.datasets.run_logs import records
    from foretrain.datasets.runs import raw_table

    file = name.partition(" ")[0]
    (folder / file).write_bytes(data())
    (folder / "run.yaml").write_text(_TRACKED)
    modules = (raw_table, records)
    kept = [(module.MAX_BYTES, module.MAX_CELLS) for module in modules]
    began = time.process_time()
    try:
        for module in modules:
            module.MAX_BYTES, module.MAX_CELLS = 1_000_000, 100_000
        if file.startswith("runs"):
            answer = simulate(folder, "fit", file)
        else:
            answer = simulate(folder, "track", "--config", "run.yaml", "--log", file)
    finally:
        for module, (most_bytes, most_cells) in zip(modules, kept, strict=True):
            module.MAX_BYTES, module.MAX_CELLS = most_bytes, most_cells
    answer.refused(file)
    assert time.process_time() - began < 5


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "run.yaml")
    simulate(folder, "predict", "--config", "run.yaml").refused("named pipe")


def _empty_storage(folder: Path) -> None:
    simulate(folder, "optimize", "--config", "s.yaml", "--storage", "").refused("--storage", code=2)


def _process(redirection: str, code: int, word: str, folder: Path) -> None:
    (folder / "run.yaml").write_text(_RUN)
    words = f'"{sys.executable}" -m foretrain predict --config run.yaml {redirection}'
    done = subprocess.run(["sh", "-c", words], cwd=folder, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, word in done.stderr, done.stderr.count("\n")) == (code, True, 1), done


def _json_error(command: str, folder: Path) -> None:
    option = () if command == "fit" else ("--config", "none.yaml")
    words = {"fit": ("none.csv",), "score": ("none", "none.csv"), "compare": ("none.yaml", "b.yaml")}
    log = ("--log", "none.jsonl") if command == "track" else ()
    answer = simulate(folder, command, *words.get(command, (*option, *log)), "--json")
    answer.refused("none")
    parts = answer.json["error"]
    assert {"kind", "where", "got", "expected"} <= set(parts), parts
    assert parts["where"].startswith(("none", "'none")), parts
