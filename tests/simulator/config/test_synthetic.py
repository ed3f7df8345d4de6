"""`data.synthetic` of a plan: what it may say, what is trained on, and what is left to be drawn from the stocks."""

import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.runs.columns import columns
from foretrain.simulator.config.run_config import RunConfig, apply_overrides
from hypothesis import given
from hypothesis import strategies as st

SHARES = st.floats(0.0, 1.0)


def plan(synthetic=None, **data) -> RunConfig:
    stated = {} if synthetic is None else {"synthetic": synthetic}
    return RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "1T", **data, **stated}})


@pytest.mark.parametrize(
    ("synthetic", "message"),
    [
        ({"share": -0.1}, "share: got -0.1; expected a number of at least 0"),
        ({"share": 1.2}, "share: got 1.2; expected a number of at most 1"),
        ({"generation": 1}, "share: is missing"),
        ({"share": 0.3, "generation": 0}, "generation: got 0 with a share of 0.3; expected 1 or more, or share 0"),
        ({"share": 0.3, "generation": -1}, "generation: got -1"),
        ({"share": 0.2, "regime": "fresh"}, "share: got 0.2 under regime fresh, which is real text alone; expected 0"),
        (
            {"share": 1, "regime": "accumulate"},
            "share: got 1 under regime accumulate.* expected at most 0.5, or regime",
        ),
        ({"share": 0.7, "generation": 2, "regime": "subsample"}, "share: got 0.7 .* wrote 2 of 3 parts"),
        ({"share": 0, "detected": 0.5}, "detected: got 0.5 of text without a synthetic part; expected 0, or a share"),
        ({"share": 1, "detected": 1}, "detected: got 1 with a share of 1, which leaves no text"),
        ({"share": 0.3, "temperature": 0, "top_p": 0}, "top_p: got 0 beside temperature 0; expected one of the two"),
        ({"share": 0.3, "regime": "forget"}, "regime: got 'forget'"),
        ({"share": 0.3, "generating": {"params": 0}}, "generating.params: got 0; expected a number above 0"),
        ({"share": 0.3, "generating": {"efficiency": 2}}, "generating.efficiency: got 2; expected a number of at most"),
        ({"share": 0.3, "watermark": "x"}, "watermark: unknown key; expected one of share, generation, regime"),
    ],
)
def test_what_no_synthetic_text_is(synthetic, message):
    with pytest.raises(ConfigError, match=rf"data\.synthetic\.{message}"):
        plan(synthetic)


@given(SHARES, SHARES)
def test_what_is_detected_is_left_out_and_other_text_taken_instead(share, detected):
    if share * detected == 1.0 or (share == 0.0 < detected):
        return
    found = plan({"share": share, "detected": detected}).data
    read, written = found.synthetic.trained_share, found.synthetic.written_share
    assert 0.0 <= read <= share * (1 + 1e-12)
    assert read == pytest.approx(written * (1.0 - detected))
    raw = 1.0 / (1.0 - share * detected)  # tokens of text before the detector, for each one that is trained on
    assert raw * (1.0 - share) + read == pytest.approx(1.0)
    assert found.real_tokens == pytest.approx(1e12 * (1.0 - read))


def test_real_text_alone_is_drawn_from_the_stocks():
    half = plan({"share": 0.5}, unique_tokens="100B").data
    assert (half.epochs, half.distinct_tokens(), half.distinct_tokens(1e11)) == (5.0, 6e11, 1e11)
    assert plan({"share": 1}, unique_tokens="100B").data.epochs == 0.0
    mix = {"mix": {"web": 0.9, "code": 0.1}, "unique_tokens_by_domain": {"code": "20B"}}
    mixed = plan({"share": 0.5, "detected": 0.9}, **mix).data
    share = 0.05 / 0.55
    assert mixed.domain_epochs == {"code": pytest.approx(5.0 * (1.0 - share))}
    assert mixed.distinct_tokens_by_domain == {"code": pytest.approx(2e10 + 1e11 * share)}
    assert mixed.distinct_tokens() == pytest.approx(9e11 + 2e10 + 1e11 * share)
    assert mixed.epochs == pytest.approx(1e12 * (1 - share) / (9e11 * (1 - share) + 2e10))
    assert plan({"share": 1}, **mix).data.epochs == 1.0
    kept = plan({"share": 0.5}, unique_tokens="100B", selection={"kind": "judge", "keep": 0.5}).data
    assert kept.epochs == 10.0


def test_plans_without_it_are_written_as_before():
    assert "synthetic" not in plan().to_mapping()["data"]
    assert {"generating", "temperature", "top_p"}.isdisjoint(plan({"share": 0.3}).to_mapping()["data"]["synthetic"])
    stated = plan({"share": 0.3, "generation": 2, "generating": {"params": "8B"}})
    assert RunConfig.from_mapping(stated.to_mapping()) == stated


def test_overrides_and_columns_find_it():
    def read(config):
        names = ("synthetic_share", "real_share", "generation", "generator", "regime", "top_p")
        return [columns()[name].value_in(config) for name in names]

    mapping = {"model": {"params": "7B"}, "data": {"tokens": "1T", "synthetic": {"share": 0.5}}}
    config = RunConfig.from_mapping(
        apply_overrides(mapping, ["data.synthetic.share=.3", "data.synthetic.generation=2"])
    )
    assert read(config) == [0.3, 0.7, 2, "self", "replace", 1.0]
    assert read(plan({"share": 0.5, "regime": "accumulate", "top_p": 0.9})) == [0.5, None, 1, "self", "accumulate", 0.9]
    for nothing in (None, {"share": 0}, {"share": 0.3, "detected": 1}):  # as runs of real text have it
        assert read(plan(nothing)) == [0.0, None, None, None, None, None]
