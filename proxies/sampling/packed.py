"""Documents in memory → a token store of one domain, to train a proxy on them: bytes as they are, text or not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.errors import UsageError
from ...core.files import write_json
from ...datasets.tokens.shards import ShardWriter
from ...datasets.tokens.store import INDEX_NAME, DomainIndex, Split, SplitIndex, StoreIndex, TokenStore
from ...datasets.tokens.tokenizer import ByteTokenizer

__all__ = ["DOMAIN", "packed_store"]

DOMAIN = "text"
"""Name of the store's only domain."""

_HELD_OUT_SHARE = 0.02


def packed_store(documents: Sequence[bytes], folder: Path, context_length: int) -> TokenStore:
    """Write documents into a new folder, each closed by the end of document, and open it as a token store.

    The last fiftieth of the bytes, a window at least, is the validation text. Raises UsageError for documents that
    don't give both splits a window.
    """
    tokenizer = ByteTokenizer()
    end = bytes([tokenizer.end_of_document])
    tokens = np.frombuffer(b"".join(document + end for document in documents if document), np.uint8)
    window = context_length + 1
    held_out = max(window, round(_HELD_OUT_SHARE * len(tokens)))
    if len(tokens) - held_out < window:
        raise UsageError(
            f"documents: got {len(tokens):,} bytes; expected {2 * window:,} at least: a window of {window} to learn "
            "from, and one to measure on"
        )
    folder.mkdir()
    name = f"tokenizer.{tokenizer.digest[:16]}.json"
    tokenizer.save(folder / name)
    digest = hashlib.sha256(tokens.tobytes()).hexdigest()
    domain = DomainIndex(
        made_from=digest,
        source_digest=digest,
        train=_split(folder, "train", tokens[:-held_out]),
        valid=_split(folder, "valid", tokens[-held_out:]),
        unique_tokens=None,
        max_epochs=None,
        entropy_nats=None,
        duplicates_checked=False,
    )
    index = StoreIndex(
        format=1,
        name=DOMAIN,
        vocab_size=tokenizer.vocab_size,
        dtype="|u1",
        tokenizer=name,
        tokenizer_digest=tokenizer.digest,
        tokenizer_made_from=tokenizer.digest,
        domains={DOMAIN: domain},
    )
    write_json(folder / INDEX_NAME, index.model_dump(mode="json"))
    return TokenStore.open(folder)


def _split(folder: Path, split: Split, tokens: np.ndarray) -> SplitIndex:
    with ShardWriter(folder, f"{DOMAIN}.{split}", np.dtype("|u1")) as writer:
        writer.write(tokens)
        shards = writer.finish()
    ends = int((tokens == ByteTokenizer.end_of_document).sum())
    return SplitIndex(
        shards=shards, tokens=len(tokens), documents=ends, text_bytes=max(1, len(tokens) - ends), dropped=0
    )
