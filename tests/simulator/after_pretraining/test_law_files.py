"""Files of laws: read back equal; damaged ones are refused with what is wrong, and nothing in them is executed."""

import copy
import json

import numpy as np
import pytest
from foretrain.core.errors import InputError
from foretrain.simulator.after_pretraining.continued import storage as continued
from foretrain.simulator.after_pretraining.continued.fitting import fit_continued
from foretrain.simulator.after_pretraining.feedback import storage as feedback
from foretrain.simulator.after_pretraining.feedback.prior import prior_law


@pytest.fixture(scope="module")
def written(tmp_path_factory, make_runs):
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("laws")
    feedback.save_laws({"ppo": prior_law("ppo", 1e4)}, folder / "feedback.json")
    runs = make_runs()
    continued.save_laws(fit_continued(runs), folder / "continued.json")
    return folder


READ = {"feedback": feedback.load_laws, "continued": continued.load_laws}


def parent_of(value, path):
    for key in path[:-1]:
        value = value[key]
    return value


def test_laws_are_read_back_equal(written):
    kept, found = prior_law("ppo", 1e4), feedback.load_laws(written / "feedback.json")["ppo"]
    assert np.allclose(kept.alpha, found.alpha, rtol=1e-6)
    assert np.allclose(kept.beta, found.beta, rtol=1e-6)
    assert (found.standardised, found.source, dict(found.measured)) == (True, kept.source, {})
    laws = continued.load_laws(written / "continued.json")
    again = written / "again.json"
    continued.save_laws(laws, again)
    assert again.read_bytes() == (written / "continued.json").read_bytes()


def test_a_file_that_is_replaced_is_read_anew(written, tmp_path):
    path = tmp_path / "law.json"
    for comparisons in (1e2, 1e5):
        feedback.save_laws({"ppo": prior_law("ppo", comparisons)}, path)
        assert np.allclose(feedback.load_laws(path)["ppo"].alpha, prior_law("ppo", comparisons).alpha, rtol=1e-6)


DAMAGE = [
    ("feedback", ["kind"], "continued_pretraining", "kind: got 'continued_pretraining'; expected one of 'feedback'"),
    ("feedback", ["format"], 2, "format"),
    ("feedback", ["laws"], [], "laws"),
    ("feedback", ["laws", 0, "method"], "best_of_m", "method"),
    ("feedback", ["laws", 0, "beta"], [[0.1]], "draws of different lengths"),
    ("feedback", ["laws", 0, "alpha", 0], [0.1, 0.2], "draws of different lengths"),
    ("feedback", ["laws", 0, "alpha", 0], ["__import__('os')"], "alpha"),
    ("feedback", ["laws", 0, "noise", 0], float("nan"), "noise.0: got nan"),
    ("feedback", ["laws", 0, "noise", 0], 1e999, "noise"),
    ("feedback", ["laws", 0, "references"], {"comparisons": -1}, "references.comparisons"),
    ("feedback", ["laws", 0, "measured"], {"kl_nats": [0, 1]}, "measured.kl_nats"),
    ("feedback", ["laws", 0, "more"], 1, "more: unknown key"),
    ("continued", ["kind"], "feedback", "kind: got 'feedback'; expected one of 'continued_pretraining'"),
    ("continued", ["domain", "values", 0], [0.0] * 8, "domain.values"),
    ("continued", ["domain", "noise"], [0.1], "draws"),
    ("continued", ["general", "noise", 0], -0.1, "general.noise"),
    ("continued", ["general", "params"], 0, "general.params"),
    ("continued", ["before"], [], "before"),
]


@pytest.mark.parametrize(("kind", "path", "value", "said"), DAMAGE, ids=[f"{d[0]} {d[1]} {d[3]}" for d in DAMAGE])
def test_damaged_files_are_refused_with_what_is_wrong(kind, path, value, said, written, tmp_path):
    facts = json.loads((written / f"{kind}.json").read_text())
    damaged = copy.deepcopy(facts)
    parent_of(damaged, path)[path[-1]] = value
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps(damaged).replace("Infinity", "1e999"))
    with pytest.raises(InputError) as caught:
        READ[kind](file)
    assert said in str(caught.value)
    assert "damaged.json" in str(caught.value)


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("text", ["", "[]", "null", "{", "{'kind': 1}", '"feedback"', "[" * 100_000, "import os"])
def test_what_is_no_such_file_is_refused(kind, text, tmp_path):
    path = tmp_path / "law.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"law\.json"):
        READ[kind](path)


def test_files_of_a_million_draws_are_refused(written, tmp_path):
    facts = json.loads((written / "feedback.json").read_text())
    facts["laws"][0] |= {
        "alpha": [[1]] * 10**6,
        "beta": [[1]] * 10**6,
        "spread": [[0, 0]] * 10**6,
        "noise": [0] * 10**6,
    }
    path = tmp_path / "large.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"large\.json"):
        feedback.load_laws(path)


@pytest.mark.parametrize("kind", READ)
def test_a_file_that_is_absent_is_refused(kind, tmp_path):
    with pytest.raises(InputError, match=r"absent\.json"):
        READ[kind](tmp_path / "absent.json")


def test_a_method_stands_once_in_a_file(written, tmp_path):
    facts = json.loads((written / "feedback.json").read_text())
    facts["laws"] *= 2
    path = tmp_path / "twice.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match="has ppo, ppo; expected one law a method"):
        feedback.load_laws(path)
