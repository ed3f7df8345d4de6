"""The registry of laws and terms: one file each in this folder or in `strategies/`, or a package's entry point
`foretrain.laws`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...core.errors import FitError
from ...core.registry import Registry, folder
from ...core.units import shown
from ._law import Law, Member
from ._term import Levels, Term

_GROUP = "foretrain.laws"
_OURS = folder(__package__ or "", f"{__package__}.strategies")
_MEMBERS: Registry[Member] = Registry("law", _OURS, _GROUP)
_TERMS: Registry[type[Term]] = Registry("term", _OURS, _GROUP)


def register_member(member: Member) -> Member:
    """Add a member of the core family under its name."""
    return _MEMBERS.add(member.name, member)


def register_term(name: str) -> Callable[[type[Term]], type[Term]]:
    """Class decorator: add a term under `name`."""

    def add(cls: type[Term]) -> type[Term]:
        cls.name = name
        return _TERMS.add(name, cls)

    return add


def members() -> dict[str, Member]:
    """All core members by name."""
    return _MEMBERS.all()


def terms() -> dict[str, type[Term]]:
    """All terms by name."""
    return _TERMS.all()


def get_law(name: str, domains: Sequence[str] = (), levels: Levels | None = None) -> Law:
    """Build a law from its name, a member and any terms joined by '+': `chinchilla`, `general+repetition`.

    Args:
        name: The law, as `Law.name` gives it.
        domains: Training domains, which terms such as `mixture` are built from.
        levels: Levels of each category, which terms of a category are built from.

    Raises:
        FitError: A part is unknown (the message lists what exists), or a term lacks the domains or levels it needs.
    """
    known_members = members()
    known_terms = terms()
    member, *parts = [part.strip() for part in name.split("+")]
    if member not in known_members:
        raise FitError(f"unknown law {shown(name)}: {shown(member)} is none of {', '.join(sorted(known_members))}")
    for part in parts:
        if part not in known_terms:
            raise FitError(f"unknown law {shown(name)}: term {shown(part)} is none of {', '.join(sorted(known_terms))}")
    if len(set(parts)) < len(parts):
        raise FitError(f"law {name!r} names a term twice")
    built = [build_term(part, domains, levels) for part in parts]
    return Law(known_members[member], built)


def build_term(name: str, domains: Sequence[str] = (), levels: Levels | None = None) -> Term:
    """Build one registered term.

    Args:
        name: The term's name.
        domains: Training domains, for a term that takes them.
        levels: Levels of each category, for a term of a category.

    Raises:
        FitError: The term takes domains or levels and there are none.
    """
    term = terms()[name]
    if term.category is None:
        return term(domains)
    of_category = (levels or {}).get(term.category, ())
    return term(levels=of_category)
