"""The registry of columns, and queries on it."""

from __future__ import annotations

from ....core.columns import Column, Rule, alias_key
from ....core.registry import Registry, folder

# a package that adds a term usually adds its columns beside it
_COLUMNS: Registry[Column] = Registry("column", folder(__package__ or ""), "foretrain.columns", "foretrain.laws")


def add(*columns: Column) -> None:
    """Add columns to the registry. Raises RegistryError for a name that is taken."""
    for one in columns:
        _COLUMNS.add(one.name, one)


def columns() -> dict[str, Column]:
    """All columns by name, families under their prefix (`mix.`)."""
    return _COLUMNS.all()


def families() -> tuple[str, ...]:
    """Prefixes of the families; what follows the dot is the domain."""
    return tuple(name for name, one in columns().items() if one.is_family)


def column(name: str) -> Column | None:
    """The standard column of this name, or the family that it belongs to (`mix.web`); None for an extra column."""
    known = columns()
    if name in known and not known[name].is_family:
        return known[name]
    return next((known[prefix] for prefix in families() if name.startswith(prefix) and len(name) > len(prefix)), None)


def is_standard(name: str) -> bool:
    """Is this exactly the name of a standard column, or of a member of a family?"""
    return column(name) is not None


def is_text(name: str) -> bool:
    """Is this a standard column that holds text?"""
    one = column(name)
    return one is not None and one.is_text


def rule_of(name: str) -> Rule | None:
    """The rule that numbers in this standard column follow; None for text columns and extra columns."""
    one = column(name)
    return None if one is None else one.rule


def expected(name: str) -> str:
    """What a cell of this numeric column may hold, in words for an error message."""
    one = column(name)
    return "a number" if one is None else one.expected


def categories() -> list[str]:
    """The columns whose text is one of a few levels, which laws may tell apart."""
    return [name for name, one in columns().items() if one.category]


def aliases(name: str) -> tuple[str, ...]:
    """The folded names that stand for one standard column, surest first."""
    return columns()[name].aliases


def standard_name(alias: str) -> str | None:
    """The standard column that an alias stands for by itself; None for none, and where another must be there too."""
    key = alias_key(alias)
    return next((name for name, one in columns().items() if key in one.aliases and one.needs is None), None)


def markdown_table() -> str:
    """The table of columns in the documentation."""
    lines = ["| column | meaning | unit | where a plan states it | also read as |", "|---|---|---|---|---|"]
    for one in columns().values():
        name = f"{one.name}<domain>" if one.is_family else one.name
        place = "" if one.place is None else f"`{one.place}`"
        also = ", ".join(f"`{alias}`" for alias in one.aliases)
        beside = "" if one.needs is None else f" (beside `{one.needs}`)"
        lines.append(f"| `{name}` | {one.meaning} | {one.unit} | {place} | {also}{beside} |")
    return "\n".join(lines)
