"""A package of somebody else's: a term in a file of its own, with a number and a category that no run table had."""

import numpy as np
from foretrain.core.columns import Column
from foretrain.datasets.runs.columns import add
from foretrain.simulator.laws import Effect, Parameter, Term, need, register_term

add(
    Column("cooling_days", "days of cooling", "days", rule="positive", aliases=("cooling",), feature="log"),
    Column("flavour", "flavour of the text", category=True, sets_apart=True),
)


@register_term("cooling")
class Cooling(Term):
    """Longer cooling lowers the reducible loss as a power of its days."""

    columns = ("cooling_days",)
    parameters = (Parameter("cooling_exponent", 0.0, 0.2, -2.0, 2.0),)

    def prepare(self, columns, reference):
        return {"z": np.log(need(columns, "cooling_days")) - reference.log("cooling_days")}

    def centre(self, columns, rows):
        return {"cooling_days": float(np.exp(np.log(need(columns, "cooling_days"))[rows].mean()))}

    def effect(self, theta, features):
        gradient = np.broadcast_to(-features["z"], (len(theta), 1, len(features["z"])))
        return Effect(log_reducible=(-theta * features["z"], gradient))


@register_term("flavour")
class Flavour(Term):
    """Each flavour scales the reducible loss by a factor of its own."""

    category = "flavour"

    def __init__(self, domains=(), levels=()):
        super().__init__(domains, levels)
        self.parameters = tuple(Parameter(f"flavour.{level}", 0.0, 0.3, -3.0, 3.0) for level in self.levels)

    def prepare(self, columns, reference):
        return {"has": np.stack([columns[name] for name in self.columns], axis=1)}  # (n, levels)

    def effect(self, theta, features):
        has = features["has"].T
        return Effect(log_reducible=(theta @ has, np.broadcast_to(has, (len(theta), *has.shape))))
