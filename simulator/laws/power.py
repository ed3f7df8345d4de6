"""The core members: which of the general law's shape parameters each one holds fixed."""

from __future__ import annotations

from ._law import ALL_CAPACITY, Member
from ._registry import register_member

GENERAL = register_member(
    Member("general", "E + (A·N^-α + B·D^-β)^γ", "this project; Chinchilla is γ = 1, Kaplan is E = 0 with β = 1", {})
)
CHINCHILLA = register_member(
    Member("chinchilla", "E + A·N^-α + B·D^-β", "Hoffmann et al. 2022, arXiv 2203.15556, eq. 2", {"gamma": 1.0})
)
KAPLAN = register_member(
    Member(
        "kaplan",
        "((N_c/N)^(α_N/α_D) + D_c/D)^α_D",
        "Kaplan et al. 2020, arXiv 2001.08361, eq. 1.5",
        {"E": 0.0, "beta": 1.0},
    )
)
PARAMS_ONLY = register_member(
    Member(
        "params_only",
        "E + A·N^-α (every run saw the same tokens)",
        "Hestness et al. 2017, arXiv 1712.00409",
        {"logit_capacity": ALL_CAPACITY, "tokens_exponent": 0.3, "gamma": 1.0},
        uses=("params",),
    )
)
TOKENS_ONLY = register_member(
    Member(
        "tokens_only",
        "E + B·D^-β (every run has the same size)",
        "Hestness et al. 2017, arXiv 1712.00409",
        {"logit_capacity": -ALL_CAPACITY, "params_exponent": 0.3, "gamma": 1.0},
        uses=("tokens",),
    )
)
