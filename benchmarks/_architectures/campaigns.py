"""One campaign of proxies for each mixer: the same sizes, tokens, seeds and text, each with a learning rate of its own.

Every campaign is a project in build/benchmarks/architectures, laid out for 8M tokens at a constant learning rate, so
that all seeds draw the same text in the same order whatever the mixer. It may be trained as far as there is time for
and gone on with later: what has been validated so far joins the run table, and nothing is trained twice.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from _proxies import WORK, corpora
from foretrain.datasets.runs.run_table import RunTable
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.campaign_table import results_table
from foretrain.proxies.campaign.group import train_one_group, use_one_thread
from foretrain.proxies.engine import train_group
from foretrain.proxies.engine._checkpoint import _read_evaluation
from foretrain.proxies.executors import Executor, GroupJob, GroupOutcome
from foretrain.proxies.project import Project
from foretrain.proxies.results import RunResult
from foretrain.proxies.runs import ProxyRun
from typing_extensions import override

RESULTS = Path(__file__).resolve().parents[1] / "results" / "architectures.csv"
DOMAINS = ("arxiv_math", "books", "code_cpp", "dialogue", "law_german")
MIXERS = ("transformer", "hyena", "dynamic_conv", "h3", "hyper_mixer", "kernel_conv", "mlp_mixer")
SLOW_LEARNERS = ("mlp_mixer", "hyper_mixer")
"""Their best learning rate lies lower."""
MANY_OPERATORS = ("hyena", "h3", "hyper_mixer")
"""Those that torch compiles within the time that it then saves."""


def space(name: str) -> dict[str, Any]:
    """The space of a mixer's campaign.

    Sizes are 20k to 240k parameters. An MLP-Mixer has 73k at least: its triangles over 128 tokens alone hold 66k.
    """
    low, high = (0.001, 0.008) if name in SLOW_LEARNERS else (0.002, 0.016)
    written: dict[str, Any] = {
        "corpora": "../corpora.yaml",
        "sizes": ["30k", "60k", "125k", "250k"],
        "tokens": ["0.25M", "0.5M", "1M", "2M", "4M", "8M"],
        "seeds": 2,
        "mix": "uniform",
        "lr": {"low": low, "high": high, "points": 4, "sizes": ["60k"], "tokens": "0.5M"},
    }
    if name == "transformer":  # computed by native kernels
        return written
    compiled = "always" if name in MANY_OPERATORS else "never"
    written |= {"mixer": name, "engine": {"compile": compiled, "group_size": 2, "precision": "fp32"}}
    if name in ("hyena", "h3"):
        return written
    del written["sizes"]
    widths = [8, 24, 48, 64] if name == "mlp_mixer" else [16, 32, 48, 64]
    by_width = {"widths": widths, "tokens": written["tokens"][1:]}
    return {**written, **by_width, "lr": {**written["lr"], "points": 3, "sizes": [widths[1]]}}


def project(name: str) -> Project:
    """The project of a mixer, made where there is none."""
    folder = WORK / "architectures" / name
    folder.mkdir(parents=True, exist_ok=True)
    shared = folder.parent / "corpora.yaml"
    if not shared.is_file():
        shared.write_text(yaml.safe_dump(corpora(DOMAINS)), encoding="utf-8")
    (folder / "space.yaml").write_text(yaml.safe_dump(space(name)), encoding="utf-8")
    return Project.create(folder / "proxies", folder / "space.yaml", workers=1)


def train(name: str, tokens: float) -> None:
    """Train a mixer's proxies, in this process, until each has seen `tokens`; print what the call took."""
    started = time.monotonic()
    made = project(name)
    made.train(UntilTokens(tokens))
    choice = made.learning_rate()
    minutes = (time.monotonic() - started) / 60
    print(f"{name}: {minutes:.1f} min of this call; {choice.reason if choice else 'fixed lr'}", flush=True)


class UntilTokens(Executor):
    """Trains groups one after the other in this process, each until its copies have seen so many tokens.

    A group that isn't at its end then leaves a checkpoint, from which the next call goes on.
    """

    def __init__(self, tokens: float) -> None:
        super().__init__(workers=1)
        self.tokens = tokens
        use_one_thread()

    @override
    def run(self, jobs: Sequence[GroupJob], device: str) -> Generator[GroupOutcome | None, None, None]:
        for job in jobs:
            if seen(job) >= self.tokens:
                continue
            enough = _Enough(self.tokens)
            try:
                failure = train_one_group(job.folder, job.group, partial(_train_with, enough))
            except KeyboardInterrupt:
                if not enough.reached:
                    raise
                yield None
            else:
                yield GroupOutcome(job.group, failure)


def _train_with(enough: _Enough, runs: Sequence[ProxyRun], store: Any, settings: Any, checkpoint: Path, report: Any):
    """`train_group`, with one more listener to its progress."""

    def listen(progress: Any) -> None:
        report(progress)
        enough(progress)

    return train_group(runs, store, settings, checkpoint, listen)


class _Enough:
    """A listener that stops a group, as Ctrl-C does, once every copy has seen so many tokens."""

    def __init__(self, tokens: float) -> None:
        self.tokens, self.reached = tokens, False

    def __call__(self, progress: Any) -> None:
        if progress.step < progress.steps and progress.tokens / progress.copies >= self.tokens and not self.reached:
            self.reached = True
            signal.raise_signal(signal.SIGINT)


def seen(job: GroupJob) -> float:
    """The tokens that each copy of a group has been validated after, by its checkpoint: 0 where there is none."""
    found = list(_unfinished(Campaign.open(job.folder), job.group))
    return min((result.evaluations[-1].tokens if result.evaluations else 0 for _, result in found), default=0)


def _unfinished(campaign: Campaign, group: int) -> Iterator[tuple[ProxyRun, RunResult]]:
    """What the runs of a group have given so far, by its checkpoint."""
    from safetensors import safe_open

    path = campaign.layout.group(group).checkpoint
    if not path.is_file():
        return
    with safe_open(path, framework="pt") as archive:
        facts = json.loads(archive.metadata()["foretrain"])
    for run, evaluations in zip(campaign.group_runs(group), facts["evaluations"], strict=True):
        validated = tuple(_read_evaluation(values) for values in evaluations)
        yield run, RunResult(run.run_id, "ok", validated, (), None, {})


def so_far(campaign: Campaign) -> list[tuple[ProxyRun, RunResult]]:
    """The results of all runs, those on their way included."""
    found = list(campaign.results())
    for group in range(len(campaign.file.groups)):
        if not campaign.is_group_done(group):
            found += _unfinished(campaign, group)
    return found


def collect() -> RunTable:
    """Write what all campaigns have given so far as one run table; mixers that aren't trained here stay as they are."""
    frames = []
    for name in MIXERS:
        if (WORK / "architectures" / name / "proxies" / "main").is_dir():
            campaign = Campaign.open(WORK / "architectures" / name / "proxies" / "main")
            if found := so_far(campaign):
                frames.append(results_table([(campaign.file, found)], name).frame)
    if RESULTS.is_file():
        here = {name for frame in frames for name in frame["architecture"]}
        kept = RunTable.read(RESULTS).frame
        frames.append(kept[~kept["architecture"].isin(here)])
    together = pd.concat(frames, ignore_index=True)
    together["run_id"] = [_own_id(*pair) for pair in zip(together["architecture"], together["run_id"], strict=True)]
    order = {name: number for number, name in enumerate(MIXERS)}
    together = together.sort_values("architecture", key=lambda names: names.map(order), kind="stable")
    table = RunTable.from_frame(together.reset_index(drop=True), where=str(RESULTS))
    RESULTS.parent.mkdir(exist_ok=True)
    table.write(RESULTS)
    return table


def _own_id(architecture: str, run_id: str) -> str:
    """A run's id in the table of all mixers."""
    return run_id if run_id.startswith(f"{architecture}-") else f"{architecture}-{run_id}"
