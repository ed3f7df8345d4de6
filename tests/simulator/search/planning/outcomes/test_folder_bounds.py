"""Folders of trackers that hold more than a run's: said, not read."""

import pytest
from foretrain.core.errors import LogError
from foretrain.simulator.search.planning.outcomes import outcome_folders


@pytest.mark.parametrize(
    ("bound", "words"), [("_MOST_KEYS", "more than 3 keys"), ("_MAX_RUN_BYTES", "more than 3 bytes")]
)
def test_an_mlflow_run_of_too_many_keys_or_bytes_is_refused(bound, words, tmp_path, monkeypatch):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "meta.yaml").write_text("run_id: r\nstatus: 3\n")
    for number in range(4):
        (tmp_path / "metrics" / f"loss{number}").write_text("1700000000 2.5 100\n")
    assert outcome_folders.mlflow_facts(tmp_path)["metrics.loss3"] == "2.5"
    monkeypatch.setattr(outcome_folders, bound, 3)
    with pytest.raises(LogError, match=words):
        outcome_folders.mlflow_facts(tmp_path)
