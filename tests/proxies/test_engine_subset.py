"""Runs that draw from a subset of the windows that matter most: what is kept, drawn, counted, and resumed."""

import numpy as np
import pytest
import torch
from foretrain.core.errors import ConfigError
from foretrain.core.reading.config_messages import Origins
from foretrain.core.reading.config_reader import validated
from foretrain.proxies.campaign.campaign_files import StoreFacts
from foretrain.proxies.campaign.run_rows import rows
from foretrain.proxies.compute_plan import grouped
from foretrain.proxies.design.estimate import Machine, Speed, estimate
from foretrain.proxies.engine import train_group
from foretrain.proxies.engine._checkpoint import load_checkpoint, save_checkpoint
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.runs import Recipe
from foretrain.proxies.subset import Subset

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 24
SPANS = [(5, 11), (11, 17), (17, 23), (23, 24)]  # of warmup .2 and refresh .25
SUBSET = {"warmup": 0.2, "keep": 0.5, "refresh": 0.25}


def recipe(measure="loss", **more):
    return {"subset": {**SUBSET, "measure": measure, **more}}


@pytest.fixture(scope="module")
def new_group(tiny_store, plain):
    def make(runs, settings=plain):
        return TrainingGroup(runs, tiny_store, settings, resolve(settings, runs))

    return make


@pytest.fixture(scope="module")
def three(tiny_run):
    """`three(measure)`: unlike runs of one group: all text is new to the first, the others come round to some again."""

    def make(measure):
        runs = [({"a": 0.5, "b": 0.5}, {}), ({"a": 0.8, "b": 0.2}, {"a": 200}), ({"c": 1.0}, {"c": 1200})]
        return [
            tiny_run(STEPS, recipe(measure), run_id=str(at), seed=at, mix=mix, unique_tokens=stock, evaluate_at=(960,))
            for at, (mix, stock) in enumerate(runs)
        ]

    return make


def drawn(group) -> list[np.ndarray]:
    """Train a group to its end; the sequences of each step, (K, B, T + 1) each."""
    batches = []
    while not group.finished:
        taken = group._batches
        group._batches = lambda taken=taken: batches.append(taken()) or batches[-1]
        group.advance()
        group._batches = taken
    return batches


def windows(rows_NT) -> set[bytes]:
    return {row.tobytes() for row in np.ascontiguousarray(rows_NT)}


# what is kept and drawn


@pytest.mark.parametrize("measure", ["loss", "change"])
def test_the_windows_that_are_kept_are_those_of_the_highest_measure(new_group, tiny_run, measure):
    """Every span of two copies, against their whole stocks scored by the test; a comes round again, b doesn't."""
    stock = {"a": 320, "b": 2400}
    group = new_group([tiny_run(STEPS, recipe(measure), run_id=str(at), seed=at, unique_tokens=stock) for at in (0, 1)])
    mixtures = group._mixtures
    texts = []  # of each copy and domain, in the order of its first epoch
    for mixture in mixtures:
        places = [np.arange(size) for size in mixture.stocks]
        texts.append([mixture.rows_at(np.full(len(at), number), at) for number, at in enumerate(places)])
    firsts = [mixture.counts(5 * 4) for mixture in mixtures]  # of the next candidates, by domain
    before = now = None
    while not group.finished:
        stop = dict(SPANS).get(group.step)
        if group.step == 2 or stop:  # half-way through the warm-up, or a refresh
            both = [np.stack([texts[copy][number] for copy in (0, 1)]) for number in (0, 1)]
            before, now = now, [group._losses_now(texts_KNT) for texts_KNT in both]
        begin = group.step * 4
        group.advance()
        if not stop:
            continue
        for copy, mixture in enumerate(mixtures):
            draws = mixture.counts(stop * 4) - mixture.counts(begin)
            taken = group.subsets._runs[copy].rows(begin, stop * 4)
            domain, _ = mixture.turns(begin, stop * 4)
            for number, text in enumerate(texts[copy]):
                count = min(2 * draws[number], len(text))
                candidates = (firsts[copy][number] + np.arange(count)) % len(text)
                loss = now[number][copy]
                worth = loss if measure == "loss" else np.abs(loss - before[number][copy])
                best = candidates[np.argsort(-worth[candidates], kind="stable")[: -(-count // 2)]]
                assert windows(taken[domain == number]) <= windows(text[best])
                assert len(windows(taken[domain == number])) == min(len(best), draws[number])
                firsts[copy][number] += count


def test_until_warm_up_ends_a_run_is_the_plain_one_and_the_mix_stays(new_group, tiny_run):
    plain, subset = new_group([tiny_run(STEPS)]), new_group([tiny_run(STEPS, recipe())])
    batches = drawn(plain), drawn(subset)
    assert all(np.array_equal(*pair) for pair in zip(*(each[:5] for each in batches), strict=True))
    assert not np.array_equal(batches[0][5], batches[1][5])
    assert [e.train_tokens for e in plain.evaluations[0]] == [e.train_tokens for e in subset.evaluations[0]]


def test_what_was_seen_of_the_stock_is_counted_window_by_window(new_group, three):
    group = new_group(three("loss"))
    batches = np.stack(drawn(group))  # (steps, K, B, T + 1)
    for copy, mixture in enumerate(group._mixtures):
        for evaluation in group.evaluations[copy]:
            step = evaluation.step
            domain, _ = mixture.turns(0, step * 4)
            trained = batches[:step, copy].reshape(step * 4, -1)
            for number, name in enumerate(mixture.domains):
                distinct = 16 * len(windows(trained[domain == number]))
                repeats = distinct < evaluation.train_tokens[name]
                stock = 16 * mixture.stocks[number]
                assert evaluation.unique_tokens[name] == (distinct if repeats else stock)
    assert group.evaluations[1][-1].unique_tokens["a"] == 192, "all of the small stock"
    assert group.evaluations[2][-1].unique_tokens["c"] < 1200 - 16


# interruptions


def test_a_break_after_every_step_changes_nothing(new_group, three, tmp_path):
    """By change of loss, whose state is all of that by loss and more."""
    path, whole = tmp_path / "c", new_group(three("change"))
    while not whole.finished:
        whole.advance()
    for step in range(STEPS):
        group = new_group(three("change"))
        assert load_checkpoint(group, path) is (step > 0)
        group.advance()
        save_checkpoint(group, path)
    assert group.evaluations == whole.evaluations
    assert group.curves == whole.curves
    assert {"subset.kept", "subset.seen", "subset.losses"} < set(whole.tensors)
    assert all(torch.equal(tensor, group.tensors[name]) for name, tensor in whole.tensors.items())


def test_a_checkpoint_of_other_subsets_is_not_used(new_group, tiny_run, tmp_path):
    save_checkpoint(new_group([tiny_run(STEPS, recipe())]), tmp_path / "c")
    for other in (recipe("change"), recipe(keep=0.6), {}):
        assert load_checkpoint(new_group([tiny_run(STEPS, other)]), tmp_path / "c") is False


def test_copies_have_subsets_of_their_own(new_group, three):
    together = drawn(new_group(three("loss")))
    for copy, run in enumerate(three("loss")[:2]):
        alone = drawn(new_group([run]))
        assert all(np.array_equal(ours[copy], mine[0]) for ours, mine in zip(together, alone, strict=True))


# what it costs


def test_scoring_counts_as_flops_and_time_and_shows_in_the_table(tiny_store, tiny_run, plain, tmp_path, three):
    facts = StoreFacts(folder="t", digest="0" * 64, name="t", tokenizer=None, bytes_per_token=dict.fromkeys("abc"))
    plain_run = tiny_run(STEPS)
    per_token = plain_run.shape.forward_flops_per_token()
    scored = {"loss": 19 * 4 * 2, "change": 2 * 19 * 4 * 2}  # sequences of all spans over keep
    for measure in ("loss", "change"):
        run = tiny_run(STEPS, recipe(measure), evaluate_at=(5 * 64,))
        (result,) = train_group([run], tiny_store, plain, tmp_path / "c")
        assert result.engine["seconds"]["scoring"] > 0
        first, last = rows([(run, result)], facts, ["a", "b"])
        assert last["flops"] == pytest.approx(3 * per_token * run.tokens + per_token * 16 * scored[measure])
        assert last["flops"] == pytest.approx(run.training_flops), "no stock is used up"
        halfway = 6 * 4 * 2 * 16 if measure == "change" else 0  # tokens of the first span's candidates
        assert first["flops"] == pytest.approx(per_token * (3 * 5 * 64 + halfway))
        assert (last["tokens"], last["selection"], last["keep"]) == (run.tokens, f"subset-{measure}", 0.5)
        machine = Machine(Speed(1e9, "cpu"), 1, plain)
        assert estimate([run], machine, 3).training_flops == run.training_flops > 1.3 * plain_run.training_flops
    (small,) = train_group(three("change")[1:2], tiny_store, plain, tmp_path / "d")
    assert small.evaluations[-1].scored_tokens < three("change")[1].training_flops / per_token - 3 * STEPS * 64
    (without,) = train_group([plain_run], tiny_store, plain, tmp_path / "e")
    assert without.evaluations[-1].scored_tokens == 0
    assert "selection" not in rows([(plain_run, without)], facts, ["a", "b"])[0]


# groups, and what is refused


def test_runs_with_and_without_a_subset_are_not_trained_together(tiny_run, tiny_store, plain, tmp_path):
    runs = [
        tiny_run(run_id=str(at), recipe=given) for at, given in enumerate([{}, recipe(), recipe(), recipe("change")])
    ]
    found = grouped(runs, plain.model_copy(update={"group_size": 4}), "cpu")
    assert sorted([run.run_id for run in group] for group in found) == [["0"], ["1", "2"], ["3"]]
    with pytest.raises(ConfigError, match="subset"):
        train_group(runs, tiny_store, plain, tmp_path / "c")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": 0}, "subset.keep"),
        ({"keep": 1}, "subset.keep"),
        ({"keep": 1.2}, "subset.keep"),
        ({"warmup": 0}, "subset.warmup"),
        ({"warmup": 1}, "subset.warmup"),
        ({"refresh": 0}, "subset.refresh"),
        ({"refresh": float("nan")}, "subset.refresh"),
        ({"measure": "gradient"}, "'change' or 'loss'"),
        ({"every": 2}, "every"),
        (True, "subset"),
    ],
)
def test_bad_settings_are_refused_by_name(given, message):
    with pytest.raises(ConfigError, match=message):
        validated(Recipe, {"subset": given}, Origins("space.yaml"))


def test_a_run_of_one_step_has_no_time_for_a_subset(tiny_run):
    with pytest.raises(ValueError, match="1 step"):
        tiny_run(1, recipe())


@pytest.mark.parametrize("measure", ["loss", "change"])
@pytest.mark.parametrize("steps", [2, 3, 10, 101])
def test_spans_follow_one_another_to_the_end(steps, measure):
    for subset in (Subset(), Subset(warmup=0.99, refresh=0.01), Subset(warmup=0.01, refresh=1.0)):
        subset = subset.model_copy(update={"measure": measure})
        spans = subset.spans(steps)
        assert spans[0].start >= 1
        assert [span.stop for span in spans[:-1]] == [span.start for span in spans[1:]]
        assert spans[-1].stop == steps
        scorings = subset.scorings(steps)
        assert all(number in scorings[span.start] for number, span in enumerate(spans))
        times = [number for numbers in scorings.values() for number in numbers]
        assert all(times.count(number) == (1 if measure == "loss" else 2) for number in range(len(spans)))


def test_files_from_before_subsets_stay_as_they_are():
    assert "subset" not in Recipe().model_dump()
    assert Recipe.model_validate(Recipe(subset=Subset()).model_dump()) == Recipe(subset=Subset())
