"""Runs that start from trained weights: they begin where those ended, whatever computes them, and resume to the bit."""

from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import CampaignError, ConfigError
from foretrain.core.reading.fields import FieldError
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.engine import _train as train_module
from foretrain.proxies.engine import train_group
from foretrain.proxies.engine._checkpoint import load_checkpoint, save_checkpoint
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.executors import get_executor
from foretrain.proxies.kernels import find_compiler
from foretrain.proxies.project import Project
from foretrain.proxies.runs import ProxyRun, Start
from foretrain.proxies.starting_weights import find_starting_weights, started
from foretrain.proxies.weights import WEIGHTS_NAME

pytestmark = pytest.mark.usefixtures("one_thread")

WAYS = ["never", pytest.param("always", marks=pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler"))]


@pytest.fixture(scope="module")
def before(tiny_run, tiny_store, plain, tmp_path_factory):
    """Two short runs that kept their weights, and their results."""
    keeping = plain.model_copy(update={"keep_weights": True})
    runs = [tiny_run(60, run_id=f"base-{seed}", seed=seed, recipe={"lr": 0.02}) for seed in range(2)]
    return runs, train_group(runs, tiny_store, keeping, tmp_path_factory.mktemp("before") / "c")


@pytest.fixture(scope="module")
def starts(before):
    """The weights by digest, as the engine takes them."""
    return {result.weights.digest: result.weights for result in before[1]}


@pytest.fixture(scope="module")
def continuing(tiny_run, before):
    """`continuing(seed, **fields)`: a run of 24 steps on another mix that starts from the weights of that seed."""

    def make(seed: int, **fields) -> ProxyRun:
        run, result = before[0][seed], before[1][seed]
        start = Start(run_id=run.run_id, tokens=run.tokens, digest=result.weights.digest)
        given = {"steps": 24, "run_id": f"more-{seed}", "seed": seed, "mix": {"a": 0.2, "c": 0.8}, "start": start}
        return tiny_run(**{**given, **fields})

    return make


@pytest.mark.parametrize("way", WAYS)
def test_they_start_with_the_losses_of_the_weights_each_with_its_own(
    way, before, continuing, starts, tiny_run, tiny_store, plain
):
    settings = plain.model_copy(update={"compile": way})
    runs = [continuing(0), tiny_run(24, run_id="fresh", mix={"a": 1.0}), continuing(1)]
    group = TrainingGroup(runs, tiny_store, settings, resolve(settings, runs), None, starts)
    group._evaluate()
    for copy, result in ((0, before[1][0]), (2, before[1][1])):
        now, then = group.evaluations[copy][0].losses, result.evaluations[-1].losses
        assert {name: loss.mean_nats for name, loss in now.items()} == pytest.approx(
            {name: loss.mean_nats for name, loss in then.items()}, abs=1e-5
        )
    fresh, trained = (group.evaluations[copy][0].losses["a"].mean_nats for copy in (1, 0))
    assert fresh > trained + 0.3, "what starts from random weights isn't touched"
    assert not any(group.state.first.any() or group.state.second.any() for _ in runs), "the optimizer starts afresh"


@pytest.mark.parametrize("way", WAYS)
def test_a_fault_changes_no_bit(way, continuing, starts, tiny_store, plain, tmp_path, monkeypatch):
    settings = plain.model_copy(update={"compile": way, "keep_weights": True, "checkpoint_every_s": 1e-9})
    runs = [continuing(0), continuing(1)]

    def fail(progress):
        if progress.step == 9:
            raise OSError("no more")

    monkeypatch.setattr(train_module, "_REPORT_EVERY_S", 0.0)
    with pytest.raises(OSError, match="no more"):
        train_group(runs, tiny_store, settings, tmp_path / "c", fail, starts)
    resumed = train_group(runs, tiny_store, settings, tmp_path / "c", None, starts)
    straight = train_group(runs, tiny_store, settings, tmp_path / "unused", None, starts)
    assert [one.weights.digest for one in resumed] == [one.weights.digest for one in straight]
    assert [one.evaluations for one in resumed] == [one.evaluations for one in straight]


def test_a_checkpoint_of_other_weights_is_none_of_theirs(before, continuing, starts, tiny_store, plain, tmp_path):
    mine, theirs = continuing(0), continuing(0, start=continuing(1).start)
    groups = [
        TrainingGroup([run], tiny_store, plain, resolve(plain, [run]), None, starts) for run in (mine, theirs, mine)
    ]
    groups[0].advance()
    save_checkpoint(groups[0], tmp_path / "c")
    assert not load_checkpoint(groups[1], tmp_path / "c")
    assert load_checkpoint(groups[2], tmp_path / "c")


def test_the_text_comes_in_another_order_than_that_of_the_weights(continuing, before, tiny_run):
    run = continuing(0)
    assert run.data_seed != run.seed
    assert run.data_seed == continuing(0, mix={"b": 1.0}).data_seed, "runs that are compared see the same order"
    assert run.data_seed != continuing(1).data_seed
    assert before[0][0].data_seed == before[0][0].seed
    assert "start" not in tiny_run(24).model_dump(mode="json"), "runs of old campaigns stay as they are"


def test_weights_that_are_missing_or_of_another_shape_are_refused(continuing, starts, tiny_store, plain):
    for run, weights, match in (
        (continuing(0), {}, "start: expected its weights"),
        (continuing(0, shape={"width": 32}), starts, "start: got weights of another model or shape"),
    ):
        with pytest.raises(ConfigError, match=match):
            TrainingGroup([run], tiny_store, plain, resolve(plain, [run]), None, weights)


@pytest.fixture(scope="module")
def base(toy_store, toy_settings, toy_run, tmp_path_factory) -> Campaign:
    """A campaign whose runs kept their weights: seeds 1 and 2, of seed 1 also a shorter one."""
    runs = [
        toy_run("short", 1024, seed=1),
        toy_run("long", 4096, seed=1),
        toy_run("other", 4096, seed=2),
        toy_run("again", 4096, seed=2, mix={"a": 1.0}),
    ]
    folder = tmp_path_factory.mktemp("base") / "c"
    keeping = toy_settings.model_copy(update={"keep_weights": True})
    return trained(Campaign.create(folder, runs, toy_store, keeping))


def trained(campaign: Campaign) -> Campaign:
    for group in range(len(campaign.file.groups)):
        assert train_one_group(str(campaign.folder), group) is None
    return campaign


def of_shape(folder: Path, run: ProxyRun, **more):
    given = {"model": run.model, "shapes": [run.shape], "tokenizer_digest": None, **more}
    return find_starting_weights(folder, folder.parent, **given)


def test_the_longest_run_of_each_seed_counts_and_of_equals_the_first(base, toy_run):
    found = of_shape(base.folder, toy_run("r"))
    assert [(each.seed, each.start.run_id, each.start.tokens) for each in found] == [
        (1, "long", 4096),
        (2, "other", 4096),
    ]
    assert found[0].folder == "c/runs/long"
    by_seed = started([toy_run("r", seed=seed) for seed in (2, 1, 9)], found)
    assert [run.start and run.start.run_id for run in by_seed] == ["other", "long", "long"]


def test_what_cant_be_continued_is_refused_with_what_there_is(base, toy_store, toy_settings, toy_run, tmp_path):
    run = toy_run("r")

    def refused(match: str, folder: Path = base.folder, like: ProxyRun = run, **more) -> None:
        with pytest.raises(FieldError, match=match) as caught:
            of_shape(folder, like, **more)
        assert caught.value.key == "continue_from"

    refused("there is no folder .*gone; expected that of a project or campaign", tmp_path / "gone")
    refused("holds no campaign of proxies", tmp_path)
    wider = toy_run("r", shape={**run.shape.model_dump(exclude_none=True), "width": 64})
    refused(r"has no run with .* \(width 64\); those that it has: .*\(width 32\)", like=wider)
    deeper = toy_run("r", shape={**run.shape.model_dump(exclude_none=True), "layers": 2})
    refused("of width 32 have layers 1, here it is layers 2", like=deeper)
    refused("the models of .* are transformer, here they are hyena", model="hyena")
    refused("trained with tokens of no text, the corpora here have the tokenizer aaaaaaaa", tokenizer_digest="a" * 64)
    plain = Campaign.create(tmp_path / "plain", [run], toy_store, toy_settings)
    refused(r"kept no weights; expected runs of a space with `engine: \{keep_weights: true\}`", plain.folder)
    keeping = toy_settings.model_copy(update={"keep_weights": True})
    refused("no run of .* is done", Campaign.create(tmp_path / "new", [run], toy_store, keeping).folder)
    breaking = toy_run("wild", recipe={"lr": 100.0, "weight_decay": 100.0, "warmup_tokens": 0})
    wild = trained(Campaign.create(tmp_path / "wild", [breaking], toy_store, keeping))
    refused(r"diverged \(wild\), so that their weights are of no use", wild.folder)


def test_damaged_weights_are_named_not_trained_on(base, toy_store, toy_settings, toy_run, tmp_path):
    run = toy_run("more", 1024, mix={"b": 1.0}, seed=1)
    (found, _) = of_shape(base.folder, run)
    (run,) = started([run], [found])
    where = {found.start.digest: base.folder.parent / found.folder}
    with pytest.raises(CampaignError, match="it isn't said where the weights of long lie"):
        Campaign.create(tmp_path / "c", [run], toy_store, toy_settings)
    campaign = Campaign.create(tmp_path / "c", [run], toy_store, toy_settings, starts=where)
    path = base.folder.parent / found.folder / WEIGHTS_NAME
    whole = path.read_bytes()
    try:
        path.write_bytes((base.layout.run("other") / WEIGHTS_NAME).read_bytes())
        assert "the weights have changed since the campaign was made" in str(train_one_group(str(campaign.folder), 0))
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert "is damaged" in str(train_one_group(str(campaign.folder), 0))
        path.unlink()
        assert "there is no such file" in str(train_one_group(str(campaign.folder), 0))
    finally:
        path.write_bytes(whole)
    assert train_one_group(str(campaign.folder), 0) is None
    assert set(campaign.table().frame["tokens_before"]) == {4096}


SPACE = "corpora: c.yaml\nwidths: [8, 16]\ndepth: 1\nhead_width: 8\ncontext_length: 32\nmix: {a: 0.5, b: 0.3, c: 0.2}\n"
QUICK = "device: cpu, precision: fp32, compile: never, eval_tokens: 1k"
CORPORA = "domains:\n" + "".join(
    f"  {name}: {{synthetic: {{kind: zipf_markov, vocab_size: 32, branching: 4, tokens: 20k, seed: {seed}}}}}\n"
    for seed, name in enumerate("abc")
)


def test_a_project_continues_from_another_with_every_share_of_a_domain(tmp_path):
    (tmp_path / "c.yaml").write_text(CORPORA, encoding="utf-8")

    def trained_project(name: str, text: str) -> Project:
        (tmp_path / f"{name}.yaml").write_text(SPACE + text, encoding="utf-8")
        project = Project.create(tmp_path / name, tmp_path / f"{name}.yaml", workers=1)
        project.train(get_executor("local", 1))
        return project

    general = trained_project("general", f"tokens: [8k]\nseeds: 2\nengine: {{keep_weights: true, {QUICK}}}\n")
    more = "continue_from: general\ntokens: [256, 4k]\nseeds: 2\nshares: {domain: c, of: [0, 0.6]}\n"
    project = trained_project("special", f"{more}engine: {{{QUICK}}}\n")
    table, before = project.table().frame, general.table().frame
    assert len(table) == 2 * 2 * 2 * 2, "sizes, shares, seeds, token counts"
    assert "tokens_before" not in before.columns
    assert set(table["tokens_before"]) == set(before["tokens"])
    mixes = {tuple(row) for row in table[["mix.a", "mix.b", "mix.c"]].round(6).to_numpy()}
    assert mixes == {(0.625, 0.375, 0.0), (0.25, 0.15, 0.6)}
    wide = before["params"].max()
    then = before[(before["params"] == wide) & (before["seed"] == 1)]["loss.c"].item()
    rows = table[(table["params"] == wide) & (table["seed"] == 1)].set_index(["mix.c", "tokens"])["loss.c"]
    assert rows[0.6, 256] == pytest.approx(then, abs=0.05), "one step of warm-up changes little"
    assert rows[0.6].iloc[-1] < then - 0.1 < rows[0.0].iloc[-1], "what is trained on gets better, what is not forgotten"
    again = Project.create(tmp_path / "special", tmp_path / "special.yaml", workers=1)
    assert again.design().runs == project.design().runs
    assert all(run.start is not None for run in project.candidates())
    (tmp_path / "lost.yaml").write_text(SPACE + "tokens: [4k]\ncontinue_from: nowhere\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"lost\.yaml:8: continue_from: there is no folder .*nowhere"):
        Project.create(tmp_path / "lost", tmp_path / "lost.yaml", workers=1)


def test_training_changes_nothing_in_the_weights_that_it_starts_from(continuing, starts, tiny_store, plain):
    run = continuing(0)
    weights = starts[run.start.digest]
    kept = {name: array.copy() for name, array in weights.arrays.items()}
    group = TrainingGroup([run], tiny_store, plain, resolve(plain, [run]), None, starts)
    group.advance()
    moved = {name: view[0].numpy() for name, view in group.layout.split(group.state.master).items()}
    assert not np.array_equal(moved["norm"], kept["norm"])
    for name, array in weights.arrays.items():
        np.testing.assert_array_equal(array, kept[name])
