"""Synthetic text in laws: what chains of generations tell, and what has nothing to do with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from foretrain import Predictor, RunTable
from foretrain.core.errors import FitError, InputError
from foretrain.simulator.fitting import Fit, Observations, candidates, fit_observations, public_prior, weak_prior
from foretrain.simulator.laws import Reference, build_term, get_law

LEVELS = {"generator": ("none", "self")}
C, P, NU, M = 0.15, 0.5, 0.6, 1.4
"""True parameters of `replace`; C in nats."""
REAL, LEVEL = 0.5, 2.0  # the loss of real text has no part that more compute removes
NOISE = 0.002


def replaced(share: float, n: int) -> float:
    return C * share**P * sum(share ** (M * j) for j in range(n)) ** NU


def logarithm(share: float, n: int) -> float:
    return 0.1 * np.log1p(n)


def squares(share: float, n: int) -> float:
    return 0.1 * sum(1.0 / j**2 for j in range(1, n + 1))


def chains(generations: int, accumulated: Callable[[float, int], float] = logarithm, seeds: int = 2) -> RunTable:
    """Chains of one size: replace with real shares 0, .2 and .5, accumulate_fixed, and fresh text."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        kinds = [("replace", 1.0), ("replace", 0.8), ("replace", 0.5), ("accumulate_fixed", None), ("fresh", 0.0)]
        rows.append((seed, "none", "real", 0.0, 0, LEVEL))
        for regime, of_chain in kinds:
            for n in range(1, generations + 1):
                share = n / (n + 1) if of_chain is None else of_chain
                rise = {"replace": replaced, "accumulate_fixed": accumulated}.get(regime, lambda share, n: 0.0)(
                    share, n
                )
                rows.append((seed, "self" if share else "none", regime, share, n, LEVEL + rise))
    frame = pd.DataFrame(rows, columns=["seed", "generator", "regime", "synthetic_share", "generation", "loss"])
    frame["loss"] *= np.exp(rng.normal(0, NOISE, len(frame)))
    return RunTable.from_frame(frame.assign(params=5e4, tokens=4e5))


def fitted(table: RunTable, draws: int = 0) -> Fit:
    runs = Observations.from_table(table, "loss")
    return fit_observations(runs.law("general+synthetic"), runs, public_prior(), draws=draws)


def parameter(fit: Fit, name: str) -> float:
    return float(fit.theta[fit.law.names.index(f"synthetic_{name}")])


def test_chains_tell_what_replacing_does():
    fit = fitted(chains(5), draws=64)
    assert LEVEL * np.exp(parameter(fit, "log_harm.replace")) == pytest.approx(C, rel=0.15)
    assert parameter(fit, "share_power") == pytest.approx(P, abs=0.1)
    assert parameter(fit, "growth") == pytest.approx(NU, abs=0.1)
    assert parameter(fit, "memory") == pytest.approx(M, abs=0.3)
    assert abs(parameter(fit, "log_worth")) < 0.3  # one size and one share can't tell worth from harm


@pytest.mark.parametrize(("truth", "bounded"), [(logarithm, False), (squares, True)])
def test_whether_accumulation_is_bounded_is_left_to_the_runs(truth, bounded):
    fit = fitted(chains(12, truth), draws=64)
    decay = fit.draws[:, fit.law.names.index("synthetic_decay.accumulate_fixed")]
    assert np.mean((decay > 1.0) == bounded) > 0.95
    far = runs(share=1.0, generation=np.array([12, 400]), regime="accumulate_fixed")
    rise = np.exp(fit.log_loss(far)) - LEVEL
    assert rise[1] < 1.15 * rise[0] if bounded else rise[1] > 1.5 * rise[0]


def runs(share, generation, regime: str | None = "replace", generator: str = "self", **more) -> dict[str, np.ndarray]:
    """Columns of runs that differ in the arguments that are arrays."""
    n = max(np.size(share), np.size(generation))
    columns = {"params": np.full(n, 5e4), "tokens": np.full(n, 4e5), **more}
    columns["synthetic_share"] = np.broadcast_to(np.asarray(share, float), n)
    columns["generation"] = np.broadcast_to(np.asarray(generation, float), n)
    columns |= {f"generator={level}": np.full(n, float(level == generator)) for level in LEVELS["generator"]}
    return columns if regime is None else columns | {f"regime={regime}": np.ones(n)}


@pytest.mark.parametrize(
    "real",
    [
        runs(0.0, 3, "replace"),
        runs(0.5, 0, "replace"),
        runs(0.5, 3, "fresh"),
        runs(0.5, 3, "real"),
        runs(0.0, 0, None),
    ],
    ids=["share 0", "generation 0", "fresh", "real", "no regime"],
)
def test_text_without_a_synthetic_part_is_untouched(real):
    law = get_law("general+synthetic", levels=LEVELS)
    reference = Reference({"params": 1e5, "tokens": 1e6})
    theta = np.array([[p.mean + 0.5 * p.sd for p in law.parameters]])
    value, gradient = law.loss(theta, law.prepare(real, reference), gradient=True)
    core = law.without_terms()
    np.testing.assert_array_equal(value, core.loss(theta[:, :6], core.prepare(real, reference)))
    assert not gradient[:, 6:].any()


def test_a_generation_costs_more_than_the_one_before_and_more_of_it_costs_more():
    law = get_law("general+synthetic", levels=LEVELS)
    reference = Reference({"params": 5e4, "tokens": 4e5})
    theta = np.array([[p.mean for p in law.parameters]])
    every = np.arange(1, 30)
    for regime in ("replace", "accumulate", "accumulate_fixed", "subsample"):
        loss = law.loss(theta, law.prepare(runs(every / (every + 1), every, regime), reference))[0]
        assert (np.diff(loss) > 0).all()
        by_share = law.loss(theta, law.prepare(runs(np.linspace(0, 1, 20), 3, regime), reference))[0]
        assert (np.diff(by_share) > 0).all()
    none_real = law.loss(theta, law.prepare(runs(1.0, every), reference))[0]
    half_real = law.loss(theta, law.prepare(runs(0.5, every), reference))[0]
    assert (np.diff(none_real) > 1e-3).all()
    assert np.ptp(half_real[5:]) < 0.01


def test_synthetic_text_may_help_where_real_text_is_scarce_and_harms_where_it_is_not():
    law = get_law("general+repetition+synthetic", levels=LEVELS)
    reference = Reference({"params": 1e8, "tokens": 2e9})
    theta = np.array([[p.mean for p in law.parameters]])
    size = {"params": np.full(2, 1e8), "tokens": np.full(2, 2e9)}
    plain_or_half = runs(np.array([0.0, 0.5]), np.array([0, 1]), None) | size
    for real_tokens, helps in ((2e9, False), (4e6, True)):
        distinct = np.array([min(real_tokens, 2e9), 1e9 + min(real_tokens, 1e9)])
        loss = law.loss(theta, law.prepare(plain_or_half | {"unique_tokens": distinct}, reference))[0]
        assert (loss[1] < loss[0]) == helps


def test_text_that_was_sampled_with_top_p_costs_more_unless_real_text_is_beside_it():
    law = get_law("general+synthetic", levels=LEVELS)
    reference = Reference({"params": 5e4, "tokens": 4e5})
    theta = np.array([[p.mean for p in law.parameters]])
    extra = []
    for share in (1.0, 0.5):
        asked = runs(share, 1) | {"top_p": np.array([0.9]), "temperature": np.ones(1)}
        both = [law.loss(theta, law.prepare(columns, reference))[0, 0] for columns in (runs(share, 1), asked)]
        extra.append(both[1] - both[0])
    assert extra[0] > 10.0 * extra[1] > 0.0
    assert law.loss(theta, law.prepare(runs(0.0, 0) | {"top_p": np.array([0.5])}, reference)) == law.loss(
        theta, law.prepare(runs(0.0, 0), reference)
    )


def test_why_runs_say_nothing_of_synthetic_text():
    term = build_term("synthetic", levels=LEVELS)
    assert "2 runs have synthetic text" in term.identifiable(runs(np.array([0, 0, 0.5, 0.5]), 1))
    assert "every run has synthetic text, 0.5 or more" in term.identifiable(runs(0.5, np.arange(1, 5)))
    assert "0 runs have" in term.identifiable(runs(0.5, np.arange(1, 5), "fresh"))
    bare = {name: values for name, values in runs(0.5, 1).items() if name != "generation"}
    assert "column 'generation' is absent" in term.identifiable(bare)


def test_runs_of_one_size_and_length_are_enough_where_a_prior_says_what_those_do():
    observed = Observations.from_table(chains(3), "loss")
    assert candidates(observed, weak_prior()) == (["general+synthetic"], {})
    with pytest.raises(FitError, match="nothing to fit a law on"):
        candidates(observed, None)


def test_generations_of_a_chain_share_its_luck():
    observed = Observations.from_table(chains(3), "loss")
    chains_of_a_seed = 4
    real_runs = 1 + 3  # generation 0, and fresh text
    assert len(np.unique(observed.origins)) == 2 * (chains_of_a_seed + real_runs)
    grown = chains(3).frame.drop(columns="run_id").assign(regime=lambda rows: rows["regime"].str.removesuffix("_fixed"))
    grown["tokens"] *= np.where(grown["regime"] == "accumulate", grown["generation"] + 1.0, 1.0)
    longer = Observations.from_table(RunTable.from_frame(grown), "loss")
    assert len(np.unique(longer.origins)) == len(np.unique(observed.origins))
    plain = chains(3).frame.drop(columns=["synthetic_share", "generation", "regime", "generator"])
    assert Observations.from_table(RunTable.from_frame(plain), "loss").origins is None


@pytest.mark.filterwarnings("ignore:column '(params|tokens)' takes one value")
def test_a_generator_that_no_chain_had_is_answered_only_where_chains_differ_in_it():
    one = Predictor.fit(chains(3), "general+synthetic", prior="public")
    asked = runs(1.0, 1) | {"generator=self": np.zeros(1), "generator=gan": np.ones(1)}
    with pytest.raises(InputError, match="generator: got 'gan'; the fitted runs had 'none', 'self'"):
        one.predict(asked)
    with pytest.raises(InputError, match=r"regime: got 'new'; it is one of 'real', 'replace'"):
        one.predict(runs(1.0, 1, "new"))

    frame = chains(3).frame
    other = frame[frame["generator"] == "self"].assign(generator="ngram")
    other["loss"] = LEVEL + 2.0 * (other["loss"] - LEVEL)
    table = RunTable.from_frame(pd.concat([frame, other]).drop(columns="run_id"))
    several = Predictor.fit(table, "general+synthetic", prior="public")
    loss = [several.predict(runs(1.0, 2) | {"generator=self": np.zeros(1), f"generator={g}": np.ones(1)}) for g in
            ("self", "ngram", "gan")]  # fmt: skip
    rises = [float(found.loss_nats[0]) - LEVEL for found in loss]
    assert rises[0] == pytest.approx(replaced(1.0, 2), rel=0.15)
    assert rises[1] == pytest.approx(2.0 * replaced(1.0, 2), rel=0.15)
    assert rises[0] < rises[2] < rises[1]
    assert loss[2].scale[0] > 2.0 * loss[0].scale[0]
