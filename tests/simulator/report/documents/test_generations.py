"""What is shown of generations: pairs over common seeds, every run as a dot, and where each text is from."""

import io
import math
from typing import NamedTuple

import pytest
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.provenance.provenance import GeneratedBy, Provenance
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore
from foretrain.datasets.tokens.texts import NewText, add_texts, linked_store
from foretrain.simulator.report.charts.data.generations import losses_picture, rises_picture
from foretrain.simulator.report.documents.contents.generations import generations_document
from foretrain.simulator.report.documents.markdown import markdown_text
from foretrain.simulator.report.generations import Generations, finding, notes
from foretrain.simulator.report.tables.data.generations import generations_view
from rich.console import Console


class Key(NamedTuple):
    regime: str
    real_share: float


class Loss(NamedTuple):
    chain: Key | None
    generation: int
    seed: int
    loss_nats: float
    rise_nats: float


class Difference(NamedTuple):
    first: Key
    second: Key
    generation: int
    by_seed: dict[int, float]
    mean_nats: float
    half_nats: float


REPLACE, HALF, FRESH = Key("replace", 0.0), Key("replace", 0.5), Key("fresh", 1.0)


def made(store=None, *, seeds=(0, 1, 2), chains=(REPLACE, HALF, FRESH)) -> Generations:
    """Three generations; replace rises by 0.1 a generation, half real by half of it, fresh not at all."""
    rows = []
    for seed in seeds:
        rows.append(Loss(None, 0, seed, 2.0 + seed / 10, 0.0))
        for chain in chains:
            for number in (1, 2, 3):
                rise = {REPLACE: 0.1, HALF: 0.05, FRESH: 0.0}[chain] * number
                rows.append(Loss(chain, number, seed, 2.0 + seed / 10 + rise, rise))
    pairs = dict.fromkeys(seeds, 0.15)
    differences = [Difference(REPLACE, HALF, 3, pairs, 0.15, 0.01), Difference(REPLACE, FRESH, 3, pairs, 0.3, math.inf)]
    return Generations("chains", "self", rows, differences, store, "nats per byte")


@pytest.fixture
def store(tmp_path):
    """Tokens of a domain of known provenance, and two texts that models wrote."""
    (tmp_path / "web.txt").write_text("one two three four five six seven " * 60)
    (tmp_path / "valid.txt").write_text("eight nine ten eleven twelve " * 60)
    web = {"path": "web.txt", "validation_path": "valid.txt", "provenance": {"licence": "CC0", "origin": "human"}}
    tokens = prepare(Corpus.from_mapping({"domains": {"web": web}}, folder=tmp_path), tmp_path / "tokens")
    linked_store(tokens, tmp_path / "chains")
    texts = []
    for number in (1, 2):
        by = GeneratedBy(kind="self", digest=f"{number}" * 64, parent="b" * 64, seed=5, generation=number)
        rows = tokens.windows("web", "train", 16).gather(range(number, number + 3))  # type: ignore[arg-type]
        texts.append(NewText(f"g{number - 1}-s0", rows, Provenance(source="web", origin="generator", generator=by)))
    add_texts(tmp_path / "chains", texts)
    return TokenStore.open(tmp_path / "chains")


def test_terminal_and_report_say_the_same(store):
    found = made(store)
    console = Console(width=160, file=io.StringIO())
    console.print(generations_view(found, "runs.csv"))
    terminal, report = console.file.getvalue(), markdown_text(generations_document(found, ("simulate again",)))
    assert finding(found) == "Replace gets worse by 0.30 nats in 3 generations, replace with 50 % real by 0.15"
    for text in (terminal, report):
        assert finding(found) in text
        assert "replace with 50 % real" in text
        assert "undecided" in text  # one pair decides nothing
        assert "3 of 3" in text
        assert "CC0" in text
        assert "1 text for generation 2" in text
        assert "eight nine" in text  # real text
        assert "ur five six" in text  # what was written
    assert "simulate again" in report


def test_every_run_is_a_dot_and_every_chain_a_panel():
    found = made()
    for width in losses_picture(found).widths:
        layers = losses_picture(found).draw(width)["layer"]
        dots = [layer["data"]["values"] for layer in layers if layer["mark"]["type"] == "point"]
        assert [len(them) for them in dots] == [12, 12, 12]  # generation 0 in each
        assert all(0 <= dot["x"] <= width for them in dots for dot in them)
    assert losses_picture(found).title == "Replace: 2.10 to 2.40 in 3 generations"
    title = rises_picture(found).title
    assert title == "Replace with 50 % real rises least of what models wrote, by 0.15 nats"


def test_what_cannot_be_told_is_said():
    assert notes(made()) == []
    few = notes(made(seeds=(0,), chains=(REPLACE,)))
    assert any(note.startswith("1 seed") for note in few)
    assert any("no control" in note for note in few)
    nothing = Generations("chains", "self", [Loss(None, 0, 0, 2.0, 0.0)])
    assert finding(nothing) == "No generation after the first is done"
    assert losses_picture(nothing).draw(320)["layer"]
