"""A ladder trained with several selections of its text, from space.yaml to the run table."""

import json

import pytest
from foretrain.core.errors import ConfigError, InfeasibleError
from foretrain.proxies.design.design import design
from foretrain.proxies.design.estimate import Machine, Speed
from foretrain.proxies.design.mixes import DomainFacts
from foretrain.proxies.design.space import ProxySpace
from foretrain.proxies.settings import EngineSettings

MACHINE = Machine(Speed(75e9, "cpu"), 2, EngineSettings())
LADDER = {"corpora": "c.yaml", "sizes": ["20k", "65k", "220k"], "tokens": ["0.5M", "1M", "2M"], "seeds": 4}
EXACT, STRICT = {"select": [{"dedup": {"kind": "exact"}}]}, {"name": "strict", "select": [{"dedup": {"seed": 1}}]}
MIXED = {**LADDER, "selections": [EXACT, "none", STRICT]}


def facts(space, **more):
    selected = {named.key: 5e5 for named in space.named_selections()}
    return {"web": DomainFacts(7e6, selected=selected, **more), "code": DomainFacts(3e6, selected=selected)}


def make(raw, budget=None, **more):
    space = ProxySpace.from_mapping(raw)
    return design(space, facts(space, **more), 256, MACHINE, budget)


def test_every_run_of_the_ladder_is_trained_with_every_selection_and_common_seeds():
    plain, found = make(LADDER), make(MIXED)
    by_selection = {}
    for run in found.runs:
        by_selection.setdefault(run.selection, []).append(run)
    assert [(key or "none")[:-9] for key in by_selection] == ["", "dedup", "strict"]  # text as it is comes first
    for runs in by_selection.values():
        alike = [run.model_copy(update={"selection": None, "run_id": ""}) for run in runs]
        assert alike == [run.model_copy(update={"run_id": ""}) for run in plain.runs]  # same mix, sizes, seeds
    assert by_selection[None] == [*plain.runs]
    assert len({run.run_id for run in found.runs}) == len(found.runs) == 3 * 12
    assert found.epochs["web"] == pytest.approx(0.7 * 2e6 / 5e5)


def test_a_space_without_selections_is_written_as_before_and_others_come_back():
    assert "selections" not in ProxySpace.from_mapping(LADDER).to_mapping()
    space = ProxySpace.from_mapping(MIXED)
    again = ProxySpace.from_mapping(json.loads(json.dumps(space.to_mapping())))
    assert again.to_mapping() == space.to_mapping()
    assert [named.key for named in again.named_selections()] == [named.key for named in space.named_selections()]


def test_a_short_time_keeps_three_seeds_and_text_as_it_is():
    whole = make(MIXED).wall_clock_s
    some = make(MIXED, 0.3 * whole)
    assert {run.seed for run in some.runs} == {0, 1, 2}
    assert {run.selection for run in some.runs} == {run.selection for run in make(MIXED).runs}
    few = make(MIXED, 0.045 * whole)
    assert {run.selection for run in few.runs} == {None}
    assert any(line.startswith("ladder: 2 of 3 selections") for line in few.dropped)


def test_a_selection_whose_stock_is_too_small_for_the_epochs_is_refused():
    message = r"ladder-dedup-.*: domain 'web': .* are 2\.8 epochs of its 500k tokens that the selection dedup-.* keeps"
    with pytest.raises(InfeasibleError, match=message + r"; max_epochs allows 2: .* \(at most 1\.43M at this share\)"):
        make(MIXED, max_epochs=2.0)
    make(LADDER, max_epochs=2.0)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "[none, {select: [{dedupe: {}}]}]",
            r"space\.yaml:5: selections\.1\.select\.0: .*'dedupe'",
        ),
        ("[some]", r"space\.yaml:5: selections\.0: got 'some'; expected none, or a selection such as"),
        ("[none, {name: x}]", r"space\.yaml:5: selections\.1\.select: has no step"),
        ("[{name: none, select: [dedup]}]", r"space\.yaml:5: selections\.0\.name: got 'none', which is text as it is"),
        ("[{name: a, select: [dedup]}, {name: b, select: [dedup]}]", r"selections\.1: has the steps of entry 0 \(a\)"),
        ("[{name: a++b, select: [dedup]}]", r"selections\.0\.name: got 'a\+\+b'; expected names of steps joined by \+"),
        ("[none, none]", r"space\.yaml:5: selections\.1: has the steps of entry 0 \(none\)"),
        ("[{select: [{dedup: {kind: fuzy}}]}]", r"space\.yaml:5: selections\.0\.select\.0\.dedup\.kind: got 'fuzy'"),
    ],
)
def test_bad_selections_are_refused_by_line(tmp_path, lines, message):
    path = tmp_path / "space.yaml"
    path.write_text(f"corpora: c.yaml\nsizes: [20k]\ntokens: [1M]\nseeds: 2\nselections: {lines}\n")
    with pytest.raises(ConfigError, match=message):
        ProxySpace.load(path)
