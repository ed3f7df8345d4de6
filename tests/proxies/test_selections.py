"""Runs on several selections of one text: paired, stacked, resumed to the same bits, and what their rows say."""

import json

import pytest
from foretrain.core.errors import CampaignError, ConfigError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.selection.named import NamedSelection
from foretrain.datasets.selection.registry import steps
from foretrain.datasets.tokens.prepare import prepare
from foretrain.proxies import project as project_module
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.compute_plan import ComputePlan
from foretrain.proxies.design.estimate import Machine, Speed
from foretrain.proxies.engine._checkpoint import load_checkpoint, save_checkpoint
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.project import Project

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def selections():
    """Half of the documents, at random, and the whole of them, as none is a copy."""
    found = [("half", steps()["sample"](keep=0.5)), ("copies", steps()["dedup"](kind="exact"))]
    return [NamedSelection(kind, (step,), lambda number, step: "space.yaml", None) for kind, step in found]


@pytest.fixture
def store(tmp_path, selections):
    """Domain `web`: 40 documents of 63 tokens."""
    texts = [f"{number:03d} " + "abcdefgh"[number % 8] * 58 for number in range(40)]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "valid.jsonl").write_text(json.dumps({"text": texts[0] * 3}))
    return prepare(corpus(tmp_path), tmp_path / "store", selections=selections)


def corpus(folder):
    web = {"path": "web.jsonl", "validation_path": "valid.jsonl"}
    return Corpus.from_mapping({"domains": {"web": web}}, folder=folder)


@pytest.fixture
def runs(tiny_run, selections):
    """Two seeds with each selection, two passes through the half."""
    keys = [None, *(selection.key for selection in selections)]
    plain = {"steps": 40, "mix": {"web": 1.0}, "shape": {"vocab_size": 256}, "evaluate_at": (1024,)}
    return [tiny_run(run_id=f"{key}-{seed}", seed=seed, selection=key, **plain) for key in keys for seed in range(2)]


def test_stacked_runs_of_several_selections_resume_to_the_same_bits(store, runs, plain, tmp_path):
    runs = [run.model_copy(update={"tokens": 24 * 64, "evaluate_at": ()}) for run in runs]

    def group():
        return TrainingGroup(runs, store, plain, resolve(plain, runs))

    straight, killed = group(), group()
    while not straight.finished:
        straight.advance()
    for _ in range(9):
        killed.advance()
    save_checkpoint(killed, tmp_path / "c")
    resumed = group()
    assert load_checkpoint(resumed, tmp_path / "c")
    while not resumed.finished:
        resumed.advance()
    assert resumed.evaluations == straight.evaluations
    losses = [evaluations[-1].losses["web"].mean_nats for evaluations in straight.evaluations]
    # Equal text gives equal bits, seed by seed; other text other ones.
    assert losses[4:] == losses[:2]
    assert len(set(losses[:4])) == 4


def test_rows_say_selection_share_kept_and_stock(store, runs, plain, tmp_path, selections):
    half = selections[0].key
    campaign = Campaign.create(tmp_path / "c", runs, tmp_path / "store", plain)
    for group in range(len(campaign.file.groups)):
        assert train_one_group(str(campaign.folder), group) is None
    rows = campaign.table().frame.set_index("run_id")
    assert rows["selection"].value_counts().to_dict() == {"none": 4, "half": 4, "copies": 4}
    share = store.kept_share("web", half)
    assert rows.loc[f"{half}-0", "keep"] == pytest.approx(share, rel=1e-9)
    assert share == pytest.approx(0.5, abs=0.03)
    assert set(rows.loc[rows["selection"] != "half", "keep"]) == {1.0}
    # 1,024 tokens are within either text, 2,560 repeat both; the stock is the selection's own.
    windows = {None: (store.count("web", "train") - 1) // 16, half: (store.count("web", "train", half) - 1) // 16}
    for key, count in windows.items():
        assert rows.loc[f"{key}-0@1024", "unique_tokens"] == 1024
        assert rows.loc[f"{key}-0", "unique_tokens"] == count * 16
        assert rows.loc[f"{key}-0", "epochs"] == pytest.approx(2_560 / (count * 16))


def test_a_selection_that_has_changed_or_is_not_there_is_refused(store, runs, plain, tmp_path):
    easy = steps()["perplexity"](band=(0, 0.5), reference="reference.jsonl")
    easiest = NamedSelection("easiest", (easy,), lambda number, step: "space.yaml", None)
    for letter in "ab":
        (tmp_path / "reference.jsonl").write_text(json.dumps({"text": letter * 500}) + "\n")
        prepare(corpus(tmp_path), tmp_path / "store", selections=[easiest])
        if letter == "a":
            run = runs[0].model_copy(update={"selection": easiest.key})
            campaign = Campaign.create(tmp_path / "c", [run], tmp_path / "store", plain)
    with pytest.raises(CampaignError, match=f"what the selection {easiest.key} keeps has changed"):
        campaign.open_store()
    lost = runs[0].model_copy(update={"selection": "x"})
    with pytest.raises(CampaignError, match=r"run None-0: the tokens hold no selection 'x'; those that they hold: cop"):
        Campaign.create(tmp_path / "d", [lost], tmp_path / "store", plain)


SPACE = """
corpora: corpora.yaml
widths: [8]
depth: 1
context_length: 16
tokens: [2k]
seeds: 2
selections: [none, {name: half, select: [sample]}, {select: [{perplexity: {reference: reference.jsonl}}]}]
"""


@pytest.fixture
def space(store, tmp_path, plain, monkeypatch):
    """A space beside the text of the store, on a machine that isn't measured."""
    plan = ComputePlan(device="cpu", precision="fp32", processor="any")
    machine = Machine(Speed(1e9, "cpu", {8: 1e9}), 1, plain)
    monkeypatch.setattr(project_module, "_machine", lambda *_: (machine, plan))
    domains = "{web: {path: web.jsonl, validation_path: valid.jsonl}, toy: {synthetic: {kind: zipf, tokens: 2k}}}"
    (tmp_path / "corpora.yaml").write_text(f"domains: {domains}")
    (tmp_path / "reference.jsonl").write_text(json.dumps({"text": "a" * 500}) + "\n")
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path / "space.yaml"


def test_a_project_prepares_selections_and_knows_when_what_they_read_has_changed(space, tmp_path):
    project = Project.create(tmp_path / "p", space)
    assert sorted(project.store().selections.values()) == ["half", "perplexity"]
    assert {run.selection for run in project.design().runs} == {None, *project.store().selections}
    project.check_corpus()
    # A project without selections shares the tokens, whatever others hold beside them.
    space.with_name("plain.yaml").write_text(SPACE.partition("selections")[0])
    plain = Project.create(tmp_path / "q", space.with_name("plain.yaml"))
    project.check_corpus()
    plain.check_corpus()
    (tmp_path / "reference.jsonl").write_text(json.dumps({"text": "b" * 500}) + "\n")
    plain.check_corpus()
    with pytest.raises(CampaignError, match=r"the text of web \(perplexity\) has changed since .*/p was designed"):
        project.check_corpus()


def test_selections_of_a_mix_without_text_are_refused(space, tmp_path):
    space.write_text(SPACE + "mix: {toy: 1}")
    with pytest.raises(ConfigError, match=r"space\.yaml:8: selections\.1: goes with text only; the domains of"):
        Project.create(tmp_path / "p", space)
    assert not (tmp_path / "p").exists()
