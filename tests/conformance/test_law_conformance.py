"""Every registered law, alone and with every term that acts on something it uses, meets one contract.

Members and terms are found through the registry: a new file in simulator/laws is covered without a change here. The
contract is `foretrain.testing.laws`; what is here speaks of our own members.
"""

import itertools

import numpy as np
import pytest
from foretrain.core.errors import FitError
from foretrain.simulator.fitting import fit_law
from foretrain.simulator.laws import CORE, Law, build_term, members, terms
from foretrain.simulator.laws import get_law as get_named_law
from foretrain.testing import check_law
from foretrain.testing.laws import DOMAINS, assert_gradient_is_exact, build, law_names, runs, typical

CORE_PLACES = {name: at for at, name in enumerate(p.name for p in CORE)}
TEXTBOOK = {"E": 1.3, "alpha": 0.31, "beta": 0.29, "gamma": 0.8}
LAWS = law_names()
OF_THE_MIX = [name for name, kind in terms().items() if kind.takes_domains]


@pytest.mark.parametrize("name", LAWS)
def test_every_law_meets_the_contract(name):
    """What failed is the function in the traceback; the others are checked all the same."""
    check_law(name)


def test_the_contract_finds_a_term_that_breaks_it(monkeypatch):
    """A gradient that is off by a tenth, and a term that never says why it can't be fitted."""
    experts = terms()["experts"]
    effect = experts.effect

    def wrong(self, theta, features):
        found = effect(self, theta, features)
        value, gradient = found.log_params
        found.log_params = value, 1.1 * gradient
        return found

    monkeypatch.setattr(experts, "effect", wrong)
    monkeypatch.setattr(experts, "identifiable", lambda self, columns: None)
    with pytest.raises(ExceptionGroup) as caught:
        check_law("general+experts")
    notes = {note for error in caught.value.exceptions for note in error.__notes__}
    assert notes >= {
        "gradient_equals_central_differences_and_is_zero_where_fixed of general+experts",
        "missing_columns_are_named_as_the_reason of general+experts",
    }


def columns_of(law: Law) -> tuple[str, ...]:
    return tuple(dict.fromkeys(["params", "tokens", *law.columns]))


def test_registry_gives_every_member_and_term_a_combination():
    assert set(LAWS) >= set(members())
    assert {part for name in LAWS for part in name.split("+")} == {*members(), *terms()}


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("member", [name for name, m in members().items() if len(m.uses) == 2])
def test_gradient_with_textbook_values_fixed(member, count):
    own = members()[member].fixed
    for names in itertools.combinations(sorted(set(TEXTBOOK) - set(own)), count):
        law = Law(members()[member], [build_term("repetition")], {n: TEXTBOOK[n] for n in names})
        columns = runs(columns_of(law), 40)
        features = law.prepare(columns, law.reference(columns))
        theta = typical(law, 2, seed=4, width=1.0)
        theta[:, 0] = [0.9, 1.5]  # above log E
        assert_gradient_is_exact(law, features, theta)


@pytest.mark.parametrize("name", [n for n in LAWS if any(t.speaks_always for t in build(n).terms)])
def test_a_term_that_always_speaks_takes_a_run_without_its_columns_as_well_tuned(name):
    law = build(name)
    columns = runs(columns_of(law))
    reference = law.reference(columns)
    bare = {key: columns[key][:3] for key in ("params", "tokens")}
    theta = typical(law, 3, seed=6, width=0.3)
    tuned = law.loss(theta, law.prepare(bare, reference))
    rng = np.random.default_rng(2)
    for _ in range(50):
        settings = {key: reference.values[key] * np.exp(rng.uniform(-4, 4, 3)) for key in ("lr", "batch_tokens")}
        assert (law.loss(theta, law.prepare(bare | settings, reference)) >= tuned * (1 - 1e-9)).all()


def test_taking_the_terms_off_keeps_what_is_fixed_in_the_core():
    term = build_term("experts")
    law = Law(members()["general"], [term], {"E": 1.3, "params_exponent": 0.4, "expert_gain": 0.2})
    assert dict(law.without_terms().fixed) == {"E": 1.3, "params_exponent": 0.4}


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
    general = build("general")
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
    general = build("general")
    loss = general.loss(typical(general, 1, seed=14, width=0.5), general.prepare(columns, general.reference(columns)))[
        0
    ]
    law = Law(members()["general"], (), {name: 0.4})
    fit = fit_law(law, columns, loss, draws=3)
    assert fit.theta[CORE_PLACES[name]] == 0.4
    assert (fit.draws[:, CORE_PLACES[name]] == 0.4).all()


def test_unknown_names_are_refused_with_what_exists():
    with pytest.raises(FitError, match=r"no such parameter.*logit_capacity"):
        Law(members()["general"], (), {"delta": 1.0})
    with pytest.raises(FitError, match=r"unknown law 'chinchila'.*chinchilla"):
        build("chinchila")
    with pytest.raises(FitError, match="term 'nonsense' is none of"):
        build("chinchilla+nonsense")
    with pytest.raises(FitError, match="names a term twice"):
        build("chinchilla+experts+experts")


@pytest.mark.parametrize("pair", ["lr+lr_batch", "repetition+muennighoff"])
def test_terms_that_describe_the_same_effect_are_refused_together(pair):
    """Otherwise two parameters have one name, and `fixed` freezes one of them and sets the other."""
    with pytest.raises(FitError):
        build(f"general+{pair}")


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
    law = build(f"general+{name}")
    assert law.domains == DOMAINS
    assert law.optional == tuple(f"unique_tokens.{domain}" for domain in DOMAINS)
    assert build("general+experts").domains == ()
