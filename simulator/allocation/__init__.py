"""Allocation of a budget: compute-optimal size and tokens, optima within money and time limits, sensitivities."""
