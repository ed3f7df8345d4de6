"""What a law must do, whatever its terms: checks for a law by its registry name, such as `general+my_term`.

Two conventions let the checks treat terms that they have never seen: a parameter named `<optimum>_by_<column>` moves
an optimum along with a column (zero holds it still), and a column that they don't know is positive, around 1. Terms of
the mix are built for the domains a, b and c, terms of a category for the levels x, y and z, and for those that they
know themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.columns import level_column
from ..simulator.fitting import fit_law, weak_prior
from ..simulator.laws import CORE, Effect, Features, Law, Reference, get_law, members, terms
from ..simulator.predictor.textbook_parameters import rebase
from ._law_runs import DOMAINS, LEVELS, runs

__all__ = ["CHECKS", "DOMAINS", "build", "check_law", "law_names", "runs", "typical"]

STOCKS = {"unique_tokens.a": 3e9, "unique_tokens.b": 2e10}
"""Distinct tokens of two domains, which the runs of the checks repeat."""
_MANY = 20  # with more parameters than this, the checks' runs have optima besides the true one further out

Check = Callable[[str], None]
"""Takes a law's name; raises AssertionError where the law doesn't do what it must."""

CHECKS: list[tuple[Check, Callable[[Law], bool]]] = []
"""Every check, in the order in which they are run, and whether it applies to a law."""


def _check(applies: Callable[[Law], bool]) -> Callable[[Check], Check]:
    """Decorator: add a check for the laws that it applies to."""

    def add(check: Check) -> Check:
        CHECKS.append((check, applies))
        return check

    return add


def _any(law: Law) -> bool:
    return True


def _has_terms(law: Law) -> bool:
    return bool(law.terms)


def _has_silent_terms(law: Law) -> bool:
    return bool(law.terms) and not any(term.speaks_always for term in law.terms)


def _moves_exactly(law: Law) -> bool:
    return all(term.rebases_exactly for term in law.terms)


def _reads_mix(law: Law) -> bool:
    return bool(law.domains)


def _reads_more_of_levels(law: Law) -> bool:
    return bool(law.levels) and bool(_more_of_levels(law))


def _more_of_levels(law: Law) -> list[str]:
    """Columns that say more of levels: how strictly runs are of them, and the levels that terms know themselves."""
    known = [
        level_column(one, level)
        for term in law.terms
        for one, levels in term.further_levels.items()
        for level in levels
    ]
    return [*law.optional, *known]


def check_law(name: str) -> None:
    """Run every check on a law.

    Args:
        name: Registry name, a member and any terms joined by '+'.

    Raises:
        FitError: There is no such law.
        ExceptionGroup: Some checks failed; each error in it carries the name of its check.

    >>> check_law("chinchilla")
    """
    law = build(name)
    failed = []
    for check, applies in CHECKS:
        try:
            if applies(law):
                check(name)
        except Exception as error:
            error.add_note(f"{check.__name__} of {name}")
            failed.append(error)
    if failed:
        raise ExceptionGroup(name, failed)


def build(name: str, domains: tuple[str, ...] = DOMAINS) -> Law:
    """The law of a name, its terms built for the checks' domains and levels."""
    categories = [kind.category for kind in terms().values() if kind.category is not None]
    return get_law(name, domains, dict.fromkeys(categories, LEVELS))


def law_names() -> list[str]:
    """Names of all laws of one term at most: a term that changes N or D makes sense only where the member uses it."""
    found = []
    for name, member in members().items():
        found.append(name)
        found += [f"{name}+{term}" for term in terms() if _touched(term) <= set(member.uses)]
    return found


def _touched(term_name: str) -> set[str]:
    """Which of params and tokens a term changes, found by evaluating it."""
    term = build(f"general+{term_name}").terms[0]
    columns = runs(["params", "tokens", *term.columns], n=20)
    centre = {"params": 1e9, "tokens": 1e11, **term.centre(columns, np.arange(20))}
    theta = np.array([[p.mean for p in term.parameters]])
    effect: Effect = term.effect(theta, term.prepare(columns, Reference(centre)))
    return {name for name in ("params", "tokens") if getattr(effect, f"log_{name}") is not None}


def _every_column(law: Law) -> tuple[str, ...]:
    return tuple(dict.fromkeys(["params", "tokens", *law.columns]))


def typical(law: Law, count: int, seed: int, width: float) -> np.ndarray:
    """Vectors `(count, P)` within `width` prior spreads of the prior's centre; a loss level between 1.3 and 7 nats."""
    rng = np.random.default_rng(seed)
    lower, upper = law.box()
    centre, scale = (np.array([getattr(p, key) for p in law.parameters]) for key in ("mean", "sd"))
    theta = centre + width * scale * rng.uniform(-1, 1, (count, len(centre)))
    theta[:, 0] = rng.uniform(0.3, 2.0, count)
    return law.complete(np.clip(theta, lower, upper))


def _setup(name: str, n: int = 120) -> tuple[Law, dict[str, np.ndarray], Reference, Features]:
    law = build(name)
    columns = runs(_every_column(law), n)
    reference = law.reference(columns)
    return law, columns, reference, law.prepare(columns, reference)


def assert_gradient_is_exact(law: Law, features: Features, theta: np.ndarray) -> None:
    """The gradient equals central differences, and is zero for parameters that are held."""
    value, grad = law.loss(theta, features, gradient=True)
    assert grad.shape == (*theta.shape, value.shape[1])
    np.testing.assert_array_equal(value, law.loss(theta, features))
    step = 1e-5
    for at, parameter in enumerate(law.parameters):
        if not law.free[at]:
            assert not grad[:, at].any(), parameter.name
            continue
        move = np.zeros(theta.shape[1])
        move[at] = step
        slope = (law.loss(theta + move, features) - law.loss(theta - move, features)) / (2 * step)
        for k in range(len(theta)):
            np.testing.assert_allclose(
                grad[k, at],
                slope[k],
                rtol=1e-5,
                atol=1e-6 * np.abs(slope[k]).max() + 1e-9 * value[k].max(),
                err_msg=parameter.name,
            )


@_check(_any)
def name_and_parameters_are_consistent(name: str) -> None:
    """The law has the name it was asked for; parameters have names of their own, and priors within their bounds."""
    law = build(name)
    assert law.name == name
    assert len(set(law.names)) == len(law.names) == len(law.parameters)
    lower, upper = law.box()
    for p, low, high in zip(law.parameters, lower, upper, strict=True):
        assert low <= p.mean <= high, p.name
        assert p.sd > 0, p.name


@_check(_any)
def losses_are_finite_and_positive_over_the_priors_typical_range(name: str) -> None:
    """Over many sizes and parameter vectors, every loss is a finite positive number."""
    law = build(name)
    near = runs(_every_column(law), 200)
    wide = runs(_every_column(law), 200, seed=1, params=(1e5, 1e13), ratio=(0.1, 1e5))
    reference = law.reference(near)
    theta = typical(law, 64, seed=2, width=2.0)
    for columns in (near, wide):
        loss = law.loss(theta, law.prepare(columns, reference))
        assert loss.shape == (64, 200)
        assert np.isfinite(loss).all()
        assert (loss > 0).all()


@_check(_any)
def gradient_equals_central_differences_and_is_zero_where_fixed(name: str) -> None:
    """The exact gradient agrees with finite differences."""
    law, _, _, features = _setup(name, 60)
    assert_gradient_is_exact(law, features, typical(law, 4, seed=3, width=1.0))


@_check(_any)
def loss_falls_weakly_in_params_and_tokens_with_the_rest_neutral(name: str) -> None:
    """Neutral: one pass over the data, every other column constant, optima held still."""
    law = build(name)
    theta = typical(law, 32, seed=5, width=1.0)
    theta[:, [at for at, p in enumerate(law.names) if at >= len(CORE) and "_by_" in p]] = 0.0
    anchor = runs(_every_column(law), 50)
    reference = law.reference(anchor)
    ladder = np.exp(np.linspace(0.0, np.log(1e4), 40))
    for column in law.member.uses:
        n = len(ladder)
        columns = {key: np.full(n, reference.values.get(key, 4.0)) for key in _every_column(law)}
        columns |= {"params": np.full(n, 3e8), "tokens": np.full(n, 6e9)}
        columns[column] = columns[column] * ladder
        if "unique_tokens" in columns:
            columns["unique_tokens"] = columns["tokens"].copy()
        loss = law.loss(theta, law.prepare(columns, reference))
        assert (np.diff(loss) <= 1e-12 * loss[:, 1:]).all(), column
        if not law.terms:
            assert (loss[:, -1] < loss[:, 0]).all()


@_check(_has_silent_terms)
def a_term_without_its_columns_is_switched_off(name: str) -> None:
    """Runs that lack a term's columns have the core's loss, and the term's gradient is zero."""
    law, columns, reference, _ = _setup(name)
    bare = {key: columns[key] for key in ("params", "tokens")}
    core = law.without_terms()
    assert core.name == law.member.name
    theta = typical(law, 5, seed=6, width=1.0)
    value, grad = law.loss(theta, law.prepare(bare, reference), gradient=True)
    plain, slope = core.loss(theta[:, : len(CORE)], core.prepare(bare, reference), gradient=True)
    np.testing.assert_array_equal(value, plain)
    np.testing.assert_array_equal(grad[:, : len(CORE)], slope)
    assert not grad[:, len(CORE) :].any()
    full = law.loss(theta, law.prepare(columns, reference))
    assert not np.array_equal(full, plain)


@_check(_any)
def what_no_run_feels_has_no_gradient(name: str) -> None:
    """The parameters that are left out of those that runs feel change no loss."""
    law, _, _, features = _setup(name)
    _, grad = law.loss(typical(law, 3, seed=23, width=1.0), features, gradient=True)
    assert not grad[:, ~law.felt(features)].any()


@_check(_has_terms)
def missing_columns_are_named_as_the_reason(name: str) -> None:
    """`identifiable` names the column that is absent, and finds nothing wrong with runs that have all."""
    law, columns, _, _ = _setup(name)
    for term in law.terms:
        assert term.identifiable(columns) is None
        for missing in term.columns:
            reason = term.identifiable({k: v for k, v in columns.items() if k != missing})
            assert reason is not None
            assert missing in reason


@_check(_has_terms)
def constant_columns_cannot_identify_a_term(name: str) -> None:
    """`identifiable` gives a reason where all of a term's columns are constant."""
    law, columns, _, _ = _setup(name)
    for term in law.terms:
        same = {key: np.full_like(columns[key], columns[key][0]) for key in term.columns}
        same |= {"unique_tokens": columns["tokens"]} if "unique_tokens" in same else {}
        assert term.identifiable({**columns, **same}) is not None


@_check(_any)
def many_vectors_at_once_equal_one_by_one(name: str) -> None:
    """Evaluating many parameter vectors at once changes no result."""
    law, _, _, features = _setup(name, 50)
    theta = typical(law, 7, seed=7, width=1.0)
    value, grad = law.loss(theta, features, gradient=True)
    for k in range(len(theta)):
        one, slope = law.loss(theta[k : k + 1], features, gradient=True)
        np.testing.assert_allclose(value[k], one[0], rtol=1e-13)
        np.testing.assert_allclose(grad[k], slope[0], rtol=1e-11, atol=1e-13 * np.abs(grad[k]).max())
    np.testing.assert_allclose(law.loss(theta[0], features)[0], value[0], rtol=1e-13)


@_check(_any)
def permuting_runs_permutes_results(name: str) -> None:
    """The order of runs is that of the results, and nothing else."""
    law, columns, reference, features = _setup(name, 50)
    theta = typical(law, 3, seed=8, width=1.0)
    order = np.random.default_rng(9).permutation(50)
    shuffled = law.prepare({key: values[order] for key, values in columns.items()}, reference)
    value, grad = law.loss(theta, features, gradient=True)
    moved, slope = law.loss(theta, shuffled, gradient=True)
    np.testing.assert_allclose(moved, value[:, order], rtol=1e-13)
    np.testing.assert_allclose(slope, grad[:, :, order], rtol=1e-11, atol=1e-13 * np.abs(grad).max())


@_check(_any)
def evaluation_changes_neither_its_inputs_nor_the_result(name: str) -> None:
    """Evaluating twice gives the same bits, and leaves columns, features and parameters alone."""
    law, columns, _, features = _setup(name, 30)
    theta = np.array([[p.mean for p in law.parameters]])
    before = theta.copy(), {k: v.copy() for k, v in columns.items()}, _select(features, np.arange(30))
    first = law.loss(theta, features, gradient=True)
    second = law.loss(theta, features, gradient=True)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(theta, before[0])
    for key, values in columns.items():
        np.testing.assert_array_equal(values, before[1][key])
    for block, kept in zip(features, before[2], strict=True):
        for key, values in block.items():
            np.testing.assert_array_equal(values, kept[key])


@_check(_moves_exactly)
def moving_the_reference_point_changes_no_prediction(name: str) -> None:
    """`rebase` expresses the same curves at another reference point."""
    law, columns, reference, features = _setup(name, 50)
    theta = typical(law, 4, seed=17, width=1.0)
    moved = Reference({**reference.values, "params": 3e10, "tokens": 4e9})
    again = law.loss(rebase(law, theta, reference, moved), law.prepare(columns, moved))
    np.testing.assert_allclose(again, law.loss(theta, features), rtol=1e-9)


@_check(_any)
def recovers_its_own_noise_free_runs(name: str) -> None:
    """A fit to the law's own losses predicts them, and those of runs three times as large."""
    law, columns, reference, features = _setup(name)
    theta = typical(law, 1, seed=10, width=0.5 if len(law.parameters) <= _MANY else 0.25)
    loss = law.loss(theta, features)[0]
    fit = fit_law(law, columns, loss)
    np.testing.assert_allclose(np.exp(fit.log_loss(columns)), loss, rtol=1e-4)
    grown = {k: v * 3 if k in ("params", "tokens", "unique_tokens") else v for k, v in columns.items()}
    further = law.loss(theta, law.prepare(grown, reference))[0]
    np.testing.assert_allclose(np.exp(fit.log_loss(grown)), further, rtol=1e-3)


@_check(_any)
def a_handful_of_runs_does_not_break_the_fit(name: str) -> None:
    """Their Hessian is singular to the last bit, on some processors: with two runs a fit ended in LinAlgError there."""
    for count in (1, 2, 3):
        law, columns, _, features = _setup(name, count)
        loss = law.loss(typical(law, 1, seed=12, width=0.5), features)[0]
        for copies in (1, 4):
            repeated = {column: np.repeat(values, copies) for column, values in columns.items()}
            fit = fit_law(law, repeated, np.repeat(loss, copies), prior=weak_prior(), draws=2)
            assert np.all(np.isfinite(fit.draws))
            assert np.all(np.isfinite(fit.log_loss(repeated)))


@_check(_any)
def fit_is_deterministic(name: str) -> None:
    """The same seed gives the same fit and draws, another seed other draws of the same fit, all within bounds."""
    law, columns, _, features = _setup(name, 45)
    noise = np.exp(np.random.default_rng(11).normal(0, 0.01, 45))
    loss = law.loss(typical(law, 1, seed=12, width=0.5), features)[0] * noise
    one, two = (fit_law(build(name), columns, loss, draws=2, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.theta, two.theta)
    np.testing.assert_array_equal(one.draws, two.draws)
    assert (one.noise, one.objective) == (two.noise, two.objective)
    other = fit_law(build(name), columns, loss, draws=2, seed=4)
    np.testing.assert_array_equal(one.theta, other.theta)
    assert not np.array_equal(one.draws, other.draws)
    lower, upper = law.box()
    free = law.free
    assert np.isfinite(one.draws).all()
    assert (one.draws[:, free] >= lower[free]).all()
    assert (one.draws[:, free] <= upper[free]).all()


@_check(_has_terms)
def fitting_honours_a_fixed_term_parameter(name: str) -> None:
    """A parameter that is held at a value has exactly that value after the fit."""
    law, columns, _, features = _setup(name, 70)
    loss = law.loss(typical(law, 1, seed=15, width=0.5), features)[0]
    last = law.parameters[-1]
    value = last.mean + 0.3 * last.sd
    held = Law(law.member, law.terms, {last.name: value})
    assert fit_law(held, columns, loss).theta[-1] == value


@_check(_any)
def columns_are_all_that_the_law_needs(name: str) -> None:
    """The columns that the law names are enough to evaluate it."""
    law = build(name)
    columns = runs(law.columns, 30)
    features = law.prepare(columns, law.reference(columns))
    assert np.isfinite(law.loss(typical(law, 2, seed=16, width=0.5), features)).all()


@_check(_reads_mix)
def gradient_where_domains_repeat(name: str) -> None:
    """The gradient is exact where the stocks of domains are used up."""
    law = build(name)
    columns = runs(law.columns, 60) | {key: np.full(60, value) for key, value in STOCKS.items()}
    features = law.prepare(columns, law.reference(columns))
    assert any(np.any(block.get("repeats", False)) for block in features)
    assert_gradient_is_exact(law, features, typical(law, 4, seed=18, width=1.0))


@_check(_reads_more_of_levels)
def gradient_with_what_says_more_of_levels(name: str) -> None:
    """The gradient is exact where runs state how strictly they are of their level, say."""
    law = build(name)
    columns = runs((*_every_column(law), *_more_of_levels(law)), 60)
    reference = law.reference(columns)
    theta = typical(law, 4, seed=22, width=1.0)
    bare = law.prepare({key: columns[key] for key in _every_column(law)}, reference)
    features = law.prepare(columns, reference)
    assert not np.array_equal(law.loss(theta, features), law.loss(theta, bare))
    assert_gradient_is_exact(law, features, theta)


@_check(_reads_mix)
def permuting_domains_permutes_results(name: str) -> None:
    """The order of domains is the order of their worths, and nothing else."""
    law = build(name)
    columns = runs(law.columns, 50) | {key: np.full(50, value) for key, value in STOCKS.items()}
    reference = law.reference(columns)
    theta = typical(law, 3, seed=19, width=1.0)
    order = ("c", "a", "b")
    other = build(name, order)
    moved = theta[:, [law.names.index(n) for n in other.names]]
    one, slope = law.loss(theta, law.prepare(columns, reference), gradient=True)
    two, turned = other.loss(moved, other.prepare(columns, reference), gradient=True)
    np.testing.assert_allclose(two, one, rtol=1e-12)
    np.testing.assert_allclose(turned, slope[:, [law.names.index(n) for n in other.names]], rtol=1e-9, atol=1e-12)


@_check(_reads_mix)
def fits_do_not_depend_on_the_order_of_domains(name: str) -> None:
    """Domains in another order give the same predictions."""
    law = build(name)
    columns = runs(law.columns, 60)
    noise = np.exp(np.random.default_rng(20).normal(0, 0.01, 60))
    loss = law.loss(typical(law, 1, seed=21, width=0.5), law.prepare(columns, law.reference(columns)))[0] * noise
    fits = [fit_law(build(name, d), columns, loss, prior=weak_prior()) for d in (DOMAINS, ("c", "a", "b"))]
    np.testing.assert_allclose(fits[1].log_loss(columns), fits[0].log_loss(columns), atol=1e-4)


def _select(features: Features, rows: np.ndarray) -> Features:
    return [{key: values[rows] for key, values in block.items()} for block in features]
