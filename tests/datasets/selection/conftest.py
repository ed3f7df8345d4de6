"""Documents of a corpus as files, and selections among them."""

import json
from collections.abc import Callable

import pytest
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.selection.selection import Selection, select


@pytest.fixture
def chosen(tmp_path) -> Callable[..., Selection]:
    """`chosen(texts, steps)`: what steps, as corpora.yaml states them, choose among texts."""

    def choose(texts, steps) -> Selection:
        (tmp_path / "web.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        domains = {"web": {"path": "web.jsonl", "select": steps}}
        return select(Corpus.from_mapping({"validation_share": 0, "domains": domains}, folder=tmp_path), "web")

    return choose
