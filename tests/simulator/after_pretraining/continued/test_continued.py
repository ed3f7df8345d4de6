"""Continued pretraining: the law and its terms, its fit, and what it says of shares."""

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import InputError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.after_pretraining.continued.fitting import fit_continued
from foretrain.simulator.after_pretraining.continued.law import continued_ratio
from foretrain.simulator.after_pretraining.continued.outlook import largest_shares
from foretrain.simulator.after_pretraining.continued.runs import ContinuedRuns
from foretrain.simulator.after_pretraining.continued.summary import ContinuedSummary
from hypothesis import given
from hypothesis import strategies as st

PARAMETERS = st.tuples(*[st.floats(0.01, 2.0)] * 8, st.floats(-1.0, 1.0))
SHARES = st.floats(0.0, 1.0)
SCALES = st.floats(0.01, 100.0)


def ratio(values, n, d, share):
    return continued_ratio(np.array([*np.log(values[:8]), values[8]]), np.array(n), np.array(d), np.array(share))


@given(PARAMETERS, SCALES, SCALES, SHARES)
def test_the_ratio_is_the_sum_of_its_terms(values, n, d, share):
    e, a, alpha, b, beta, c, eta, epsilon, gamma = values
    seen = share * d**eta + epsilon
    by_share = (seen**-gamma - 1) / gamma if abs(gamma) > 1e-4 else -np.log(seen)
    found = ratio(values, n, d, share)
    assert found == pytest.approx(e + a / n**alpha + b / d**beta + c * by_share, rel=1e-2, abs=1e-2)


@given(PARAMETERS, SCALES, SCALES, SHARES)
def test_more_parameters_tokens_or_share_never_raise_the_loss(values, n, d, share):
    at = ratio(values, n, d, share)
    for more in ((2 * n, d, share), (n, 2 * d, share), (n, d, (1 + share) / 2)):
        assert ratio(values, *more) <= at + 1e-9


@pytest.fixture(scope="module")
def fitted(make_runs):
    """Laws of eight campaigns that differ in their luck."""
    return [fit_continued(make_runs(seed), seed) for seed in range(8)]


def test_known_laws_are_recovered_within_their_intervals(fitted, true_ratios):
    """At shares between those of runs, at the runs' own sizes and budgets."""
    held = []
    for laws in fitted:
        for size, budget, share in ((3e5, 1e6, 0.1), (3e5, 2e6, 0.6), (1e6, 5e5, 0.4), (1e6, 2e6, 0.9)):
            truth = true_ratios(size, budget, share)
            for law, one in zip((laws.domain, laws.general), truth, strict=True):
                low, high = np.quantile(law.ratio(size, budget, share), [0.05, 0.95])
                held.append(low <= one <= high)
                assert np.median(law.ratio(size, budget, share)) == pytest.approx(float(one), rel=0.01)
    assert np.mean(held) >= 0.75, np.mean(held)


def test_a_larger_size_and_budget_than_were_trained_are_held(fitted, true_ratios):
    held = []
    for laws in fitted:
        for share in (0.25, 0.75):
            for law, one in zip((laws.domain, laws.general), true_ratios(3e6, 4e6, share), strict=True):
                low, high = np.quantile(law.ratio(3e6, 4e6, share), [0.05, 0.95])
                held.append(low <= one <= high)
                assert np.median(law.ratio(3e6, 4e6, share)) == pytest.approx(float(one), rel=0.03)
    assert np.mean(held) >= 0.75, np.mean(held)


def test_noise_is_learned_and_seeds_that_share_weights_count_once(make_runs):
    few, many = (fit_continued(make_runs(3, seeds=seeds), 0).domain for seeds in (2, 8))
    assert np.median(few.noise) == pytest.approx(0.003, rel=0.5)
    widths = [np.ptp(np.quantile(law.ratio(1e6, 2e6, 0.6), [0.05, 0.95])) for law in (few, many)]
    assert widths[1] > 0.5 * widths[0], "eight seeds of the same weights are not sixteen runs' worth of evidence"


def test_the_largest_share_rises_with_what_is_allowed(make_runs):
    found = ContinuedSummary.of(fit_continued(make_runs()))
    for by_rise in found.largest.values():
        medians = [by_rise[rise].median for rise in sorted(by_rise)]
        assert medians == sorted(medians)


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.1), st.floats(0, 0.2))
def test_up_to_the_largest_share_the_rise_over_none_is_kept(seed, spread, rise):
    logs = np.random.default_rng(seed).normal(0.0, spread, (101, 1))
    place = round(float(largest_shares(logs, rise)[0]) * 100)
    kept = logs[:, 0] - logs[0, 0] <= np.log1p(rise) + 1e-12
    assert kept[: place + 1].all()
    assert place == 100 or not kept[place + 1]


# tables


def frame(**changed) -> pd.DataFrame:
    rows = {
        "run_id": [f"r{k}" for k in range(6)],
        "params": 1e6, "tokens": 1e6, "mix.law": [0.0, 0.5, 1.0] * 2, "mix.web": [1.0, 0.5, 0.0] * 2,
        "loss.law": 2.0, "loss.web": 3.0, "seed": [0, 0, 0, 1, 1, 1],
    }  # fmt: skip
    return pd.DataFrame(rows | changed)


def table(name: str, **changed) -> RunTable:
    return RunTable.from_frame(frame(**changed), where=name)


def test_tables_are_read_with_the_losses_before():
    runs = ContinuedRuns.of_tables(table("runs"), table("base", **{"loss.law": 2.5}), "law")
    assert runs.before.tolist() == [[1e6, 2.5, 3.0]]
    domain, general = runs.ratios
    assert np.allclose(domain, 2.0 / 3.0)
    assert np.allclose(general, 1.0)


BAD = {
    "two shares": ({"mix.law": [0.0, 0.5] * 3, "mix.web": [1.0, 0.5] * 3}, {}, "law", "2 shares of law; expected 3"),
    "another domain": ({}, {}, "lwa", "has no column mix.lwa (its share of the text); did you mean mix.law?"),
    "another size": ({"params": 2e6}, {}, "law", "has no run of 2e+06 parameters"),
}


@pytest.mark.parametrize(("of_runs", "of_base", "domain", "said"), BAD.values(), ids=BAD)
def test_tables_that_say_too_little_are_refused(of_runs, of_base, domain, said):
    with pytest.raises(InputError) as caught:
        ContinuedRuns.of_tables(table("runs", **of_runs), table("base", **of_base), domain)
    assert said in str(caught.value)


def test_a_table_of_one_domain_has_no_general_loss():
    alone = RunTable.from_frame(frame().drop(columns=["loss.web"]), where="runs")
    with pytest.raises(InputError, match="no loss of another domain than law"):
        ContinuedRuns.of_tables(alone, alone, "law")
