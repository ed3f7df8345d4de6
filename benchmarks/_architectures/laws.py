"""The fitted law of each mixer by itself: E, α and β with intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.textbook_parameters import textbook_parameters

from .tables import cut, fittable, of_mixer, whole_mixers

__all__ = ["own_laws", "report_laws"]

SHOWN = {"E": "E, nats", "alpha": "α", "beta": "β", "gamma": "γ", "params_exponent": "γ·α", "tokens_exponent": "γ·β"}


def own_laws(table: RunTable) -> dict[str, Predictor]:
    """The law of each mixer's mean loss, fitted on its runs that are long enough, as `simulate fit` does it."""
    return {
        name: Predictor.fit(cut(table, of_mixer(table, name) & fittable(table), main_loss_alone=True), name=name)
        for name in whole_mixers(table)
    }


def report_laws(laws: dict[str, Predictor]) -> None:
    """Print the parameters: best fit, and 90 % of the draws."""
    print("\nlaw of each mixer by itself, E + (A·N^-α + B·D^-β)^γ: fit (90 %)")
    print(f"{'mixer':<14}" + "".join(f"{text:>24}" for text in SHOWN.values()))
    for name, predictor in laws.items():
        best, (low, high) = _parameters(predictor)
        texts = [f"{best[key]:.3f} ({low[key]:.3f} to {high[key]:.3f})" for key in SHOWN]
        print(f"{name:<14}" + "".join(f"{text:>24}" for text in texts))


def _parameters(predictor: Predictor) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The best fit's parameters, and the 5 % and 95 % quantiles of the draws'."""
    fit = predictor.models["loss"].fit
    drawn = [_with_exponents(textbook_parameters(replace(fit, theta=theta))) for theta in fit.draws]
    ends = [{key: float(np.quantile([one[key] for one in drawn], share)) for key in SHOWN} for share in (0.05, 0.95)]
    return _with_exponents(textbook_parameters(fit)), ends


def _with_exponents(values: dict[str, float]) -> dict[str, float]:
    """Textbook parameters, and the powers with which the reducible loss falls in N and D where the other isn't felt."""
    gamma = values["gamma"]
    return {**values, "params_exponent": gamma * values["alpha"], "tokens_exponent": gamma * values["beta"]}
