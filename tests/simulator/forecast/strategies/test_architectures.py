"""What a forecast says of an architecture whose runs its predictor has: held against the same shape with attention."""

import io

import numpy as np
import pandas as pd
import pytest
from foretrain import Predictor, RunConfig, RunTable, compare, forecast
from foretrain.core.errors import InputError
from foretrain.simulator.report.tables.comparison import comparison_view
from foretrain.simulator.report.tables.forecast import forecast_view
from rich.console import Console

GAIN = {"transformer": 0.0, "hyena": 0.8, "mlp_mixer": -1.0, "h3": 0.02}
"""Of tokens, in log."""
SHAPE = {"layers": 4, "width": 128, "ffn_width": 320, "vocab_size": 256, "context_length": 128}


def fitted(levels) -> Predictor:
    rng = np.random.default_rng(0)
    rows = [
        (params, tokens, level, seed, _loss(params, tokens * np.exp(GAIN[level])) * np.exp(rng.normal(0, 0.004)))
        for level in levels
        for params in (3e4, 6e4, 1.2e5, 2.4e5)
        for tokens in (5e5, 1e6, 2e6, 4e6, 8e6)
        for seed in (1, 2)
    ]
    frame = pd.DataFrame(rows, columns=["params", "tokens", "architecture", "seed", "loss"])
    return Predictor.fit(RunTable.from_frame(frame), "chinchilla+architecture", prior="public")


def _loss(params, tokens):
    return 1.0 + 1.5 * (params / 1e5) ** -0.3 + (tokens / 1e6) ** -0.3


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return fitted(GAIN)


def plan(mixer: str, tokens: float = 2e7, **more) -> dict:
    heads = {"heads": 4} if mixer in ("attention", "dynamic_conv") else {}
    architecture = {**SHAPE, **heads, "mixer": mixer}
    return {"name": mixer, "model": {"architecture": architecture}, "data": {"tokens": tokens}, **more}


def asked(mixer: str, predictor: Predictor, **more):
    return forecast(RunConfig.from_mapping(plan(mixer, **more)), predictor)


def in_text(view) -> str:
    console = Console(width=10_000, file=io.StringIO())
    console.print(view)
    return console.file.getvalue()


def test_an_architecture_is_held_against_a_transformer_of_the_same_shape(predictor):
    found, plain = asked("hyena", predictor), asked("attention", predictor)
    (one,) = found.strategies
    assert (one.category, one.place, one.level, one.baseline) == (
        *("architecture", "model.architecture.mixer"),
        *("hyena", "transformer"),
    )
    assert one.baseline_loss_nats == pytest.approx(plain.headline.loss_nats.median)
    gained = found.headline.loss_nats.median - plain.headline.loss_nats.median
    assert one.difference.median == pytest.approx(gained)
    middle, low, high = one.loss_percent
    assert middle == pytest.approx(100 * gained / one.baseline_loss_nats)
    sizes = [found.config.model.params_total, plain.config.model.params_total]
    true = [_loss(size, 2e7 * np.exp(gain)) for size, gain in zip(sizes, (0.8, 0.0), strict=True)]
    assert low < 100 * (true[0] / true[1] - 1) < high < 0
    assert one.runs == {"runs": 40, "params": [3e4, 2.4e5], "tokens": [5e5, 8e6], "seeds": 2}
    decades = {"params": np.log10(sizes[0] / 2.4e5), "tokens": np.log10(2e7 / 8e6)}
    assert one.beyond_decades == pytest.approx(decades)
    assert 0 < one.share_of_variance < 1


def test_the_page_says_all_of_it_in_a_sentence(predictor):
    found = asked("hyena", predictor)
    (one,) = found.strategies
    assert one.sentence in in_text(forecast_view(found))
    size = RunConfig.from_mapping(plan("attention")).model.params_total
    assert (
        f"as a transformer of the same shape ({size / 1e3:.0f}k parameters): {one.baseline_loss_nats:.3f} nats; "
        in (one.sentence)
    )
    middle, low, high = one.loss_percent
    assert f"hyena: {middle:+.1f} % (90 %: {low:+.1f} to {high:+.1f}): better, " in one.sentence
    assert "runs of at most 240k parameters rank architectures by how fast they learn n-grams" in one.sentence
    assert "arXiv:2302.10866" in one.sentence
    stated = found.to_dict()["strategies"][0]
    assert stated["loss_percent"] == middle
    assert stated["loss_percent_90"] == [low, high]
    assert stated["baseline_loss_nats"] == one.baseline_loss_nats


def test_attention_is_the_baseline_and_a_plan_without_a_shape_is_taken_as_it(predictor):
    assert asked("attention", predictor).strategies == ()
    found = forecast(RunConfig.from_mapping({"model": {"params": 1e6}, "data": {"tokens": 2e7}}), predictor)
    assert found.strategies == ()
    assert "model.architecture.mixer is not stated: taken as transformer" in found.warnings
    named = {"model": {"params": 1e6}, "data": {"tokens": 2e7}, "columns": {"architecture": "hyena"}}
    (one,) = forecast(RunConfig.from_mapping(named), predictor).strategies
    assert "nats against 'transformer' (90 %" in one.sentence  # without a shape there is no other of the same


def test_a_mixer_that_no_run_had_is_as_open_as_mixers_differ(predictor):
    found = asked("hyper_mixer", predictor)
    (one,) = found.strategies
    assert not one.known
    assert one.runs["runs"] == 120
    assert one.verdict == "undecided"
    assert one.share_of_variance > 0.5
    assert any("no fitted run had 'hyper_mixer', so it counts as 'transformer'" in text for text in found.warnings)


def test_a_mixer_that_no_run_had_is_refused_where_one_was_fitted():
    with pytest.raises(
        InputError, match=r"architecture: got 'h3'; the fitted runs had 'hyena', 'transformer', so this"
    ):
        asked("h3", fitted(["transformer", "hyena"]))


def test_plans_that_differ_in_the_mixer_are_compared_in_pairs(predictor):
    found = compare([plan("attention"), plan("hyena"), plan("h3")], predictor)
    alone = [np.ptp(one.headline.loss_nats.intervals[0.9]) for one in found.forecasts]
    apart = [its["loss_nats"] for its in found.differences[1:]]
    assert np.ptp(apart[0].intervals[0.9]) < min(alone)
    assert [one.verdict for one in apart] == ["better", "undecided"]
    (note,) = found.notes
    assert "h3: whether it is better or worse than attention, which differs in architecture ('h3' here" in note
    assert note in in_text(comparison_view(found))
