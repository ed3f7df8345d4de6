"""Faults: a campaign of 12 real proxies is killed 20 times at random moments, and once with a node of a Ray cluster.

Each time it must end with the losses of the same campaign left alone, bit for bit. Prints a table and ends by itself;
every process that it starts is gone afterwards.

python benchmarks/faults.py [--kills 20] [--seed 0] [--without-ray]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.executors import get_executor
from foretrain.proxies.runs import ProxyRun
from foretrain.proxies.settings import EngineSettings

_PATIENCE_S = 900
_VICTIMS = ("parent", "worker", "parent and workers")
_CLUSTER = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
cluster = Cluster(initialize_head=True, head_node_args=node)
other = cluster.add_node(**node)
print("ready", cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(other, allow_graceful=False)
sys.stdin.readline()
cluster.shutdown()
"""


def main() -> None:
    """Print one line per way of failing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-ray", action="store_true")
    parser.add_argument("--train", nargs=3, metavar=("FOLDER", "ENGINE", "ADDRESS"), help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.train:
        folder, engine, address = words.train
        Campaign.open(folder).train(get_executor(engine, 2, address or None))
        return
    home = Path(tempfile.mkdtemp(prefix="faults"))
    try:
        compare(home, words.kills, words.seed, not words.without_ray)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def compare(home: Path, kills: int, seed: int, with_ray: bool) -> None:
    """Train the campaign in each way and compare."""
    prepare_text(home)
    plain = new_campaign(home, "plain")
    seconds = timed(lambda: wait(start(plain)))
    expected = losses(plain)
    print(f"{'':34s} {'runs':>4} {'kills':>5} {'starts':>6} {'seconds':>8}  losses  left over")
    show("left alone", plain, expected, 0, 1, seconds)
    rng, victims, turn = random.Random(seed), Counter[str](), 0
    while sum(victims.values()) < kills:
        turn += 1
        killed = new_campaign(home, f"killed {turn}")
        began = time.monotonic()
        now, starts = kill_at_random(killed, kills - sum(victims.values()), seconds, rng)
        seconds_now = time.monotonic() - began
        show(f"killed at random moments, {turn}", killed, expected, sum(now.values()), starts, seconds_now)
        victims += now
    print("  " + ", ".join(f"{victim}: {victims[victim]}" for victim in _VICTIMS))
    if with_ray:
        lost = new_campaign(home, "lost")
        seconds = timed(lambda: lose_a_node(lost))
        show("Ray, one of two nodes killed", lost, expected, 1, 1, seconds)


def prepare_text(home: Path) -> None:
    """Two domains that every installation has."""
    domains = {"python": {"builtin": "python_source"}, "headers": {"builtin": "headers"}}
    prepare(Corpus.from_mapping({"name": "builtin", "domains": domains}, folder=home), home / "store")


def new_campaign(home: Path, name: str) -> Campaign:
    """Twelve runs, two sizes × two lengths × three mixes, in eight groups."""
    runs = [
        ProxyRun.model_validate(
            {
                "run_id": f"w{width}-{tokens // 1000}k-{share:g}",
                "shape": {
                    "layers": 2,
                    "width": width,
                    "heads": 2,
                    "ffn_width": 2 * width,
                    "vocab_size": 256,
                    "context_length": 64,
                },
                "tokens": tokens,
                "evaluate_at": [tokens // 2],
                "mix": {"python": share, "headers": 1 - share},
            }
        )
        for width in (32, 64)
        for tokens in (200_000, 400_000)
        for share in (0.2, 0.5, 0.8)
    ]
    settings = EngineSettings(device="cpu", compile="never", group_size=2, eval_tokens=16_384, checkpoint_every_s=2.0)
    return Campaign.create(home / name, runs, home / "store", settings)


def kill_at_random(campaign: Campaign, kills: int, seconds: float, rng: random.Random) -> tuple[Counter[str], int]:
    """Kill, and start again what isn't done; return how often who was killed, and how often it was started."""
    victims, starts = Counter[str](), 0
    while not campaign.status().complete:
        process = start(campaign)
        starts += 1
        if starts > 3 * kills + 3:
            raise SystemExit(f"started {starts} times and still not done")
        while process.poll() is None and sum(victims.values()) < kills:
            # From the start of Python, some five seconds before training, to well into it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.5, 5 + seconds / 10))
            workers = [found.pid for g in range(len(campaign.file.groups)) if (found := progress(campaign, g))]
            victim = rng.choice(_VICTIMS)
            if process.poll() is not None or (victim != "parent" and not workers):
                continue
            doomed = [process.pid] if victim != "worker" else []
            doomed += [] if victim == "parent" else workers if doomed else [rng.choice(workers)]
            for pid in doomed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            victims[victim] += 1
        wait(process, check=False)
    return victims, starts


def progress(campaign: Campaign, group: int):
    """Progress of a group that a living worker trains."""
    found = campaign.layout.group(group).read_progress()
    if found is None or campaign.is_group_done(group):
        return None
    try:
        command = Path(f"/proc/{found.pid}/cmdline").read_bytes()
    except OSError:
        return None
    return found if b"foretrain.proxies.campaign.worker" in command or b"ray::" in command else None


def lose_a_node(campaign: Campaign) -> None:
    """Train on two Ray nodes and kill one once both are busy."""
    with ray_cluster() as (address, environment, kill):
        process = start(campaign, "ray", address, **environment)
        while process.poll() is None and sum(progress(campaign, g) is not None for g in range(8)) < 2:
            time.sleep(0.1)
        kill()
        wait(process)


@contextlib.contextmanager
def ray_cluster() -> Iterator[tuple]:
    """Two nodes of one core each, all ports on the loopback interface: address, environment, and what kills a node."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # the names of sockets in there must stay short
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": folder,  # named in another way, Ray still writes into /tmp/ray, which need not be there
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what makes Ray stay on 127.0.0.1
        "RAY_worker_niceness": "0",  # else its workers starve where anything else runs
    }
    host = subprocess.Popen(
        [sys.executable, "-c", _CLUSTER],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert host.stdin is not None
    assert host.stdout is not None

    def kill() -> None:
        host.stdin.write("\n")
        host.stdin.flush()

    try:
        address = next(line.split()[1] for line in host.stdout if line.startswith("ready"))
        yield address, environment, kill
    finally:
        host.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            host.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(host.pid, signal.SIGKILL)
        host.wait()
        shutil.rmtree(folder, ignore_errors=True)


def start(campaign: Campaign, engine: str = "local", address: str = "", **environment: str) -> subprocess.Popen:
    """Train in a process of its own."""
    words = [sys.executable, __file__, "--train", str(campaign.folder), engine, address]
    return subprocess.Popen(words, env={**os.environ, **environment}, stdin=subprocess.DEVNULL)


def wait(process: subprocess.Popen, check: bool = True) -> None:
    """Wait for a process, which must succeed if `check`; never leave it behind."""
    try:
        code = process.wait(_PATIENCE_S)
    finally:
        process.kill()
    if check and code:
        raise SystemExit(f"training ended with exit code {code}")


def timed(work) -> float:
    """Seconds that `work()` takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def losses(campaign: Campaign) -> dict:
    """Everything measured, by run."""
    return {run.run_id: result.evaluations for run, result in campaign.results()}


def show(name: str, campaign: Campaign, expected: dict, kills: int, starts: int, seconds: float) -> None:
    """One line: were the losses the same, and what lies about."""
    found = losses(campaign)
    same = "equal" if found == expected else "DIFFER"
    left = len(list(campaign.folder.rglob(".tmp-*"))) + len(list(campaign.folder.glob("groups/*")))
    print(f"{name:34s} {len(found):4d} {kills:5d} {starts:6d} {seconds:8.0f}  {same:6s}  {left} files", flush=True)


if __name__ == "__main__":
    main()
