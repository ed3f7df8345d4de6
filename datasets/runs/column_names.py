"""Give columns their standard names: explicit mapping first, then W&B and MLflow prefixes, then aliases.

Nothing is overwritten: a column that can't have the name it could stand for stays an extra column under its own name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from ...core.columns import alias_key
from ...core.reading.suggest import nearest
from .cell_values import as_text, parse_numbers
from .checks.mixes import MIX_TOLERANCE, whole_of
from .columns import aliases, columns, families, is_standard, is_text, rule_of, standard_name
from .other_units import UNIT_NAMES, by_target, target_of, unit_of
from .raw_table import RawTable

__all__ = ["likest_column", "loss_names", "name_columns"]

_MIX_PREFIXES = ("w_", "weight_", "share_")
"""`w_web` stands for `mix.web` where two or more such columns sum to one whole in every row."""

_OTHER_UNITS = ("perplexity", "bits_per_token", "bpb")
"""What `--columns` takes beside standard columns; each with `.<domain>` too."""

_LOGARITHM = re.compile(r"^(log10|log2|log|ln)_|_(log10|log2|log|ln)$")

_MLFLOW = ("params.", "metrics.", "tags.")
_WANDB = ("config.", "config/", "summary.", "summary/")
_RESULTS = ("metrics.", "summary.", "summary/")


def name_columns(raw: RawTable, mapping: Mapping[str, str] | None) -> None:
    """Rename the columns of `raw` in place. `mapping` is standard name → column in the source, and always wins.

    Raises RunTableError for a mapping that doesn't fit the table, aliases that compete, and a table without any loss.
    """
    _apply_mapping(raw, dict(mapping or {}))
    _strip_prefixes(raw)
    _apply_aliases(raw)
    _apply_conditional_aliases(raw)
    _apply_other_units(raw)
    _apply_mix_prefixes(raw)
    if not _targets(raw):
        raw.refuse(
            "there is no loss column; expected 'loss', 'loss.<domain>' or one of "
            f"{', '.join(loss_names())} (or name it with --columns loss=COLUMN); the columns are {raw.listed()}"
        )


def loss_names() -> tuple[str, ...]:
    """Every folded name that a loss column may have, in whatever unit."""
    return (*aliases("loss"), *UNIT_NAMES)


def _targets(raw: RawTable) -> list[str]:
    return [name for name in raw.frame.columns if name == "loss" or (name.startswith("loss.") and is_standard(name))]


def _rename(raw: RawTable, renames: Mapping[str, str]) -> None:
    """Rename all at once, remembering what each column was called in the source."""
    sources = {old: raw.labels.pop(old, old) for old in renames}
    raw.frame = raw.frame.rename(columns=dict(renames))
    raw.labels.update({renames[old]: source for old, source in sources.items()})


def _apply_mapping(raw: RawTable, mapping: dict[str, str]) -> None:
    if not mapping:
        return
    present = list(raw.frame.columns)
    for standard, source in mapping.items():
        if not is_standard(standard) and unit_of(standard) is None:
            known = [*(f"{name}<domain>" if one.is_family else name for name, one in columns().items()), *_OTHER_UNITS]
            hint = f"{likest_column(standard, known)}; expected one of {', '.join(known)}"
            raw.refuse(f"--columns: {standard!r} is not a standard column{hint}")
        if source not in present:
            raw.refuse(
                f"--columns {standard}={source}: there is no column {source!r}{likest_column(source, present)}; "
                f"the columns are {raw.listed()}"
            )
    sources = list(mapping.values())
    twice = next((source for i, source in enumerate(sources) if source in sources[:i]), None)
    if twice is not None:
        takers = [standard for standard, source in mapping.items() if source == twice]
        raw.refuse(f"--columns names the column {twice!r} twice, for {' and '.join(takers)}; expected one use of each")
    _refuse_logarithms(raw, mapping)
    renames = {source: target_of(standard) if unit_of(standard) else standard for standard, source in mapping.items()}
    for source, standard in zip(sources, mapping, strict=True):
        takers = [other for other, column in mapping.items() if renames[column] == renames[source]]
        if len(takers) > 1:
            raw.refuse(f"--columns gives both {' and '.join(takers)}; expected one of them, the other follows from it")
        unit = unit_of(standard)
        if unit is not None:
            raw.units[renames[source]] = unit.name
    for name in set(renames.values()) - renames.keys():
        if name in present:
            kept = f"{name}_original"
            while kept in present:
                kept += "_"
            _rename(raw, {name: kept})
            raw.notes.append(f"kept the file's own column {name!r} as {kept!r}, because --columns takes another")
    _rename(raw, renames)


def _refuse_logarithms(raw: RawTable, mapping: Mapping[str, str]) -> None:
    """A column whose name says that it holds logarithms is no column of counts."""
    for standard, source in mapping.items():
        found = _LOGARITHM.search(alias_key(source))
        if found and rule_of(standard) in ("count", "count or zero"):
            raw.refuse(
                f"--columns {standard}={source}: the name says {found[1] or found[2]}, but {standard} are plain "
                "counts; expected a column of counts, such as 7e9 or 7B"
            )


def likest_column(name: str, present: Iterable[str]) -> str:
    """Return which column may have been meant, in brackets, or nothing where none is like `name`."""
    return "".join(f" (did you mean {near!r}?)" for near in nearest(name, present))


def _strip_prefixes(raw: RawTable) -> None:
    """Undo the prefixes of MLflow and W&B exports; `params.lr` is then `lr`, while a plain `params` is left alone."""
    names = list(raw.frame.columns)
    if any(name.startswith("metrics.") for name in names):
        tracker, prefixes = "an MLflow", _MLFLOW
    elif {"Name", "State"} <= set(names) or any(name.startswith(_WANDB) for name in names):
        tracker, prefixes = "a W&B", _WANDB
    else:
        return
    raw.notes.append(f"read as {tracker} export")
    taken = {name for name in names if not name.startswith(prefixes)}
    # Of params.lr and metrics.lr the setting is meant (the metric is the last value), of the two .loss the result.
    for results in (False, True):
        for name in names:
            prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
            if prefix is None or name not in raw.frame.columns:
                continue
            bare = name.removeprefix(prefix)
            if not bare or bare in taken or (_is_outcome(bare) != (prefix in _RESULTS) and not results):
                continue
            _rename(raw, {name: bare})
            taken.add(bare)


def _is_outcome(name: str) -> bool:
    key = alias_key(name)
    return key == "loss" or key.startswith("loss.") or key in loss_names() or unit_of(name) is not None


def _standard_for(name: str) -> str | None:
    """The standard column that a non-standard name stands for, if any: an alias, or another spelling of the name."""
    key = alias_key(name)
    for prefix in families():
        if key.startswith(prefix) and len(key) > len(prefix):
            return prefix + name.strip()[len(prefix) :]
    return key if is_standard(key) else standard_name(key)


def _apply_aliases(raw: RawTable) -> None:
    present = list(raw.frame.columns)
    candidates: dict[str, list[str]] = {}
    for name in present:
        standard = None if is_standard(name) else _standard_for(name)
        if standard is not None and standard not in present:
            candidates.setdefault(standard, []).append(name)
    _rename_best(raw, candidates)


def _rename_best(raw: RawTable, candidates: Mapping[str, list[str]]) -> None:
    """Rename one candidate per standard column; candidates that disagree are ambiguous."""
    for standard, names in candidates.items():
        if standard == "run_id":
            keys = [key for key in ("run_id", *aliases("run_id")) if key in map(alias_key, names)]
            names = sorted(names, key=lambda name: keys.index(alias_key(name)))
        best, *others = names
        for other in others if standard != "run_id" else ():
            if not _same(raw, standard, best, other):
                raw.refuse(
                    f"columns {best!r} and {other!r} could both be {standard!r} and differ; "
                    f"say which one is meant, for example --columns {standard}={best}"
                )
        raw.notes.append(f"read column {raw.labels.get(best, best)!r} as {standard}")
        _rename(raw, {best: standard})


def _same(raw: RawTable, standard: str, one: str, other: str) -> bool:
    if is_text(standard):
        return as_text(raw.frame[one]).equals(as_text(raw.frame[other]))
    first, second = parse_numbers(raw.frame[one]), parse_numbers(raw.frame[other])
    if first.unreadable.any() or second.unreadable.any():
        return as_text(raw.frame[one]).equals(as_text(raw.frame[other]))
    return np.array_equal(first.values, second.values, equal_nan=True)


def _apply_conditional_aliases(raw: RawTable) -> None:
    present = list(raw.frame.columns)
    candidates: dict[str, list[str]] = {}
    for name in present:
        for standard, one in columns().items():
            needed = one.needs is not None and one.needs in present and standard not in present
            if needed and alias_key(name) in one.aliases:
                candidates.setdefault(standard, []).append(name)
    _rename_best(raw, candidates)


def _apply_other_units(raw: RawTable) -> None:
    """Note which columns give a loss in another unit, for rows in which no loss in nats is there."""
    for target, names in by_target(raw.frame.columns).items():
        if target in raw.units:
            continue  # named by --columns
        if target in raw.frame.columns:
            if np.isnan(parse_numbers(raw.frame[target]).values).any():
                for name in names:
                    raw.units[name], raw.fills[name] = _unit_name(raw, name), target
            continue
        unit = _unit_name(raw, names[0])
        _rename_best(raw, {target: [name for name in names if _unit_name(raw, name) == unit]})
        raw.units[target] = unit
        for name in names:
            if _unit_name(raw, name) != unit:
                raw.units[name], raw.fills[name] = _unit_name(raw, name), target


def _unit_name(raw: RawTable, name: str) -> str:
    """The unit of a column that is in one; `bits` beside a column `unit` may be those of a byte or a character."""
    unit = unit_of(name)
    assert unit is not None
    if alias_key(name) == "bits" and "unit" in raw.frame.columns:
        words = as_text(raw.frame["unit"]).to_pandas().str.lower()
        return "bpb" if words.str.contains("byte|char").any() else unit.name
    return unit.name


def _apply_mix_prefixes(raw: RawTable) -> None:
    """Read `w_web, w_code` as `mix.web, mix.code`, but only where they behave like shares: a prefix proves nothing."""
    if any(name.startswith("mix.") for name in raw.frame.columns):
        return
    for prefix in _MIX_PREFIXES:
        names = [name for name in raw.frame.columns if alias_key(name).startswith(prefix) and not is_standard(name)]
        names = [name for name in names if len(name.strip()) > len(prefix) and standard_name(name) is None]
        columns = [parse_numbers(raw.frame[name], percent=True) for name in names]
        if len(names) < 2 or any(column.unreadable.any() for column in columns):
            continue
        shares = np.nan_to_num(np.stack([column.values for column in columns]))  # (n_columns, n_rows)
        tokens = parse_numbers(raw.frame["tokens"], suffixes=True).values if "tokens" in raw.frame.columns else None
        if (shares < 0).any() or whole_of(shares.sum(axis=0), tokens) is None:
            off = np.abs(shares.sum(axis=0) - 1) > MIX_TOLERANCE
            where = raw.locate(int(np.argmax(off))) if off.any() else "a row with a negative value"
            raw.notes.append(f"columns {', '.join(names)} don't sum to 1 ({where}): kept as extra columns, not a mix")
            continue
        _rename(raw, {name: "mix." + name.strip()[len(prefix) :] for name in names})
        raw.notes.append(f"read columns {', '.join(names)} as mix shares")
        return
