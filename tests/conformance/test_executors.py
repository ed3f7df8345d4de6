"""Every registered executor meets the contract of `foretrain.testing`, and loses nothing to a killed worker or Ctrl-C.

Executors are found through the registry: a new file in proxies/executors is covered without a change here, but for a
cluster of its own if it needs one.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.engine import train_group
from foretrain.proxies.executors import executor_names
from foretrain.testing.executors import check_executor

EVERY = pytest.mark.parametrize("executor", executor_names())
# two Ray clusters at once on one machine get into each other's way
pytestmark = pytest.mark.xdist_group("ray")
PATIENCE_S = 120
CHECK_RAY = """
import sys
import ray
from foretrain.testing.executors import check_executor
ray.init(sys.argv[1], log_to_driver=False)  # once for all that is run, whose workers then need not start again
check_executor("ray", address=sys.argv[1])
"""


@pytest.fixture(scope="module")
def runs(toy_run):
    """One group of some seconds, and one that is over at once."""
    long = [toy_run(f"long{seed}", 100_000, seed=seed, evaluate_at=[25_000]) for seed in range(2)]
    return [*long, toy_run("short")]


@pytest.fixture(scope="module")
def expected(runs, toy_store, toy_settings, tmp_path_factory):
    """What training in one go gives, in this process."""
    import torch

    campaign = Campaign.create(tmp_path_factory.mktemp("plain") / "c", runs, toy_store, toy_settings)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        groups = [campaign.group_runs(group) for group in range(2)]
        settings, checkpoint = toy_settings.model_copy(update={"checkpoint_every_s": 60.0}), campaign.folder / "none"
        results = [train_group(group, campaign.open_store(), settings, checkpoint) for group in groups]
    finally:
        torch.set_num_threads(threads)
    return {result.run_id: result.evaluations for group in results for result in group}


@pytest.fixture
def campaign(runs, toy_run, toy_store, toy_settings, tmp_path, request):
    """The runs; where the test takes `unending`, ones that are far from their end when they are interrupted."""
    if "unending" in request.fixturenames:
        runs = [toy_run(f"long{seed}", 600_000, seed=seed, evaluate_at=[25_000]) for seed in range(2)]
    return Campaign.create(tmp_path / "c", runs, toy_store, toy_settings)


@pytest.fixture
def unending():
    """Train runs that no machine finishes before it hears of Ctrl-C."""


@pytest.fixture
def start(executor, campaign, start_training, request):
    """`start()`: train the campaign with this executor in a process of its own."""
    if executor != "ray":
        return lambda: start_training(campaign.folder, executor)
    cluster = request.getfixturevalue("ray_cluster")
    return lambda: start_training(campaign.folder, executor, cluster.address, **cluster.environment)


def outcomes(campaign):
    return {run.run_id: result.evaluations for run, result in campaign.results()}


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
def test_an_executor_meets_the_contract(executor, plain_environment, request):
    if executor != "ray":
        return check_executor(executor)
    # in a process of its own, since Ray doesn't leave the one that it connects from as it was
    cluster = request.getfixturevalue("ray_cluster")
    done = subprocess.run(
        [sys.executable, "-c", CHECK_RAY, cluster.address],
        env={**plain_environment, **cluster.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=3 * PATIENCE_S,  # it trains three times
    )
    assert done.returncode == 0, done.stderr


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
def test_ctrl_c_leaves_checkpoints_and_nothing_half_written(campaign, start, unending):
    training = start()
    someone_training(campaign, training)
    training.send_signal(signal.SIGINT)
    _, errors = training.communicate(timeout=PATIENCE_S)
    assert training.returncode == 130, errors
    assert not campaign.layout.group(0).is_locked()
    assert campaign.layout.group(0).checkpoint.is_file()
    assert not leftovers(campaign)
