"""Every registered executor, with the real engine in real processes, meets one contract.

Executors are found through the registry: a new file in proxies/executors is covered without a change here, but for a
cluster of its own if it needs one.
"""

import json
import os
import signal
import time

import pytest
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.engine import train_group
from foretrain.proxies.executors import executor_names

EVERY = pytest.mark.parametrize("executor", executor_names())
# two Ray clusters at once on one machine get into each other's way
pytestmark = pytest.mark.xdist_group("ray")
PATIENCE_S = 120


@pytest.fixture(scope="module")
def runs(toy_run):
    """One group of some seconds, and three that are over at once."""
    long = [toy_run(f"long{seed}", 100_000, seed=seed, evaluate_at=[25_000]) for seed in range(2)]
    return [*long, toy_run("short", 8_192), toy_run("other", 4_096, mix={"b": 1.0}), toy_run("last", 2_048)]


@pytest.fixture(scope="module")
def expected(runs, toy_store, toy_settings, tmp_path_factory):
    """What training in one go gives, in this process."""
    import torch

    campaign = Campaign.create(tmp_path_factory.mktemp("plain") / "c", runs, toy_store, toy_settings)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        groups = [campaign.group_runs(group) for group in range(4)]
        settings, checkpoint = toy_settings.model_copy(update={"checkpoint_every_s": 60.0}), campaign.folder / "none"
        results = [train_group(group, campaign.open_store(), settings, checkpoint) for group in groups]
    finally:
        torch.set_num_threads(threads)
    return {result.run_id: result.evaluations for group in results for result in group}


@pytest.fixture
def campaign(runs, toy_store, toy_settings, tmp_path, request):
    """All runs, or the short ones where the test takes `short`."""
    chosen = runs[2:] if "short" in request.fixturenames else runs
    return Campaign.create(tmp_path / "c", chosen, toy_store, toy_settings)


@pytest.fixture
def short():
    """Leave the long runs out."""


@pytest.fixture
def start(executor, campaign, start_training, request):
    """`start()`: train the campaign with this executor in a process of its own."""
    if executor != "ray":
        return lambda: start_training(campaign.folder, executor)
    cluster = request.getfixturevalue("ray_cluster")
    return lambda: start_training(campaign.folder, executor, cluster.address, **cluster.environment)


def outcomes(campaign):
    return {run.run_id: result.evaluations for run, result in campaign.results()}


def reports(output):
    lines = [json.loads(line) for line in output.splitlines()]
    return [share for text, share in lines if text != "end"]


def someone_training(campaign, training):
    """Wait until a worker has noted progress of the long group; return its process id, None if all is over already."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and training.poll() is None:
        progress = campaign.layout.group(0).read_progress()
        if progress is not None:
            return progress.pid
        time.sleep(0.01)
    return None


def leftovers(campaign):
    return [path for path in campaign.folder.rglob("*") if ".tmp-" in path.name]


@EVERY
def test_results_are_those_of_training_in_one_go(campaign, start, expected, short):
    """And a group that can't be written fails alone."""
    blocked = campaign.layout.run("short")
    blocked.parent.mkdir()
    blocked.write_text("a file where a folder should be")
    training = start()
    output, errors = training.communicate(timeout=PATIENCE_S)
    assert training.returncode == 1
    assert "1 of 3 groups failed" in errors
    assert "(short): CampaignError: " in errors
    shares = reports(output)
    assert shares == sorted(shares)
    assert any(0 < share < 1 for share in shares)
    assert outcomes(campaign) == {name: expected[name] for name in ("other", "last")}
    assert campaign.status().counts["failed"] == 1


@EVERY
def test_a_killed_worker_costs_nothing_but_time(campaign, start, expected):
    training = start()
    worker = someone_training(campaign, training)
    if worker is not None:
        os.kill(worker, signal.SIGKILL)
    _, errors = training.communicate(timeout=PATIENCE_S)
    assert training.returncode == 0, errors
    assert outcomes(campaign) == expected
    assert not leftovers(campaign)


@EVERY
def test_ctrl_c_leaves_checkpoints_and_nothing_half_written(campaign, start):
    training = start()
    someone_training(campaign, training)
    training.send_signal(signal.SIGINT)
    _, errors = training.communicate(timeout=PATIENCE_S)
    assert training.returncode == 130, errors
    assert not campaign.layout.group(0).is_locked()
    assert campaign.layout.group(0).checkpoint.is_file()
    assert not leftovers(campaign)
