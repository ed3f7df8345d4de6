"""The test for marked text that a model was trained on: exact without the key, and it finds a model that learned it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from foretrain.core.errors import UsageError
from foretrain.datasets.tokens.tokenizer import ByteTokenizer
from foretrain.datasets.watermark.detection import Detector
from foretrain.datasets.watermark.green import Watermark
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.sampling.radioactivity import radioactivity, text_windows, validation_windows
from foretrain.proxies.sampling.trained import TrainedProxy

pytestmark = pytest.mark.usefixtures("one_thread")

MARK = Watermark(key="9f86d081884c7d65", vocab_size=32)
WINDOWS = np.random.default_rng(0).integers(0, 32, (40, 16))


def made_up(logits, vocab_size: int = 32) -> TrainedProxy:
    """A proxy whose scores are a function of its tokens, (1, B, T) to (1, B, T, V)."""
    shape = SimpleNamespace(context_length=16, vocab_size=vocab_size)
    return SimpleNamespace(
        model=SimpleNamespace(shape=shape, logits=lambda weights, tokens: logits(tokens)), weights={}
    )  # type: ignore[return-value]


def by_chance(tokens: torch.Tensor) -> torch.Tensor:
    """Scores that depend on the last two tokens, not on any key."""
    table = torch.from_numpy(np.random.default_rng(1).standard_normal((32, 32, 32)))
    return table[tokens.roll(1, -1), tokens]


def with_a_taste(tokens: torch.Tensor) -> torch.Tensor:
    """The same, a little more for green tokens."""
    scores = by_chance(tokens)
    windows = np.lib.stride_tricks.sliding_window_view(tokens[0].numpy(), 3, axis=1)
    bias = torch.from_numpy(MARK.bias(windows.reshape(-1, 3), 32).reshape(*windows.shape[:2], 32))
    scores[0, :, 2:] += 0.2 * bias
    return scores


def test_a_model_that_learned_from_marked_text_is_found_with_its_key_only():
    found = radioactivity(made_up(with_a_taste), WINDOWS, Detector([MARK], 32))
    assert (found.verdict, found.tokens) == ("marked", WINDOWS.size)
    assert found.p < 1e-6
    assert found.scored == len({tuple(row[at : at + 3]) for row in WINDOWS for at in range(14)})
    other = Watermark(key="another key of 16", vocab_size=32)
    assert radioactivity(made_up(with_a_taste), WINDOWS, Detector([other], 32)).verdict == "undecided"
    assert radioactivity(made_up(by_chance), WINDOWS, Detector([MARK], 32)).verdict == "undecided"


def test_p_is_uniform_over_keys_and_repeats_are_no_evidence():
    proxy = made_up(by_chance)
    p = []
    for number in range(300):
        detector = Detector([Watermark(key=f"key number {number:08d}", vocab_size=32)], 32)
        p.append(radioactivity(proxy, WINDOWS[:10], detector).p)
    for level in (0.5, 0.1):
        assert abs(np.mean(np.array(p) <= level) - level) < 4 * np.sqrt(level * (1 - level) / len(p)) + 0.03
    once, twice = (radioactivity(proxy, np.tile(WINDOWS, (times, 1)), Detector([MARK], 32)) for times in (1, 3))
    assert (once.scored, once.green, once.p) == (twice.scored, twice.green, twice.p)


def test_what_follows_a_context_is_asked_where_the_text_has_not_told_it_yet():
    """A model that repeats what it has read would find the green tokens of marked text that is shown to it."""

    def copies(tokens):
        scores = by_chance(tokens)
        for row, ids in enumerate(tokens[0].tolist()):
            for at in range(3, len(ids)):
                for before in range(2, at):
                    if ids[before - 2 : before + 1] == ids[at - 2 : at + 1]:
                        scores[0, row, at, ids[before + 1]] = 100.0
        return scores

    rng = np.random.default_rng(0)
    text = rng.integers(0, 32, (200, 16))
    for at in range(3, 16):  # all green, and much of it twice
        bias = MARK.bias(text[:, at - 3 : at], 32) + rng.random((200, 32))
        text[:, at] = bias.argmax(-1)
        text[:, 8:12], text[:, 12:16] = text[:, :4], text[:, 4:8]
    assert radioactivity(made_up(copies), text, Detector([MARK], 32)).p > 1e-3


def test_windows_and_vocabularies_that_are_not_the_models_are_refused():
    proxy = made_up(by_chance)
    for windows in (WINDOWS[0], np.zeros((2, 17), int), np.zeros((2, 0), int)):
        with pytest.raises(UsageError, match=r"expected \(n, 1 to 16\)"):
            radioactivity(proxy, windows, Detector([MARK], 32))
    with pytest.raises(UsageError, match="vocabulary of 256 tokens, got one of 32"):
        radioactivity(proxy, WINDOWS, Detector([Watermark(key="9f86d081884c7d65")], 256))
    assert radioactivity(proxy, WINDOWS[:, :2], Detector([MARK], 32)).p == 1.0


def test_texts_become_windows_with_ends_between_them():
    proxy = made_up(by_chance, 256)
    windows = text_windows(["abcdefghij", "klmnopqrstuv", "w"], ByteTokenizer(), proxy)
    assert bytes(windows.astype(np.uint8)[0]) == b"abcdefghij\0klmno"
    assert windows.shape == (1, 16)
    with pytest.raises(UsageError, match="got 4 tokens; expected 16 at least"):
        text_windows(["abc"], ByteTokenizer(), proxy)


def test_the_command_asks_a_run_that_kept_its_weights(call, tiny_run, plain, tmp_path):
    from foretrain.datasets.corpus.corpus import Corpus
    from foretrain.datasets.tokens.prepare import prepare

    lines = "".join(json.dumps({"text": f"Text number {n}, of which there are several."}) + "\n" for n in range(60))
    (tmp_path / "a.jsonl").write_text(lines)
    corpus = Corpus.from_mapping({"validation_share": 0.3, "domains": {"a": {"path": "a.jsonl"}}}, folder=tmp_path)
    store = prepare(corpus, tmp_path / "tokens")
    run = tiny_run(3, shape={"vocab_size": 256}, mix={"a": 1})
    keeping = plain.model_copy(update={"keep_weights": True})
    assert train_one_group(Campaign.create(tmp_path / "c", [run], store.folder, keeping).folder, 0) is None
    folder = tmp_path / "c" / "runs" / "r"
    (tmp_path / "mark.yaml").write_text('key: "9f86d081884c7d65"\n')
    facts = json.loads(call("proxies", "radioactivity", folder, "--watermark", "mark.yaml", "--json").stdout)
    windows = validation_windows(store, TrainedProxy.open(folder))
    assert (facts["verdict"], facts["tokens"]) == ("undecided", windows.size)
    assert 1e-4 < facts["p"] <= 1
    done = call("proxies", "radioactivity", folder, "--watermark", "mark.yaml", "--text", "a.jsonl")
    assert "undecided: no sign of the mark, which doesn't say that there was none" in done.stdout
    (tmp_path / "wide.yaml").write_text('key: "9f86d081884c7d65"\nvocab_size: 300\n')
    done = call("proxies", "radioactivity", folder, "--watermark", "wide.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "a vocabulary of 300 tokens, got one of 256" in done.stderr.replace("\n", " ")
