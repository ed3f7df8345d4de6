"""The registry: one file per member in this folder, found by name; nothing else changes when one is added."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...core.errors import FitError
from ...core.registry import import_members
from ...core.units import shown
from ._law import Law, Member
from ._term import Term

_MEMBERS: dict[str, Member] = {}
_TERMS: dict[str, type[Term]] = {}


def register_member(member: Member) -> Member:
    """Add a member of the core family under its name."""
    _MEMBERS[member.name] = member
    return member


def register_term(name: str) -> Callable[[type[Term]], type[Term]]:
    """Class decorator: add a term under `name`."""

    def add(cls: type[Term]) -> type[Term]:
        cls.name = name
        _TERMS[name] = cls
        return cls

    return add


def members() -> dict[str, Member]:
    """All core members by name."""
    import_members(__package__ or "")
    return dict(_MEMBERS)


def terms() -> dict[str, type[Term]]:
    """All terms by name."""
    import_members(__package__ or "")
    return dict(_TERMS)


def get_law(name: str, domains: Sequence[str] = ()) -> Law:
    """Build a law from its name, a member and any terms joined by '+': `chinchilla`, `general+repetition`.

    `domains` are the training domains, which terms such as `mixture` are built from. Raises FitError that lists what
    exists if a part is unknown, or says that a term needs domains.
    """
    import_members(__package__ or "")
    first, *rest = [part.strip() for part in name.split("+")]
    if first not in _MEMBERS:
        raise FitError(f"unknown law {shown(name)}: {shown(first)} is none of {', '.join(sorted(_MEMBERS))}")
    for part in rest:
        if part not in _TERMS:
            raise FitError(f"unknown law {shown(name)}: term {shown(part)} is none of {', '.join(sorted(_TERMS))}")
    if len(set(rest)) < len(rest):
        raise FitError(f"law {name!r} names a term twice")
    return Law(_MEMBERS[first], [build_term(part, domains) for part in rest])


def build_term(name: str, domains: Sequence[str] = ()) -> Term:
    """The registered term `name`, built from the training domains where it takes them. FitError if there are none."""
    return terms()[name](domains)
