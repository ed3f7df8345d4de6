"""Terms of the mix: the formulas they stand for, what more of a useful domain does, repeats, what identifies them.

`tests/conformance` has what holds for every term: gradients, the order of domains, recovery of own parameters.
"""

import numpy as np
import pytest
from foretrain.core.errors import FitError
from foretrain.simulator.laws import Law, Reference, build_term, get_law, varying_domains
from hypothesis import given, settings
from hypothesis import strategies as st

DOMAINS = ("web", "code", "books")
NAMES = ("mixture", "exponential_mixture")
TINY = 1e-4  # the share that is added to each, so that none has the logarithm of 0
CENTRE = np.array([0.5, 0.3, 0.2])
N0, D0 = 1e8, 2e9
REFERENCE = Reference(
    {"params": N0, "tokens": D0, **{f"mix.{d}": float(w) for d, w in zip(DOMAINS, CENTRE, strict=True)}}
)
EXAMPLES = settings(deadline=None, max_examples=60)


def columns_of(shares, params=N0, tokens=D0, **stocks) -> dict[str, np.ndarray]:
    """Columns of runs with these `shares: (n, S)`."""
    shares = np.atleast_2d(shares)
    n = len(shares)
    columns = {"params": np.full(n, params), "tokens": np.full(n, tokens)}
    columns |= {f"mix.{d}": shares[:, i] for i, d in enumerate(DOMAINS)}
    return columns | {f"unique_tokens.{d}": np.full(n, stock) for d, stock in stocks.items()}


HARMLESS = {"log_domain_repeat_harm": 25.0}


def vector(law: Law, **values: float) -> np.ndarray:
    """The prior's centre `(1, P)` with some parameters set; `worth_web` stands for `worth.web`."""
    named = {key.replace("worth_", "worth."): value for key, value in values.items()}
    assert set(named) <= set(law.names)
    return np.array([[named.get(p.name, p.mean) for p in law.parameters]])


def predict(law: Law, theta, columns) -> np.ndarray:
    return law.loss(theta, law.prepare(columns, REFERENCE))[0]


def split(law: Law, theta) -> tuple[float, float]:
    """E and the reducible loss at the reference point, nats."""
    level, rho = np.exp(theta[0, 0]), 1 / (1 + np.exp(-theta[0, 1]))
    return level * (1 - rho), level * rho


def simplex() -> st.SearchStrategy[np.ndarray]:
    """Shares of the three domains, some of them zero."""
    raw = st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda v: sum(v) > 0.01)
    return raw.map(lambda v: np.array(v) / sum(v))


worths = st.lists(st.floats(-4, 4), min_size=3, max_size=3).map(np.array)


@EXAMPLES
@given(simplex(), worths, st.floats(0.3, 1.5), st.floats(0.1, 1.5))
def test_mixture_is_its_formula(shares, tau, kappa, strength):
    """E + reducible·(m(w)/m(w_ref))^-σ with m = (Σ T·w^κ)^(1/κ), at the reference size."""
    law = get_law("general+mixture", DOMAINS)
    worth = {f"worth_{d}": float(t) for d, t in zip(DOMAINS, tau, strict=True)}
    theta = vector(law, log_mix_curvature=np.log(kappa), log_mix_strength=np.log(strength), **worth)
    floor, reducible = split(law, theta)

    def m(w):
        return (np.exp(tau) * (w + TINY) ** kappa).sum() ** (1 / kappa)

    expected = floor + reducible * (m(shares) / m(CENTRE)) ** -strength
    np.testing.assert_allclose(predict(law, theta, columns_of(shares))[0], expected, rtol=1e-9)


@EXAMPLES
@given(simplex(), worths)
def test_without_curvature_it_is_the_plain_effective_token_law(shares, tau):
    """κ = 1: domains replace each other at fixed rates T, as in L = E + B·(Σ T·w)^-β."""
    law = get_law("general+mixture", DOMAINS)
    worth = {f"worth_{d}": float(t) for d, t in zip(DOMAINS, tau, strict=True)}
    theta = vector(law, log_mix_curvature=0.0, log_mix_strength=np.log(0.3), **worth)
    floor, reducible = split(law, theta)
    tokens = (np.exp(tau) @ (shares + TINY)) / (np.exp(tau) @ (CENTRE + TINY))
    np.testing.assert_allclose(predict(law, theta, columns_of(shares))[0], floor + reducible * tokens**-0.3, rtol=1e-9)


@EXAMPLES
@given(simplex(), worths)
def test_exponential_mixture_is_its_formula(shares, tau):
    """Ye et al. 2024, eq. 1: c + k·exp(Σ t·w) at one size, with t = -σ·τ."""
    law = get_law("general+exponential_mixture", DOMAINS)
    worth = {f"worth_{d}": float(t) for d, t in zip(DOMAINS, tau, strict=True)}
    theta = vector(law, log_mix_strength=np.log(0.3), **worth)
    floor, reducible = split(law, theta)
    expected = floor + reducible * np.exp(-0.3 * tau @ (shares - CENTRE))
    np.testing.assert_allclose(predict(law, theta, columns_of(shares))[0], expected, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(data=st.data())
def test_more_of_the_most_useful_domain_lowers_the_loss(name, data):
    """Where domains replace each other at fixed rates, any share moved to the best one helps, at every size."""
    law = get_law(f"general+{name}", DOMAINS)
    shares, tau = data.draw(simplex()), data.draw(worths)
    best = int(tau.argmax())
    more = shares + data.draw(st.floats(0, 1)) * (np.eye(3)[best] - shares)
    flat = {"log_mix_curvature": 0.0} if name == "mixture" else {}
    theta = vector(law, **flat, **{f"worth_{d}": float(t) for d, t in zip(DOMAINS, tau, strict=True)})
    params = 10 ** data.draw(st.floats(6, 11))
    loss = predict(law, theta, columns_of(np.array([shares, more]), params=params))
    assert loss[1] <= loss[0] * (1 + 1e-12)


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(data=st.data())
def test_only_differences_of_worth_matter(name, data):
    law = get_law(f"general+{name}", DOMAINS)
    theta = vector(law, **{f"worth_{d}": float(t) for d, t in zip(DOMAINS, data.draw(worths), strict=True)})
    moved = theta.copy()
    moved[:, -3:] += data.draw(st.floats(-5, 5))
    columns = columns_of(data.draw(simplex()))
    np.testing.assert_allclose(predict(law, moved, columns), predict(law, theta, columns), rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_mix_changes_nothing(name):
    law = get_law(f"general+{name}", DOMAINS)
    theta = vector(law, worth_web=2.0, worth_code=-1.0)
    columns = columns_of(CENTRE, params=3e9, tokens=7e10)
    plain = {key: columns[key] for key in ("params", "tokens")}
    np.testing.assert_allclose(predict(law, theta, columns), predict(law, theta, plain), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_domain_is_the_plain_law(name):
    """All tokens of one domain: no mix to speak of, and its repeats are those of the whole (Muennighoff, eq. 5)."""
    law, plain = get_law(f"general+{name}", ("web",)), get_law("general")
    reference = Reference({"params": N0, "tokens": D0, "mix.web": 1.0})
    columns = {"params": np.array([1e9, 4e8]), "tokens": np.array([4e10, 2e9]), "mix.web": np.ones(2)}
    theta = vector(law, worth_web=2.0, **HARMLESS)
    core = theta[:, : len(plain.names)]
    alone = law.loss(theta, law.prepare(columns, reference))[0]
    np.testing.assert_allclose(alone, plain.loss(core, plain.prepare(columns, reference))[0], rtol=1e-12)
    repeated = columns | {"unique_tokens.web": np.full(2, 1e10)}
    star, repeats = 15.387756, 3.0  # four epochs of the first run; the second has fewer tokens than the stock
    distinct = {**columns, "tokens": np.array([1e10 * (1 + star * (1 - np.exp(-repeats / star))), 2e9])}
    np.testing.assert_allclose(
        law.loss(theta, law.prepare(repeated, reference))[0],
        plain.loss(core, plain.prepare(distinct, reference))[0],
        rtol=1e-9,
    )


def test_only_the_domain_that_runs_out_repeats():
    """30 % of 2e9 tokens are code, of which there are 1e8: that share counts less, the others as they are."""
    law = get_law("general+mixture", DOMAINS)
    theta = vector(law, worth_web=1.0, worth_code=2.0, **HARMLESS)
    fresh, plenty, scarce = (
        predict(law, theta, columns_of(CENTRE, **stocks))[0] for stocks in ({}, {"code": 6e8}, {"code": 1e8})
    )
    assert plenty == fresh
    assert scarce > fresh
    others = predict(law, theta, columns_of(CENTRE, web=1e9, books=4e8))[0]
    assert others == pytest.approx(fresh, rel=1e-12)
    star = 15.387756
    counted = CENTRE.copy()
    counted[1] = 1e8 / D0 * (1 + star * (1 - np.exp(-5 / star)))
    same = columns_of(counted / counted.sum(), tokens=D0 * counted.sum())
    assert scarce == pytest.approx(predict(law, theta, same)[0], rel=1e-9)


@pytest.mark.parametrize("own_worth", [2.0, 3.0, 4.5])
def test_scarce_text_in_a_mix_is_best_seen_about_15_to_20_times(own_worth):
    """Sedova et al. 2026: more of it does harm, and a domain repeated without end is worth what it is seen once."""
    law = get_law("general+mixture", DOMAINS)
    theta = vector(law, worth_code=own_worth)
    times = np.geomspace(0.5, 800, 500)
    stock = D0 / 1000
    shares = np.outer(np.ones(500), [0.6, 0.0, 0.4]) * (1 - times / 1000)[:, None]
    shares[:, 1] = times / 1000
    loss = predict(law, theta, columns_of(shares, code=stock))
    assert 12 < times[loss.argmin()] < 20
    assert loss[-1] > loss.min()
    once = columns_of(shares[-1] * [1, 1 / times[-1], 1] / (shares[-1] * [1, 1 / times[-1], 1]).sum())
    once["tokens"] = D0 * (shares[-1] * [1, 1 / times[-1], 1]).sum(keepdims=True)
    assert loss[-1] == pytest.approx(predict(law, theta, once)[0], rel=1e-6)


def test_a_blank_stock_has_no_end():
    law = get_law("general+mixture", DOMAINS)
    columns = columns_of(np.array([CENTRE, CENTRE]))
    columns["unique_tokens.code"] = np.array([np.nan, 1e8])
    loss = predict(law, vector(law, worth_code=2.0), columns)
    assert loss[0] < loss[1]
    assert loss[0] == predict(law, vector(law, worth_code=2.0), columns_of(CENTRE))[0]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("mix.code", -0.1, r"column 'mix.code', run 1: got -0.1; expected a share"),
        ("mix.code", np.nan, r"column 'mix.code', run 1: got nan"),
        ("unique_tokens.code", 0.0, r"column 'unique_tokens.code': expected positive counts of tokens"),
    ],
)
def test_what_is_no_share_or_stock_is_refused(column, value, message):
    law = get_law("general+mixture", DOMAINS)
    columns = columns_of(np.array([CENTRE, CENTRE]), code=1e9)
    columns[column] = np.array([columns[column][0], value])
    with pytest.raises(FitError, match=message):
        law.prepare(columns, REFERENCE)


def test_without_gradients_nothing_else_is_computed_but_the_same():
    term = build_term("mixture", DOMAINS)
    for stocks in ({}, {"code": 1e8}):
        features = term.prepare(columns_of(np.array([CENTRE, CENTRE[::-1]]), **stocks), REFERENCE)
        theta = np.array([[p.mean for p in term.parameters]] * 2)
        one, two = term.effect(theta, features), term.values(theta, features)
        for name in ("log_tokens", "log_reducible"):
            full, lean = getattr(one, name), getattr(two, name)
            assert (full is None) == (lean is None)
            if full is not None:
                np.testing.assert_array_equal(full[0], lean[0])


# what identifies them


def drawn(n: int, mixes: int | None = None) -> dict[str, np.ndarray]:
    shares = np.random.default_rng(0).dirichlet(np.ones(3), mixes or n)
    return columns_of(np.resize(shares, (n, 3)))


def test_enough_runs_and_mixes():
    term = build_term("mixture", DOMAINS)
    assert term.identifiable(drawn(6)) is None
    assert term.identifiable(drawn(5)) == "5 runs are too few for 3 domains; 6 are needed"
    assert term.identifiable(drawn(30, mixes=3)) is None
    assert term.identifiable(drawn(30, mixes=2)) == "2 different mixes are too few for 3 domains; 3 are needed"


def test_a_target_of_the_mix_is_taught_most_by_its_own_text_and_takes_few_mixes():
    """Six mixes of 22 domains (BiMix's) say little of each domain, but enough of the target's own."""
    many = tuple(f"d{number}" for number in range(22))
    plain = build_term("mixture", many)
    term = plain.of_target("D3")
    means = {parameter.name: parameter.mean for parameter in term.parameters}
    assert means["worth.d3"] > 3 > 0.5 > max(means[f"worth.{d}"] for d in many if d != "d3")
    assert plain.of_target("elsewhere") is plain
    assert build_term("exponential_mixture", many).of_target("d3").parameters[0].mean == plain.parameters[0].mean
    few = build_term("mixture", ("d3", "web")).of_target("d3")
    assert {p.name: p.mean for p in few.parameters}["worth.d3"] < means["worth.d3"]

    shares = np.random.default_rng(0).dirichlet(np.ones(22), 4)
    columns = {"params": np.full(4, N0), "tokens": np.full(4, D0)}
    columns |= {f"mix.{d}": shares[:, i] for i, d in enumerate(many)}
    assert "too few for 22 domains" in (plain.identifiable(columns) or "")
    assert term.identifiable(columns) is None
    columns["mix.d3"] = np.array([0.1, 0.1, 0.2, 0.2])
    assert term.identifiable(columns) == "the share of the target's own domain takes 2 values; 3 are needed"


def test_a_law_of_a_target_keeps_what_is_fixed():
    law = get_law("general+mixture", DOMAINS)
    fixed = Law(law.member, law.terms, {"E": 1.5})
    assert law.of_target("poems") is law
    assert law.of_target(None) is law
    assert fixed.of_target("code").fixed == fixed.fixed
    assert fixed.of_target("code").names == law.names


def test_a_mix_that_does_not_vary_or_is_blank():
    term = build_term("mixture", DOMAINS)
    assert "the shares of 0 of 3 domains vary" in (term.identifiable(columns_of(np.tile(CENTRE, (20, 1)))) or "")
    blank = drawn(20)
    blank["mix.code"][[3, 4]] = np.nan
    assert term.identifiable(blank) == "column 'mix.code' is blank in 2 of 20 runs"


def test_domains_that_vary_are_those_of_the_law():
    columns = drawn(20)
    columns |= {"mix.none": np.zeros(20), "mix.same": np.full(20, 0.2), "mix.nearly": 0.2 + 1e-5 * np.arange(20)}
    assert varying_domains(columns) == DOMAINS
