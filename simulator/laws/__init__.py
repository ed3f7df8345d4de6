"""Parametric scaling laws: a core family, terms that plug into it, and a registry that finds both by name."""

from ._law import CAPACITY, CORE, LEVEL, LOG_GAMMA, PARAMS_EXPONENT, REDUCIBLE, TOKENS_EXPONENT, Features, Law, Member
from ._registry import build_term, get_law, members, register_member, register_term, terms
from ._term import (
    DOMAIN_FAMILIES,
    MOST_LEVELS,
    Columns,
    Effect,
    Levels,
    Parameter,
    Reference,
    Term,
    levels_of,
    mix_column,
    need,
    stock_column,
    varying_domains,
)
from .strategies._of_levels import OfLevels
from .strategies._tails import lost_tail
from .strategies.synthetic import Synthetic
from .strategies.variant import Variant

__all__ = [
    "CAPACITY",
    "CORE",
    "DOMAIN_FAMILIES",
    "LEVEL",
    "LOG_GAMMA",
    "MOST_LEVELS",
    "PARAMS_EXPONENT",
    "REDUCIBLE",
    "TOKENS_EXPONENT",
    "Columns",
    "Effect",
    "Features",
    "Law",
    "Levels",
    "Member",
    "OfLevels",
    "Parameter",
    "Reference",
    "Synthetic",
    "Term",
    "Variant",
    "build_term",
    "get_law",
    "levels_of",
    "lost_tail",
    "members",
    "mix_column",
    "need",
    "register_member",
    "register_term",
    "stock_column",
    "terms",
    "varying_domains",
]
