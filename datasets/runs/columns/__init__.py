"""The columns of a run table: one file per subject, found by the registry.

A column is added by adding it to a file here, or a file; a package of one's own names a module that adds columns under
the entry point `foretrain.columns`:

    from foretrain.core.columns import Column
    from foretrain.datasets.runs.columns import add

    add(Column("patience", "epochs without improvement before training stops", "epochs", rule="count"))

Anything else in a table is an extra column, which is kept.
"""

from ._registry import (
    add,
    aliases,
    categories,
    column,
    columns,
    expected,
    families,
    is_standard,
    is_text,
    markdown_table,
    rule_of,
    standard_name,
)

__all__ = [
    "add",
    "aliases",
    "categories",
    "column",
    "columns",
    "expected",
    "families",
    "is_standard",
    "is_text",
    "markdown_table",
    "rule_of",
    "standard_name",
]
