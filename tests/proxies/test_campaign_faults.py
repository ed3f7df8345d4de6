"""Campaigns whose processes and machines are killed in the middle: they go on, and end with the same losses."""

import json
import random
import subprocess
import sys
import time
from functools import partial

import pytest
from foretrain.proxies.campaign.campaign import Campaign

PATIENCE_S = 120
# two Ray clusters at once on one machine get into each other's way
pytestmark = pytest.mark.xdist_group("ray")

# A trainer without torch: a chain of digests, so that a step lost or taken twice shows, with real checkpoints.
WORKER = """
import hashlib, json, time
from foretrain.core.files import write_bytes
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.results import CurvePoint, DomainLoss, RunResult, Validation
from foretrain.proxies.campaign.worker import serve

class TrainingProgress:
    def __init__(self, step, steps):
        self.step, self.steps, self.seconds = step, steps, {"steps": 0.001 * step}

def train(runs, store, settings, checkpoint, report):
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else [0, [run.run_id for run in runs]]
    while state[0] < runs[0].steps:
        state = [state[0] + 1, [hashlib.sha256(chain.encode()).hexdigest() for chain in state[1]]]
        time.sleep(0.001)
        if state[0] % 20 == 0:
            write_bytes(checkpoint, json.dumps(state).encode())
            report(TrainingProgress(state[0], runs[0].steps))
    return [result(run, int(chain[:8], 16) / 2**32) for run, chain in zip(runs, state[1])]

def result(run, loss):
    tokens = run.steps * run.batch_tokens
    losses = {domain: DomainLoss(1 + loss, 0.01) for domain in "ab"}
    evaluation = Validation(run.steps, tokens, losses, {"a": tokens}, {"a": tokens})
    return RunResult(run.run_id, "ok", (evaluation,), (CurvePoint(run.steps, tokens, loss, 0.1),), None, {})

serve(lambda folder, group: train_one_group(folder, group, train))
"""
PARENT = """
import sys
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.executors import get_executor
executor = get_executor("local", 2)
executor.command = [sys.executable, "-c", sys.argv[2]]
Campaign.open(sys.argv[1]).train(executor)
"""


@pytest.fixture
def create(tmp_path, toy_store, toy_settings):
    return lambda runs, folder: Campaign.create(tmp_path / folder, runs, toy_store, toy_settings)


def outcomes(campaign):
    return {run.run_id: result.evaluations for run, result in campaign.results()}


def start(campaign):
    return subprocess.Popen([sys.executable, "-c", PARENT, campaign.folder, WORKER], start_new_session=True)


def wait_for(what, seconds=PATIENCE_S):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def training_or_over(campaign, process, since):
    return process.poll() is not None or any(
        modified(p) > since for p in campaign.folder.glob("groups/*/progress.json")
    )


def modified(path):
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0


def test_kills_at_random_moments_change_no_loss(create, toy_run):
    """Workers end by themselves when the process that started them is gone, however it went."""
    runs = [toy_run(f"r{n}", 256 * (200 + 100 * n), seed=n) for n in range(6)]
    plain, killed = create(runs, "plain"), create(runs, "killed")
    with start(plain) as process:
        assert process.wait(PATIENCE_S) == 0
    rng, kills = random.Random(7), 0
    while not killed.status().complete:
        with start(killed) as process:
            wait_for(partial(training_or_over, killed, process, time.time()))
            time.sleep(rng.uniform(0, 0.6))
            process.kill()
        kills += 1
        wait_for(lambda: not any(killed.layout.group(group).is_locked() for group in range(len(killed.file.groups))), 5)
        assert kills < 60
    assert kills >= 3
    with start(killed) as process:
        assert process.wait(PATIENCE_S) == 0
    assert outcomes(killed) == outcomes(plain)
    assert len(outcomes(plain)) == 6
    assert not [path for path in killed.folder.rglob("*") if ".tmp-" in path.name]
    assert not list(killed.folder.glob("groups/*"))


def test_a_node_that_is_killed_costs_nothing_but_time(create, toy_run, ray_cluster, start_training):
    long = [toy_run(f"long{n}", 80_000, mix={"a": n / 4, "b": 1 - n / 4}) for n in range(4)]
    runs = [*long, *(toy_run(f"short{n}", 4_096, seed=n) for n in range(3))]
    plain, killed = create(runs, "plain"), create(runs, "killed")
    training = start_training(plain.folder, "local")
    assert training.wait(PATIENCE_S) == 0
    training = start_training(killed.folder, "ray", ray_cluster.address, **ray_cluster.environment)
    notes = [killed.layout.group(group).progress for group in range(2)]
    wait_for(lambda: training.poll() is not None or all(note.exists() for note in notes))
    ray_cluster.kill_node()
    try:
        output, errors = training.communicate(timeout=PATIENCE_S)
    finally:
        ray_cluster.add_node()
    assert training.returncode == 0, errors
    assert json.loads(output.splitlines()[-1]) == ["end", True]
    assert all(line.startswith("[") for line in output.splitlines()), "Ray's own words belong elsewhere"
    assert outcomes(killed) == outcomes(plain)
    assert len(outcomes(plain)) == 7


OTHER_FOLDER = """
import sys
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.executors import get_executor, ray
ray.sha256_file = lambda path: "0" * 64  # what this machine sees in the folder is not what the nodes see
Campaign.open(sys.argv[1]).train(get_executor("ray", address=sys.argv[2]))
"""


def test_a_node_that_sees_another_folder_is_named(create, toy_run, ray_cluster, plain_environment):
    campaign = create([toy_run("x")], "c")
    words = [sys.executable, "-c", OTHER_FOLDER, str(campaign.folder), ray_cluster.address]
    environment = {**plain_environment, **ray_cluster.environment}
    done = subprocess.run(words, env=environment, capture_output=True, encoding="utf-8", timeout=PATIENCE_S)
    assert done.returncode == 1
    assert f"CampaignError: node 127.0.0.1: {campaign.layout.file} is another campaign's; expected" in done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:1", "somewhere", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_a_wrong_call(create, toy_run, address):
    from foretrain.core.errors import UsageError
    from foretrain.proxies.executors import get_executor

    with pytest.raises(UsageError, match=r"address: (nobody answers at 127\.0\.0\.1:1 |got .*; expected HOST:PORT)"):
        create([toy_run("x")], "c").train(get_executor("ray", address=address))
