"""A sample of the cases of benchmarks/gate.py; all of them run there."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from _gate import Case, all_cases

CASES = list(all_cases())
EVERY = 20


@pytest.mark.parametrize("case", CASES[::EVERY], ids=lambda case: f"{case.kind}: {case.name}")
def test_sample_of_the_gate(case: Case, tmp_path):
    case.check(tmp_path)


def test_cases_have_names_of_their_own():
    assert len({(case.kind, case.name) for case in CASES}) == len(CASES)
