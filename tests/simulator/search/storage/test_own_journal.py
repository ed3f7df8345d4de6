"""A study's own journal: the same for the same study, another for another, a file name wherever the name comes from."""

from pathlib import Path

import pytest
from foretrain.core.errors import InputError
from foretrain.simulator.search.storage.own_journal import own_journal
from hypothesis import example, given
from hypothesis import strategies as st


@given(name=st.text(max_size=300))
@example(name="\U00020000" * 300)
def test_any_name_makes_a_file_in_the_folder(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / "studies"
    path = Path(own_journal(name, 1, folder=folder))
    assert path.parent == folder
    path.write_text("", encoding="utf-8")
    assert own_journal(name, 1, folder=folder) == path.as_posix()


def test_what_trials_depend_on_decides_the_file(tmp_path):
    paths = {own_journal("a", *depends_on, folder=tmp_path) for depends_on in [(1,), (2,), (1, "x"), ("1",)]}
    assert len(paths) == 4
    assert own_journal("a", 1, folder=tmp_path) in paths


def test_a_folder_that_cant_be_made_names_the_ways_out(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="--storage memory"):
        own_journal("a", folder=tmp_path / "file" / "studies")
