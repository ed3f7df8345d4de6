"""Proxies on one GPU: speed against nanoGPT's step, a ladder whose largest loss is forecast, rows of step times.

    python benchmarks/proxy_gpu.py --out DIR [--minutes 8] [--only speed|ladder]
    python benchmarks/proxy_gpu.py --out DIR --device cpu --tiny      tries all of it out without a GPU, in a minute

1. Speed, 1M to 300M parameters, in turns on the same card: tokens/s, and model FLOPs utilisation of the best bf16
   product measured on it. Against us is one model at a time, compiled, in bf16, with fused AdamW (_eager_trainer.py);
   ours trains several copies at once, each with the same batch. Two checks come with it: same losses as the plain
   trainer within bf16's rounding, same bits after an interruption.
2. A ladder on the shared corpora: a learning rate by copies at one size, four sizes, the law's forecast of a fifth of
   110M parameters, written to DIR/forecast.json; only then that one is trained, and compared.
3. Step times and memory of models trained alone, in DIR/measured.csv, as `simulate cluster calibrate` reads them.

It asserts nothing. What is measured is printed and kept in DIR/results.json as it comes; each part ends at its share of
the minutes, and a size that fails or takes too long is named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from _gpu.case import LADDER, SPEED, TINY_LADDER, TINY_SPEED, Case
from _gpu.ladder import climb
from _gpu.processes import LostError, Remote
from _gpu.rows import as_csv, measured_row
from foretrain.core.units import format_count
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare

TURNS = 3
KINDS = ("plain", "ours")  # the plain one is built first: its memory is read while nothing else is there
SPEED_SHARE = 0.45  # of the minutes; the ladder has the rest
BUILD_SHARE = 0.65  # of the speed part, for all sizes to compile at once
SMALL = (1e6, 11e6)  # parameters between which stacking is to give so many times the tokens/s
STACKED_TARGET = 3.0
LARGE = (100e6, 200e6)  # and where utilisation isn't to be below the plain trainer's
DOMAINS = ("arxiv_cs", "books", "code_cpp", "code_python", "dialogue", "law_german", "law_us", "medical_qa")
CORPORA = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "corpora"


class Results:
    """What was found so far, in a file that is there from the first figure on."""

    def __init__(self, out: Path) -> None:
        self.out, self.found = out, dict[str, Any]()
        out.mkdir(parents=True, exist_ok=True)

    def keep(self, **facts: Any) -> None:
        """Add facts, and write all."""
        self.found.update(facts)
        (self.out / "results.json").write_text(json.dumps(self.found, indent=1), encoding="utf-8")


def speed(cases: Sequence[Case], store: str, device: str, seconds: float, limit_s: float, results: Results) -> None:
    """The first part; rows of the third come from it."""
    ends = time.monotonic() + limit_s
    remotes = [Remote(store, device, case) for case in cases]
    lines: list[dict[str, Any]] = []
    try:
        hardware = remotes[0].call(limit_s, "hardware")
        peak = remotes[0].call(limit_s, "peak_flops")
        results.keep(hardware=hardware, peak_tflops=peak / 1e12)
        print(f"{hardware['device_name']}, torch {hardware['torch_version']}, {hardware['precision']}: "
              f"{peak / 1e12:.3g} TFLOP/s of products\n  params  copies  plain,tok/s   of peak    ours,tok/s   of peak"
              "   ratio  graph  warm-up,s", flush=True)  # fmt: skip
        for remote in remotes:
            for kind in KINDS:
                remote.send("build", kind)
        built_by = time.monotonic() + BUILD_SHARE * limit_s
        ready = [(remote, facts) for remote in remotes if (facts := _built(remote, built_by))]
        for remote, facts in ready:
            try:
                line = _turns(remote, facts, peak, seconds, ends)
            except LostError as lost:
                print(f"{_name(remote)}: left out: {lost}")
                continue
            lines.append(line)
            results.keep(speed=lines, measured=_rows(lines, hardware))
            _print(line)
        _targets(lines)
        if ready:
            _checks(ready[0][0], ends, results)
    except LostError as lost:
        print(f"the comparison of speeds ends here: {lost}")
    finally:
        for remote in remotes:
            remote.close()


def _built(remote: Remote, until: float) -> dict[str, dict[str, Any]] | None:
    try:
        return {kind: remote.receive(until - time.monotonic()) for kind in KINDS}
    except LostError as lost:
        print(f"{_name(remote)}: left out, not built: {lost}")
        return None


def _turns(remote: Remote, built: dict[str, Any], peak: float, seconds: float, ends: float) -> dict[str, Any]:
    """Both trainers in turn; medians, and the ratio of each turn's pair."""
    case = remote.case
    steps: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(TURNS):
        for kind in KINDS:
            steps[kind].append(remote.call(ends - time.monotonic(), "step_s", kind, seconds))
    copies = {"plain": 1, "ours": case.copies}
    line: dict[str, Any] = {"params": case.shape.params_total, "case": vars(case), "step_s": steps, "built": built}
    for kind in KINDS:
        tokens_per_s = copies[kind] * case.batch_tokens / median(steps[kind])
        utilisation = tokens_per_s * case.shape.training_flops_per_token() / peak
        line[kind] = {"tokens_per_s": tokens_per_s, "mfu": utilisation}
    pairs = zip(steps["plain"], steps["ours"], strict=True)
    line["ratio"] = median(case.copies * plain / ours for plain, ours in pairs)
    return line


def _print(line: dict[str, Any]) -> None:
    plain, ours, built = line["plain"], line["ours"], line["built"]["ours"]
    print(f"{format_count(line['params']):>8} {line['case']['copies']:7d} "
          f"{plain['tokens_per_s']:12.0f} {plain['mfu']:9.1%} {ours['tokens_per_s']:13.0f} {ours['mfu']:9.1%} "
          f"{line['ratio']:7.2f} {'yes' if built['cuda_graph'] else 'no':>6} {built['warm_up_s']:10.0f}",
          flush=True)  # fmt: skip


def _targets(lines: Sequence[dict[str, Any]]) -> None:
    """Say whether the two targets are met, by the sizes that were measured."""
    small = [line["ratio"] for line in lines if SMALL[0] <= line["params"] <= SMALL[1]]
    large = [(line["ours"]["mfu"], line["plain"]["mfu"]) for line in lines if LARGE[0] <= line["params"] <= LARGE[1]]
    stacked = f"least {min(small):.2f}: {_met(min(small) >= STACKED_TARGET)}" if small else "not measured"
    print(f"tokens/s of stacked copies at 1M to 10M, at least {STACKED_TARGET:g} × one model's: {stacked}")
    used = f"{large[0][0]:.1%} and {large[0][1]:.1%}: {_met(large[0][0] >= large[0][1])}" if large else "not measured"
    print(f"utilisation at 100M, ours not below the plain trainer's: {used}", flush=True)


def _met(met: bool) -> str:
    return "met" if met else "NOT met"


def _checks(remote: Remote, ends: float, results: Results) -> None:
    try:
        losses = remote.call(ends - time.monotonic(), "losses_after")
        results.keep(losses=losses)
        pairs = ", ".join(f"{a:.4f} and {b:.4f}" for a, b in zip(losses["ours"], losses["plain"], strict=True))
        print(f"losses after the same steps, ours and the plain trainer's, by seed: {pairs}", flush=True)
        same = remote.call(ends - time.monotonic(), "same_bits")
        results.keep(same_bits=same)
        print(f"same bits after an interruption: {'yes' if same else 'NO'}", flush=True)
    except LostError as lost:
        print(f"checks left out: {lost}")


def _rows(lines: Sequence[dict[str, Any]], hardware: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of models that were trained alone: the plain trainer's, and ours of one copy."""
    found = []
    for line in lines:
        case = Case(**line["case"])
        for kind in KINDS:
            if kind == "plain" or case.copies == 1:
                memory = line["built"][kind]["memory_gib"]
                step_s = median(line["step_s"][kind])
                found.append(measured_row(case.shape, case.sequences, step_s, memory, kind, hardware))
    return found


def _name(remote: Remote) -> str:
    return f"{format_count(remote.case.shape.params_total)} parameters"


def main() -> None:
    """Print and keep everything."""
    parser = argparse.ArgumentParser(description="Proxies on one GPU.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="that all of it may take")
    parser.add_argument("--only", choices=("speed", "ladder"), help="one part, with all of the minutes")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes for a processor, to try the script out")
    arguments = parser.parse_args()
    if not CORPORA.is_dir():
        raise SystemExit(f"{CORPORA} is absent: this benchmark reads the shared text in place")
    ends = time.monotonic() + 60 * arguments.minutes
    domains = DOMAINS[:2] if arguments.tiny else DOMAINS
    results = Results(arguments.out)
    with tempfile.TemporaryDirectory() as folder:
        # nothing that an earlier run compiled: the warm-up is what a first user sees
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "compiled")
        split = {d: {"path": f"{d}.train.jsonl.gz", "validation_path": f"{d}.valid.jsonl.gz"} for d in domains}
        store = str(Path(folder) / "store")
        prepare(Corpus.from_mapping({"domains": split}, folder=CORPORA), store)
        left = ends - time.monotonic()
        if arguments.only != "ladder":
            limit_s = left if arguments.only else SPEED_SHARE * left
            cases, seconds = (TINY_SPEED, 0.2) if arguments.tiny else (SPEED, 2.0)
            speed(cases, store, arguments.device, seconds, limit_s, results)
        if arguments.only != "speed":
            ladder = TINY_LADDER if arguments.tiny else LADDER
            limit_s = ends - time.monotonic()
            results.keep(ladder=climb(ladder, store, arguments.device, domains, limit_s, arguments.out))
    if rows := results.found.get("measured"):
        (arguments.out / "measured.csv").write_text(as_csv(rows), encoding="utf-8")
        print(f"\n{as_csv(rows)}")
    print(f"took {arguments.minutes * 60 - (ends - time.monotonic()):.0f} s")


if __name__ == "__main__":
    main()
