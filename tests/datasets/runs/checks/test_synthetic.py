"""Columns of synthetic text: what they may say of each other, and what blank cells mean."""

from __future__ import annotations

import pandas as pd
import pytest
from foretrain import RunTable
from foretrain.core.errors import RunTableError


def table(**columns: list) -> RunTable:
    return RunTable.from_frame(
        pd.DataFrame({"params": [5e4] * 3, "tokens": [4e5] * 3, "loss": [2.0, 2.1, 2.2]} | columns)
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"synthetic_share": [0, 1, -0.5]}, "row 3, column 'synthetic_share': '-0.5' is no share"),
        ({"synthetic_share": [0, 1, 1.5]}, "row 3, column 'synthetic_share': '1.5' is no share"),
        (
            {"generation": [0, 1, 0]},
            "row 3, column 'generation': got 0 beside .* expected a whole number from 1 to 1,000",
        ),
        ({"generation": [0, 1.5, 2]}, "row 2, column 'generation': got 1.5 beside"),
        ({"regime": ["real", "real", "replace"]}, "row 2, column 'regime': got 'real' .* expected one of replace, acc"),
        ({"regime": ["real", "replace", "replce"]}, "row 3, column 'regime': got 'replce'"),
        ({"regime": ["real", "fresh", "replace"]}, "row 2, column 'regime': got 'fresh'"),
        ({"generator": ["none", "none", "self"]}, "row 2, column 'generator': got 'none' .* expected what wrote it"),
        (
            {"real_share": [0, 0, 0.6]},
            r"row 3, column 'real_share': got 0\.6 beside .* 0\.5 under replace; expected shares",
        ),
    ],
)
def test_shares_that_contradict_the_rest_are_refused(columns, message):
    with pytest.raises(RunTableError, match=message):
        table(**({"synthetic_share": [0, 1, 0.5]} | columns))


def test_blank_cells_beside_a_share_mean_what_a_plan_means():
    found = table(synthetic_share=[0, 1, 0.5], regime=[None, "accumulate", None], real_share=[0.5, 0.3, 0.5])
    assert found.frame["generation"].tolist()[1:] == [1, 1]
    assert found.frame["regime"].tolist()[1:] == ["accumulate", "replace"]
    assert found.frame["generator"].tolist()[1:] == ["self", "self"]
    assert found.frame[["generation", "generator"]].isna().iloc[0].all()
    assert "read blank regime as replace in 1 rows with a synthetic_share above 0" in found.notes


def test_tables_without_synthetic_text_are_as_they_were():
    """`generation` and `regime` may be anybody's columns there."""
    own = table(regime=["cosine", "wsd", "wsd"], generation=[1, 2, 3])
    assert own.frame["regime"].tolist() == ["cosine", "wsd", "wsd"]
    assert "generator" not in own.frame.columns
