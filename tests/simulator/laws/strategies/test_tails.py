"""What sampling cuts off, held against Zipf's law itself."""

from __future__ import annotations

import numpy as np
import pytest
from foretrain.simulator.laws.strategies._tails import lost_tail

ZIPF = 1.6
EXPONENT = 1.0 - 1.0 / ZIPF
RANKS = 300_000


def unseen(tokens: float, temperature: float = 1.0, cut: int = RANKS) -> float:
    """Share of text by p_i ~ i^-β that is none of the tokens written at a temperature, from ranks up to `cut`."""
    ranks = np.arange(1.0, RANKS + 1.0)
    real = ranks**-ZIPF
    written = np.where(ranks <= cut, ranks ** (-ZIPF / temperature), 0.0)
    real, written = real / real.sum(), written / written.sum()
    return float(real @ np.exp(tokens * np.log1p(-np.minimum(written, 1.0 - 1e-16))))


def lost(tokens: float, temperature: float = 1.0, top_p: float = 1.0, generation: int = 1, real: float = 0.0) -> float:
    return float(lost_tail(*np.array([[tokens], [temperature], [top_p], [generation], [real]]), EXPONENT)[0])


def test_a_tail_that_is_cut_is_lost_whole_whatever_the_length():
    """Σ_{i>k} p_i is k^-(β-1): what is lost once the rest is learned."""
    ranks = np.arange(1.0, RANKS + 1.0)
    mass = ranks**-ZIPF
    kept = float(mass[:1000].sum() / mass.sum())
    assert unseen(1e9, cut=1000) == pytest.approx(1.0 - kept, rel=0.01)
    assert lost(1e9, top_p=kept) == pytest.approx(1.0 - kept)


def test_a_low_temperature_lowers_the_exponent_as_zipf_has_it():
    tokens = np.array([1e3, 1e4, 1e5])
    for temperature in (1.0, 0.7):
        found = np.log([unseen(one, temperature) for one in tokens])
        assert np.polyfit(np.log(tokens), found, 1)[0] == pytest.approx(-temperature * EXPONENT, abs=0.025)
    assert lost(1e6, 0.7) == pytest.approx(1e6 ** (-0.7 * EXPONENT) - 1e6**-EXPONENT)


def test_nothing_is_lost_by_plain_sampling_and_real_text_brings_back_what_is():
    assert lost(1e6) == lost(1e6, temperature=1.3) == 0.0
    assert lost(1e6, top_p=0.9, generation=3) == pytest.approx(1.0 - 0.9**3)
    by_real = [lost(1e6, top_p=0.9, real=share) for share in (0.0, 0.01, 0.1, 0.5, 1.0)]
    assert all(np.diff(by_real) < 0)
    assert by_real[-1] == 0.0
    assert lost(1e6, temperature=0.0) == pytest.approx(1.0, abs=0.01)
