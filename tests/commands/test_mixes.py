"""Data mixes on the command line: what is refused, and what is allowed when asked for."""

import json
from pathlib import Path

import numpy as np

SEVEN_B = Path(__file__).parents[2] / "examples/llama-7b.yaml"


def refused(done, *words: str) -> None:
    """Bad input: exit code 3, nothing on standard output, the words on standard error, no traceback."""
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def mixed_runs(path: Path, write_runs, n: int = 24, domains: tuple[str, ...] = ("web", "code")) -> None:
    """Runs whose loss is that of their size, on shares that vary."""
    rng = np.random.default_rng(0)
    params = 10 ** rng.uniform(7, 8.5, n)
    shares = rng.dirichlet(np.ones(len(domains)), n).T
    more = {f"mix.{d}": share for d, share in zip(domains, shares, strict=True)}
    write_runs(path, params, 20 * params, noise=0.003, **more)


def test_mixes_that_a_predictor_cannot_speak_of(call, tmp_path, write_runs):
    mixed_runs(tmp_path / "runs.csv", write_runs)
    done = call("fit", "runs.csv", "--law", "general+mixture", "--prior", "public", "--out", "mine", "--json")
    assert done.returncode == 0, done.stderr
    words = ["predict", "--config", SEVEN_B, "--predictor", "mine", "--json", "--set", "data.unique_tokens=null"]
    refused(call(*words), "data.mix: is not stated; expected a mix of 'web', 'code'")
    new = [*words, "--set", "data.mix={web: 0.8, law: 0.2}"]
    refused(call(*new), "data.mix: the domain 'law' is new", "'web'", "--allow-new-domain")
    allowed = call(*new, "--allow-new-domain")
    assert allowed.returncode == 0, allowed.stderr
    found = json.loads(allowed.stdout)
    assert any("20.0% of the tokens are of domains that no fitted run had (law)" in text for text in found["warnings"])
    assert found["config"]["data"]["allow_new_domains"] is True
    refused(call(*words, "--allow-new-domain", "--set", "data.mix={law: 1}"), "all tokens are of domains that are")
    stock = call(*words, "--set", "data.mix={web: 1}", "--set", "data.unique_tokens_by_domain={law: 1B}")
    refused(stock, "unique_tokens_by_domain: got 'law', which data.mix doesn't name; expected web")


def test_a_law_of_the_mix_for_a_table_without_one(call, tmp_path, write_runs):
    write_runs(tmp_path / "runs.csv", 10.0 ** np.linspace(7, 9, 12), 10.0 ** np.linspace(9, 10, 12))
    refused(call("fit", "runs.csv", "--law", "general+mixture"), "term 'mixture' needs training domains")
    mixed_runs(tmp_path / "few.csv", write_runs, 5, ("a", "b", "c", "d"))
    refused(call("fit", "few.csv", "--law", "general+mixture", "--prior", "public"), "5 runs are too few for 4 domains")


def test_scores_on_domains_that_no_run_had(call, tmp_path, write_runs):
    mixed_runs(tmp_path / "runs.csv", write_runs)
    assert call("fit", "runs.csv", "--law", "general+mixture", "--prior", "public", "--out", "mine").returncode == 0
    mixed_runs(tmp_path / "other.csv", write_runs, 12, ("web", "law"))
    refused(call("score", "mine", "other.csv"), "the domain 'law' is new to this predictor")
    write_runs(tmp_path / "plain.csv", 10.0 ** np.linspace(7, 8, 8), 10.0 ** np.linspace(8, 9, 8))
    refused(call("score", "mine", "plain.csv"), "is not stated; expected a mix of 'web', 'code'")
