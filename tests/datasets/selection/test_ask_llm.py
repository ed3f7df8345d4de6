"""Ask-LLM on tiny random models that are made here: an encoder–decoder and two causal ones."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import CorpusError, MissingExtraError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.selection.judges.ask_llm import PROMPT, AskLLM, _spellings
from foretrain.datasets.selection.selection import select, selected_digest

torch = pytest.importorskip("torch", reason="transformers and torch aren't installed")
transformers = pytest.importorskip("transformers", reason="transformers and torch aren't installed")

TEXTS = [
    "a rose is a rose",
    "one two three " * 5,
    "the {braces} of 50 % of the cases",
    "x",
    *(f"text of number {n} " * n for n in range(1, 9)),
]


def tokenizer(answers=("yes", "no"), longest=10_000, chat=None):
    """Words and signs are tokens; unknown ones are one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [*re.findall(r"\w+|[^\w\s]+", PROMPT), *re.findall(r"\w+", " ".join(TEXTS)), "###", "user", *answers]
    distinct = dict.fromkeys(["[PAD]", "[UNK]", *words])
    kept = [word for word in distinct if word not in {"yes", "no"} - set(answers)]
    vocabulary = {word: number for number, word in enumerate(kept)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", model_max_length=longest
    )
    fast.chat_template = chat
    return fast


def save(folder: Path, kind: str, safe=True, **settings) -> Path:
    """A random model with its tokenizer."""
    made = tokenizer(**settings)
    torch.manual_seed(3)
    if kind == "t5":
        config = transformers.T5Config(
            vocab_size=len(made), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
        )
        model = transformers.T5ForConditionalGeneration(config)
    elif kind == "llama":
        config = transformers.LlamaConfig(
            vocab_size=len(made),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=256,
        )
        model = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.GPT2Config(vocab_size=len(made), n_embd=16, n_layer=1, n_head=2, n_positions=256)
        model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5 if kind == "t5" else 6)  # so that answers differ from text to text
    made.save_pretrained(folder)
    model.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def judged(folder, texts=TEXTS):
    return AskLLM(model=folder.name).judge(iter(texts), folder.parent, "c.yaml:3: judge")


@pytest.mark.parametrize("kind", ["t5", "llama", "gpt2"])
def test_the_score_is_the_probability_of_yes(tmp_path, kind):
    """As the model gives it to each prompt by itself, without padding, whatever else is in the batch."""
    folder = save(tmp_path / "model", kind, answers=("yes", "no", "Yes"))
    made = transformers.AutoTokenizer.from_pretrained(folder)
    auto = transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder).eval()
    found = judged(folder)
    tokens = 0
    for text, score in zip(TEXTS, found.scores, strict=True):
        ids = made(PROMPT.format(text=text), return_tensors="pt")["input_ids"]
        tokens += ids.shape[1]
        with torch.no_grad():
            logits = model(ids, decoder_input_ids=torch.zeros(1, 1, dtype=int)) if kind == "t5" else model(ids)
        chances = torch.softmax(logits.logits[0, -1], -1)
        expected = sum(chances[made.convert_tokens_to_ids(word)].item() for word in ("yes", "Yes"))
        np.testing.assert_allclose(score, expected, rtol=1e-4)
    assert len(set(found.scores.tolist())) == len(TEXTS)
    parameters = sum(weight.numel() for weight in model.parameters())
    assert (found.facts["parameters"], found.facts["tokens"]) == (parameters, tokens)
    encoder = sum(w.numel() for w in model.get_encoder().parameters()) if kind == "t5" else parameters
    assert found.facts["flops"] == 2 * encoder * tokens + 2 * (parameters - encoder) * len(TEXTS)
    np.testing.assert_array_equal(judged(folder).scores, found.scores)


def test_long_documents_are_cut_and_the_question_stays(tmp_path):
    """What lies beyond the context changes nothing, and what lies within it does."""
    folder = save(tmp_path / "model", "t5", longest=128)
    long = " ".join(TEXTS) * 50
    found = judged(folder, [long, long + " rose" * 1000, "rose " + long])
    np.testing.assert_allclose(found.scores[1], found.scores[0], rtol=1e-5)
    assert abs(found.scores[2] / found.scores[0] - 1) > 1e-3
    assert 3 * 100 < found.facts["tokens"] <= 3 * 128
    with pytest.raises(CorpusError, match=r"^c\.yaml:3: judge: model: short: reads 50 tokens at once, which the quest"):
        judged(save(tmp_path / "short", "t5", longest=50))


def test_a_model_of_dialogues_is_asked_in_its_own_form(tmp_path):
    template = "user {{ messages[0]['content'] }} user"
    plain, chat = save(tmp_path / "plain", "llama"), save(tmp_path / "chat", "llama", chat=template)
    more = judged(chat).facts["tokens"] - judged(plain).facts["tokens"]
    assert more == 2 * len(TEXTS)
    marked, unmarked = judged(chat, ["a rose [PAD] is", "a rose   is"]).scores
    assert marked == pytest.approx(unmarked, rel=1e-6)


def test_every_spelling_of_an_answer_counts():
    vocabulary = {"yes": 0, "▁yes": 1, "ĠYes": 2, "yesterday": 3, "▁": 4, "YES": 5, "no": 6}
    assert _spellings("yes", vocabulary, "here") == [0, 1, 2, 5]
    assert _spellings("no", vocabulary, "here") == [6]


def test_what_cannot_be_asked_is_said(tmp_path, monkeypatch):
    with pytest.raises(CorpusError, match=r"^c\.yaml:3: judge: model: none: can't be loaded: .* expected a folder"):
        judged(tmp_path / "none")
    with pytest.raises(CorpusError, match="model: silent: its tokenizer has no token 'yes'; expected a model"):
        judged(save(tmp_path / "silent", "t5", answers=("no",)))
    with pytest.raises(CorpusError, match="its tokenizer has no token 'no'"):
        judged(save(tmp_path / "eager", "t5", answers=("yes",)))
    with pytest.raises(CorpusError, match=r"can't be loaded: .* and weights as safetensors"):
        judged(save(tmp_path / "pickled", "llama", safe=False))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"needs transformers; install it with: pip install 'foretrain\[judge"):
        judged(tmp_path / "none")


def test_the_step_judge_asks_a_model_about_all_documents_or_a_sample(tmp_path):
    """The digest follows the weights, as it follows any file that a step reads."""
    folder = save(tmp_path / "model", "t5")
    texts = [f"{TEXTS[n % 3]} {TEXTS[1][: n + 4]}" for n in range(60)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    def corpus(**settings):
        domain = {"path": "a.jsonl", "select": [{"judge": {"model": "model", **settings}}]}
        return Corpus.from_mapping({"validation_share": 0, "domains": {"a": domain}}, "c.yaml", tmp_path)

    (asked,) = select(corpus(keep=0.3), "a").outcomes
    np.testing.assert_allclose(asked.chosen.scores, judged(folder, texts).scores, rtol=1e-6)
    assert asked.chosen.scores[asked.chosen.kept].min() >= asked.chosen.scores[~asked.chosen.kept].max()
    (learned,) = select(corpus(distil=30), "a").outcomes
    costs = [outcome.chosen.facts["cost"] for outcome in (asked, learned)]
    assert [cost["documents"] for cost in costs] == [60, 30]
    assert costs[0]["flops"] > 1.5 * costs[1]["flops"] > 0
    assert learned.chosen.facts["labels"] == 30
    digest = selected_digest(corpus(), "a")
    shutil.copy(save(tmp_path / "other", "llama") / "model.safetensors", folder)
    assert selected_digest(corpus(), "a") != digest
