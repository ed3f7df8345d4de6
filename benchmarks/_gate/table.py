"""Run tables as people have them: units, names of columns, file types; read rightly, or refused with a reason."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .case import Case

_SIZES = (("5e7", "1e9"), ("1e8", "2e9"), ("2e8", "4e9"), ("4e8", "8e9"))


def cases() -> Iterator[Case]:
    """Each kind of table once."""
    for name, (cell, value) in _COUNTS.items():
        yield Case("table", f"tokens {name}", partial(_count, cell, value))
    for name, cell in _BAD_COUNTS.items():
        yield Case("table", f"refused tokens {name}", partial(_refused, _rows(tokens=cell), "tokens"))
    for alias, standard in _ALIASES.items():
        yield Case("table", f"column {alias}", partial(_alias, alias, standard))
    for prefix in ("mix.", "w_", "weight_", "share_"):
        for unit, (one, other) in _MIXES.items():
            yield Case("table", f"{prefix} in {unit}", partial(_mix, prefix, one, other))
    for name, (one, other) in _BAD_MIXES.items():
        yield Case("table", f"refused mix, {name}", partial(_refused, _mixed("mix.", one, other), "mix shares sum to"))
    for name in ("gbsz", "global_batch_size", "batch_size"):
        for length in (512, 2048, 4096, 8192):
            yield Case("table", f"{name} in sequences of {length}", partial(_sequences, name, length))
        yield Case("table", f"{name} in tokens", partial(_sequences, name, 1))
    for kind in (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq", ".xlsx"):
        yield Case("table", f"file {kind}", partial(_file, kind))
    for name, (data, word) in _BAD_FILES.items():
        yield Case("table", f"file: {name}", partial(_bad_file, name, data, word))
    yield Case("table", "a workbook of two sheets", _second_sheet)
    yield Case("table", "rows twice", _twice)
    yield Case("table", "batch from tokens and steps", _batch_of_steps)


_COUNTS = {
    "with commas": ('"20,000,000,000"', 2e10),
    "with commas and a point": ('"20,000,000.0"', 2e7),
    "with a suffix": ("20B", 2e10),
    "with a small suffix": ("20b", 2e10),
    "as a power": ("2e10", 2e10),
    "with blanks around": (" 2e10 ", 2e10),
    "with a plus": ("+2e10", 2e10),
    "with a blank before the suffix": ("20 B", 2e10),
}
_BAD_COUNTS = {
    "with a decimal comma": '"0,345"',
    "with odd groups": '"20,00,000"',
    "in words": "many",
    "negative": "-2e10",
    "nothing": "0",
    "infinite": "inf",
    "with an uncertainty": "2e10±1e9",
}
_ALIASES = {
    "N": "params",
    "n_params": "params",
    "model_size": "params",
    "D": "tokens",
    "num_tokens": "tokens",
    "val_loss": "loss",
    "eval/loss": "loss",
    "final_loss": "loss",
    "learning_rate": "lr",
    "peak_lr": "lr",
    "iteration": "steps",
    "iterations": "steps",
    "num_steps": "steps",
    "train_steps": "steps",
    "global_step": "steps",
}
_MIXES = {"shares": ("0.6", "0.4"), "percent": ("60", "40"), "percent signs": ("60%", "40%"), "tokens": ("6e8", "4e8")}
_BAD_MIXES = {"to 2": ("1", "1"), "to 90": ("50", "40"), "to other tokens": ("6e9", "4e9"), "to 0": ("0", "0")}
_BAD_FILES = {
    "text.xlsx": (b"a,b\n1,2\n", "not an Excel workbook"),
    "cut.xlsx": (b"PK\x03\x04", "not an Excel workbook"),
    "old.xls": (b"\xd0\xcf\x11\xe0", "unknown file type"),
    "macro.xlsm": (b"PK\x03\x04", "unknown file type"),
    "commas.tsv": (b"params,tokens,loss\n1e9,2e10,3\n", "seems to be separated by ','"),
    "semicolons.csv": (b"params;tokens;loss\n1e9;2e10;3\n", "seems to be separated by ';'"),
    "empty.tsv": (b"", "the file is empty"),
    "header.tsv": (b"params\ttokens\tloss\n", "there are no rows"),
}


def _rows(**more: str) -> str:
    """A sound table of four runs, with some columns replaced or added: the same cell in every row."""
    lines = []
    for number, (params, tokens) in enumerate(_SIZES):
        cells = {"run_id": f"r{number}", "params": params, "tokens": tokens, "loss": f"{3.5 - 0.2 * number}", **more}
        lines = lines or [",".join(cells)]
        lines.append(",".join(cells.values()))
    return "\n".join(lines) + "\n"


def _mixed(prefix: str, one: str, other: str) -> str:
    return _rows(tokens="1e9", **{f"{prefix}web": one, f"{prefix}code": other})


def _read(folder: Path, text: str):
    from foretrain import RunTable

    (folder / "runs.csv").write_text(text, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RunTable.read(folder / "runs.csv")


def _refused(text: str, word: str, folder: Path) -> None:
    from foretrain.core.errors import RunTableError

    _raises(lambda: _read(folder, text), RunTableError, word)


def _raises(act: Callable[[], object], kind: type[Exception], word: str) -> None:
    try:
        act()
    except kind as error:
        said = str(error)
    else:
        raise AssertionError("it was taken")
    assert word in said, said


def _count(cell: str, value: float, folder: Path) -> None:
    found = _read(folder, _rows(tokens=cell)).column("tokens")
    assert (found == value).all(), found


def _alias(alias: str, standard: str, folder: Path) -> None:
    text = _rows(lr="3e-4", steps="1000")
    table = _read(folder, text.replace(f",{standard}", f",{alias}", 1))
    assert (table.column(standard) == _read(folder, text).column(standard)).all(), list(table.frame.columns)


def _mix(prefix: str, one: str, other: str, folder: Path) -> None:
    table = _read(folder, _mixed(prefix, one, other))
    assert table.domains == ["web", "code"], table.notes
    assert abs(table.column("mix.web") - 0.6).max() < 1e-12, table.column("mix.web")
    if float(one.rstrip("%")) > 1 and "%" not in one:
        assert any("percent" in note or "tokens of each domain" in note for note in table.notes), table.notes


def _sequences(name: str, length: int, folder: Path) -> None:
    lines = [f"params,tokens,{name},iteration,loss"]
    for number, (params, tokens) in enumerate(_SIZES):
        size = 2 ** (5 + number) * (1 if length > 1 else 4096)
        lines.append(f"{params},{tokens},{size},{float(tokens) / size / length:.0f},{3.5 - 0.2 * number}")
    table = _read(folder, "\n".join(lines) + "\n")
    wanted = [2 ** (5 + number) * (length if length > 1 else 4096) for number in range(4)]
    assert table.column("batch_tokens").tolist() == wanted, table.column("batch_tokens")
    assert any("as batch_tokens" in note for note in table.notes), table.notes


def _file(kind: str, folder: Path) -> None:
    import gzip

    from foretrain import RunTable

    plain = _read(folder, _rows())
    path = folder / f"table{kind}"
    if kind == ".xlsx":
        plain.frame.to_excel(path, index=False)
    elif kind.startswith(".tsv"):
        data = _rows().replace(",", "\t").encode()
        path.write_bytes(gzip.compress(data) if kind.endswith(".gz") else data)
    else:
        plain.write(path)
    table = RunTable.read(path)
    for name in ("params", "tokens", "loss"):
        assert (table.column(name) == plain.column(name)).all(), name


def _bad_file(name: str, data: bytes, word: str, folder: Path) -> None:
    from foretrain import RunTable
    from foretrain.core.errors import RunTableError

    (folder / name).write_bytes(data)
    _raises(lambda: RunTable.read(folder / name), RunTableError, word)


def _second_sheet(folder: Path) -> None:
    import pandas as pd
    from foretrain import RunTable

    with pd.ExcelWriter(folder / "book.xlsx") as book:
        pd.DataFrame({"about": ["some runs"]}).to_excel(book, sheet_name="read me", index=False)
        _read(folder, _rows()).frame.to_excel(book, sheet_name="runs", index=False)
    table = RunTable.read(folder / "book.xlsx")
    assert len(table) == 4
    assert any("sheet 'runs'" in note for note in table.notes), table.notes


def _twice(folder: Path) -> None:
    lines = _rows().replace("run_id", "comment").splitlines()
    table = _read(folder, "\n".join([*lines, *lines[1:]]) + "\n")
    assert len(table) == 4, len(table)
    assert any("4 rows that repeat" in note for note in table.notes), table.notes


def _batch_of_steps(folder: Path) -> None:
    lines = ["params,tokens,steps,loss", "1e8,4e9,1000,3", "1e8,4e9,2000,3.1", "2e8,4e9,1000,2.9"]
    table = _read(folder, "\n".join(lines) + "\n")
    assert table.column("batch_tokens").tolist() == [4e6, 2e6, 4e6]
