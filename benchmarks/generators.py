"""Generators of text on one yardstick, and whether any helps where real text is scarce.

    python benchmarks/generators.py [--only NAME,...] [--topic arxiv_cs] [--seeds 2] [--scarce 10,50,205,1000]
        [--proxy 10,50]

Each generator is fitted to 205 kB of real text and writes as much. A 5-gram judges: trained on what was written and
scored on real text (reverse), the other way round (forward), and trained on both (mixed). Real text that no generator
saw stands beside them, whole and cut into windows as short as some generators write. Must reach: a reverse loss of 2.35
nats per byte for the 3-gram, 1.70 for the 5-gram, 1.69 for the 7-gram and 2.44 for the VAE at most, nothing collapsed
but the GAN, real text ahead of all.

Then real text is made scarce: what does a model lose on real text, trained on 10 kB to 1 MB of it alone, and what with
as much that a generator wrote, which knows no more than that text? The answer may be that nothing helps. A 5-gram
judges, then a transformer of 50k parameters, which reads what there is of text as often as 300,000 bytes take.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there: one thread, so that seconds mean something
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _selection.pool import shuffled_pieces, taken
from foretrain.core.errors import UsageError
from foretrain.datasets.corpus.document import digest_of
from foretrain.datasets.generators.guards import refuse_held_out
from foretrain.datasets.generators.reading import OneGenerator
from foretrain.datasets.generators.registry import generators
from foretrain.datasets.generators.yardstick import DISTINCT_BYTES, Measured, measure, measure_generator
from pydantic import TypeAdapter

NAMES = {
    "3-gram": {"ngram": {"order": 3}},
    "5-gram": {"ngram": {"order": 5}},
    "7-gram": {"ngram": {"order": 7}},
    "vae": {"vae": {}},
    "gan": {"gan": {}},
    "self": {"self": {}},
}
MOST_NATS = {"3-gram": 2.35, "5-gram": 1.70, "7-gram": 1.69, "vae": 2.44}
"""Reverse losses that must be reached, on arXiv abstracts."""
MAY_COLLAPSE = ("gan",)
SIZE_BYTES, VALIDATION_BYTES, SAMPLE_BYTES = 205_000, 200_000, 1_000
SCARCE = ("3-gram", "5-gram", "7-gram", "vae")
SLOW = ("vae",)
"""Generators that are fitted for one seed of scarce text only: more costs minutes."""
PROXY_TOKENS, PROXY_VALIDATION_BYTES = 300_000, 50_000
PROXY_SCARCE = ("5-gram",)
WINDOWS = (64, 32)
SHOWN_BYTES = 160


Worth = tuple[float, dict[str, float]]
"""The loss after real text alone, and what each other text saves, in nats per byte."""


@dataclass(frozen=True)
class Text:
    """Real text: what generators learn from, other text that nobody saw, and text that losses are measured on."""

    real: list[bytes]
    other: list[bytes]
    valid: list[bytes]


@dataclass(frozen=True)
class Judged:
    """A generator on the yardstick; why it isn't, if it has collapsed."""

    measured: Measured | None
    why: str
    facts: dict[str, object]
    sample: bytes
    fit_s: float
    write_s: float


def main() -> None:
    """Print both tables and exit with 1 where a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(NAMES), help="generators, by name, with commas between them")
    parser.add_argument("--topic", default="arxiv_cs", help="of the shared corpora")
    parser.add_argument("--seeds", type=int, default=2, help="of scarce text")
    parser.add_argument("--scarce", default="10,50,205,1000", help="kB of real text, with commas; empty for none")
    parser.add_argument("--proxy", default="10,50", help="the same for what a transformer judges")
    words = parser.parse_args()
    names = [name for name in words.only.split(",") if next(iter(NAMES[name])) in generators()]
    text = read(words.topic, 0, SIZE_BYTES)
    judged = {name: judge(name, text) for name in names}
    print(yardstick_table(judged, text, words.topic), flush=True)
    missed = unmet(judged, text) if words.topic == "arxiv_cs" else []
    scarce = [name for name in SCARCE if name in names]
    for sizes, table in ((words.scarce, scarce_table), (words.proxy, proxy_table)):
        if sizes:
            print(
                f"\n{table(scarce, [1_000 * int(size) for size in sizes.split(',')], words.seeds, words.topic)}",
                flush=True,
            )
    for what in missed:
        print("MISSED", what)
    sys.exit(bool(missed))


def read(topic: str, seed: int, size_bytes: int) -> Text:
    """So much real text of a topic, twice, and validation text that is the same for all seeds."""
    pieces = shuffled_pieces(topic, "train", np.random.default_rng([23, seed]))
    valid = taken(shuffled_pieces(topic, "valid", np.random.default_rng(23)), VALIDATION_BYTES)
    real, other = taken(pieces, size_bytes), taken(pieces, size_bytes)
    found = Text(*([text.encode() for text in texts] for texts in (real, other, valid)))
    refuse_held_out(found.real, {digest_of(text) for text in valid}, topic)
    return found


def judge(name: str, text: Text) -> Judged:
    """Fit a generator, let it write as much as it read, and measure that."""
    started = time.process_time()
    fitted = TypeAdapter(OneGenerator).validate_python(NAMES[name]).fit(text.real)
    fitted_at = time.process_time()
    length = min(SAMPLE_BYTES, fitted.longest_bytes or SAMPLE_BYTES)
    (sample,) = fitted.sample(1, min(length, SHOWN_BYTES), np.random.default_rng(1))
    measured, why = None, ""
    try:
        measured = measure_generator(fitted, text.real, text.valid, length, np.random.default_rng(0))
    except UsageError as error:
        why = str(error)
    written_at = time.process_time()
    return Judged(measured, why, dict(fitted.facts), sample, fitted_at - started, written_at - fitted_at)


def yardstick_table(judged: dict[str, Judged], text: Text, topic: str) -> str:
    """A row per generator, and a sample of each below."""
    lines = [
        f"{SIZE_BYTES // 1_000} kB of {topic}, judged by a 5-gram; losses in nats per byte",
        f"{'text':24s}{'reverse':>9s}{'forward':>9s}{'mixed':>9s}{'real alone':>12s}{'worth':>8s}"
        + "".join(f"{f'different {n}':>14s}" for n in DISTINCT_BYTES)
        + f"{'fit, s':>9s}{'write, s':>10s}",
    ]
    lines.append(_measured_line("real", measure(text.other, text.real, text.valid)))
    for length in WINDOWS:
        cut = [document[start : start + length] for document in text.other for start in range(0, len(document), length)]
        lines.append(_measured_line(f"real, {length}-byte windows", measure(cut, text.real, text.valid)))
    for name, one in judged.items():
        seconds = f"{one.fit_s:9.1f}{one.write_s:10.1f}"
        lines.append(_measured_line(name, one.measured) + seconds if one.measured else f"{name:24s}{one.why}")
    for name, one in judged.items():
        facts = ", ".join(f"{key} {_short(value)}" for key, value in one.facts.items())
        lines.append(f"{name}: {facts}\n    {repr(one.sample)[2:-1]}")
    return "\n".join(lines)


def _measured_line(name: str, found: Measured) -> str:
    distinct = "".join(f"{share:14.3f}" for share in found.distinct.values())
    return (
        f"{name:24s}{found.reverse_nats:9.3f}{found.forward_nats:9.3f}{found.mixed_nats:9.3f}{found.real_nats:12.3f}"
        f"{found.worth_nats:+8.3f}{distinct}"
    )


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def unmet(judged: dict[str, Judged], text: Text) -> list[str]:
    """The requirements that don't hold."""
    real = measure(text.other, text.real, text.valid).reverse_nats
    missed = []
    for name, one in judged.items():
        if one.measured is None:
            if name not in MAY_COLLAPSE:
                missed.append(f"{name}: {one.why}")
            continue
        reverse = one.measured.reverse_nats
        if not real < reverse:
            missed.append(f"{name}: reverse {reverse:.3f}, expected more than real text's {real:.3f}")
        if name in MOST_NATS and not reverse <= MOST_NATS[name]:
            missed.append(f"{name}: reverse {reverse:.3f}, expected {MOST_NATS[name]:.2f} at most")
    return missed


def scarce_table(names: list[str], sizes: list[int], seeds: int, topic: str) -> str:
    """What real text alone loses, and what adding as much written text changes, by generator and size."""

    def worth(size: int, seed: int) -> Worth:
        text = read(topic, seed, size)
        more = measure(text.other, text.real, text.valid)
        found = {"more real": more.worth_nats}
        for name in names:
            if name not in SLOW or seed == 0:
                measured = judge(name, text).measured
                found[name] = np.nan if measured is None else measured.worth_nats
        return more.real_nats, found

    return _worth_table("a 5-gram", names, sizes, seeds, worth)


def proxy_table(names: list[str], sizes: list[int], seeds: int, topic: str) -> str:
    """The same where a small transformer is trained, with equal compute for all texts."""
    names = [name for name in names if name in PROXY_SCARCE]

    def worth(size: int, seed: int) -> Worth:
        text = read(topic, seed, size)
        held = taken(iter([document.decode() for document in text.valid]), PROXY_VALIDATION_BYTES)

        def loss(documents: list[bytes]) -> float:
            fitted = generators()["self"].model_validate({"tokens": PROXY_TOKENS, "seed": seed}).fit(documents)
            scores = fitted.proxy.nats_per_byte(held)  # pyright: ignore[reportAttributeAccessIssue]
            return float(np.average(scores, weights=[len(document.encode()) for document in held]))

        alone = loss(text.real)
        found = {"more real": alone - loss(text.real + text.other)}
        for name in names:
            fitted = TypeAdapter(OneGenerator).validate_python(NAMES[name]).fit(text.real)
            written = fitted.sample(size // SAMPLE_BYTES, SAMPLE_BYTES, np.random.default_rng(seed))
            found[name] = alone - loss(text.real + written)
        return alone, found

    if "self" not in generators():
        return "the generator self isn't installed: no transformer judges"
    return _worth_table(f"a transformer trained on {PROXY_TOKENS // 1_000}k bytes", names, sizes, seeds, worth)


def _worth_table(what: str, names: list[str], sizes: list[int], seeds: int, worth: Callable[[int, int], Worth]) -> str:
    """A row per size; `worth` gives the loss alone and what each text saves, for a size and a seed."""
    started = time.process_time()
    columns = ("more real", *names)
    lines = [f"{'real text':>10s}" + "".join(f"{name:>16s}" for name in ("loss alone", *columns))]
    helped: list[str] = []
    for size in sizes:
        alone: list[float] = []
        saved: dict[str, list[float]] = {name: [] for name in columns}
        for seed in range(seeds):
            loss, found = worth(size, seed)
            alone.append(loss)
            for name, nats in found.items():
                saved[name].append(nats)
        cells = [_spread(alone, ""), *(_spread(saved[name], "+") for name in columns)]
        lines.append(f"{f'{size // 1_000} kB':>10s}" + "".join(f"{cell:>16s}" for cell in cells))
        helped += [f"{name} at {size // 1_000} kB" for name in names if saved[name] and min(saved[name]) > 0]
    title = (
        f"where real text is scarce: loss of {what} on real text, in nats per byte, and how much less it is with as "
        f"much text again; mean of {seeds} seeds ± half their range, {time.process_time() - started:.0f} CPU s"
    )
    return "\n".join([title, *lines, f"helps in every seed: {', '.join(helped) or 'none'}"])


def _spread(values: list[float], sign: str) -> str:
    return f"{np.mean(values):{sign}.3f} ±{np.ptp(values) / 2:.3f}" if values else "-"


if __name__ == "__main__":
    main()
