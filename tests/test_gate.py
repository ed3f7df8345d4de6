"""A sample of the cases of benchmarks/gate.py, and all of the shared field cases; the rest runs there."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from _gate import Case, all_cases

CASES = list(all_cases())
FIELD = [case for case in CASES if case.kind == "field"]
OTHERS = [case for case in CASES if case.kind != "field"]
EVERY = 20


@pytest.mark.parametrize("case", OTHERS[::EVERY], ids=lambda case: f"{case.kind}: {case.name}")
def test_sample_of_the_gate(case: Case, tmp_path):
    case.check(tmp_path)


@pytest.mark.skipif(not FIELD, reason="the shared field cases are absent")
@pytest.mark.parametrize("case", FIELD, ids=lambda case: case.name)
def test_field_case(case: Case, tmp_path):
    case.check(tmp_path)


def test_cases_have_names_of_their_own():
    assert len({(case.kind, case.name) for case in CASES}) == len(CASES)
