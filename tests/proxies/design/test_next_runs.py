import math

import numpy as np
import pytest
from foretrain.proxies.design.design import design
from foretrain.proxies.design.estimate import Machine, Speed
from foretrain.proxies.design.learning_rate import LearningRateTrial, pick_lr
from foretrain.proxies.design.mixes import DomainFacts
from foretrain.proxies.design.next_runs import candidate_runs
from foretrain.proxies.design.space import ProxySpace

DOMAINS = {"books": DomainFacts(7e6), "code": DomainFacts(5e6), "web": DomainFacts(8e6)}
MACHINE = Machine(Speed(75e9, "cpu"), 2)
LADDER = {"corpora": "c.yaml", "sizes": ["20k", "80k"], "tokens": ["0.5M", "2M"], "seeds": 2}
MIXES = {**LADDER, "mixes": {"sample": 4}}


def space(raw):
    return ProxySpace.from_mapping(raw)


def pool(raw, done=None, domains=DOMAINS, lr=0.005, **more):
    done = design(space(raw), domains, 256, MACHINE).runs if done is None else done
    return candidate_runs(space(raw), domains, 256, lr, done, "next-1", **more)


def test_sizes_and_tokens_lie_between_and_beyond_those_of_the_space():
    found = pool(LADDER)
    sizes = sorted({run.shape.params_total for run in found})
    assert len(sizes) == 2 + 1 + 6
    assert sizes[0] < 25_000 < sizes[1] < 60_000 < sizes[2] < 90_000
    assert sizes[-1] == pytest.approx(8 * sizes[2], rel=0.15)
    tokens = sorted({run.tokens for run in found})
    assert tokens == [5e5, 1e6, 2e6, 4e6, 8e6, 16e6]
    assert len(found) == len(sizes) * len(tokens)


def test_runs_pass_through_shorter_ones_and_have_names_and_seeds_of_their_own():
    found = pool(LADDER)
    longest = [run for run in found if run.tokens == 16e6]
    assert {run.evaluate_at for run in longest} == {(5e5, 1e6, 2e6, 4e6, 8e6)}
    assert len({run.run_id for run in found}) == len(found)
    assert all(run.run_id.startswith("next-1-ladder-") for run in found)
    by_cell = {}
    for run in found:
        by_cell.setdefault((run.shape, tuple(run.mix.items())), []).append(run.seed)
    # a longer run with the same seed would repeat the shorter one's losses
    assert all(len(set(seeds)) == len(seeds) for seeds in by_cell.values())
    rungs = {run.shape for run in design(space(LADDER), DOMAINS, 256, MACHINE).runs}
    assert all(min(seeds) == (2 if shape in rungs else 0) for (shape, _), seeds in by_cell.items())


def test_a_schedule_that_depends_on_the_length_gives_one_row_a_run():
    cosine = {**LADDER, "recipe": {"schedule": "cosine"}}
    assert all(run.evaluate_at == () for run in pool(cosine))


def test_further_mixes_are_other_mixes_at_the_sizes_of_the_space():
    done = design(space(MIXES), DOMAINS, 256, MACHINE).runs
    found = [run for run in pool(MIXES, done) if "-mix-" in run.run_id]
    trained = {tuple(sorted((k, round(v, 6)) for k, v in run.mix.items())) for run in done}
    mixes = {tuple(sorted((k, round(v, 6)) for k, v in run.mix.items())) for run in found}
    assert len(mixes) == 32
    assert not mixes & trained
    assert {run.tokens for run in found} == {5e5}
    assert len({run.shape for run in found}) == 2
    assert pool(MIXES, done) == pool(MIXES, done)


def test_the_planned_mix_is_trained_at_every_size():
    found = pool(LADDER, planned_mix={"books": 1.0})
    planned = [run for run in found if "-planned-" in run.run_id]
    assert len(planned) == len(found) / 2
    assert all(run.mix == {"books": 1.0} for run in planned)
    same = pool({**LADDER, "mix": {"books": 1.0}}, planned_mix={"books": 1.0, "web": 0.0})
    assert not [run for run in same if "-planned-" in run.run_id]


def test_what_repeats_a_domain_too_often_is_left_out():
    scarce = {**DOMAINS, "books": DomainFacts(7e5, max_epochs=1.0)}
    found = pool(LADDER, done=design(space(LADDER), DOMAINS, 256, MACHINE).runs, domains=scarce)
    natural = found[0].mix["books"]
    assert max(run.tokens for run in found) * natural <= 7e5
    assert found


def test_the_tuned_rate_follows_the_width():
    trials = [
        LearningRateTrial(1, width, float(lr), math.log(lr / best) ** 2)
        for width, best in ((16, 0.03), (64, 0.003))
        for lr in np.geomspace(0.001, 0.1, 9)
    ]
    choice = pick_lr(trials)
    found = pool(LADDER, lr=choice)
    assert len({run.recipe.lr for run in found}) > 1
    assert all(run.recipe.lr == choice.at(run.shape.width) for run in found)
