"""Between a fit's scale-free coordinates and the textbook parameters E, A, B, α, β, γ."""

from __future__ import annotations

import numpy as np

from ..fitting import Fit
from ..laws import (
    CAPACITY,
    CORE,
    LEVEL,
    LOG_GAMMA,
    PARAMS_EXPONENT,
    REDUCIBLE,
    TOKENS_EXPONENT,
    Columns,
    Law,
    Reference,
)


def textbook_parameters(fit: Fit) -> dict[str, float]:
    """Textbook parameters of a fit: L = E + (A·N^-α + B·D^-β)^γ, E in nats; terms keep their own names."""
    log_level, logit_rho, logit_w, a, b, log_gamma = fit.theta[: len(CORE)]
    gamma = float(np.exp(log_gamma))
    rho, weight = (1.0 / (1.0 + np.exp(-v)) for v in (logit_rho, logit_w))
    reducible = (np.exp(log_level) * rho) ** (1.0 / gamma)
    values = {"E": float(np.exp(log_level) / (1.0 + np.exp(logit_rho))) if logit_rho < 39 else 0.0}
    if "params" in fit.law.member.uses:
        values["A"] = float(reducible * weight * fit.reference.values["params"] ** (a / gamma))
        values["alpha"] = float(a / gamma)
    if "tokens" in fit.law.member.uses:
        values["B"] = float(reducible * (1.0 - weight) * fit.reference.values["tokens"] ** (b / gamma))
        values["beta"] = float(b / gamma)
    values["gamma"] = gamma
    extra = zip(fit.law.names[len(CORE) :], fit.theta[len(CORE) :], strict=True)
    return {**values, **{name: float(value) for name, value in extra}}


def most_helpful(fit: Fit, count: int = 3) -> list[str]:
    """The training domains of which the first per cent lowers the loss most at the mean fitted mix, best first.

    Empty for a law that reads no mix. The slope of log m by a share is what counts, not the worth alone: of a domain
    that is there already, more is worth less.
    """
    domains = fit.law.domains
    if not domains:
        return []
    centre = np.array([fit.reference.values.get(f"mix.{domain}", 0.0) for domain in domains])
    more = 0.99 * centre[None] + 0.01 * np.eye(len(domains))
    columns = {f"mix.{domain}": more[:, place] for place, domain in enumerate(domains)}
    for name in ("params", "tokens"):
        columns[name] = np.full(len(domains), fit.reference.values[name])
    loss = fit.log_loss(columns)
    return [domains[place] for place in np.argsort(loss, kind="stable")[:count]]


def decompose(fit: Fit, columns: Columns) -> dict[str, np.ndarray]:
    """Where the loss comes from, nats `(n,)` each; the parts add up to the predicted loss.

    `irreducible` is E; `capacity` and `data` share the reducible loss of a plain run by their weight inside the
    γ-sum; each term then adds what switching it on changes, in the law's order (settings count from their optimum).
    """
    theta, law = fit.theta[None], fit.law
    features = law.prepare(columns, fit.reference)
    on = [features[0], *(term.tuned(block) for term, block in zip(law.terms, features[1:], strict=True))]
    total = law.loss(theta, on)[0]
    irreducible = textbook_parameters(fit)["E"]
    gamma = np.exp(theta[0, LOG_GAMMA])
    a, b = theta[0, PARAMS_EXPONENT], theta[0, TOKENS_EXPONENT]
    tilt = theta[0, CAPACITY] - a / gamma * features[0]["x"] + b / gamma * features[0]["t"]
    of_params = 1.0 / (1.0 + np.exp(-tilt))
    reducible = total - irreducible
    parts = {"irreducible": np.full(len(total), irreducible)}
    parts |= {"capacity": reducible * of_params, "data": reducible * (1.0 - of_params)}
    for number, term in enumerate(law.terms, start=1):
        on[number] = features[number]
        after = law.loss(theta, on)[0]
        parts[term.name] = after - total
        total = after
    return parts


def rebase(law: Law, theta: np.ndarray, old: Reference, new: Reference) -> np.ndarray:
    """The same curves expressed at another N₀ and D₀, exactly. `theta: (K, P)` → `(K, P)`.

    The level becomes the loss at the new point, ρ its reducible share there, w the share of N in that.
    """
    x = new.log("params") - old.log("params")
    t = new.log("tokens") - old.log("tokens")
    out = np.array(theta, dtype=float, ndmin=2)
    level, logit_rho, logit_w, a, b, log_gamma = out[:, : len(CORE)].T.copy()
    gamma = np.exp(log_gamma)
    u = -np.logaddexp(0.0, -logit_w) - a / gamma * x
    v = -np.logaddexp(0.0, logit_w) - b / gamma * t
    log_reducible = level - np.logaddexp(0.0, -logit_rho) + gamma * np.logaddexp(u, v)
    log_floor = level - np.logaddexp(0.0, logit_rho)
    out[:, LEVEL] = np.logaddexp(log_reducible, log_floor)
    out[:, REDUCIBLE] = log_reducible - log_floor
    out[:, CAPACITY] = u - v
    at = len(CORE)
    for term in law.terms:
        place = slice(at, at + len(term.parameters))
        out[:, place] = term.rebase(out[:, place], x, t, out[:, LEVEL] - level)
        at = place.stop
    return out
