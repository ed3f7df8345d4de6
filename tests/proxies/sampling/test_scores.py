"""Scores of documents by a trained proxy: the file that the perplexity step reads, from the command that writes it."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from foretrain.cli import simulate
from foretrain.core.errors import CorpusError, InputError, UsageError
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.documents import documents
from foretrain.datasets.selection.selection import select
from foretrain.datasets.selection.steps.perplexity import Perplexity
from foretrain.datasets.tokens.tokenizer import ByteTokenizer
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models import build_model
from foretrain.proxies.sampling.scores import write_scores
from foretrain.proxies.sampling.trained import TrainedProxy
from foretrain.proxies.weights import RunWeights, WeightsFacts, write_weights
from foretrain.testing._model_shapes import away_from_start

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = Architecture(layers=1, width=16, heads=2, ffn_width=24, vocab_size=256, context_length=32, short_conv=2)


@pytest.fixture
def run(tmp_path):
    """A run's folder with weights of a model of bytes."""
    model = build_model("transformer", SHAPE)
    named = WeightLayout(model).split(away_from_start(model, [1]))
    facts = WeightsFacts(model="transformer", shape=SHAPE, tokenizer_digest=ByteTokenizer().digest, run_digest="0" * 64)
    folder = tmp_path / "run"
    folder.mkdir()
    write_weights(folder, RunWeights(facts, {name: weight[0].numpy() for name, weight in named.items()}))
    return folder


@pytest.fixture
def corpora(tmp_path):
    """A corpus of 40 documents of unlike lengths, one of them twice."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["tide", "moon", "law", "stone"], 5 + number)) for number in range(40)]
    lines = [json.dumps({"text": text}) for text in [*texts, texts[3]]]
    (tmp_path / "web.jsonl").write_text("\n".join(lines))
    (tmp_path / "corpora.yaml").write_text("domains: {web: {path: web.jsonl}}\nvalidation_share: 0.2\n")
    return tmp_path / "corpora.yaml"


def test_the_command_writes_what_the_perplexity_step_reads(run, corpora, tmp_path):
    words = [
        "proxies",
        "score",
        str(run),
        str(corpora),
        "--domain",
        "web",
        "--out",
        str(tmp_path / "web.csv"),
        "--json",
    ]
    done = CliRunner().invoke(simulate, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with open(tmp_path / "web.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    texts = {document.digest.hex(): document.text for document in documents(Corpus.load(corpora), "web", "train")}
    assert json.loads(done.stdout)["documents"] == len(rows) == len(texts) < 40
    expected = TrainedProxy.open(run).nats_per_byte(texts[row["digest"]] for row in rows)
    assert [float(row["nats_per_byte"]) for row in rows] == expected.tolist()
    kept = select(Corpus.load(corpora), "web", [Perplexity(scores="web.csv", band=(0.0, 0.5))])
    facts = kept.outcomes[0].chosen.facts["nats_per_byte"]
    assert facts["lowest"] == expected.min()
    assert facts["highest"] < expected.max()


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"out": "web.txt"}, UsageError, "ends in .csv"),
        ({"out": "no/folder/web.csv"}, InputError, "can't be written"),
        ({"domain": "weather"}, CorpusError, "weather"),
    ],
)
def test_what_makes_no_sense_is_refused(run, corpora, tmp_path, change, kind, message):
    given = {"domain": "web", "out": "web.csv", **change}
    given["out"] = tmp_path / given["out"]
    with pytest.raises(kind, match=message):
        write_scores(TrainedProxy.open(run), Corpus.load(corpora), **given)
    assert not (tmp_path / "web.csv").exists()
