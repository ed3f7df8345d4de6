"""What a campaign's time went into, with an engine and a clock of the test's own."""

import json
from types import SimpleNamespace

import pytest
from foretrain.proxies.campaign import campaign_time, group
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.executors import Executor, GroupOutcome
from foretrain.proxies.results import CurvePoint, DomainLoss, RunResult, Validation
from foretrain.simulator.report.tables.proxies import trained_view
from rich.console import Console

STEPS_S, EVALUATION_S, START_S, WAITING_S = 40.0, 5.0, 3.0, 2.0


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = SimpleNamespace(s=1000.0)
    for module in (campaign_time, group):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


class Here(Executor):
    """Two workers, of which the second never gets a job; groups take the seconds above."""

    def __init__(self, clock, interrupted=()):
        super().__init__()
        self.clock, self.interrupted = clock, interrupted

    def run(self, jobs, device):
        self.at_once = 2
        for job in jobs:
            began = self.clock.s
            self.clock.s += START_S
            failure = train_one_group(job.folder, job.group, train=self._train, began=began)
            self.clock.s += WAITING_S
            yield GroupOutcome(job.group, failure)

    def _train(self, runs, store, settings, checkpoint, report):
        self.clock.s += STEPS_S
        seconds = {"start": 0.0, "compile": 0.0, "steps": STEPS_S, "evaluation": 0.0, "writing": 0.0}
        report(SimpleNamespace(step=runs[0].steps, steps=runs[0].steps, seconds=seconds))
        if runs[0].run_id in self.interrupted:
            raise KeyboardInterrupt
        self.clock.s += EVALUATION_S
        return [result_of(run, {**seconds, "evaluation": EVALUATION_S}) for run in runs]


def result_of(run, seconds):
    losses = dict.fromkeys("ab", DomainLoss(3.0, 0.01))
    evaluation = Validation(run.steps, run.steps * run.batch_tokens, losses, {"a": 1}, {"a": 1})
    return RunResult(run.run_id, "ok", (evaluation,), (CurvePoint(1, 256, 4.0, 0.01),), None, {"seconds": seconds})


@pytest.fixture
def campaign(tmp_path, toy_run, toy_store, toy_settings):
    """Two groups: of two runs, and of one."""
    runs = [*(toy_run(f"long{seed}", 16_384, seed=seed) for seed in range(2)), toy_run("short")]
    return Campaign.create(tmp_path / "c", runs, toy_store, toy_settings)


def told(spent, status):
    console = Console(width=200)
    with console.capture() as text:
        console.print(trained_view("c", status, spent))
    return text.get()


def test_what_workers_did_not_use_of_the_wall_clock_was_idle(campaign, clock):
    assert campaign.status().time is None
    status = campaign.train(Here(clock))
    group_s = START_S + STEPS_S + EVALUATION_S
    wall_s = 2 * (group_s + WAITING_S)
    facts = json.loads(json.dumps(status.to_dict()))["time"]
    assert (facts["wall_s"], facts["worker_s"]) == (wall_s, 2 * wall_s)
    assert facts["seconds"] == {
        "start": 2 * START_S,
        "compile": 0,
        "steps": 2 * STEPS_S,
        "scoring": 0,
        "evaluation": 2 * EVALUATION_S,
        "writing": 0,
        "idle": 2 * wall_s - 2 * group_s,
    }
    assert facts["outside_steps"] == pytest.approx(1 - 2 * STEPS_S / (2 * wall_s))
    assert (
        "trained for 1min40s on 2 workers: 40 % training steps, 3 % start and compilation, 5 % evaluation, 52 % idle"
        in told(status.time, status)
    )
    assert campaign.train(Here(clock)).time == status.time, "nothing was left to do"


def test_time_before_an_interruption_counts_too(campaign, clock):
    with pytest.raises(KeyboardInterrupt):
        campaign.train(Here(clock, interrupted=("short",)))
    before = campaign.status().time
    assert before.seconds["steps"] == 2 * STEPS_S
    assert before.wall_s == 2 * (START_S + STEPS_S) + EVALUATION_S + WAITING_S
    after = Campaign.open(campaign.folder).train(Here(clock)).time
    assert after.seconds["steps"] == 3 * STEPS_S
    assert after.seconds["start"] == 3 * START_S
    assert after.wall_s == before.wall_s + START_S + STEPS_S + EVALUATION_S + WAITING_S
    both = before + after
    assert (both.wall_s, both.seconds["steps"]) == (before.wall_s + after.wall_s, 5 * STEPS_S)


def test_parts_of_a_group_that_did_not_fit_count_once(campaign, clock):
    """The result of a part takes its seconds along; they don't stand in the progress of the next one as well."""

    class Small(Here):
        def _train(self, runs, *words):
            if len(runs) > 1:
                self.clock.s += 1.0
                raise MemoryError
            return super()._train(runs, *words)

    with pytest.raises(KeyboardInterrupt):
        campaign.train(Small(clock, interrupted=("long1",)))
    assert campaign.status().time.seconds["steps"] == 2 * STEPS_S
    time = campaign.train(Small(clock)).time
    assert time.seconds["steps"] == 4 * STEPS_S
    assert time.seconds["evaluation"] == 3 * EVALUATION_S
    assert time.worker_s == pytest.approx(2 * time.wall_s)


@pytest.mark.parametrize("text", ["", "{", '{"wall_s": -1}', '{"wall_s": "long"}'])
def test_a_damaged_note_of_time_costs_the_account_and_nothing_else(campaign, clock, text):
    campaign.layout.time.write_text(text)
    assert campaign.status().time is None
    assert campaign.train(Here(clock)).time.wall_s == 2 * (START_S + STEPS_S + EVALUATION_S + WAITING_S)


def test_notes_that_are_no_seconds_are_left_out(campaign, clock):
    campaign.train(Here(clock))
    path = campaign.layout.run("short") / "result.json"
    facts = json.loads(path.read_text())
    facts["engine"]["seconds"] = {"steps": "many", "evaluation": -1, "start": 2}
    path.write_text(json.dumps(facts))
    seconds = campaign.status().time.seconds
    assert (seconds["steps"], seconds["evaluation"], seconds["start"]) == (STEPS_S, EVALUATION_S, START_S + 2)
