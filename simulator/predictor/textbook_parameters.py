"""Between a fit's scale-free coordinates and the textbook parameters E, A, B, α, β, γ."""

from __future__ import annotations

import numpy as np

from ..fitting import Fit
from ..laws import CAPACITY, CORE, LEVEL, REDUCIBLE, Columns, Law, Reference

_NO_FLOOR_TOLD = 39.0  # logit ρ from which E is told as 0


def textbook_parameters(fit: Fit) -> dict[str, float]:
    """Textbook parameters of a fit: L = E + (A·N^-α + B·D^-β)^γ, E in nats; terms keep their own names.

    Of what shares a spread τ the effect τ·z is told, in its own unit.
    """
    log_level, logit_rho, logit_w, a, b, log_gamma = fit.theta[: len(CORE)]
    level = np.exp(log_level)
    rho = 1.0 / (1.0 + np.exp(-logit_rho))
    w = 1.0 / (1.0 + np.exp(-logit_w))
    gamma = float(np.exp(log_gamma))
    alpha = a / gamma
    beta = b / gamma
    total = (level * rho) ** (1.0 / gamma)  # A·N₀^-α + B·D₀^-β

    values = {"E": 0.0}
    if logit_rho < _NO_FLOOR_TOLD:
        values["E"] = float(level / (1.0 + np.exp(logit_rho)))
    if "params" in fit.law.member.uses:
        values["A"] = float(total * w * fit.reference.values["params"] ** alpha)
        values["alpha"] = float(alpha)
    if "tokens" in fit.law.member.uses:
        values["B"] = float(total * (1.0 - w) * fit.reference.values["tokens"] ** beta)
        values["beta"] = float(beta)
    values["gamma"] = gamma
    theta = fit.theta.copy()
    for spread, shared in fit.law.spreads:
        theta[shared] *= np.exp(theta[spread])
    for name, value in zip(fit.law.names[len(CORE) :], theta[len(CORE) :], strict=True):
        values[name] = float(value)
    return values


def most_helpful(fit: Fit, count: int = 3) -> list[str]:
    """The training domains of which the first per cent lowers the loss most at the mean fitted mix, best first.

    Empty for a law that reads no mix. The slope of log m by a share is what counts, not the worth alone: of a domain
    that is there already, more is worth less.
    """
    domains = fit.law.domains
    if not domains:
        return []
    centre = np.array([fit.reference.values.get(f"mix.{domain}", 0.0) for domain in domains])
    mixes = 0.99 * centre[None] + 0.01 * np.eye(len(domains))  # row by row, 1 % more of one domain
    columns = {f"mix.{domain}": mixes[:, place] for place, domain in enumerate(domains)}
    for name in ("params", "tokens"):
        columns[name] = np.full(len(domains), fit.reference.values[name])
    best_first = np.argsort(fit.log_loss(columns), kind="stable")
    return [domains[place] for place in best_first[:count]]


def decompose(fit: Fit, columns: Columns) -> dict[str, np.ndarray]:
    """Where the loss comes from, nats `(n,)` each; the parts add up to the predicted loss.

    `irreducible` is E; `capacity` and `data` share the reducible loss of a plain run by their weight inside the
    γ-sum; each term then adds what switching it on changes, in the law's order (settings count from their optimum).
    """
    law = fit.law
    theta = fit.theta[None]
    features = law.prepare(columns, fit.reference)
    switched = [features[0]]  # the features with every term at its best, and from there on one after the other as it is
    for term, feature in zip(law.terms, features[1:], strict=True):
        switched.append(term.tuned(feature))
    total = law.loss(theta, switched)[0]

    _, _, logit_w, a, b, log_gamma = fit.theta[: len(CORE)]
    gamma = np.exp(log_gamma)
    x, t = features[0]["x"], features[0]["t"]
    tilt = logit_w - a / gamma * x + b / gamma * t
    of_params = 1.0 / (1.0 + np.exp(-tilt))
    irreducible = textbook_parameters(fit)["E"]
    reducible = total - irreducible
    parts = {
        "irreducible": np.full(len(total), irreducible),
        "capacity": reducible * of_params,
        "data": reducible * (1.0 - of_params),
    }
    for place, term in enumerate(law.terms, start=1):
        switched[place] = features[place]
        after = law.loss(theta, switched)[0]
        parts[term.name] = after - total
        total = after
    return parts


def rebase(law: Law, theta: np.ndarray, old: Reference, new: Reference) -> np.ndarray:
    """The same curves expressed at another N₀ and D₀, exactly.

    The level becomes the loss at the new point, ρ its reducible share there, w the share of N in that.

    Args:
        law: The law.
        theta: Its parameter vectors at the old point, `(K, P)`.
        old: The point at which they are expressed.
        new: The point at which they are to be expressed.

    Returns:
        A new `(K, P)`.
    """
    x = new.log("params") - old.log("params")
    t = new.log("tokens") - old.log("tokens")
    out = np.array(theta, dtype=float, ndmin=2)
    log_level, logit_rho, logit_w, a, b, log_gamma = out[:, : len(CORE)].T.copy()
    gamma = np.exp(log_gamma)

    # u and v are the logs of the γ-sum's two summands at the new point
    u = -np.logaddexp(0.0, -logit_w) - a / gamma * x
    v = -np.logaddexp(0.0, logit_w) - b / gamma * t
    log_reducible = log_level - np.logaddexp(0.0, -logit_rho) + gamma * np.logaddexp(u, v)
    log_floor = log_level - np.logaddexp(0.0, logit_rho)
    new_level = np.logaddexp(log_reducible, log_floor)
    out[:, LEVEL] = new_level
    out[:, REDUCIBLE] = log_reducible - log_floor
    out[:, CAPACITY] = u - v

    start = len(CORE)
    for term in law.terms:
        place = slice(start, start + len(term.parameters))
        out[:, place] = term.rebase(out[:, place], x, t, new_level - log_level)
        start = place.stop
    return out
