"""What is said of mixes that are constant, too few, collinear or repeated with different losses."""

import re

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Observations, public_prior
from foretrain.simulator.predictor.fit.fit_warnings import fit_warnings, table_warnings
from foretrain.simulator.predictor.fit.mix_warnings import collinear_domains, duplicate_warnings, mix_warnings


def observe(shares, domains: str = "abcd", **columns) -> Observations:
    """Runs of one size with these `shares: (n, S)`."""
    shares = np.asarray(shares, dtype=float)
    n = len(shares)
    known = {"params": np.full(n, 1e8), "tokens": np.full(n, 2e9)}
    known |= {f"mix.{d}": shares[:, i] for i, d in enumerate(domains)} | columns
    return Observations.from_columns(known, np.linspace(3, 4, n))


def doubts(observations: Observations) -> list[str]:
    return list(mix_warnings(observations, observations.domains, {}))


def free(n: int, domains: int = 4, total: float = 1.0) -> np.ndarray:
    return np.random.default_rng(1).dirichlet(np.ones(domains), n) * total


def test_a_mix_that_varies_freely_leaves_no_doubt():
    assert doubts(observe(free(40))) == []


def test_domains_that_no_run_was_trained_on():
    shares = np.hstack([free(40, 2), np.zeros((40, 2))])
    (text,) = doubts(observe(shares))
    assert text == "no run was trained on 'c', 'd': the law leaves them out and refuses mixes that have them"


def test_a_share_that_is_always_the_same():
    shares = np.hstack([free(40, 3, total=0.8), np.full((40, 1), 0.2)])
    (text,) = doubts(observe(shares))
    assert text.startswith("the share of 'd' is the same in every run")


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (3, r"fewer runs \(3\) than domains \(4\)"),
        (9, r"9 runs for 4 domains and 6 core parameters"),
    ],
)
def test_few_runs(n, words):
    (text,) = doubts(observe(free(n)))
    assert re.match(words, text)


def test_checkpoints_of_a_run_count_as_one():
    seen = observe(np.repeat(free(3), 20, axis=0))
    numbered = Observations(seen.columns, seen.loss, seen.weights, np.repeat(np.arange(3), 20))
    (text,) = doubts(numbered)
    assert text.startswith("fewer runs (3) than domains (4)")


# collinear


def test_shares_that_are_always_proportional():
    shares = free(60, 5)
    shares[:, 1] = 2 * shares[:, 0]
    shares /= shares.sum(axis=1, keepdims=True)
    assert collinear_domains(shares, "abcde") == ["a", "b"]
    assert collinear_domains(shares.round(3), "abcde") == ["a", "b"], "tables are rounded"
    (text,) = doubts(observe(shares, "abcde"))
    assert text == "the shares of 'a', 'b' follow from each other in every run: what each of them is worth is a guess"


def test_two_groups_that_each_sum_to_a_half():
    shares = np.hstack([free(60, 2, 0.5), np.random.default_rng(2).dirichlet(np.ones(2), 60) / 2])
    assert len(collinear_domains(shares, "abcd")) == 2


def test_a_sum_of_one_is_no_tie():
    assert collinear_domains(free(60, 2), "ab") == []
    assert collinear_domains(free(60, 17), [f"d{i}" for i in range(17)]) == []


def test_shares_beside_a_domain_that_is_left_out():
    """The domains that vary needn't sum to a constant, where the law leaves one out that varies a little."""
    shares = free(60, 4)[:, :3]
    assert collinear_domains(shares, "abc") == []
    shares[:, 2] = shares[:, 0]
    assert collinear_domains(shares, "abc") == ["a", "c"]


def test_with_fewer_runs_than_domains_ties_are_not_news():
    (text,) = doubts(observe(free(5, 8), "abcdefgh"))
    assert "follow from each other" not in text


# duplicates


def repeated(noise: float, times: int = 30) -> RunTable:
    """20 mixes, each run twice and more, whose log losses differ by `noise` (sd)."""
    rng = np.random.default_rng(3)
    shares = np.repeat(rng.dirichlet(np.ones(3), 20).round(6), times, axis=0)
    shares[:, 2] = 1 - shares[:, 0] - shares[:, 1]
    n = len(shares)
    frame = pd.DataFrame({"params": 1e8, "tokens": 2e9, "loss.x": np.exp(1 + noise * rng.standard_normal(n))}, range(n))
    frame["loss.y"] = np.exp(1 + 2 * noise * rng.standard_normal(n))
    return RunTable.from_frame(frame.assign(**{f"mix.{d}": shares[:, i] for i, d in enumerate("abc")}))


def test_repeated_mixes_tell_the_noise_of_a_run():
    (text,) = duplicate_warnings(repeated(0.01))
    assert text.startswith("20 mixes were run more than once, all else the same: their losses differ by ")
    low, high = (float(word) for word in text.split("differ by ")[1].split(" %")[0].split(" to "))
    assert low == pytest.approx(1.0, rel=0.1)
    assert high == pytest.approx(2.0, rel=0.1)


def test_repeats_that_agree_or_differ_in_something_else_are_no_news():
    assert list(duplicate_warnings(repeated(0.0))) == []
    table = repeated(0.01, times=2)
    grown = table.frame.assign(tokens=2e9 * (1 + np.arange(len(table)) % 2)).drop(columns=["flops", "run_id"])
    assert list(duplicate_warnings(RunTable.from_frame(grown))) == []
    assert any("run more than once" in text for text in table_warnings(table))


# where they are said


def test_a_mix_that_no_law_reads():
    seen = observe(free(40))
    (text,) = mix_warnings(seen, (), {"mixture": "because"})
    assert text == "the mix columns vary, but the law doesn't read them (because): their effect ends up in the noise"
    assert list(mix_warnings(observe(np.tile(free(1), (40, 1))), (), {})) == []


def test_fit_doubts_speak_of_the_mix_and_of_one_size():
    found = fit_warnings(observe(free(9)), {}, public_prior(), ("params", "tokens"), tuple("abcd"))
    assert found[0] == "column 'params' takes one value, 1e+08: what else it does to the loss rests on the prior"
    assert found[1].startswith("column 'tokens' takes one value")
    assert found[2].startswith("9 runs for 4 domains")
