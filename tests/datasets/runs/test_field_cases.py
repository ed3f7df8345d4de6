"""Tables in other units, as the field cases have them."""

import os
from pathlib import Path

import pytest
from foretrain.datasets.runs.run_table import RunTable

CASES = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[3].parent / "shared")) / "field_cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the field cases aren't here")


@pytest.mark.parametrize("name", ["percent", "counts", "w_percent"])
def test_mixes_in_percent_and_tokens(name):
    table = RunTable.read(CASES / "10_mix_in_other_units" / f"{name}.csv")
    assert table.domains == ["web text", "stack/python", "wiki.en"]
    assert table.column("mix.web text")[0] == pytest.approx(0.58389, abs=1e-4)
    assert any("percent" in note or "tokens of each domain" in note for note in table.notes)


def test_a_batch_in_sequences():
    path = CASES / "06_batch_in_sequences" / "runs.csv"
    assert RunTable.read(path).column("batch_tokens")[0] == 32 * 4096
    with pytest.warns(match="in sequences of 4096 tokens"):
        RunTable.read(path, {"batch_tokens": "gbsz"})
