"""Ask-LLM: the probability that an instruction model answers "yes" when asked whether a text is worth training on.

Sachdeva et al. 2024, "How to Train Data-Efficient LLMs" (arXiv 2402.09668), section 3.1 and figure 3. The score is the
softmax probability of the answer "yes" as the first token; here of all tokens that spell it, with and without capitals
and the mark of a blank. Weights are read from safetensors only, and no code that comes with a model is run.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from typing_extensions import override

from ....core.errors import CorpusError
from ....core.extras import require
from ....core.reading.fields import Label
from ._judge import Judge, Judged, register_judge

__all__ = ["PROMPT", "AskLLM"]

PROMPT = """###
{text}
###

Does the previous paragraph demarcated within ### and ### contain informative signal for pre-training a \
large-language model? An informative datapoint should be well-formatted, contain some usable knowledge of the world, \
and strictly NOT have any harmful, racist, sexist, etc. content.

OPTIONS:
- yes
- no
"""
"""The question, as Sachdeva et al. 2024 (arXiv 2402.09668), figure 3, quote it."""

_MOST_TOKENS = 2_048  # of a prompt, where the model would take more: a judge reads how a document begins
_SPARE_TOKENS = 8  # pieces of a prompt may make a few more tokens together than each by itself
_AHEAD, _BATCH = 64, 8  # documents that are sorted by length, and prompts that are scored at once
_BLANKS = "▁Ġ "  # how tokenizers write a blank before a word


@register_judge("ask_llm")
class AskLLM(Judge):
    """An encoder–decoder or causal model of transformers, in a folder or by a name that transformers knows."""

    model: Label = Field(description="Folder with a model, relative to the corpora file, or its name.")

    @override
    def judge(self, texts: Iterable[str], folder: Path, place: str) -> Judged:
        require("a judge that is a language model", "transformers", "torch")
        import torch

        with _quiet(), torch.inference_mode():
            asked = _Asked(self._source(folder), f"{place}: model: {self.model}")
            found = [score for batch in _batches(texts, _AHEAD) for score in asked.scores(batch)]
        yes, answered = (
            (np.array(column, float) for column in zip(*found, strict=True)) if found else (np.empty(0),) * 2
        )
        facts = {
            "judge": self.model,
            "parameters": asked.parameters,
            "documents": len(found),
            "tokens": asked.tokens,
            "flops": asked.flops,
            "answered_yes_or_no": float(answered.mean()) if found else None,
        }
        return Judged(yes.copy(), facts)

    @override
    def inputs(self, folder: Path) -> list[Path]:
        source = folder / self.model
        if not source.is_dir():
            return []
        return sorted(path for path in source.iterdir() if path.suffix in (".json", ".safetensors", ".model", ".txt"))

    def _source(self, folder: Path) -> str:
        source = folder / self.model
        return str(source) if source.is_dir() else self.model


class _Asked:
    """A model that is loaded, and what it has read so far: tokens and FLOPs of forward passes."""

    def __init__(self, source: str, place: str) -> None:
        self._tokenizer, self._model = _loaded(source, place)
        self._parts = bool(self._model.config.is_encoder_decoder)
        vocabulary = self._tokenizer.get_vocab()
        self._answers = [_spellings(answer, vocabulary, place) for answer in ("yes", "no")]
        added = self._tokenizer.added_tokens_decoder.values()
        marks = {token.content for token in added if token.special} | set(self._tokenizer.all_special_tokens)
        self._marks = sorted(marks, key=len, reverse=True)
        self._limit = _limit(self._model.config, self._tokenizer)
        self._room = self._limit - len(self._ids("")) - _SPARE_TOKENS
        if self._room < 1:
            raise CorpusError(
                f"{place}: reads {self._limit} tokens at once, which the question fills; expected a longer context"
            )
        self.parameters = sum(weight.numel() for weight in self._model.parameters())
        self.tokens = 0
        self.flops = 0.0
        parts = self._model.get_encoder() if self._parts else self._model
        self._reading = sum(weight.numel() for weight in parts.parameters())

    def scores(self, texts: list[str]) -> Iterator[tuple[float, float]]:
        """Yield of each text the probability of "yes", and of "yes" or "no"."""
        prompts = [self._prompt(text) for text in texts]
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        found: dict[int, tuple[float, float]] = {}
        for batch in _batches(order, _BATCH):
            probabilities = self._first_token([prompts[number] for number in batch])
            yes, no = (probabilities[:, ids].sum(1).tolist() for ids in self._answers)
            found.update(zip(batch, zip(yes, (y + n for y, n in zip(yes, no, strict=True)), strict=True), strict=True))
        return (found[number] for number in range(len(prompts)))

    def _prompt(self, text: str) -> list[int]:
        """The tokens of the question about a text, of which only as much is taken as fits."""
        # no token is longer than some 20 bytes on average; what can't fit needn't be tokenized
        text = text[: self._room * 32]
        for mark in self._marks:  # a document must not end its turn, and speak in the one after
            text = text.replace(mark, " ")
        ids = self._tokenizer(text, add_special_tokens=False, truncation=True, max_length=self._room)["input_ids"]
        shortened = self._tokenizer.decode(ids) if len(ids) >= self._room else text
        while len(prompt := self._ids(shortened)) > self._limit:
            shortened = shortened[: len(shortened) * 3 // 4]
        return prompt

    def _ids(self, text: str) -> list[int]:
        prompt = PROMPT.format(text=text)
        if self._tokenizer.chat_template is None:
            return self._tokenizer(prompt)["input_ids"]
        turn = [{"role": "user", "content": prompt}]
        asked = self._tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        return self._tokenizer(asked, add_special_tokens=False)["input_ids"]

    def _first_token(self, prompts: list[list[int]]) -> Any:
        """Probabilities of the first token of the answer `(prompts, vocabulary)`."""
        import torch

        lengths = torch.tensor([len(prompt) for prompt in prompts])
        ids = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        device = self._model.device
        inputs = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
        read = int(lengths.sum())
        self.tokens += read
        self.flops += 2.0 * self._reading * read  # Kaplan et al. 2020 (2001.08361), 2.1: two per parameter and token
        if self._parts:
            self.flops += 2.0 * (self.parameters - self._reading) * len(prompts)
            start = torch.full((len(prompts), 1), self._model.config.decoder_start_token_id, device=device)
            logits = self._model(**inputs, decoder_input_ids=start).logits[:, 0]
        else:
            last, where = torch.unique(lengths - 1, return_inverse=True)
            # of a long prompt only the last logits are needed, where the model can give them alone
            if "logits_to_keep" in inspect.signature(self._model.forward).parameters:
                logits = self._model(**inputs, logits_to_keep=last.to(device)).logits[torch.arange(len(prompts)), where]
            else:
                logits = self._model(**inputs).logits[torch.arange(len(prompts)), lengths - 1]
        return torch.softmax(logits.float(), -1).cpu()


def _loaded(source: str, place: str) -> tuple[Any, Any]:
    """Tokenizer and model, on the accelerator where there is one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model: Any = kind.from_pretrained(source, trust_remote_code=False, use_safetensors=True)
    except Exception as error:  # libraries below raise errors of no common class
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CorpusError(
            f"{place}: can't be loaded: {reason}; expected a folder with config.json, a tokenizer and weights as "
            "safetensors, or the name of such a model"
        ) from None
    if torch.cuda.is_available():
        return tokenizer, model.to("cuda").eval()
    return tokenizer, model.float().eval()  # processors are slow at half precision


def _spellings(answer: str, vocabulary: dict[str, int], place: str) -> list[int]:
    """The tokens that spell an answer."""
    found = sorted(number for token, number in vocabulary.items() if token.strip(_BLANKS).lower() == answer)
    if not found:
        raise CorpusError(f"{place}: its tokenizer has no token {answer!r}; expected a model that can answer with one")
    return found


def _limit(config: Any, tokenizer: Any) -> int:
    """The most tokens of a prompt."""
    stated = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions"))
    return min([_MOST_TOKENS, int(tokenizer.model_max_length), *(int(limit) for limit in stated if limit)])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers, and what fetches its models, from writing bars and notes to the terminal."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    fetching = getLogger("huggingface_hub")
    fetching_level = fetching.level
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    fetching.setLevel(ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        fetching.setLevel(fetching_level)
        if bars:
            logging.enable_progress_bar()


def _batches(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    stream = iter(values)
    return iter(lambda: list(islice(stream, size)), [])
