"""Every registered law, alone and with every term that acts on something it uses, meets one contract.

Members and terms are found through the registry: a new file in simulator/laws is covered without a change here.
Two conventions let the suite treat terms that it has never seen: a parameter named `<optimum>_by_<column>` moves an
optimum along with a column (zero holds it still), and a column that the suite doesn't know is positive, around 1.
Terms of the mix are built for the domains a, b and c.
"""

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from foretrain.core.errors import FitError
from foretrain.simulator.fitting import fit_law, weak_prior
from foretrain.simulator.laws import CORE, Effect, Law, Reference, build_term, members, terms
from foretrain.simulator.laws import get_law as get_named_law
from foretrain.simulator.predictor.textbook_parameters import rebase

DOMAINS = ("a", "b", "c")
CORE_PLACES = {name: at for at, name in enumerate(p.name for p in CORE)}
TEXTBOOK = {"E": 1.3, "alpha": 0.31, "beta": 0.29, "gamma": 0.8}


def get_law(name: str) -> Law:
    return get_named_law(name, DOMAINS)


def spread(rng, low, high, n):
    return np.exp(rng.uniform(np.log(low), np.log(high), n))


def runs(names, n=120, seed=0, params=(2e7, 5e9), ratio=(5, 300)) -> dict[str, np.ndarray]:
    """A table that varies every column well beside params and tokens; half of the runs see their data once."""
    rng = np.random.default_rng(seed)
    size = spread(rng, *params, n)
    tokens = size * spread(rng, *ratio, n)
    epochs = np.where(rng.random(n) < 0.5, 1.0, spread(rng, 1.0, 40, n))
    known = {
        "params": size,
        "tokens": tokens,
        "unique_tokens": tokens / epochs,
        "num_experts": 2.0 ** rng.integers(0, 8, n),
        "lr": 1e-3 * np.exp(rng.normal(0, 1.2, n)),
        "batch_tokens": 1e6 * np.exp(rng.normal(0, 1.2, n)),
    }
    shares = np.random.default_rng(seed + 1).dirichlet(np.ones(len(DOMAINS)), n).T
    known |= {f"mix.{domain}": share for domain, share in zip(DOMAINS, shares, strict=True)}
    return {name: known[name] if name in known else np.exp(rng.normal(0, 1.0, n)) for name in names}


def every_column(law: Law) -> tuple[str, ...]:
    return tuple(dict.fromkeys(["params", "tokens", *law.columns]))


def touched(term) -> set[str]:
    """Which of params and tokens the term changes, found by evaluating it."""
    columns = runs(["params", "tokens", *term.columns], n=20)
    rows = np.arange(20)
    centre = {"params": 1e9, "tokens": 1e11, **term.centre(columns, rows)}
    theta = np.array([[p.mean for p in term.parameters]])
    effect: Effect = term.effect(theta, term.prepare(columns, Reference(centre)))
    return {name for name in ("params", "tokens") if getattr(effect, f"log_{name}") is not None}


def combinations() -> list[str]:
    """Names of all laws: a term that changes N or D makes sense only where the member uses it."""
    out = []
    for name, member in members().items():
        out.append(name)
        out += [f"{name}+{t}" for t in terms() if touched(build_term(t, DOMAINS)) <= set(member.uses)]
    return out


LAWS = combinations()
WITH_TERMS = [name for name in LAWS if "+" in name]
# the cap on its harm is a share of the loss level, which another reference point moves: see tests/simulator/laws
CAPPED = [name for name in LAWS if name.endswith("+lr_batch_posynomial")]
MANY = 20  # with more parameters than this, the runs of these tests have optima besides the true one further out
every_law = pytest.mark.parametrize("name", LAWS)


def typical(law: Law, count: int, seed: int, width: float) -> np.ndarray:
    """Vectors `(count, P)` within `width` prior spreads of the prior's centre; a loss level between 1.3 and 7 nats."""
    rng = np.random.default_rng(seed)
    lower, upper = law.box()
    centre, scale = (np.array([getattr(p, key) for p in law.parameters]) for key in ("mean", "sd"))
    theta = centre + width * scale * rng.uniform(-1, 1, (count, len(centre)))
    theta[:, 0] = rng.uniform(0.3, 2.0, count)
    return law.complete(np.clip(theta, lower, upper))


def setup(name: str, n: int = 120):
    law = get_law(name)
    columns = runs(every_column(law), n)
    reference = law.reference(columns)
    return law, columns, reference, law.prepare(columns, reference)


CHEAP: list[tuple[Callable[[str], None], frozenset[str]]] = []
"""Properties that take milliseconds to check, each with the names of the laws that have it."""


def cheap(names: Iterable[str]) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """Have a property checked with the other cheap ones, in one test for each of these laws."""

    def put(check: Callable[[str], None]) -> Callable[[str], None]:
        CHEAP.append((check, frozenset(names)))
        return check

    return put


def select(features, rows):
    return [{key: values[rows] for key, values in block.items()} for block in features]


STOCKS = {"unique_tokens.a": 3e9, "unique_tokens.b": 2e10}
OF_THE_MIX = [name for name, kind in terms().items() if kind.takes_domains]


def test_registry_gives_every_member_and_term_a_combination():
    assert set(LAWS) >= set(members())
    assert {part for name in LAWS for part in name.split("+")} == {*members(), *terms()}


@cheap(LAWS)
def name_and_parameters_are_consistent(name):
    law = get_law(name)
    assert law.name == name
    assert len(set(law.names)) == len(law.names) == len(law.parameters)
    lower, upper = law.box()
    for p, low, high in zip(law.parameters, lower, upper, strict=True):
        assert low <= p.mean <= high, p.name
        assert p.sd > 0, p.name


@cheap(LAWS)
def losses_are_finite_and_positive_over_the_priors_typical_range(name):
    law = get_law(name)
    near = runs(every_column(law), 200)
    wide = runs(every_column(law), 200, seed=1, params=(1e5, 1e13), ratio=(0.1, 1e5))
    reference = law.reference(near)
    theta = typical(law, 64, seed=2, width=2.0)
    for columns in (near, wide):
        loss = law.loss(theta, law.prepare(columns, reference))
        assert loss.shape == (64, 200)
        assert np.isfinite(loss).all()
        assert (loss > 0).all()


def assert_gradient_is_exact(law: Law, features, theta: np.ndarray) -> None:
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


@cheap(LAWS)
def gradient_equals_central_differences_and_is_zero_where_fixed(name):
    law, _, _, features = setup(name, 60)
    assert_gradient_is_exact(law, features, typical(law, 4, seed=3, width=1.0))


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("member", [name for name, m in members().items() if len(m.uses) == 2])
def test_gradient_with_textbook_values_fixed(member, count):
    own = members()[member].fixed
    for names in itertools.combinations(sorted(set(TEXTBOOK) - set(own)), count):
        law = Law(members()[member], [build_term(next(iter(terms())))], {n: TEXTBOOK[n] for n in names})
        columns = runs(every_column(law), 40)
        features = law.prepare(columns, law.reference(columns))
        theta = typical(law, 2, seed=4, width=1.0)
        theta[:, 0] = [0.9, 1.5]  # above log E
        assert_gradient_is_exact(law, features, theta)


@cheap(LAWS)
def loss_falls_weakly_in_params_and_tokens_with_the_rest_neutral(name):
    """Neutral: one pass over the data, every other column constant, optima held still."""
    law = get_law(name)
    theta = typical(law, 32, seed=5, width=1.0)
    theta[:, [at for at, p in enumerate(law.names) if at >= len(CORE) and "_by_" in p]] = 0.0
    anchor = runs(every_column(law), 50)
    reference = law.reference(anchor)
    ladder = np.exp(np.linspace(0.0, np.log(1e4), 40))
    for column in law.member.uses:
        n = len(ladder)
        columns = {key: np.full(n, reference.values.get(key, 4.0)) for key in every_column(law)}
        columns |= {"params": np.full(n, 3e8), "tokens": np.full(n, 6e9)}
        columns[column] = columns[column] * ladder
        if "unique_tokens" in columns:
            columns["unique_tokens"] = columns["tokens"].copy()
        loss = law.loss(theta, law.prepare(columns, reference))
        assert (np.diff(loss) <= 1e-12 * loss[:, 1:]).all(), column
        if not law.terms:
            assert (loss[:, -1] < loss[:, 0]).all()


@pytest.mark.parametrize("name", [n for n in WITH_TERMS if any(t.speaks_always for t in setup(n)[0].terms)])
def test_a_term_that_always_speaks_takes_a_run_without_its_columns_as_well_tuned(name):
    law, columns, reference, _ = setup(name)
    bare = {key: columns[key][:3] for key in ("params", "tokens")}
    theta = typical(law, 3, seed=6, width=0.3)
    tuned = law.loss(theta, law.prepare(bare, reference))
    rng = np.random.default_rng(2)
    for _ in range(50):
        settings = {key: reference.values[key] * np.exp(rng.uniform(-4, 4, 3)) for key in ("lr", "batch_tokens")}
        assert (law.loss(theta, law.prepare(bare | settings, reference)) >= tuned * (1 - 1e-9)).all()


@cheap([n for n in WITH_TERMS if not any(t.speaks_always for t in setup(n)[0].terms)])
def a_term_without_its_columns_is_switched_off(name):
    law, columns, reference, _ = setup(name)
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


def test_taking_the_terms_off_keeps_what_is_fixed_in_the_core():
    term = build_term("experts")
    law = Law(members()["general"], [term], {"E": 1.3, "params_exponent": 0.4, "expert_gain": 0.2})
    assert dict(law.without_terms().fixed) == {"E": 1.3, "params_exponent": 0.4}


@cheap(WITH_TERMS)
def missing_columns_are_named_as_the_reason(name):
    law, columns, _, _ = setup(name)
    for term in law.terms:
        assert term.identifiable(columns) is None
        for missing in term.columns:
            reason = term.identifiable({k: v for k, v in columns.items() if k != missing})
            assert reason is not None
            assert missing in reason


@cheap(WITH_TERMS)
def constant_columns_cannot_identify_a_term(name):
    law, columns, _, _ = setup(name)
    for term in law.terms:
        same = {key: np.full_like(columns[key], columns[key][0]) for key in term.columns}
        same |= {"unique_tokens": columns["tokens"]} if "unique_tokens" in same else {}
        assert term.identifiable({**columns, **same}) is not None


@cheap(LAWS)
def many_vectors_at_once_equal_one_by_one(name):
    law, _, _, features = setup(name, 50)
    theta = typical(law, 7, seed=7, width=1.0)
    value, grad = law.loss(theta, features, gradient=True)
    for k in range(len(theta)):
        one, slope = law.loss(theta[k : k + 1], features, gradient=True)
        np.testing.assert_allclose(value[k], one[0], rtol=1e-13)
        np.testing.assert_allclose(grad[k], slope[0], rtol=1e-11, atol=1e-13 * np.abs(grad[k]).max())
    np.testing.assert_allclose(law.loss(theta[0], features)[0], value[0], rtol=1e-13)


@cheap(LAWS)
def permuting_runs_permutes_results(name):
    law, columns, reference, features = setup(name, 50)
    theta = typical(law, 3, seed=8, width=1.0)
    order = np.random.default_rng(9).permutation(50)
    shuffled = law.prepare({key: values[order] for key, values in columns.items()}, reference)
    value, grad = law.loss(theta, features, gradient=True)
    moved, slope = law.loss(theta, shuffled, gradient=True)
    np.testing.assert_allclose(moved, value[:, order], rtol=1e-13)
    np.testing.assert_allclose(slope, grad[:, :, order], rtol=1e-11, atol=1e-13 * np.abs(grad).max())


@cheap(LAWS)
def evaluation_changes_neither_its_inputs_nor_the_result(name):
    law, columns, _, features = setup(name, 30)
    theta = np.array([[p.mean for p in law.parameters]])
    before = theta.copy(), {k: v.copy() for k, v in columns.items()}, select(features, np.arange(30))
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


@cheap([name for name in LAWS if name not in CAPPED])
def moving_the_reference_point_changes_no_prediction(name):
    law, columns, reference, features = setup(name, 50)
    theta = typical(law, 4, seed=17, width=1.0)
    moved = Reference({**reference.values, "params": 3e10, "tokens": 4e9})
    again = law.loss(rebase(law, theta, reference, moved), law.prepare(columns, moved))
    np.testing.assert_allclose(again, law.loss(theta, features), rtol=1e-9)


@every_law
def test_recovers_its_own_noise_free_runs(name):
    law, columns, reference, features = setup(name)
    theta = typical(law, 1, seed=10, width=0.5 if len(law.parameters) <= MANY else 0.25)
    loss = law.loss(theta, features)[0]
    fit = fit_law(law, columns, loss)
    np.testing.assert_allclose(np.exp(fit.log_loss(columns)), loss, rtol=1e-4)
    grown = {k: v * 3 if k in ("params", "tokens", "unique_tokens") else v for k, v in columns.items()}
    further = law.loss(theta, law.prepare(grown, reference))[0]
    np.testing.assert_allclose(np.exp(fit.log_loss(grown)), further, rtol=1e-3)


@every_law
def test_fit_is_deterministic(name):
    law, columns, _, features = setup(name, 45)
    noise = np.exp(np.random.default_rng(11).normal(0, 0.01, 45))
    loss = law.loss(typical(law, 1, seed=12, width=0.5), features)[0] * noise
    one, two = (fit_law(get_law(name), columns, loss, draws=2, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.theta, two.theta)
    np.testing.assert_array_equal(one.draws, two.draws)
    assert (one.noise, one.objective) == (two.noise, two.objective)
    other = fit_law(get_law(name), columns, loss, draws=2, seed=4)
    np.testing.assert_array_equal(one.theta, other.theta)
    assert not np.array_equal(one.draws, other.draws)
    lower, upper = law.box()
    free = law.free
    assert np.isfinite(one.draws).all()
    assert (one.draws[:, free] >= lower[free]).all()
    assert (one.draws[:, free] <= upper[free]).all()


def textbook(law: Law, theta: np.ndarray) -> dict[str, float]:
    """E, alpha, beta and gamma of one parameter vector, by the definitions in the law's docstring."""
    level, logit_rho, _, a, b, log_gamma = law.complete(theta)[0, : len(CORE)]
    gamma = np.exp(log_gamma)
    return {"E": np.exp(level) / (1 + np.exp(logit_rho)), "alpha": a / gamma, "beta": b / gamma, "gamma": gamma}


def textbook_cases():
    reads = {"E": None, "alpha": "params", "beta": "tokens", "gamma": None}
    for name, member in members().items():
        free = [t for t in reads if t not in member.fixed]
        wanted = [t for t in free if reads[t] is None or reads[t] in member.uses]
        yield from ((name, (one,)) for one in wanted)
        yield name, tuple(wanted)


@pytest.mark.parametrize(("member", "names"), list(textbook_cases()))
def test_fitting_honours_fixed_textbook_values(member, names):
    columns = runs(["params", "tokens"], 70)
    general = get_law("general")
    theta = typical(general, 1, seed=13, width=0.5)
    loss = general.loss(theta, general.prepare(columns, general.reference(columns)))[0]
    law = Law(members()[member], (), {name: TEXTBOOK[name] for name in names})
    fit = fit_law(law, columns, loss)
    found = textbook(law, fit.theta)
    for name in names:
        assert found[name] == pytest.approx(TEXTBOOK[name], rel=1e-9), name
    if "E" in names:
        end = {key: np.array([1e200]) for key in ("params", "tokens")}
        assert np.exp(fit.log_loss(end)[0]) == pytest.approx(TEXTBOOK["E"], rel=1e-9)


def test_what_a_member_holds_itself_is_not_to_be_fixed_otherwise():
    """Chinchilla's form with another γ is the general form: a user who asks for both is told so."""
    with pytest.raises(FitError, match="law 'chinchilla' holds it at 1 itself"):
        Law(members()["chinchilla"], (), {"gamma": 0.5})
    assert Law(members()["chinchilla"], (), {"gamma": 1.0}).fixed == {"gamma": 1.0}


@pytest.mark.parametrize("name", ["logit_capacity", "params_exponent", "log_gamma", "log_level"])
def test_fitting_honours_a_fixed_core_parameter(name):
    columns = runs(["params", "tokens"], 70)
    general = get_law("general")
    loss = general.loss(typical(general, 1, seed=14, width=0.5), general.prepare(columns, general.reference(columns)))[
        0
    ]
    law = Law(members()["general"], (), {name: 0.4})
    fit = fit_law(law, columns, loss, draws=3)
    assert fit.theta[CORE_PLACES[name]] == 0.4
    assert (fit.draws[:, CORE_PLACES[name]] == 0.4).all()


@pytest.mark.parametrize("name", WITH_TERMS)
def test_fitting_honours_a_fixed_term_parameter(name):
    law, columns, _, features = setup(name, 70)
    loss = law.loss(typical(law, 1, seed=15, width=0.5), features)[0]
    last = law.parameters[-1]
    value = last.mean + 0.3 * last.sd
    held = Law(law.member, law.terms, {last.name: value})
    assert fit_law(held, columns, loss).theta[-1] == value


def test_unknown_names_are_refused_with_what_exists():
    with pytest.raises(FitError, match=r"no such parameter.*logit_capacity"):
        Law(members()["general"], (), {"delta": 1.0})
    with pytest.raises(FitError, match=r"unknown law 'chinchila'.*chinchilla"):
        get_law("chinchila")
    with pytest.raises(FitError, match="term 'nonsense' is none of"):
        get_law("chinchilla+nonsense")
    with pytest.raises(FitError, match="names a term twice"):
        get_law("chinchilla+experts+experts")


@cheap(LAWS)
def columns_are_all_that_the_law_needs(name):
    law = get_law(name)
    columns = runs(law.columns, 30)
    features = law.prepare(columns, law.reference(columns))
    assert np.isfinite(law.loss(typical(law, 2, seed=16, width=0.5), features)).all()


@every_law
def test_whatever_is_cheap_to_check(name):
    """What failed is the function in the traceback; the others are checked all the same."""
    failed = []
    for check, names in CHEAP:
        if name in names:
            try:
                check(name)
            except Exception as error:
                error.add_note(f"{check.__name__} of {name}")
                failed.append(error)
    if failed:
        raise ExceptionGroup(name, failed)


@pytest.mark.parametrize("pair", ["lr+lr_batch", "repetition+muennighoff"])
def test_terms_that_describe_the_same_effect_are_refused_together(pair):
    """Otherwise two parameters have one name, and `fixed` freezes one of them and sets the other."""
    with pytest.raises(FitError):
        get_law(f"general+{pair}")


@pytest.mark.parametrize(
    ("member", "fixed"), [("chinchilla", {"log_gamma": 0.5}), ("general", {"E": 1.7, "logit_reducible": 0.5})]
)
def test_fixed_values_that_contradict_each_other_are_refused_or_honoured(member, fixed):
    """A user who fixes a parameter gets that value or an error, never another value."""
    try:
        law = Law(members()[member], (), fixed)
    except FitError:
        return
    full = dict(zip(law.names, law.complete(np.ones((1, len(law.names))))[0], strict=True))
    for name in set(fixed) & set(full):
        assert full[name] == fixed[name]


@pytest.mark.parametrize(
    "fixed", [{"gamma": 0.0}, {"gamma": -1.0}, {"E": -1.0}, {"E": float("nan")}, {"alpha": -0.3}, {"beta": 0.0}]
)
def test_fixed_values_that_make_no_law_are_refused(fixed):
    with pytest.raises(FitError):
        Law(members()["general"], (), fixed)


# terms of the mix


@pytest.mark.parametrize("name", OF_THE_MIX)
def test_terms_of_the_mix_want_their_domains(name):
    with pytest.raises(FitError, match=f"term '{name}' needs training domains"):
        get_named_law(f"general+{name}")
    with pytest.raises(FitError, match="names a domain twice: a, b, a"):
        get_named_law(f"general+{name}", ("a", "b", "a"))
    law = get_law(f"general+{name}")
    assert law.domains == DOMAINS
    assert law.optional == tuple(f"unique_tokens.{domain}" for domain in DOMAINS)
    assert get_law("general+experts").domains == ()


@pytest.mark.parametrize("name", OF_THE_MIX)
def test_gradient_where_domains_repeat(name):
    law = get_law(f"general+{name}")
    columns = runs(law.columns, 60) | {key: np.full(60, value) for key, value in STOCKS.items()}
    features = law.prepare(columns, law.reference(columns))
    assert features[1]["repeats"].any()
    assert_gradient_is_exact(law, features, typical(law, 4, seed=18, width=1.0))


@pytest.mark.parametrize("name", OF_THE_MIX)
def test_permuting_domains_permutes_results(name):
    """The order of domains is the order of their worths, and nothing else."""
    law = get_law(f"general+{name}")
    columns = runs(law.columns, 50) | {key: np.full(50, value) for key, value in STOCKS.items()}
    reference = law.reference(columns)
    theta = typical(law, 3, seed=19, width=1.0)
    order = ("c", "a", "b")
    other = get_named_law(f"general+{name}", order)
    moved = theta[:, [law.names.index(n) for n in other.names]]
    one, slope = law.loss(theta, law.prepare(columns, reference), gradient=True)
    two, turned = other.loss(moved, other.prepare(columns, reference), gradient=True)
    np.testing.assert_allclose(two, one, rtol=1e-12)
    np.testing.assert_allclose(turned, slope[:, [law.names.index(n) for n in other.names]], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OF_THE_MIX)
def test_fits_do_not_depend_on_the_order_of_domains(name):
    law = get_law(f"general+{name}")
    columns = runs(law.columns, 60)
    noise = np.exp(np.random.default_rng(20).normal(0, 0.01, 60))
    loss = law.loss(typical(law, 1, seed=21, width=0.5), law.prepare(columns, law.reference(columns)))[0] * noise
    fits = [fit_law(get_named_law(f"general+{name}", d), columns, loss, prior=weak_prior()) for d in (DOMAINS, "cab")]
    np.testing.assert_allclose(fits[1].log_loss(columns), fits[0].log_loss(columns), atol=1e-4)
