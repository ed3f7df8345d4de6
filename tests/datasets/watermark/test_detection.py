"""p-values are exact, repeats are no evidence, and nothing is ever called human."""

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, UsageError
from foretrain.datasets.watermark import texts
from foretrain.datasets.watermark.detection import Counts, Detector, corrected, count, detect, p_values
from foretrain.datasets.watermark.green import Watermark
from foretrain.datasets.watermark.key_files import read_watermark
from scipy import stats

KEYS = tuple(f"{number:032x}" for number in range(50))
MARK = Watermark(key=KEYS[0])


def marked_text(length: int, mark: Watermark = MARK, seed: int = 0) -> np.ndarray:
    """Bytes of which three in four are green, where half would be by chance."""
    rng = np.random.default_rng(seed)
    text = rng.integers(97, 123, (length,), np.uint8)
    for place in range(mark.context, length):
        if rng.random() < 0.5:
            choices = np.arange(97, 123)
            contexts = np.repeat(text[None, place - mark.context : place], len(choices), axis=0)
            text[place] = rng.choice(choices[mark.green(contexts, choices)])
    return text


def test_p_values_are_the_binomial_tail():
    scored = np.repeat(np.arange(40), 40)
    green = np.minimum(np.tile(np.arange(40), 40), scored)
    for gamma in (0.5, 0.2):
        expected = stats.binom.sf(green - 1, scored, gamma)
        np.testing.assert_allclose(p_values(Counts(scored, green), gamma), expected, rtol=1e-12)
    assert 0 < p_values(Counts(np.array(10_000), np.array(6_500)), 0.5) < 1e-190


@pytest.mark.parametrize("length", [20, 100])
def test_p_values_of_unmarked_text_are_uniform_up_to_their_steps(length):
    """P(p ≤ x) is x wherever p can be x, and below it elsewhere: never more false positives than promised."""
    rng = np.random.default_rng(length)
    texts = np.tile(rng.integers(0, 256, (20_000, length), np.uint8), 2)  # each repeats itself
    found, scored = Detector([MARK], 256).p_values(texts), count(texts, MARK).scored
    assert scored.max() == length
    for level in (0.5, 0.1, 0.01, 0.001):
        expected = Detector([MARK], 256, level).false_positives(scored)
        assert (expected <= level).all()
        spread = np.sqrt((expected * (1 - expected)).sum())
        assert abs((found <= level).sum() - expected.sum()) < 4 * spread


def test_one_p_value_over_many_keys_is_uniform():
    text = np.frombuffer(
        b"It is a truth universally acknowledged, that a text is the same under every key. " * 2, np.uint8
    )
    found = [detect(text, Watermark(key=f"{number:032x}"), 256).p for number in range(2000)]
    scored = int(count(text, MARK).scored)
    for level in (0.5, 0.1, 0.01):
        expected = stats.binom.sf(stats.binom.isf(level, scored, 0.5), scored, 0.5)
        assert abs(np.mean(np.array(found) <= level) - expected) < 4 * np.sqrt(expected / len(found))


def test_repeats_order_and_windows_change_nothing():
    text = marked_text(300)
    once = count(text, MARK)
    twice = count(np.concatenate([text, text]), MARK)
    assert 0 <= twice.scored - once.scored <= MARK.context  # what straddles the seam is new
    several = np.stack([marked_text(100, seed=seed) for seed in range(5)])
    together = count(several, MARK)
    for row, scored, green in zip(several, together.scored, together.green, strict=True):
        alone = count(row, MARK)
        assert (alone.scored, alone.green) == (scored, green)
    detector = Detector([MARK], 256)
    np.testing.assert_array_equal(detector.p_values(several[::-1]), detector.p_values(several)[::-1])
    assert count(several[:, :3], MARK).scored.tolist() == [0] * 5


def test_marked_text_is_found_with_its_key_only_and_never_called_human():
    text = marked_text(300)
    found = detect(text, MARK, 256)
    assert (found.verdict, found.fingerprint) == ("marked", MARK.fingerprint)
    assert found.p < 1e-9
    others = [Watermark(key=key) for key in KEYS[1:]]
    assert detect(text, others, 256).verdict == "undecided"
    among = detect(text, [*others, MARK], 256)
    assert (among.verdict, among.fingerprint, among.keys) == ("marked", MARK.fingerprint, 50)
    assert among.p == pytest.approx(50 * found.p, rel=1e-6)  # Šidák, which is Bonferroni where p is small
    assert corrected(np.array(0.5), 2) == pytest.approx(0.75)


def test_short_text_is_undecided_and_the_length_needed_is_said():
    needed = detect(b_(b""), MARK, 256).tokens_needed
    assert needed == 3 + 16  # 2**-16 < 3e-5 < 2**-15
    greenest = marked_text(400)
    for length in (0, 2, 3, 4, needed - 1):
        found = detect(greenest[:length], MARK, 256)
        assert (found.verdict, found.tokens, found.tokens_needed) == ("undecided", length, needed)
    assert detect(b_(b""), MARK, 256).p == 1.0
    assert detect(b_(b"?" * 10_000), MARK, 256).scored == 1


def test_a_detector_without_a_key_or_with_anothers_vocabulary_is_refused():
    for watermarks, message in (
        ([], "no key; expected one at least"),
        ([MARK, MARK.model_copy(update={"delta": 1.0})], "comes twice"),
        ([Watermark(key=KEYS[0], vocab_size=512)], "vocabulary of 512 tokens, got one of 256"),
        ([Watermark(key=KEYS[0], tokenizer="a" * 64)], "expected the tokenizer whose tokens"),
    ):
        with pytest.raises(UsageError, match=message):
            Detector(watermarks, 256, tokenizer="b" * 64)
    with pytest.raises(UsageError, match="alpha: got 0"):
        Detector([MARK], 256, alpha=0)


def test_many_texts_together_are_one_text_of_which_a_sample_may_stand_for_all(monkeypatch):
    rng = np.random.default_rng(0)
    several = [rng.integers(0, 256, (length,), np.uint8) for length in (0, 2, 50, 400, 400)]
    several += [marked_text(900), marked_text(900), marked_text(900, seed=1)]
    detector = Detector([MARK, Watermark(key=KEYS[1])], 256)
    found = texts.scan(several, detector)
    assert found.marked.tolist() == [False] * 5 + [True] * 3
    assert found.p.tolist() == [detector.detect(text).p for text in several]
    assert found.tokens.tolist() == [len(text) for text in several]
    different = {bytes(text[place : place + 4]) for text in several for place in range(len(text) - 3)}
    assert found.together.scored == len(different)
    assert found.together.verdict == "marked"
    monkeypatch.setattr(texts, "_MOST_DIFFERENT", 800)
    sampled = texts.scan(several, detector).together
    assert 200 < sampled.scored <= 800
    assert sampled.verdict == "marked"


def test_files_of_watermarks_are_read_and_never_shown(tmp_path):
    path = tmp_path / "mark.yaml"
    path.write_text(f'key: "{KEYS[7]}"\ncontext: 4\n')
    assert read_watermark(path) == Watermark(key=KEYS[7], context=4)
    for text, message in (
        ("12345678901234567", "at the top, not a list or a single value"),
        ("key: 12345678901234567", "mark.yaml:1: key: got something other than text; expected the key in quotes"),
        ("key: 1234567890", "other than text"),
        ('key: "1234567890"', "got 10 characters"),
        ('key: "12345678901234567"\ncontext: 2', "mark.yaml:2: context: got 2; expected 3 tokens or more"),
        ("gamma: 0.5", "key: is missing"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message) as caught:
            read_watermark(path)
        assert "1234567890" not in str(caught.value)


def b_(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)
