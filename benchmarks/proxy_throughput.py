"""Speed of training proxies: our engine against a plain PyTorch trainer of one model, and what both end up at.

    python benchmarks/proxy_throughput.py [--sizes 41k,223k,1M] [--seconds 2] [--loss-tokens 250k] [--profile]

The trainer is nanoGPT's way with our architecture (_eager_trainer.py), in fp32, eager and compiled, each as one
process with one thread and with two; two such processes at once are shown too. Ours is one process per core, once in
the number format that it takes by itself and once in fp32. All take turns, three times, in one invocation; ratios are
medians over the turns. `--profile` prints the operators of a step beside the processor's roofline instead. GPUs have a
benchmark of their own (proxy_gpu.py).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from _eager_trainer import EagerTrainer
from _roofline import Roof, operators_of_ours, operators_of_plain, product_speed, show
from foretrain.core.model.architecture import Architecture
from foretrain.core.processors import processor_name, usable_cores
from foretrain.core.units import format_count, parse_count
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore
from foretrain.proxies.design.family import ModelFamily
from foretrain.proxies.engine import train_group
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.runs import ProxyRun
from foretrain.proxies.settings import EngineSettings

CORES = 2
REPEATS = 3
DOMAINS = ("books", "code_python", "law_us", "medical_qa", "dialogue")
BUDGET = (8, 2_000_000)  # models, and tokens of each: what the wall clock with compilation is stated for
RSS_CASE = 1_000_000  # parameters
SEEDS = 3
CORPORA = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "corpora"
CONTENDERS = {  # name: kind of trainer, processes, threads of each
    "eager 1×2": ("eager", 1, CORES),
    "compiled 1×1": ("compiled", 1, 1),
    "compiled 1×2": ("compiled", 1, CORES),
    "eager 2×1": ("eager", CORES, 1),
    "compiled 2×1": ("compiled", CORES, 1),
    "ours fp32 2×1": ("ours fp32", CORES, 1),
    "ours 2×1": ("ours auto", CORES, 1),
}
SINGLE = [name for name, (_, processes, _) in CONTENDERS.items() if processes == 1]


def shape_of(params: float) -> Architecture:
    """The shape of a proxy of about this many parameters, on bytes."""
    family = ModelFamily(
        vocab_size=256, context_length=128, depth=4, head_width=32, ffn_ratio=2.5, short_conv=4, tied_embeddings=False
    )
    return family.of_size(params)


def run_of(shape: Architecture, seed: int, tokens: float = 1e9) -> ProxyRun:
    """One run on an even mix."""
    mix = dict.fromkeys(DOMAINS, 1 / len(DOMAINS))
    return ProxyRun(run_id=f"s{seed}", shape=shape, tokens=tokens, batch_sequences=8, mix=mix, seed=seed)


def settings_of(kind: str) -> EngineSettings:
    """Our engine's settings: of the contender "ours auto" or "ours fp32"."""
    return EngineSettings.model_validate(
        {"compile": "always", "device": "cpu", "precision": kind.removeprefix("ours ")}
    )


def group_of(shape: Architecture, store: TokenStore, kind: str) -> TrainingGroup:
    """Our engine, before its first step."""
    settings, runs = settings_of(kind), [run_of(shape, 0)]
    return TrainingGroup(runs, store, settings, resolve(settings, runs))


def speed_of(trainer: TrainingGroup | EagerTrainer, seconds: float) -> float:
    """Training tokens per second, of all copies, over at least this many seconds of whole steps."""
    copies, run = (len(trainer.runs), trainer.runs[0]) if isinstance(trainer, TrainingGroup) else (1, trainer.run)
    start, steps = time.perf_counter(), 0
    while (took := time.perf_counter() - start) < seconds:
        trainer.advance()
        steps += 1
    return steps * copies * run.batch_tokens / took


class Worker:
    """A process of ours or of the baseline's, with its number of threads; it holds the trainers of one size."""

    def __init__(self, folder: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.store = TokenStore.open(folder)
        self.trainers: dict[str, TrainingGroup | EagerTrainer] = {}
        self.shape = shape_of(50_000)

    def clear(self, params: float) -> int:
        """Drop what there is and go to another size; return its exact parameters."""
        self.trainers.clear()
        torch._dynamo.reset()
        self.shape = shape_of(params)
        return self.shape.params_total

    def build(self, kind: str) -> float:
        """Make a trainer and take two steps; return the seconds that this took beyond two more steps."""
        start = time.perf_counter()
        if kind.startswith("ours"):
            trainer: TrainingGroup | EagerTrainer = group_of(self.shape, self.store, kind)
        else:
            trainer = EagerTrainer(run_of(self.shape, 0), self.store, compiled=kind == "compiled")
        self.trainers[kind] = trainer
        times = [start]
        for _ in range(2):
            trainer.advance()
            trainer.advance()
            times.append(time.perf_counter())
        return (times[1] - times[0]) - (times[2] - times[1])

    def time(self, kind: str, seconds: float) -> float:
        """Tokens per second of a trainer that was built."""
        return speed_of(self.trainers[kind], seconds)

    def products(self, precision: str) -> float:
        """GFLOP/s of the best matrix product, by size."""
        return product_speed(precision) / 1e9

    def precision(self) -> str:
        """The number format that our engine takes by itself."""
        return resolve(settings_of("ours auto"), [run_of(self.shape, 0)]).precision

    def ours_losses(self, params: float, tokens: float, precision: str) -> list[dict[str, float]]:
        """Final validation losses of our engine by domain, for each seed."""
        found = []
        for seed in range(SEEDS):
            with tempfile.TemporaryDirectory() as folder:
                checkpoint = Path(folder) / "group.safetensors"
                runs = [run_of(shape_of(params), seed, tokens)]
                (result,) = train_group(runs, self.store, settings_of(f"ours {precision}"), checkpoint)
            found.append({domain: loss.mean_nats for domain, loss in result.evaluations[-1].losses.items()})
        return found

    def eager_losses(self, params: float, tokens: float) -> list[dict[str, float]]:
        """The same of the plain trainer."""
        found = []
        for seed in range(SEEDS):
            trainer = EagerTrainer(run_of(shape_of(params), seed, tokens), self.store)
            while trainer.step < trainer.run.steps:
                trainer.advance()
            found.append(trainer.validate(int(EngineSettings().eval_tokens)))
        return found

    def peak_rss(self, params: float) -> float:
        """Peak memory of this process after training and validating a run, GiB."""
        group = group_of(shape_of(params), self.store, "ours auto")
        for _ in range(3):
            group.advance()
        group._evaluate()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    def profile(self, params: float) -> None:
        """Print the operators of a step of ours and of the plain trainer, compiled."""
        self.clear(params)
        shape, size = self.shape, format_count(self.shape.params_total)
        for kind in dict.fromkeys((self.precision(), "fp32")):
            group = group_of(shape, self.store, f"ours {kind}")
            group.advance()
            show(f"ours in {kind}, {size}", operators_of_ours(group), Roof.measure(kind))
        trainer = EagerTrainer(run_of(shape, 0), self.store, compiled=True)
        for _ in range(3):
            trainer.advance()
        show(f"plain, compiled, {size}", operators_of_plain(trainer), Roof.measure("fp32"))


def serve(folder: str, threads: int, pipe: Any, barrier: Any) -> None:
    """Answer calls of `Worker` methods until told to stop; calls meant to run at the same time wait for each other."""
    worker = Worker(folder, threads)
    while (call := pipe.recv()) is not None:
        together, name, arguments = call
        if together:
            barrier.wait(600)
        pipe.send(getattr(worker, name)(*arguments))


class Pool:
    """One worker per core with one thread, and one (the last) with as many threads as cores."""

    def __init__(self, folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._barrier = context.Barrier(CORES)  # named here, since a semaphore that nobody holds is removed
        self._pipes, self._processes = [], []
        for threads in [1] * CORES + [CORES]:
            mine, theirs = context.Pipe()
            process = context.Process(target=serve, args=(folder, threads, theirs, self._barrier), daemon=True)
            process.start()
            theirs.close()  # so that a worker that dies ends the wait for its answer
            self._pipes.append(mine)
            self._processes.append(process)

    def ask(self, calls: dict[int, tuple], together: bool = False) -> list[Any]:
        """Call methods, by number of the worker; `together`: of all workers of one thread, from the same moment on."""
        for worker, (name, *arguments) in calls.items():
            self._pipes[worker].send((together, name, arguments))
        return [self._pipes[worker].recv() for worker in calls]

    def call(self, processes: int, threads: int, name: str, *arguments: Any) -> list[Any]:
        """Call a method in the first `processes` workers of one thread, at once, or in the one of several threads."""
        workers = range(processes) if threads == 1 else [CORES]
        return self.ask(dict.fromkeys(workers, (name, *arguments)), together=len(workers) == CORES)

    def close(self) -> None:
        """End every worker."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            with suppress(OSError):  # it has died, and whoever called it knows
                pipe.send(None)
            process.join(10)


def measure(pool: Pool, params: float, seconds: float) -> tuple[int, str, dict[str, list[float]], dict[str, float]]:
    """Exact parameters; the format that ours takes; tokens per second of each contender by turn; warm-up seconds."""
    count = pool.call(CORES, 1, "clear", params)[0]
    (precision,) = pool.call(1, 1, "precision")
    pool.call(1, CORES, "clear", params)
    ours = {kind: max(pool.call(CORES, 1, "build", kind)) for kind in ("ours fp32", "ours auto")}
    # The compiler has a core to itself, as it would for one user; the other workers find its cache.
    one, several = pool.ask({0: ("build", "compiled"), CORES: ("build", "compiled")})
    for worker in range(1, CORES):
        pool.ask({worker: ("build", "compiled")})
    pool.call(CORES, 1, "build", "eager")
    pool.call(1, CORES, "build", "eager")
    warm = dict.fromkeys(CONTENDERS, 0.0) | {"ours 2×1": ours["ours auto"], "compiled 1×2": several}
    warm |= {"compiled 1×1": one, "compiled 2×1": one, "ours fp32 2×1": ours["ours fp32"]}
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(REPEATS):
        for name, (kind, processes, threads) in CONTENDERS.items():
            rates[name].append(sum(pool.call(processes, threads, "time", kind, seconds)))
    return count, precision, rates, warm


def report(
    count: int, precision: str, rates: dict[str, list[float]], warm: dict[str, float], peaks: dict[str, float]
) -> None:
    """One size of the table."""
    best = max(SINGLE, key=lambda name: median(rates[name]))
    pair = max(("eager 2×1", "compiled 2×1"), key=lambda name: median(rates[name]))
    for name, (_, processes, threads) in CONTENDERS.items():
        speed = median(rates[name])
        gflops = 6 * count * speed / 1e9
        ratio = median(a / b for a, b in zip(rates[name], rates[pair], strict=True))
        peak = processes * threads * peaks[precision if name == "ours 2×1" else "fp32"]
        print(f"{format_count(count):>7} {name:13} {speed:9.0f} {gflops:8.1f} {gflops / peak:6.0%} {ratio:7.2f} "
              f"{warm[name]:10.1f}{'  best single process' if name == best else ''}")  # fmt: skip
    models, tokens = BUDGET
    mine, theirs = (warm[n] + models * tokens / median(rates[n]) for n in ("ours 2×1", best))
    print(f"        ours takes {precision}; {models} models × {format_count(tokens)} tokens, warm-up included: "
          f"ours {mine:.0f} s, {best} {theirs:.0f} s, {theirs / mine:.2f} times")  # fmt: skip


def compare_losses(pool: Pool, params: float, tokens: float) -> None:
    """The second table: final losses of the same seeds from ours in both number formats, and from the plain trainer."""
    narrow, wide = pool.ask({n: ("ours_losses", params, tokens, kind) for n, kind in enumerate(("bf16", "fp32"))})
    (eager,) = pool.ask({0: ("eager_losses", params, tokens)})
    print(f"\nfinal loss, nats per byte, {format_count(params)} parameters, {format_count(tokens)} tokens, "
          f"same initial weights and rows\ndomain       seed ours bf16 ours fp32    eager")  # fmt: skip
    for domain in DOMAINS:
        for seed, losses in enumerate(zip(narrow, wide, eager, strict=True)):
            print(f"{domain:12} {seed:4d} " + " ".join(f"{loss[domain]:9.4f}" for loss in losses))
    by_seed = [[mean(loss.values()) for loss in losses] for losses in (narrow, wide, eager)]
    pairs = [a[domain] - b[domain] for a, b in zip(narrow, wide, strict=True) for domain in DOMAINS]
    print(f"ours, bf16 - fp32: mean {mean(pairs):+.4f}, root mean square {mean(x * x for x in pairs) ** 0.5:.4f}; "
          f"fp32, ours - eager: mean {mean(by_seed[1]) - mean(by_seed[2]):+.4f}; "
          f"sd over seeds: {', '.join(f'{stdev(losses):.4f}' for losses in by_seed)}")  # fmt: skip


def tables(folder: str, sizes: list[float], seconds: float, loss_tokens: float) -> None:
    """Measure and print all of them."""
    pool = Pool(folder)
    try:
        peaks = {kind: mean(pool.call(CORES, 1, "products", kind)) for kind in ("fp32", "bf16")}
        print(f"products, both cores at once, GFLOP/s per core: fp32 {peaks['fp32']:.0f}, bf16 {peaks['bf16']:.0f}\n"
              "\n params trainer        tokens/s  GFLOP/s   peak   ratio warm-up,s\n"
              f"{'':21} (processes×threads)  (6·N·tokens; ratio to two plain processes)")  # fmt: skip
        for params in sizes:
            report(*measure(pool, params, seconds), peaks)
        if loss_tokens:
            compare_losses(pool, min(sizes, key=lambda size: abs(size - 2e5)), loss_tokens)
    finally:
        pool.close()
    fresh = Pool(folder)
    try:
        gib = fresh.call(1, 1, "peak_rss", RSS_CASE)[0]
    finally:
        fresh.close()
    print(f"\npeak memory of a worker, {format_count(RSS_CASE)} parameters: {gib:.2f} GiB (at most 2)")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description="Speed of training proxies.")
    parser.add_argument("--sizes", default="41k,223k,1M", help="parameters, separated by commas")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each timing")
    parser.add_argument("--loss-tokens", default="250k", help="tokens of the loss comparison; 0 leaves it out")
    parser.add_argument("--profile", action="store_true", help="the operators of a step instead, beside the roofline")
    arguments = parser.parse_args()
    if not CORPORA.is_dir():
        raise SystemExit(f"{CORPORA} is absent: this benchmark reads the shared text in place")
    sizes = [parse_count(size) for size in arguments.sizes.split(",")]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        # Every run compiles anew, so that the warm-up column is what a first user sees.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "compiled")
        split = {d: {"path": f"{d}.train.jsonl.gz", "validation_path": f"{d}.valid.jsonl.gz"} for d in DOMAINS}
        prepare(Corpus.from_mapping({"domains": split}, folder=CORPORA), Path(folder) / "store")
        print(f"{usable_cores()} cores, {processor_name()}, torch {torch.__version__}")
        store = str(Path(folder) / "store")
        if arguments.profile:
            worker = Worker(store, 1)
            for params in sizes:
                worker.profile(params)
        else:
            tables(store, sizes, arguments.seconds, parse_count(arguments.loss_tokens))
    print(f"took {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
