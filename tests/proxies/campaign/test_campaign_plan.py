"""How a campaign is computed is decided once, kept in its file, and refused where it can't be kept to."""

import json
import sys
from types import SimpleNamespace

import pytest
from foretrain.core.errors import CampaignError, ForetrainWarning
from foretrain.proxies.campaign import machine_check
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.compute_plan import ComputePlan, shape_plans
from foretrain.proxies.executors import Executor, GroupOutcome
from foretrain.proxies.results import CurvePoint, DomainLoss, RunResult, Validation
from foretrain.proxies.settings import EngineSettings
from foretrain.simulator.report.tables.proxies import status_view, trained_view
from rich.console import Console

AUTO = EngineSettings(device="cpu", compile="never", eval_tokens=2_048)


class Here(Executor):
    """Trains nothing, in this process; notes the settings that the engine is given."""

    def __init__(self):
        super().__init__()
        self.devices, self.settings = [], []

    def run(self, jobs, device):
        self.devices.append(device)
        for job in jobs:
            yield GroupOutcome(job.group, train_one_group(job.folder, job.group, train=self._train))

    def _train(self, runs, store, settings, checkpoint, report):
        self.settings.append(settings)
        return [result_of(run) for run in runs]


class Elsewhere(Here):
    """The same, as a cluster of other machines would."""

    trains_here = False


def result_of(run):
    losses = dict.fromkeys("ab", DomainLoss(3.0, 0.01))
    evaluation = Validation(run.steps, run.steps * run.batch_tokens, losses, {"a": 1}, {"a": 1})
    return RunResult(run.run_id, "ok", (evaluation,), (CurvePoint(1, 256, 4.0, 0.01),), None, {})


@pytest.fixture
def runs(toy_run):
    return [toy_run(f"r{seed}", seed=seed) for seed in range(5)]


@pytest.fixture
def create(tmp_path, toy_store, runs):
    """`create(settings)`: the campaign of this test's folder."""
    return lambda settings=AUTO: Campaign.create(tmp_path / "c", runs, toy_store, settings)


@pytest.fixture
def machine(monkeypatch):
    """This machine as it would be measured: `precision` is fast, it is `missing` something; how often it was asked."""
    engine = pytest.importorskip("foretrain.proxies.engine")
    state = SimpleNamespace(precision="bf16", missing=None, plans=0, checks=0)

    def measure_plan(runs, settings):
        state.plans += 1
        shapes = shape_plans(runs, settings, "cpu", {})
        return ComputePlan(device="cpu", precision=state.precision, processor="a fast one", busy=True, shapes=shapes)

    def what_is_missing(device, precision, program):
        state.checks += 1
        return state.missing

    monkeypatch.setattr(engine, "measure_plan", measure_plan)
    monkeypatch.setattr(engine, "what_is_missing", what_is_missing)
    machine_check._missing.cache_clear()
    yield state
    machine_check._missing.cache_clear()


def test_the_plan_is_measured_once_kept_and_given_to_every_worker(create, machine):
    campaign = create()
    facts = json.loads(campaign.layout.file.read_text())
    assert facts["plan"]["precision"] == "bf16"
    assert facts["plan"]["shapes"][0]["copies"] == 4
    assert facts["settings"]["precision"] == facts["settings"]["group_size"] == "auto"
    assert [len(group) for group in campaign.file.groups] == [3, 2]
    machine.precision = "fp32"
    again = create()
    assert (again.file.plan, again.file.groups) == (campaign.file.plan, campaign.file.groups)
    here = Here()
    assert campaign.train(here).complete
    assert here.devices == ["cpu"]
    assert {(s.device, s.precision, s.eval_tokens) for s in here.settings} == {("cpu", "bf16", 2_048)}
    assert (machine.plans, machine.checks) == (1, 1), "checked once a process, not for each group"


def test_busy_cores_are_told_in_one_line(create, machine):
    status = create().status()
    plan = json.loads(json.dumps(status.to_dict()))["plan"]
    assert plan == {"device": "cpu", "precision": "bf16", "processor": "a fast one", "busy": True}
    for view in (status_view({"main": status}), trained_view("c", status, None)):
        console = Console(width=200)
        with console.capture() as told:
            console.print(view)
        assert told.get().count("! the cores were busy when their speed was measured") == 1


@pytest.mark.parametrize("choice", ["auto", "never"])
def test_a_missing_compiler_is_told_where_it_is_missed(create, monkeypatch, recwarn, choice):
    monkeypatch.setattr(machine_check, "find_compiler", lambda: None)
    campaign = create(AUTO.model_copy(update={"precision": "fp32", "compile": choice}))
    assert campaign.train(Here()).complete
    told = [str(warning.message) for warning in recwarn if issubclass(warning.category, ForetrainWarning)]
    assert len(told) == (choice == "auto")
    assert all("no C++ compiler (g++, clang++ or $CXX)" in text for text in told)


def test_what_is_stated_needs_no_torch(create, monkeypatch):
    monkeypatch.setitem(sys.modules, "foretrain.proxies.engine", None)
    stated = AUTO.model_copy(update={"precision": "fp32"})
    plan = create(stated).file.plan
    assert (plan.device, plan.precision, plan.busy, plan.shapes[0].fp32_gflops) == ("cpu", "fp32", False, None)
    assert create(stated).file.plan == plan
    assert create(stated).train(Here()).complete


def test_a_campaign_from_before_plans_is_trained_as_it_was(create, machine):
    path = create().layout.file
    facts = json.loads(path.read_text())
    del facts["plan"]
    path.write_text(json.dumps(facts))
    campaign = create()
    assert campaign.file.plan is None
    here = Here()
    assert campaign.train(here).complete
    assert (here.devices, {s.precision for s in here.settings}) == (["cpu"], {"auto"})
    assert machine.checks == 0


@pytest.mark.parametrize("kind", [Here, Elsewhere])
def test_a_machine_without_the_precision_that_it_began_in_is_refused(create, machine, kind):
    """At once where it trains here; by the group where workers are elsewhere."""
    campaign = create()
    machine.missing = "a slow one multiplies slower in bf16 than in fp32"
    where = kind()
    with pytest.raises(CampaignError) as caught:
        campaign.train(where)
    message = str(caught.value)
    assert (
        f"{campaign.folder}: was begun in bf16 on a fast one, but here a slow one multiplies slower in bf16 than in "
        "fp32; finish it on a machine like that one, or start a new campaign in another folder with engine: "
        "{precision: fp32}"
    ) in message
    assert (where.settings, machine.checks) == ([], 1)
    assert ("2 of 2 groups failed" in message) == (kind is Elsewhere)
    assert not list(campaign.folder.glob("runs/*"))
    machine.missing = None
    machine_check._missing.cache_clear()
    assert campaign.train(where).complete


def test_a_precision_that_is_asked_for_by_name_is_not_questioned(create, machine):
    machine.missing = "no bf16 of its own"
    assert create(AUTO.model_copy(update={"precision": "bf16"})).train(Here()).complete
    assert (machine.plans, machine.checks) == (0, 0)


def test_a_gpu_that_is_gone_is_refused(create, machine, monkeypatch):
    gpu = ComputePlan(device="cuda", precision="fp32", processor="a card")
    monkeypatch.setattr("foretrain.proxies.engine.measure_plan", lambda runs, settings: gpu)
    campaign = create(EngineSettings(precision="fp32"))
    machine.missing = "torch sees no GPU here"
    with pytest.raises(CampaignError, match=r"in fp32 on a card, but here torch sees no GPU.*engine: \{device: cpu\}"):
        campaign.train(Here())
