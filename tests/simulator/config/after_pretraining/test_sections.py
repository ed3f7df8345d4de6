"""`continued_pretraining`, `post_training` and `oversight` of a plan: what they may say, and where it is wrong."""

import pytest
from foretrain.core.errors import ConfigError, InputError
from foretrain.simulator.after_pretraining.continued.outlook import continued_laws
from foretrain.simulator.after_pretraining.feedback.outlook import feedback_law
from foretrain.simulator.after_pretraining.feedback.prior import prior_law
from foretrain.simulator.after_pretraining.feedback.storage import save_laws
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.after_pretraining import check_laws

BASE = "name: p\nmodel: {params: 7B}\ndata: {tokens: 2T}\n"
FEEDBACK = "post_training: {method: best_of_n, comparisons: 10k, "
CONTINUED = "continued_pretraining: {domain: law, tokens: 10B, "
OVERSIGHT = "oversight: {kind: debate, elo_gap: 300, "
BAD = [
    (FEEDBACK + "label_usd: -1}", "post_training.label_usd: got -1; expected a number of at least 0"),
    (FEEDBACK + "label_minutes: -1}", "post_training.label_minutes: got -1; expected a number of at least 0"),
    (FEEDBACK + "kl_nats: 0}", "post_training.kl_nats: got 0; expected a number above 0"),
    (FEEDBACK + "kl_nats: -2}", "post_training.kl_nats: got -2; expected a number above 0"),
    (FEEDBACK + "samples: 1}", "post_training.samples: got 1; expected a number of at least 2"),
    (FEEDBACK + "samples: 4, kl_nats: 2}", "post_training.samples: is given beside kl_nats; expected only one"),
    (FEEDBACK + "labellers: 0}", "post_training.labellers: got 0; expected a number above 0"),
    (FEEDBACK + "efficiency: 2}", "post_training.efficiency: got 2; expected a number of at most 1"),
    (FEEDBACK + "klnats: 2}", "post_training.klnats: unknown key; did you mean post_training.kl_nats?"),
    ("post_training: {method: ppo, comparisons: 1k, samples: 4}", "post_training.samples: goes with method best_of_n"),
    ("post_training: {method: rlhf, comparisons: 1k}", "got 'rlhf'; expected one of 'best_of_n', 'ppo' or 'dpo'"),
    ("post_training: {method: ppo}", "post_training.comparisons: is missing"),
    (CONTINUED + "share: 1.5}", "continued_pretraining.share: got 1.5; expected a number of at most 1"),
    (CONTINUED + "share: -0.1}", "continued_pretraining.share: got -0.1; expected a number of at least 0"),
    (CONTINUED + "most_general_rise: 2}", "most_general_rise: got 2; expected a number of at most 1"),
    ("continued_pretraining: {domain: law, tokens: 0}", "continued_pretraining.tokens: got 0; expected a number above"),
    ("continued_pretraining: {tokens: 1B}", "continued_pretraining.domain: is missing"),
    ("oversight: {kind: debat, elo_gap: 1}", "oversight.kind: got 'debat'; did you mean debate? expected one of"),
    ("oversight: {kind: debate, elo_gap: 500}", "oversight.elo_gap: got 500; success is published up to a gap of 400"),
    ("oversight: {kind: debate, elo_gap: -5}", "oversight.elo_gap: got -5; expected a number of at least 0"),
    (OVERSIGHT + "levels: 0}", "oversight.levels: got 0; expected a number of at least 1"),
    (OVERSIGHT + "levels: 1.5}", "oversight.levels: got 1.5; expected a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "said"), BAD, ids=[section for section, _ in BAD])
def test_bad_values_are_refused_with_file_and_line(section, said, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(BASE + section + "\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        RunConfig.load(path)
    assert str(caught.value).startswith(f"{path}:4: ")
    assert said in str(caught.value)


def test_a_wider_gap_is_accepted_where_that_is_asked_for():
    plan = {"model": {"params": "7B"}, "data": {"tokens": "2T"}}
    stated = {"kind": "debate", "elo_gap": 500, "allow_extrapolation": True}
    oversight = RunConfig.from_mapping({**plan, "oversight": stated}).oversight
    assert oversight is not None
    assert oversight.elo_gap == 500


def test_plans_without_stages_say_nothing_of_them():
    plain = RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "2T"}}).to_mapping()
    assert not {"continued_pretraining", "post_training", "oversight"} & set(plain)


def plan(tmp_path, section: str) -> RunConfig:
    (tmp_path / "run.yaml").write_text(BASE + section + "\n", encoding="utf-8")
    return RunConfig.load(tmp_path / "run.yaml")


def test_a_law_is_read_beside_the_plan(tmp_path):
    save_laws({"ppo": prior_law("ppo", 1e4)}, tmp_path / "law.json")
    found = plan(tmp_path, "post_training: {method: ppo, comparisons: 1k, law: law.json}")
    assert feedback_law(found).method == "ppo"
    lacking = plan(tmp_path, "post_training: {method: dpo, comparisons: 1k, law: law.json}")
    with pytest.raises(InputError, match=r"law\.json says nothing of dpo; expected .* with rows of dpo; it has ppo"):
        check_laws(lacking)


@pytest.mark.parametrize("section", [FEEDBACK + "law: none.json}", CONTINUED + "law: none.json}"])
def test_a_law_that_is_absent_is_refused(section, tmp_path):
    with pytest.raises(InputError, match=r"none\.json"):
        check_laws(plan(tmp_path, section))


@pytest.mark.parametrize("section", ["post_training", "continued_pretraining"])
def test_a_plan_that_is_no_file_names_none(section):
    stages = {
        "post_training": {"method": "ppo", "comparisons": "1k", "law": "/etc/passwd"},
        "continued_pretraining": {"domain": "law", "tokens": "1B", "law": "/etc/passwd"},
    }
    made = RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "2T"}, section: stages[section]})
    with pytest.raises(ConfigError, match=rf"{section}\.law: got '/etc/passwd' in a plan that isn't a file"):
        check_laws(made)


def test_a_law_of_another_domain_is_refused(tmp_path, continued_law):
    continued_law(tmp_path / "law.json")
    with pytest.raises(InputError, match=r"law\.json is of the domain 'law', the plan's is 'medicine'"):
        continued_laws(plan(tmp_path, "continued_pretraining: {domain: medicine, tokens: 1B, law: law.json}"))
