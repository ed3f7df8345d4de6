"""The contract of an executor: a small campaign that it trains with the real engine, in workers of its own.

What takes killed workers or a cluster that loses a node is left to an executor's own tests.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import CampaignError, ForetrainError
from ..core.model.architecture import Architecture
from ..core.processors import one_torch_thread
from ..datasets.corpus.corpus import Corpus
from ..datasets.tokens.prepare import prepare
from ..proxies.campaign.campaign import Campaign
from ..proxies.campaign.result_files import is_done, read_curve
from ..proxies.engine import train_group
from ..proxies.executors import Executor, GroupJob, GroupOutcome, get_executor
from ..proxies.results import RunResult
from ..proxies.runs import ProxyRun
from ..proxies.settings import EngineSettings

__all__ = ["check_executor"]

_SETTINGS = EngineSettings(device="cpu", precision="fp32", compile="never", group_size=2, eval_tokens=2_048)


def check_executor(name: str, workers: int = 2, address: str | None = None) -> None:
    """Have a registered executor train a campaign of a few tiny runs, and compare it with training in one go here.

    One group fails at first, which must not touch the others; then it is trained, and what was done stays as it is;
    then the campaign's file is damaged, which must be said. Most of the time goes into starting workers, three times.

    The campaign lies in a temporary folder. Where workers run on other machines, have `tempfile` use a folder that all
    of them see, by the environment variable TMPDIR.

    Args:
        name: The name that the executor is registered under.
        workers: How many groups it may train at once.
        address: The cluster to use, for an executor that has one.

    Raises:
        UsageError: There is no such executor, or it can't use these arguments.
        AssertionError: What was expected and not met.

    >>> from foretrain.testing import check_executor
    >>> check_executor("local", workers=1)
    """
    executor = get_executor(name, workers, address)
    with tempfile.TemporaryDirectory() as folder:
        campaign = _make_campaign(Path(folder))
        expected = _trained_here(campaign, Path(folder) / "checkpoint.safetensors")
        _a_group_that_fails_leaves_the_others_alone(executor, campaign, expected)
        _running_again_does_the_rest_and_changes_nothing_else(executor, campaign, expected)
        _a_damaged_campaign_is_refused(executor, campaign)


def _a_group_that_fails_leaves_the_others_alone(
    executor: Executor, campaign: Campaign, expected: dict[str, RunResult]
) -> None:
    blocked = campaign.layout.run("blocked")
    blocked.parent.mkdir()
    blocked.write_text("a file where a folder should be", encoding="utf-8")
    shares: list[float] = []
    try:
        campaign.train(executor, lambda text, share: shares.append(share))
    except CampaignError as error:
        message = str(error)
    else:
        raise AssertionError("a run that can't be written was trained; expected its group to fail with CampaignError")
    finally:
        blocked.unlink()
    for words in ("1 of 3 groups failed", "(blocked): CampaignError: "):
        assert words in message, f"got the error {message!r}; expected it to say {words!r}"
    assert shares == sorted(shares), f"progress was {shares}; expected it never to fall"
    assert any(0 < share < 1 for share in shares), f"progress was {shares}; expected some before the end"
    _assert_results(campaign, {name: result for name, result in expected.items() if name != "blocked"})
    failed = campaign.status().counts["failed"]
    assert failed == 1, f"{failed} runs count as failed; expected the one that couldn't be written"


def _running_again_does_the_rest_and_changes_nothing_else(
    executor: Executor, campaign: Campaign, expected: dict[str, RunResult]
) -> None:
    before = _files(campaign)
    jobs = [GroupJob(str(campaign.folder), group) for group in range(len(campaign.file.groups))]
    outcomes = _outcomes(executor, jobs)
    groups = sorted(outcome.group for outcome in outcomes)
    assert groups == [job.group for job in jobs], f"groups {groups} ended; expected each of {len(jobs)} to, once"
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    assert not failures, f"got the failures {failures}; expected none once the folder is free"
    _assert_results(campaign, expected)
    after = _files(campaign)
    changed = [name for name, file in before.items() if after.get(name) != file]
    assert not changed, f"{', '.join(changed)} changed; expected what is done to stay as it is"
    assert campaign.train(executor).complete, "the campaign isn't complete; expected every run to have a result"
    assert _files(campaign) == after, "training a complete campaign changed files; expected it to change nothing"


def _a_damaged_campaign_is_refused(executor: Executor, campaign: Campaign) -> None:
    """At once with an error of ours, or by a failure of the group that names one."""
    campaign.layout.file.write_text('{"format": 1', encoding="utf-8")
    try:
        outcomes = _outcomes(executor, [GroupJob(str(campaign.folder), 0)])
    except ForetrainError:
        return
    failures = [outcome.failure or "no failure" for outcome in outcomes]
    assert len(failures) == 1, f"one job had {len(failures)} outcomes; expected one"
    assert failures[0].startswith("CampaignError: "), f"got {failures[0]!r}; expected a CampaignError to be named"
    assert "\n" not in failures[0], f"the failure is {failures[0]!r}; expected one line"


def _assert_results(campaign: Campaign, expected: dict[str, RunResult]) -> None:
    """The runs that are done are these, with the same bits, and nothing is left over."""
    found = {run.run_id: result for run, result in campaign.results()}
    assert found.keys() == expected.keys(), f"{sorted(found)} are done; expected {sorted(expected)}"
    for name, result in found.items():
        trained_here = expected[name]
        assert result.status == trained_here.status, f"{name} is {result.status}; expected {trained_here.status}"
        assert result.evaluations == trained_here.evaluations, (
            f"{name} has the evaluations {result.evaluations}; training here gives {trained_here.evaluations}"
        )
        curve = read_curve(campaign.layout.run(name))
        assert curve == trained_here.curve, f"{name} has another training curve than training here gives"
    unfinished = [path.name for path in campaign.folder.rglob(".tmp-*")]
    assert not unfinished, f"{unfinished} are left; expected every file to be finished or gone"


def _outcomes(executor: Executor, jobs: Sequence[GroupJob]) -> list[GroupOutcome]:
    """What an executor says about jobs, to the end."""
    return [outcome for outcome in executor.run(jobs, "cpu") if outcome is not None]


def _files(campaign: Campaign) -> dict[str, tuple[bytes, int]]:
    """Contents, and times of writing in ns, of the files of runs that are done, by path."""
    found = {}
    for run in campaign.file.runs:
        folder = campaign.layout.run(run.run_id)
        if is_done(folder):
            for path in folder.iterdir():
                found[f"{run.run_id}/{path.name}"] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found


def _make_campaign(folder: Path) -> Campaign:
    """Four runs of 14 thousand parameters in three groups, on two domains of 64 different tokens."""
    source = {"kind": "zipf_markov", "vocab_size": 64, "tokens": 50_000}
    domains = {name: {"synthetic": {**source, "seed": seed}} for seed, name in enumerate("ab")}
    prepare(Corpus.from_mapping({"domains": domains}), folder / "tokens")
    shape = Architecture(layers=1, width=32, heads=2, ffn_width=64, vocab_size=64, context_length=32)
    pair = [
        ProxyRun(
            run_id=f"pair-{seed}", shape=shape, tokens=8_192, evaluate_at=(4_096,), mix={"a": 0.5, "b": 0.5}, seed=seed
        )
        for seed in range(2)
    ]
    blocked = ProxyRun(run_id="blocked", shape=shape, tokens=4_096, mix={"b": 1.0})
    last = ProxyRun(run_id="last", shape=shape, tokens=2_048, mix={"a": 0.25, "b": 0.75})
    return Campaign.create(folder / "campaign", [*pair, blocked, last], folder / "tokens", _SETTINGS)


def _trained_here(campaign: Campaign, checkpoint: Path) -> dict[str, RunResult]:
    """What training in one go gives, in this process, by run."""
    store, found = campaign.open_store(), {}
    with one_torch_thread():
        for group in range(len(campaign.file.groups)):
            results = train_group(campaign.group_runs(group), store, campaign.file.settings, checkpoint)
            found.update({result.run_id: result for result in results})
    return found
