"""Campaigns with an engine that computes nothing: the folder, who may write it, and what becomes of results."""

import io
import json
import math
import os
import random
import shutil
from dataclasses import replace
from functools import partial

import pytest
from foretrain.core.errors import CampaignError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.runs.run_table import RunTable
from foretrain.datasets.tokens.prepare import prepare
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.campaign.result_files import read_curve
from foretrain.proxies.executors import Executor, GroupOutcome
from foretrain.proxies.results import CurvePoint, DomainLoss, RunResult, Validation
from foretrain.simulator.report.tables.proxies import status_view
from rich.console import Console


def result_of(run, domains=("a", "b"), diverges=False):
    """A result that depends on the run alone."""
    rng = random.Random(run.model_dump_json())
    steps = run.evaluate_steps[:-1] if diverges else run.evaluate_steps
    evaluations = []
    for step in steps:
        tokens = step * run.batch_tokens
        losses = {domain: DomainLoss(3 + rng.random(), 0.01) for domain in domains}
        seen = {domain: round(share * tokens) for domain, share in run.mix.items()}
        stock = {domain: int(run.unique_tokens.get(domain, 10**9)) for domain in run.mix}
        evaluations.append(Validation(step, tokens, losses, seen, stock))
    curve = tuple(CurvePoint(s, s * run.batch_tokens, 4.0 / s, 0.01) for s in range(1, run.steps + 1))
    status, died = ("diverged", run.steps - 1) if diverges else ("ok", None)
    return RunResult(run.run_id, status, tuple(evaluations), curve, died, {"device": "none"})


class Here(Executor):
    """Trains in this process, with `train` in the place of the engine."""

    name = "here"

    def __init__(self, train=None):
        super().__init__()
        self.trained = []
        self.train = train or (lambda run: result_of(run))

    def run(self, jobs, device):
        for job in jobs:
            yield None
            yield GroupOutcome(job.group, train_one_group(job.folder, job.group, train=self._train))

    def _train(self, runs, store, settings, checkpoint, report):
        self.trained.append([run.run_id for run in runs])
        checkpoint.write_bytes(b"as far as it got")
        return [self.train(run) for run in runs]


@pytest.fixture
def create(tmp_path, toy_store, toy_settings):
    """`create(runs)`: a campaign in this test's folder."""
    return lambda runs, folder="c", **more: Campaign.create(tmp_path / folder, runs, toy_store, toy_settings, **more)


@pytest.fixture
def runs(toy_run):
    """Five runs in three groups: 2 of one length and 3 of another, which don't fit into one group of 2."""
    short = [toy_run(f"s{seed}", seed=seed) for seed in range(2)]
    return [*short, *(toy_run(f"l{seed}", 20_000, seed=seed, evaluate_at=[9_000]) for seed in range(3))]


def outcomes(campaign):
    return {run.run_id: result.evaluations for run, result in campaign.results()}


# the folder


def test_the_folder_says_everything_and_comes_back(create, runs, toy_store):
    campaign = create(runs, space={"sizes": (1, 2)}, predicted_s=12.5)
    opened = Campaign.open(campaign.folder)
    assert opened.file == campaign.file
    assert opened.file.runs == tuple(runs)
    assert opened.file.space == {"sizes": [1, 2]}
    facts = json.loads((campaign.folder / "campaign.json").read_text())
    assert os.path.samefile(campaign.folder / facts["store"]["folder"], toy_store)
    assert facts["runs"][0]["recipe"]["beta2"] == 0.95, "defaults are written out"
    assert facts["settings"]["checkpoint_every_s"] == 0.5
    assert opened.open_store().digest == facts["store"]["digest"]


def test_tokens_are_found_through_a_link_and_after_a_move(runs, tmp_path, toy_store, toy_settings):
    shutil.copytree(toy_store, tmp_path / "deep" / "er" / "store")
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    folder = tmp_path / "link" / "c"
    campaign = Campaign.create(folder, runs, tmp_path / "deep" / "er" / "store", toy_settings)
    assert campaign.file.store.folder == "../store"
    assert campaign.open_store().digest == campaign.file.store.digest
    (tmp_path / "deep").rename(tmp_path / "moved")
    assert Campaign.open(tmp_path / "moved" / "er" / "c").open_store().digest == campaign.file.store.digest


def test_groups_are_even_alike_and_the_costliest_come_first(create, runs, toy_run):
    campaign = create([*runs, toy_run("big", 50_000)])
    assert campaign.file.groups == (("big",), ("l1", "l2"), ("l0",), ("s0", "s1"))
    costs = [sum(run.training_flops for run in campaign.group_runs(g)) for g in range(4)]
    assert costs == sorted(costs, reverse=True)
    with pytest.raises(CampaignError, match="there is no group 4"):
        campaign.group_runs(4)


def test_the_same_campaign_again_is_the_one_that_is_there(create, runs, toy_run):
    first = create(runs, predicted_s=10)
    before = (first.folder / "campaign.json").read_bytes()
    again = create(runs, predicted_s=11)
    assert again.file == first.file
    assert (first.folder / "campaign.json").read_bytes() == before
    for other in (runs[:-1], [*runs[:-1], toy_run("l2", 20_000, seed=9, evaluate_at=[9_000])]):
        with pytest.raises(CampaignError, match="holds another campaign"):
            create(other)
    with pytest.raises(CampaignError, match="holds another campaign"):
        create(runs, space={"sizes": [1]})


def test_a_folder_with_other_things_is_refused(create, runs, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.tex").write_text("mine")
    with pytest.raises(CampaignError, match=r"holds other files, such as 'thesis\.tex'; expected a new or empty"):
        create(runs)
    with pytest.raises(CampaignError, match=r"has no campaign\.json; expected a folder made by"):
        Campaign.open(tmp_path / "c")
    (tmp_path / "file").write_text("")
    with pytest.raises(CampaignError, match="can't be a campaign's folder"):
        create(runs, folder="file")


@pytest.mark.parametrize("name", [".hidden", "..", "a/b", "a\\b", "é", "x" * 101, "a b", "con\u2028"])
def test_a_run_id_must_be_able_to_name_a_folder(create, toy_run, name):
    with pytest.raises((CampaignError, ValueError), match=r"can't name a folder|printable"):
        create([toy_run(name)])


def test_run_ids_must_stay_apart(create, toy_run):
    with pytest.raises(CampaignError, match="would share a folder"):
        create([toy_run("A"), toy_run("a", seed=1)])
    with pytest.raises(CampaignError, match=r"two rows of the run table would be named 'a@4096'"):
        create([toy_run("a", evaluate_at=[4096]), toy_run("a@4096")])


def test_runs_must_fit_the_tokens(create, toy_run):
    with pytest.raises(CampaignError, match=r"run x: the tokens have no domain 'web'; the domains are a, b"):
        create([toy_run("x", mix={"web": 1.0})])
    shape = {**toy_run("x").shape.model_dump(), "vocab_size": 32}
    with pytest.raises(CampaignError, match=r"shape\.vocab_size: got 32; expected at least the 64 of the tokens"):
        create([toy_run("x", shape=shape)])
    with pytest.raises(CampaignError, match="runs"):
        create([])


DAMAGE = [
    (lambda f: f.update(format=2), "format"),
    (lambda f: f.update(foretrain="9.0.0"), r"made by foretrain 9\.0\.0"),
    (lambda f: f.update(surprise=1), "surprise: unknown key"),
    (lambda f: f["runs"][0].update(tokens=True), r"runs\.0\.tokens"),
    (lambda f: f["runs"][0]["shape"].update(width=-1), r"runs\.0\.shape\.width"),
    (lambda f: f["runs"][0].update(run_id="../../etc"), "can't name a folder"),
    (lambda f: f["settings"].update(group_size=0), r"settings\.group_size"),
    (lambda f: f["groups"].pop(), "don't hold every run exactly once"),
    (lambda f: f["groups"].append(f["groups"][0]), "don't hold every run exactly once"),
    (lambda f: f.update(groups=[[name for group in f["groups"] for name in group]]), "can't be trained together"),
    (lambda f: f["groups"].append([]), "one has no runs"),
    (lambda f: f["store"].update(digest="abc"), r"store\.digest"),
    (lambda f: f.pop("runs"), "runs: is missing"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE, ids=[message for _, message in DAMAGE])
def test_a_damaged_campaign_is_refused_by_key(create, runs, damage, message):
    path = create(runs).folder / "campaign.json"
    facts = json.loads(path.read_text())
    damage(facts)
    path.write_text(json.dumps(facts))
    with pytest.raises(CampaignError, match=message):
        Campaign.open(path.parent)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "null"])
def test_a_file_that_is_no_campaign_is_refused(create, runs, text):
    path = create(runs).folder / "campaign.json"
    path.write_text(text)
    with pytest.raises(CampaignError, match=r"campaign\.json"):
        Campaign.open(path.parent)


# training


def test_training_writes_every_result_once_and_leaves_nothing_else(create, runs):
    campaign, here, said = create(runs), Here(), []
    status = campaign.train(here, lambda text, share: said.append((text, share)))
    assert status.complete
    assert sorted(name for group in here.trained for name in group) == sorted(run.run_id for run in runs)
    assert outcomes(campaign) == {run.run_id: result_of(run).evaluations for run in runs}
    assert [r.run_id for r, _ in campaign.results()] == [run.run_id for run in runs]
    for run in runs:
        assert read_curve(campaign.layout.run(run.run_id)) == result_of(run).curve
    names = sorted(path.relative_to(campaign.folder).as_posix() for path in campaign.folder.rglob("*"))
    files = [f"runs/{run.run_id}/{name}" for run in runs for name in ("curve.csv", "result.json", "run.json")]
    folders = ["groups", "runs", *(f"runs/{run.run_id}" for run in runs)]
    assert names == sorted([".lock", "campaign.json", "time.json", *folders, *files])
    assert [share for _, share in said] == sorted(share for _, share in said)
    assert said[0] == ("checking the tokens", 0)
    assert said[-1][1] == 1
    assert said[-1][0].startswith("5 of 5 runs")

    here.trained.clear()
    assert campaign.train(here).complete
    assert here.trained == [], "what is done isn't done again"


def test_a_group_with_one_result_is_trained_whole_again(create, runs):
    campaign = create(runs)
    campaign.train(Here())
    before = outcomes(campaign)
    (campaign.layout.run("s0") / "result.json").unlink()
    here = Here()
    campaign.train(here)
    assert here.trained == [["s0", "s1"]]
    assert outcomes(campaign) == before


def test_a_failure_is_noted_the_others_go_on_and_it_is_tried_again(create, runs):
    campaign = create(runs)

    def fail(run):
        if run.run_id == "s1":
            raise RuntimeError("the\nlamp went out")
        return result_of(run)

    with pytest.raises(CampaignError, match=r"(?s)1 of 3 groups failed.*group \d \(s0, s1\): RuntimeError: the$"):
        campaign.train(Here(fail))
    status = campaign.status()
    assert status.counts == {"planned": 0, "running": 0, "done": 3, "diverged": 0, "failed": 2}
    assert {s.run_id: s.failure for s in status.runs if s.state == "failed"}["s1"] == "RuntimeError: the"
    (path,) = campaign.folder.glob("groups/*/failure.json")
    assert "in fail" in json.loads(path.read_text())["traceback"]
    here = Here()
    assert campaign.train(here).complete
    assert here.trained == [["s0", "s1"]]
    assert not list(campaign.folder.glob("groups/*"))


def test_a_full_disk_stops_a_group_and_harms_nothing(create, runs, monkeypatch):
    campaign = create(runs)
    replace, limit = os.replace, 4

    def full(source, target):
        if sum(1 for _ in campaign.folder.rglob("*.json")) > limit:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("foretrain.core.files.os.replace", full)
    with pytest.raises(CampaignError, match="No space left on device"):
        campaign.train(Here())
    assert not list(campaign.folder.rglob(".tmp-*"))
    monkeypatch.undo()
    assert campaign.train(Here()).complete
    assert outcomes(campaign) == {run.run_id: result_of(run).evaluations for run in runs}


def test_what_a_killed_process_left_is_swept(create, runs):
    campaign = create(runs)
    left = [campaign.folder / ".tmp-1", campaign.layout.run("s0") / ".tmp-2", campaign.layout.group(0).path / ".tmp-3"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half a resu")
    campaign.train(Here())
    assert not [path for path in left if path.exists()]


def test_killed_at_any_step_every_result_that_was_there_stays_and_the_rest_is_trained(dies_at, create, runs):
    campaign = create(runs)
    for step in range(3, 60, 4):  # each goes on with what the one before has left
        done = outcomes(campaign)
        if not dies_at(step, partial(Campaign.open(campaign.folder).train, Here())):
            break
        assert outcomes(campaign).items() >= done.items()
    assert len(done) > 0
    assert campaign.train(Here()).complete
    assert outcomes(campaign) == {run.run_id: result_of(run).evaluations for run in runs}
    assert not list(campaign.folder.rglob(".tmp-*"))


def test_the_folder_of_a_group_that_is_done_is_swept(create, runs):
    """A process can be killed between a group's last result and the end of its checkpoint."""
    campaign = create(runs)
    campaign.train(Here())
    left = campaign.layout.group(1)
    left.path.mkdir()
    left.checkpoint.write_text("large")
    campaign.train(Here())
    assert not left.path.exists()


def test_a_second_train_is_refused_at_once(create, runs):
    campaign = create(runs)
    with (
        campaign.layout.locked(),
        pytest.raises(CampaignError, match=r"another process is training this campaign") as caught,
    ):
        Campaign.open(campaign.folder).train(Here())
    assert str(campaign.folder) in str(caught.value)


def test_tokens_that_changed_are_refused_with_both_digests(runs, tmp_path, toy_store, toy_settings):
    store = tmp_path / "store"
    shutil.copytree(toy_store, store)
    campaign = Campaign.create(tmp_path / "c", runs, store, toy_settings)
    source = {"kind": "zipf", "vocab_size": 64, "tokens": 20_000}
    shutil.rmtree(store)
    domains = {name: {"synthetic": source} for name in "ab"}
    other = prepare(Corpus.from_mapping({"domains": domains}, folder=tmp_path), store).digest
    with pytest.raises(CampaignError, match=f"made for digest {campaign.file.store.digest}, they now have {other}"):
        campaign.train(Here())
    message = train_one_group(str(campaign.folder), 0)
    assert message.startswith("CampaignError: ")
    assert "prepare the corpus as it was, or start a new campaign" in message


def test_tokens_that_were_damaged_are_refused(runs, tmp_path, toy_store, toy_settings):
    store = tmp_path / "store"
    shutil.copytree(toy_store, store)
    campaign = Campaign.create(tmp_path / "c", runs, store, toy_settings)
    (shard,) = store.glob("a.train.*")
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorpusError, match=shard.name):
        campaign.train(Here())


def test_a_group_is_never_trained_twice_at_the_same_time(create, runs, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr("foretrain.proxies.campaign.group._LOCK_WAIT_S", 0.1)
    campaign = create(runs)
    files = campaign.layout.group(0)
    files.path.mkdir(parents=True)
    with FileLock(files.lock):
        assert "another process is still training this group" in train_one_group(str(campaign.folder), 0)


def test_a_folder_that_is_no_campaign_is_a_failure_not_a_crash(tmp_path):
    assert train_one_group(str(tmp_path), 0).startswith("CampaignError: ")


# status


def test_status_counts_runs_by_state(create, runs, toy_run):
    from filelock import FileLock

    campaign = create([*runs, toy_run("d0", 30_000, evaluate_at=[9_000])])
    (running,) = (g for g, ids in enumerate(campaign.file.groups) if "s0" in ids)
    (planned,) = (g for g, ids in enumerate(campaign.file.groups) if "l0" in ids)

    class Some(Here):
        def run(self, jobs, device):
            return super().run([job for job in jobs if job.group not in (running, planned)], device)

    campaign.train(Some(lambda run: result_of(run, diverges=run.run_id == "d0")))
    files = campaign.layout.group(running)
    files.path.mkdir(parents=True)
    files.progress.write_text(json.dumps({"step": 16, "steps": 32, "steps_per_s": 2.0}))
    with FileLock(files.lock):
        status = campaign.status()
    assert status.counts == {"planned": 1, "running": 2, "done": 2, "diverged": 1, "failed": 0}
    assert status.tokens_per_s == 2 * 2.0 * 256
    assert status.tokens_total - status.tokens_done == 79 * 256 + 2 * 16 * 256
    assert status.eta_s == pytest.approx((79 + 32) / 4.0)
    facts = json.loads(json.dumps(status.to_dict(), allow_nan=False))
    counts = {name: facts[name] for name in ("planned", "running", "done", "diverged", "failed", "total", "complete")}
    assert counts == {"planned": 1, "running": 2, "done": 2, "diverged": 1, "failed": 0, "total": 6, "complete": False}
    later = campaign.status()
    assert (later.counts["planned"], later.eta_s) == (3, None), "a checkpoint that nobody works on isn't running"


def test_status_has_what_models_noted_at_the_end(create, runs):
    def noting(run):
        result = result_of(run)
        if not run.run_id.startswith("s"):
            return result
        noted = {"router_load": 1.0 + 0.25 * run.seed, "router_idle": 0.0, "depth": 3.0}
        last = replace(result.evaluations[-1], diagnostics=noted)
        return replace(result, evaluations=(*result.evaluations[:-1], last))

    campaign = create(runs)
    campaign.train(Here(noting))
    status = campaign.status()
    told = {run["run_id"]: run.get("diagnostics") for run in status.to_dict()["runs"]}
    loads = [1.0 + 0.25 * run.seed for run in runs if run.run_id.startswith("s")]
    assert len(loads) > 1
    assert [noted["router_load"] for name, noted in told.items() if name.startswith("s")] == loads
    assert all(noted is None for name, noted in told.items() if not name.startswith("s"))
    console = Console(width=200, file=io.StringIO())
    console.print(status_view({"main": status}))
    text = console.file.getvalue()
    ends = f"{min(loads):.2f} to {max(loads):.2f}"
    assert f"router: the busiest expert gets {ends} times an even share ({len(loads)} runs)" in text
    assert f"an even share: 0% ({len(loads)} runs)\ndepth 3 (" in text


# the table


@pytest.mark.filterwarnings(
    "ignore::foretrain.core.errors.DataWarning"
)  # so few tokens could well be meant in millions
def test_the_table_has_a_row_for_each_validation(create, runs, tmp_path):
    campaign = create(runs)
    with pytest.raises(CampaignError, match="no run is done yet"):
        campaign.table()
    campaign.train(Here())
    table = campaign.write_table(tmp_path / "runs.csv")
    assert RunTable.read(tmp_path / "runs.csv").digest() == table.digest()
    frame = table.frame.set_index("run_id")
    assert list(frame.index) == ["s0", "s1", *(f"l{k}{end}" for k in range(3) for end in ("@8960", ""))]
    assert table.loss_columns == ["loss", "loss.a", "loss.b"]
    assert table.domains == ["a", "b"]
    row, run, result = frame.loc["l1"], runs[3], result_of(runs[3])
    losses = {domain: loss.mean_nats for domain, loss in result.evaluations[-1].losses.items()}
    assert row["loss"] == pytest.approx(sum(losses.values()) / 2)
    assert (row["loss.a"], row["loss.b"]) == (losses["a"], losses["b"])
    assert row["loss_se"] == pytest.approx(math.hypot(0.01, 0.01) / 2)
    assert (row["tokens"], row["steps"], row["batch_tokens"]) == (20_224, 79, 256)
    assert row["flops"] == run.training_flops
    assert frame.loc["l1@8960", "flops"] == run.shape.training_flops_per_token() * 8_960
    assert (row["params"], row["params_embedding"]) == (run.shape.params_total, 4096)
    assert (row["width"], row["depth"], row["heads"], row["context_length"]) == (32, 1, 2, 32)
    assert (row["architecture"], row["optimizer"], row["schedule"]) == ("transformer", "adamw", "constant")
    assert (row["mix.a"], row["seed"], row["source"], row["status"]) == (0.5, 1, "toy", "ok")
    assert not {"epochs", "unique_tokens", "val_domain", "tokenizer"} & set(frame.columns)


def test_repeated_data_count_as_epochs(create, toy_run):
    campaign = create([toy_run("x", 20_480, evaluate_at=[4_096], unique_tokens={"a": 4_096}), toy_run("y", 20_480)])
    campaign.train(Here())
    frame = campaign.table().frame.set_index("run_id")
    assert frame.loc["x", "unique_tokens"] == 4_096 + 10_240
    assert frame.loc["x", "epochs"] == pytest.approx(20_480 / 14_336)
    assert frame.loc["x@4096", "epochs"] == frame.loc["y", "epochs"] == 1
    assert frame.loc["x", "unique_tokens.a"] == 4_096, "the stock that was used up, and only that one"
    assert math.isnan(frame.loc["y", "unique_tokens.a"])
    assert "unique_tokens.b" not in frame


def test_runs_that_diverged_are_kept_and_marked_in_every_row(create, runs):
    campaign = create(runs)
    campaign.train(Here(lambda run: result_of(run, diverges=run.run_id in ("l1", "s0"))))
    table = campaign.table()
    frame = table.frame.set_index("run_id")
    assert list(frame.loc[["l1@8960", "l1", "s0"], "status"]) == ["diverged"] * 3
    assert frame.loc["l1@8960", "loss"] > 0
    assert math.isnan(frame.loc["l1", "loss"])
    assert (frame.loc["l1", "steps"], frame.loc["l1", "tokens"]) == (78, 78 * 256)
    assert len(table.fit_rows("loss")) == 5


def test_a_campaign_of_nothing_but_lost_runs_has_a_table(create, toy_run):
    campaign = create([toy_run("x"), toy_run("y", seed=1)])
    campaign.train(Here(lambda run: result_of(run, diverges=True)))
    assert len(campaign.table()) == 2


def test_one_domain_is_one_target(runs, tmp_path, toy_settings):
    lines = "\n".join(json.dumps({"text": f"Line {k}: " + "some words " * 30}) for k in range(300))
    (tmp_path / "a.jsonl").write_text(lines)
    corpus = Corpus.from_mapping({"name": "mine", "domains": {"web": {"path": "a.jsonl"}}}, folder=tmp_path)
    store = prepare(corpus, tmp_path / "store")
    shape = {**runs[0].shape.model_dump(), "vocab_size": 256}
    run = runs[0].model_validate({**runs[0].model_dump(), "shape": shape, "mix": {"web": 1.0}})
    campaign = Campaign.create(tmp_path / "c", [run], tmp_path / "store", toy_settings)
    campaign.train(Here(lambda run: result_of(run, domains=["web"])))
    table = campaign.table()
    row = table.frame.iloc[0]
    assert table.loss_columns == ["loss"]
    assert row["val_domain"] == "web"
    assert row["bytes_per_token"] == store.bytes_per_token("web")
    assert row["tokenizer"] == f"bytes-256-{store.tokenizer.digest[:8]}"


def damaged_losses(facts):
    facts["evaluations"][0]["losses"]["a"]["mean_nats"] = -1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged_losses, r"evaluations\.0\.losses\.a\.mean_nats"),
        (lambda f: f.update(run_id="other"), "isn't the result of this run; remove the file to train the run again"),
        (lambda f: f["evaluations"].pop(), "isn't the result of this run"),
        (lambda f: f["evaluations"][-1].update(tokens=1), "isn't the result of this run"),
        (lambda f: f.update(status="fine"), "status"),
    ],
)
def test_a_damaged_result_is_refused_by_file(create, runs, damage, message):
    campaign = create(runs)
    campaign.train(Here())
    path = campaign.layout.run("l0") / "result.json"
    facts = json.loads(path.read_text())
    damage(facts)
    path.write_text(json.dumps(facts))
    for ask in (campaign.table, campaign.status):
        with pytest.raises(CampaignError, match=message) as caught:
            ask()
        assert str(path) in str(caught.value)


def test_a_damaged_curve_is_refused_by_line(create, runs):
    campaign = create(runs)
    campaign.train(Here())
    folder = campaign.layout.run("l0")
    (folder / "curve.csv").write_text("step,tokens,loss_nats,lr\n1,256,4.0,0.01\n2,512,x,0.01\n")
    with pytest.raises(CampaignError, match=r"curve\.csv:3: expected four numbers"):
        read_curve(folder)
    (folder / "curve.csv").write_text("step,loss\n")
    with pytest.raises(CampaignError, match="expected the columns step, tokens"):
        read_curve(folder)


def test_a_standard_error_of_one_sequence_is_unknown(create, toy_run):
    campaign = create([toy_run("x")])

    def one_sequence(run):
        result, losses = result_of(run), dict.fromkeys("ab", DomainLoss(3.0, math.inf))
        evaluation = Validation(result.evaluations[0].step, result.evaluations[0].tokens, losses, {"a": 1}, {"a": 1})
        return RunResult("x", "ok", (evaluation,), result.curve, None, {})

    campaign.train(Here(one_sequence))
    assert outcomes(campaign)["x"][0].losses["a"] == (3.0, math.inf)
    assert "loss_se" not in campaign.table().frame.columns
