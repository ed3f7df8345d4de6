"""`select`: steps in order, digests that follow whatever the choice depends on, and what is refused."""

import json
from typing import ClassVar

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.documents import documents, raw_documents, source_digest
from foretrain.datasets.selection.registry import steps as registered
from foretrain.datasets.selection.selection import select, selected_digest, selected_documents
from foretrain.datasets.selection.step import Chosen, Step

TEXTS = [f"Text {n // 2} of some. {'more ' * (n // 2 % 3)}" for n in range(80)]  # each twice
DEDUP = {"dedup": {"kind": "exact"}}


@pytest.fixture
def corpus(tmp_path):
    """`corpus(steps, share)`: the texts with blank ones among them, scores by number, and steps."""
    lines = "".join(json.dumps({"text": text}) + "\n" for text in ["", *TEXTS, "  "])
    (tmp_path / "web.jsonl").write_text(lines)

    def make(steps, share=0.1, **others):
        domains = {"web": {"path": "web.jsonl", "select": steps}, **others}
        (tmp_path / "c.json").write_text(json.dumps({"validation_share": share, "domains": domains}, indent=1))
        made = Corpus.load(tmp_path / "c.json")
        n = len(list(documents(made, "web", "train")))
        if not (tmp_path / "s.csv").exists():
            (tmp_path / "s.csv").write_text("document,score\n" + "".join(f"{i},{i * 31 % n}\n" for i in range(n)))
        return made

    return make


def test_steps_run_in_their_order_on_what_the_ones_before_kept(corpus):
    judge = {"judge": {"scores": "s.csv", "keep": 0.5}}
    found = {order: select(corpus(steps), "web") for order, steps in {1: [DEDUP, judge], 2: [judge, DEDUP]}.items()}
    assert [outcome.step.name for outcome in found[1].outcomes] == ["dedup", "judge"]
    for selection in found.values():
        first, second = selection.outcomes
        np.testing.assert_array_equal(second.reached, first.reached[first.chosen.kept])
        np.testing.assert_array_equal(np.flatnonzero(selection.kept), second.reached[second.chosen.kept])
        assert selection.kept_share == pytest.approx(first.kept_share * second.kept_share)
    assert not np.array_equal(found[1].kept, found[2].kept)
    assert found[1].digest != found[2].digest


def test_validation_text_is_all_there_and_training_text_is_what_was_kept(corpus):
    made = corpus([{"judge": {"scores": "s.csv", "keep": 0.3}}])
    selection = select(made, "web")
    found = list(selected_documents(made, {"web": selection}, "web", ("train", "valid")))
    before = list(raw_documents(made, "web", ("train", "valid")))
    valid = [document for side, document in before if side == "valid"]
    train = list(documents(made, "web", "train"))
    assert len(valid) > 3
    assert [document for side, document in found if side == "valid"] == valid
    kept = [document for document, keep in zip(train, selection.kept, strict=True) if keep]
    assert [document for side, document in found if side == "train" and document.text.strip()] == kept
    assert len(selection.kept) == len(train)
    assert selection.sizes_bytes.tolist() == [len(document.text.encode()) for document in train]
    assert list(selected_documents(made, {}, "web", ("train", "valid"))) == before


def test_without_steps_all_is_kept_and_the_digest_is_that_of_the_source(corpus):
    made = corpus([])
    assert selected_digest(made, "web") == source_digest(made, "web")
    assert select(made, "web").kept.all()
    assert json.loads(json.dumps(select(made, "web").to_dict()))["kept_share"] == 1


def test_the_digest_follows_text_steps_settings_seeds_and_files(corpus, tmp_path):
    judge = {"scores": "s.csv", "keep": 0.5}
    stated = [
        [],
        [DEDUP],
        [{"judge": judge}],
        [DEDUP, {"judge": judge}],
        [{"judge": judge}, DEDUP],
        [{"judge": {**judge, "keep": 0.6}}],
        [{"judge": {**judge, "seed": 1}}],
    ]
    digests = [selected_digest(corpus(steps), "web") for steps in stated]
    assert len(set(digests)) == len(stated)
    assert [selected_digest(corpus(steps), "web") for steps in stated] == digests
    whole = select(corpus(stated[2]), "web").digest
    assert selected_digest(corpus([{"judge": judge}], share=0.2), "web") != digests[2]
    rows = (tmp_path / "s.csv").read_text()
    (tmp_path / "s.csv").write_text(rows.replace("\n0,0\n", "\n0,0.5\n"))
    assert selected_digest(corpus(stated[2]), "web") != digests[2]
    assert select(corpus(stated[2]), "web").digest != whole
    (tmp_path / "s.csv").write_text(rows)
    assert select(corpus(stated[2]), "web").digest == whole
    text = (tmp_path / "web.jsonl").read_text()
    (tmp_path / "web.jsonl").write_text(text.replace("Text 3 ", "Text three "))
    assert all(selected_digest(corpus(steps), "web") != old for steps, old in zip(stated, digests, strict=True))


def test_the_digest_follows_the_scores(corpus):
    """A step whose code has changed chooses by other scores, with the same settings."""

    class Scoring(Step):
        name = "scoring"
        scale: ClassVar[float] = 1.0

        def select(self, texts, rng):
            return Chosen(np.ones(len(texts), bool), self.scale * np.arange(len(texts), dtype=float))

    first = select(corpus([]), "web", [Scoring()])
    Scoring.scale = 2.0
    second = select(corpus([]), "web", [Scoring()])
    assert first.outcomes[0].scores_digest != second.outcomes[0].scores_digest
    assert first.digest != second.digest


def test_a_step_that_keeps_nothing_is_refused_with_its_place(corpus):
    class Nothing(Step):
        name = "nothing"

        def select(self, texts, rng):
            return Chosen(np.zeros(len(texts), bool), np.zeros(len(texts)))

    made = corpus([])
    n = len(list(documents(made, "web", "train")))
    with pytest.raises(CorpusError, match=rf"select\.1\.nothing: keeps none of {n} documents; expected one at least"):
        select(made, "web", [registered()["sample"](keep=1), Nothing()])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: None, "answers None; expected a Chosen"),
        (lambda n: Chosen(np.ones(3, bool), np.zeros(n)), r"kept: got bool of shape \(3,\); expected \d+ of bool"),
        (lambda n: Chosen(np.arange(n), np.zeros(n)), r"kept: got int64 of shape \(\d+,\); expected \d+ of bool"),
        (lambda n: Chosen(np.ones(n, bool), np.zeros(2)), r"scores: got float64 of shape \(2,\); expected \d+ numbers"),
        (
            lambda n: Chosen(np.ones(n, bool), np.zeros(n), {"x": {1}}),
            r"facts: got \{'x': \{1\}\}; expected plain values",
        ),
    ],
)
def test_what_is_no_choice_is_refused(corpus, answer, message):
    """A step of another package may answer anything."""

    class Odd(Step):
        name = "odd"

        def select(self, texts, rng):
            return answer(len(texts))

    with pytest.raises(CorpusError, match=rf"select\.0\.odd: {message}"):
        select(corpus([]), "web", [Odd()])


def test_text_that_shrinks_meanwhile_is_refused(corpus, tmp_path):
    class Shrinking(Step):
        name = "shrinking"

        def select(self, texts, rng):
            (tmp_path / "web.jsonl").write_text(json.dumps({"text": TEXTS[0]}) + "\n" + json.dumps({"text": "two"}))
            lengths = np.array([len(document.text) for document in texts])
            return Chosen(lengths > 0, lengths)

    with pytest.raises(CorpusError, match=r"0\.shrinking: the text changed while it was read; select again"):
        select(corpus([], share=0), "web", [Shrinking()])


def test_messages_name_file_line_and_step(corpus, tmp_path):
    made = corpus([DEDUP, {"judge": {"scores": "none.csv"}}])
    line = next(n for n, text in enumerate((tmp_path / "c.json").read_text().splitlines(), 1) if '"judge"' in text)
    place = rf"^\S*c\.json:{line}: domains\.web\.select\.1\.judge: \S*none\.csv: can't be read: "
    with pytest.raises(CorpusError, match=place):
        select(made, "web")
    with pytest.raises(CorpusError, match=place):
        selected_digest(made, "web")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [{"dedupe": None}],
            r"select\.0: got 'dedupe'; no such step is installed; did you mean dedup\? expected one of dedup, d",
        ),
        ([{"dedup": {}, "sample": {}}], r"select\.0: got .*; expected the name of one step"),
        ([DEDUP, 3], r"select\.1: got 3; expected the name of one step"),
        ([{"sample": {"keep": 0}}], r"select\.0\.sample\.keep: got 0; expected a number above 0"),
        ([{"sample": {"keep": 1.2}}], r"select\.0\.sample\.keep: got 1\.2; expected"),
        ([{"sample": {"kept": 0.5}}], r"select\.0\.sample\.kept: unknown key; did you mean keep\?"),
        ([{"sample": {"seed": -1}}], r"select\.0\.sample\.seed: got -1; expected"),
        ([DEDUP] * 40, r"domains\.web\.select: got"),
    ],
)
def test_what_a_selection_may_not_state(corpus, steps, message):
    with pytest.raises(ConfigError, match=message):
        corpus(steps)


def test_synthetic_text_has_no_documents_to_select(corpus):
    synthetic = {"kind": "zipf_markov", "vocab_size": 64, "tokens": 1000}
    with pytest.raises(ConfigError, match=r"domains\.known\.select: goes with text only; synthetic domains have"):
        corpus([], known={"synthetic": synthetic, "select": ["dedup"]})
    with pytest.raises(CorpusError, match="is synthetic and has tokens, not documents"):
        select(corpus([], known={"synthetic": synthetic}), "known", [registered()["dedup"]()])
    with pytest.raises(CorpusError, match="no domain 'other'"):
        select(corpus([]), "other")


def test_a_domain_without_training_text_is_refused(corpus, tmp_path):
    (tmp_path / "blank.jsonl").write_text('{"text": " "}\n')
    with pytest.raises(CorpusError, match=r"domains\.blank: holds no training document to select among"):
        select(corpus([], blank={"path": "blank.jsonl", "select": ["dedup"]}), "blank")


def test_settings_come_back_from_a_written_corpus(corpus):
    made = corpus([DEDUP, {"judge": {"scores": "s.csv", "keep": "30%"}}, "sample"])
    again = Corpus.from_mapping(json.loads(json.dumps(made.to_mapping())), folder=made.folder)
    assert again.domains["web"].select == made.domains["web"].select
    assert selected_digest(again, "web") == selected_digest(made, "web")


def test_one_selection_may_have_a_file_for_each_domain(tmp_path):
    """Selections of a ladder run over every domain, and a file of scores speaks of one."""
    domains = {}
    for name in ("web", "code"):
        texts = [json.dumps({"text": f"{name} {number}"}) for number in range(6)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(texts))
        rows = "\n".join(f"{number},{number if name == 'web' else -number}" for number in range(6))
        (tmp_path / f"judged.{name}.csv").write_text(f"document,score\n{rows}\n")
        domains[name] = {"path": f"{name}.jsonl"}
    mapping = {"validation_share": 0, "domains": domains}
    corpus = Corpus.from_mapping(mapping, folder=tmp_path)
    judge = registered()["judge"].model_validate({"scores": "judged.{domain}.csv", "keep": 0.5})
    kept = {name: select(corpus, name, [judge]).kept.tolist() for name in domains}
    assert kept == {"web": [False] * 3 + [True] * 3, "code": [True] * 3 + [False] * 3}
    digests = {name: selected_digest(corpus, name, [judge]) for name in domains}
    (tmp_path / "judged.web.csv").write_text("document,score\n")
    assert selected_digest(corpus, "web", [judge]) != digests["web"]
    assert selected_digest(corpus, "code", [judge]) == digests["code"]
