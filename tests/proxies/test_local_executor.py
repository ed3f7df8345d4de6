"""The local executor and its workers, with workers that train nothing."""

import json
import os
import subprocess
import sys

import pytest
from foretrain.proxies.executors import GroupJob, GroupOutcome, get_executor
from foretrain.proxies.executors.local import LocalExecutor

# Says what a worker sees in the place of a failure, so that it comes back.
SEES = """
import os, time
from foretrain.proxies.campaign.worker import serve
names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
serve(lambda folder, group: time.sleep(0.2) or " ".join(os.environ.get(name, "-") for name in names))
"""


@pytest.fixture
def local():
    """`local(script, workers=2)`: an executor whose workers run this script."""

    def make(script: str, workers: int | None = 2) -> LocalExecutor:
        executor = get_executor("local", workers)
        assert isinstance(executor, LocalExecutor)
        executor.command = [sys.executable, "-c", script]
        return executor

    return make


def outcomes(executor, groups, device="cpu"):
    jobs = [GroupJob("somewhere", group) for group in range(groups)]
    return sorted(outcome for outcome in executor.run(jobs, device) if outcome is not None)


def test_each_worker_has_one_thread_and_a_gpu_of_its_own(local, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert {why for _, why in outcomes(local(SEES), 4)} == {"- 1"}
    monkeypatch.setattr("foretrain.proxies.executors.local._visible_gpus", lambda device: ["2", "5"])
    found = outcomes(local(SEES, None), 4, "auto")
    assert [group for group, _ in found] == [0, 1, 2, 3]
    assert {why for _, why in found} == {"2 1", "5 1"}


def test_gpus_are_those_that_this_process_may_use(monkeypatch):
    from foretrain.proxies.executors import local

    torch = pytest.importorskip("torch")
    monkeypatch.setattr(local, "_torch_version", lambda: "2.13.0+cu130")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-8a,7")
    assert local._visible_gpus("auto") == ["4", "GPU-8a"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert local._visible_gpus("cuda") == ["0", "1"]
    assert local._visible_gpus("cpu") == []


def test_a_worker_that_dies_is_replaced_and_its_group_tried_again(local, tmp_path):
    """Group 0 takes its worker along the first two times; the others are not touched."""
    script = f"""
import os, signal
from pathlib import Path
from foretrain.proxies.campaign.worker import serve
def train(folder, group):
    marks = [Path({str(tmp_path)!r}) / name for name in "ab"]
    for mark in marks:
        if group == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
serve(train)
"""
    assert outcomes(local(script), 4) == [GroupOutcome(group) for group in range(4)]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_worker_that_always_dies_is_given_up_and_its_last_words_kept(local):
    script = "import sys; sys.stdin.readline(); sys.exit('no such driver')"
    ((group, why),) = outcomes(local(script), 1)
    assert group == 0
    assert why == "its worker died 3 times; the last time with exit code 1, saying: no such driver"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="counts processes in /proc")
def test_stopping_early_ends_every_worker(local):
    script = """
import os, time
from foretrain.proxies.campaign.worker import serve
def train(folder, group):
    print("at work", os.getpid(), flush=True)
    time.sleep(0.05 if group == 0 else 60)
    return str(os.getpid())
serve(train)
"""
    before = children()
    events = local(script).run([GroupJob("somewhere", group) for group in range(4)], "cpu")
    worker = next(int(outcome.failure) for outcome in events if outcome is not None)
    assert worker in children() - before
    assert len(children() - before) == 2
    events.close()
    assert children() == before


def children():
    """Process ids of this process's children."""
    return {int(pid) for pid in os.listdir("/proc") if pid.isdigit() and parent(pid) == os.getpid()}


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def test_a_worker_answers_and_ends_with_its_input():
    """What a library prints must not be taken for an answer."""
    noisy = "lambda folder, group: print('noise') or folder * group"
    script = f"from foretrain.proxies.campaign.worker import serve; serve({noisy})"
    jobs = "".join(json.dumps({"folder": "x", "group": group}) + "\n" for group in (1, 2))
    worker = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with worker:
        worker.stdin.write(jobs)
        worker.stdin.flush()
        answers = [json.loads(worker.stdout.readline()) for _ in range(2)]
        assert answers == [{"group": 1, "failure": "x"}, {"group": 2, "failure": "xx"}]
        worker.stdin.close()
        assert worker.wait(10) == 0
