import subprocess
import sys
from pathlib import Path

import pytest
from foretrain.core.errors import CorpusError, UsageError
from foretrain.datasets.corpus import builtin
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.documents import documents, source_digest

SMALL = 150_000


@pytest.mark.parametrize("name", builtin.BUILTIN_NAMES)
def test_every_installation_has_them(name):
    found = builtin.texts(name, SMALL)
    sizes = [len(text.text.encode()) for text in found]
    assert SMALL * 0.6 < sum(sizes) <= SMALL
    assert max(sizes) <= 256_000
    assert len({text.name for text in found}) == len({text.text for text in found}) == len(found) > 5


@pytest.mark.parametrize("name", builtin.BUILTIN_NAMES)
def test_names_say_nothing_about_this_machine(name):
    places = {str(Path.home()), sys.prefix, sys.base_prefix, "site-packages"}
    for text in builtin.texts(name, SMALL):
        assert not text.name.startswith(("/", "."))
        assert not any(place in text.name for place in places if len(place) > 1)


def test_the_same_each_time():
    first = builtin.texts("headers", SMALL)
    builtin._read.cache_clear()
    assert builtin.texts("headers", SMALL) == first


def test_nothing_is_imported_to_read_it():
    program = (
        "import sys; from foretrain.datasets.corpus import builtin\n"
        f"for name in builtin.BUILTIN_NAMES: builtin.texts(name, {SMALL})\n"
        "sys.exit(bool({'torch', 'scipy', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_documentation_is_prose_with_the_help_topics(monkeypatch, tmp_path):
    (tmp_path / "pydoc_data").mkdir()
    (tmp_path / "pydoc_data" / "topics.py").write_text("topics = {'if': 'The if statement.\\n', 'n': 1}\n")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test_a.py").write_text('"""A test of something."""\n')
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "latin.py").write_bytes(b'"""caf\xe9"""\n')
    (tmp_path / "escape.py").write_text('"""Short."""\nx = "\\d"\n')  # a warning, were it let through
    prose = "It has a lot to say about what it does. " * 6 + "So much."
    (tmp_path / "a.py").write_text(
        f'"""{prose}"""\nclass A:\n    """Of A."""\n    def f(self):\n        """Of f."""\n'
        'if True:\n    def g():\n        """Of g."""\nx = 1\n'
    )
    monkeypatch.setattr(builtin.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(builtin, "_DOCUMENTED", ())
    builtin._read.cache_clear()
    found = dict(builtin.texts("documentation", SMALL))
    builtin._read.cache_clear()
    assert found == {
        "pydoc_data/topics.py/if": "The if statement.",
        "a.py": f"{prose}\n\nOf A.\n\nOf f.\n\nOf g.",
    }


def test_a_python_without_sources_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(builtin.sysconfig, "get_path", lambda name: str(tmp_path / "absent"))
    builtin._read.cache_clear()
    with pytest.raises(CorpusError, match="builtin python_source: this installation has no such text"):
        builtin.texts("python_source")
    builtin._read.cache_clear()


def test_an_unknown_one():
    with pytest.raises(UsageError, match="expected one of python_source, documentation, headers"):
        builtin.texts("perl")  # type: ignore[arg-type]


def test_they_are_read_as_a_domain():
    corpus = Corpus.from_mapping({"domains": {"h": {"builtin": "headers"}}})
    sides = {side: [d.where for d in documents(corpus, "h", side)] for side in ("train", "valid")}
    assert all(where.startswith("headers:") for where in sides["train"])
    assert not set(sides["train"]) & set(sides["valid"])
    assert 0.02 < len(sides["valid"]) / len(sides["train"]) < 0.1
    assert source_digest(corpus, "h") == source_digest(corpus, "h")
