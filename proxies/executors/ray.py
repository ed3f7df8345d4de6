"""A Ray cluster, for campaigns that one machine is too small for. Placing, retrying and GPUs are Ray's job.

The campaign's folder and its token store must lie on storage that every node sees under the same path (a network file
system), and foretrain must be installed on every node: workers read and write the folder, nothing travels through Ray
but its name. Progress is read from the folder too.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from ...core.errors import CampaignError, UsageError
from ...core.extras import require
from ...core.files import sha256_file
from ...core.units import shown
from ..campaign.campaign_files import CampaignPaths
from ..campaign.worker import train
from ._executor import DEATHS_ALLOWED, Executor, GroupJob, GroupOutcome
from ._registry import register_executor

__all__ = ["RayExecutor"]

_TICK_S = 1.0
_GRACE_S = 60.0
_CONNECT_S = 10.0
_MAX_PORT = 65_535
_CHECK_S = 120.0  # a node's first task starts a process and imports foretrain
_SETTLES_S, _AGAIN_S = 30.0, 0.5


@register_executor("ray")
class RayExecutor(Executor):
    """Tasks on the Ray cluster at `address` (default: the one that this machine is part of). It never starts one.

    Each group takes one core, and one GPU where the campaign wants one and the cluster has any. `workers` bounds how
    many run at once; without it, the cluster's size does.
    """

    trains_here = False

    @override
    def run(self, jobs: Sequence[GroupJob], device: str) -> Generator[GroupOutcome | None, None, None]:
        ray = _import_ray()
        ours = not ray.is_initialized()
        _connect(ray, self.address)
        if ours:
            _keep_off_stdout(ray)
        try:
            _check_nodes(ray, CampaignPaths(Path(jobs[0].folder)).file)
            yield from self._run(ray, jobs, device)
        finally:
            if ours:
                ray.shutdown()

    def _run(self, ray: Any, jobs: Sequence[GroupJob], device: str) -> Iterator[GroupOutcome | None]:
        gpus = ray.cluster_resources().get("GPU", 0) > 0
        if device == "cuda" and not gpus:
            raise CampaignError(
                "the campaign asks for cuda, but the Ray cluster has no GPU; expected one, or device cpu"
            )
        task = ray.remote(_train).options(
            num_cpus=1,
            num_gpus=int(gpus and device != "cpu"),
            max_retries=DEATHS_ALLOWED - 1,
            retry_exceptions=False,
        )
        room = int(ray.cluster_resources().get("GPU" if gpus and device != "cpu" else "CPU", 1))
        self.at_once = max(1, min(len(jobs), self.workers or len(jobs), room))
        waiting, running = deque(jobs), {}
        try:
            while waiting or running:
                while waiting and len(running) < (self.workers or len(jobs)):
                    job = waiting.popleft()
                    running[task.remote(job.folder, job.group)] = job
                ended, _ = ray.wait(list(running), timeout=_TICK_S)
                for reference in ended:
                    yield _outcome(ray, reference, running.pop(reference))
                if not ended:
                    yield None
        finally:
            _stop(ray, jobs[0].folder, list(running))


def _train(folder: str, group: int) -> str | None:
    """What a task does."""
    try:
        return train(folder, group)
    except KeyboardInterrupt:
        return "interrupted"


def _digest(path: str) -> str | None:
    """Digest of a file as a node sees it, None where there is none."""
    return sha256_file(path) if Path(path).is_file() else None


def _import_ray() -> Any:
    require("the engine ray", "ray")
    import ray

    return ray


def _connect(ray: Any, address: str | None) -> None:
    if address not in (None, "auto") and "://" not in address:
        _check_reachable(address)  # where nobody listens, Ray doesn't raise but ends the process
    try:
        # "auto" rather than nothing, which would start a cluster here and open its ports without being asked to.
        ray.init(address or "auto", ignore_reinit_error=True, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        named = address not in (None, "auto")
        where = f"a Ray cluster at {address}" if named else "a Ray cluster here; start one with `ray start --head`"
        raise UsageError(f"address: can't connect to {where} ({_first_line(error)})") from None


def _keep_off_stdout(ray: Any) -> None:
    """Stop Ray from telling on standard output, which may be our JSON, what happens to its nodes.

    There is no public switch: `log_to_driver` is about workers' output alone. Without this one it is merely noisy.
    """
    with contextlib.suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = False


def _check_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _MAX_PORT:
        raise UsageError(f"address: got {shown(address)}; expected HOST:PORT, as `ray start --head` prints it")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise UsageError(f"address: nobody answers at {address} ({error}); is the Ray cluster up?") from None


def _check_nodes(ray: Any, path: Path) -> None:
    """Raise CampaignError that names a node which doesn't see this very campaign."""
    end = time.monotonic() + _SETTLES_S
    while True:
        try:
            return _ask_nodes(ray, path)
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError) as error:
            # a node that has just come or gone: for some seconds Ray lists it as alive and can't reach it
            if time.monotonic() > end:
                raise CampaignError(f"the Ray cluster has a node that it can't reach ({_first_line(error)})") from None
        time.sleep(_AGAIN_S)


def _ask_nodes(ray: Any, path: Path) -> None:
    """One go at `_check_nodes`; TaskUnschedulableError or NodeDiedError where a node comes or goes meanwhile."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    if not nodes:
        raise CampaignError("the Ray cluster has no node with a core to train on")
    task, expected = ray.remote(_digest), _digest(str(path))
    answers = {
        node["NodeManagerAddress"]: task.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(str(path))
        for node in nodes
    }
    for address, reference in answers.items():
        try:
            found = ray.get(reference, timeout=_CHECK_S)
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
            raise
        except ray.exceptions.RayError as error:
            raise CampaignError(
                f"node {address}: can't run foretrain ({_first_line(error)}); is it installed there in this version?"
            ) from None
        if found != expected:
            problem = "isn't there" if found is None else "is another campaign's"
            raise CampaignError(
                f"node {address}: {path} {problem}; expected the campaign's folder and its token store on storage that "
                "every node sees under the same path"
            )


def _outcome(ray: Any, reference: Any, job: GroupJob) -> GroupOutcome:
    try:
        return GroupOutcome(job.group, ray.get(reference))
    except ray.exceptions.RayError as error:
        # Its worker died as often as it may, or foretrain isn't there.
        return GroupOutcome(job.group, f"Ray gave it up: {type(error).__name__}: {_first_line(error)}")


def _stop(ray: Any, folder: str, references: list[Any]) -> None:
    """Have running tasks write their checkpoints and stop, and wait for them for a while.

    Through the folder, as `ray.cancel` ends this very process when a task happens to finish meanwhile (Ray 2.60).
    """
    if references:
        with contextlib.suppress(OSError, ray.exceptions.RayError):
            CampaignPaths(Path(folder)).stop.touch()
            ray.wait(references, num_returns=len(references), timeout=_GRACE_S)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
