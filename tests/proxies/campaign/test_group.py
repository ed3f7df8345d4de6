"""Groups that don't fit into memory: trained in smaller parts, the same ones wherever they were interrupted."""

import json

import pytest
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.results import CurvePoint, DomainLoss, RunResult, Validation


class Engine:
    """Trains at most `fits` copies at once; its call `stops_at` is interrupted. Losses depend on the part."""

    def __init__(self, fits, stops_at=None):
        self.fits, self.stops_at, self.parts = fits, stops_at, []

    def __call__(self, runs, store, settings, checkpoint, report):
        self.parts.append([run.run_id for run in runs])
        if len(runs) > self.fits:
            raise MemoryError("CUDA out of memory.")
        if len(self.parts) == self.stops_at:
            raise KeyboardInterrupt
        return [self._result(run, len(runs)) for run in runs]

    def _result(self, run, copies):
        tokens = run.steps * run.batch_tokens
        losses = {domain: DomainLoss(3 + run.seed / 10 + copies / 1000, 0.01) for domain in "ab"}
        evaluation = Validation(run.steps, tokens, losses, {"a": tokens}, {"a": tokens})
        curve = (CurvePoint(run.steps, tokens, 3.0, 0.1),)
        return RunResult(run.run_id, "ok", (evaluation,), curve, None, {"copies": copies})


@pytest.fixture
def create(tmp_path, toy_store, toy_settings, toy_run):
    """`create(name)`: a campaign of one group of five runs."""
    runs = [toy_run(f"r{seed}", seed=seed) for seed in range(5)]
    settings = toy_settings.model_copy(update={"group_size": 5})
    return lambda name="c": Campaign.create(tmp_path / name, runs, toy_store, settings)


def outcomes(campaign):
    """Evaluations and facts of each run, without how long it took."""
    found = {}
    for run, result in campaign.results():
        facts = {name: value for name, value in result.engine.items() if name != "seconds"}
        found[run.run_id] = (result.evaluations, facts)
    return found


def test_a_group_that_fits_is_trained_whole_and_says_nothing_of_parts(create):
    campaign, engine = create(), Engine(5)
    assert train_one_group(campaign.folder, 0, engine) is None
    assert engine.parts == [["r0", "r1", "r2", "r3", "r4"]]
    assert {engine["copies"] for _, engine in outcomes(campaign).values()} == {5}
    assert not any("split_after_out_of_memory" in engine for _, engine in outcomes(campaign).values())


def test_a_group_that_does_not_fit_is_halved_until_it_does_and_says_so(create):
    campaign, engine = create(), Engine(2)
    assert train_one_group(campaign.folder, 0, engine) is None
    assert [len(part) for part in engine.parts] == [5, 3, 2, 2, 1]
    found = {name: facts for name, (_, facts) in outcomes(campaign).items()}
    assert found == {
        f"r{seed}": {"copies": copies, "split_after_out_of_memory": True} for seed, copies in enumerate((2, 2, 2, 2, 1))
    }
    assert not campaign.layout.group(0).path.exists()


@pytest.mark.parametrize("stops_at", [3, 4, 5])
def test_an_interrupted_group_goes_on_in_the_same_parts_even_where_more_would_fit_now(create, stops_at):
    whole, campaign = create("whole"), create("interrupted")
    train_one_group(whole.folder, 0, Engine(2))
    with pytest.raises(KeyboardInterrupt):
        train_one_group(campaign.folder, 0, Engine(2, stops_at))
    again = Engine(5)
    assert train_one_group(campaign.folder, 0, again) is None
    assert again.parts == [["r0", "r1"], ["r2", "r3"], ["r4"]][stops_at - 3 :], "what is done isn't done again"
    assert outcomes(campaign) == outcomes(whole)


def test_a_run_that_does_not_fit_alone_is_named(create):
    campaign = create()
    failure = train_one_group(campaign.folder, 0, Engine(0))
    assert failure.startswith(
        "CampaignError: run 'r0' doesn't fit into memory, even alone: CUDA out of memory.; expected"
    )
    assert json.loads(campaign.layout.group(0).parts.read_text()) == {"copies": 1}
    assert campaign.status().counts["failed"] == 5


def test_progress_is_that_of_the_whole_group(create, monkeypatch):
    monkeypatch.setattr("foretrain.proxies.campaign.group._NOTE_EVERY_S", 0.0)
    campaign, shares = create(), []

    class Told(Engine):
        def __call__(self, runs, store, settings, checkpoint, report):
            for step in (0, runs[0].steps):
                report(Progress(step, runs[0].steps))
                shares.append(campaign.layout.group(0).read_progress().step / runs[0].steps)
            return super().__call__(runs, store, settings, checkpoint, report)

    class Progress:
        def __init__(self, step, steps):
            self.step, self.steps, self.seconds = step, steps, {"steps": 1.0}

    assert train_one_group(campaign.folder, 0, Told(3)) is None
    assert shares == [0, 1, 0, 0.5, 0.5, 1]
