"""`data.selection` of a plan: what it may say, and what it leaves of the stocks."""

import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.runs.columns import columns
from foretrain.simulator.config.run_config import RunConfig, apply_overrides

MIX = {"mix": {"web": 0.9, "code": 0.1}, "unique_tokens_by_domain": {"code": "50B"}}


def plan(selection=None, **data) -> RunConfig:
    stated = {} if selection is None else {"selection": selection}
    return RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "1T", **data, **stated}})


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"kind": "judge", "keep": 0}, "keep: got 0; expected a number above 0"),
        ({"kind": "judge", "keep": 1.2}, "keep: got 1.2; expected a number of at most 1"),
        ({"kind": "judge", "keep": True}, "keep: got True; expected a plain number"),
        ({"keep": 0.3}, "kind: is missing"),
        ({"kind": "a++b", "keep": 0.3}, "kind: got 'a\\+\\+b'; expected names of steps joined by \\+"),
        ({"kind": "none+judge"}, "kind: got 'none\\+judge'; expected none by itself"),
        ({"kind": "None"}, "kind: got 'None'; expected none by itself for text as it is, or steps only"),
        ({"kind": "none", "keep": 0.3}, "keep: got 0.3 of text that is taken as it is; expected 1"),
        ({"kind": "none", "judge": {"params": "3B"}}, "judge: is given for text that is taken as it is"),
        ({"kind": "judge", "judge": {"params": 0}}, "judge.params: got 0; expected a number above 0"),
        ({"kind": "judge", "judge": {"efficiency": 3}}, "judge.efficiency: got 3; expected a number of at most 1"),
        ({"kind": "judge", "part": 0.3}, "part: unknown key; expected one of kind, keep, judge"),
    ],
)
def test_what_no_selection_is(selection, message):
    with pytest.raises(ConfigError, match=rf"data\.selection\.{message}"):
        plan(selection)


def test_keep_shrinks_every_stock():
    kept = plan({"kind": "dedup+judge", "keep": "40%"}, **MIX)
    assert kept.data.kept_tokens_by_domain == {"code": pytest.approx(2e10)}
    assert kept.data.domain_epochs == {"code": pytest.approx(5.0)}
    assert kept.data.distinct_tokens() == pytest.approx(9.2e11)
    assert plan({"kind": "judge", "keep": 0.25}, unique_tokens="2T").data.epochs == pytest.approx(2.0)
    assert plan({"kind": "judge", "keep": 0.05}).data.epochs == 1.0  # no stock is stated: nothing is repeated
    assert plan({"kind": "judge", "keep": 0.25}, unique_tokens="2T").data.unique_tokens == 2e12


def test_plans_without_a_selection_are_written_as_before():
    assert "selection" not in plan().to_mapping()["data"]
    selected = plan({"kind": "judge", "keep": 0.3, "judge": {"params": "3B"}})
    assert RunConfig.from_mapping(selected.to_mapping()) == selected


def test_overrides_and_columns_find_it():
    mapping = {"model": {"params": "7B"}, "data": {"tokens": "1T", "selection": {"kind": "judge", "keep": 0.5}}}
    config = RunConfig.from_mapping(apply_overrides(mapping, ["data.selection.keep=.3"]))
    assert columns()["keep"].value_in(config) == 0.3
    assert columns()["selection"].value_in(config) == "judge"
    assert columns()["keep"].value_in(plan()) is None
