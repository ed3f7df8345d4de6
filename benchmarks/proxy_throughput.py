"""Speed of training proxies: our engine against a plain PyTorch trainer of one model, and what both end up at.

    python benchmarks/proxy_throughput.py [--sizes 50k,200k,1M] [--seconds 2] [--loss-tokens 500k]

The trainer is nanoGPT's way with our architecture (_eager_trainer.py), in fp32, eager and compiled, each as one
process with one thread and with two; two such processes at once are shown too. Ours is one process per core, each
training several copies. All take turns, three times, in one invocation; ratios are medians over the turns. GPUs have a
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
from foretrain.core.model.architecture import Architecture
from foretrain.core.processors import usable_cores
from foretrain.core.units import format_count, parse_count
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore
from foretrain.proxies.compute_plan import Program, copies_of
from foretrain.proxies.design.sizes import ModelFamily
from foretrain.proxies.engine import train_group
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.runs import ProxyRun
from foretrain.proxies.settings import EngineSettings

CORES = 2
REPEATS = 3
DOMAINS = ("books", "code_python", "law_us")
BUDGET = (8, 2_000_000)  # models, and tokens of each: what the wall clock with compilation is stated for
RSS_CASE = (1_000_000, 8)  # parameters, copies
CORPORA = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "corpora"
CONTENDERS = {  # name: kind of trainer, processes, threads of each
    "eager 1×1": ("eager", 1, 1),
    "eager 1×2": ("eager", 1, CORES),
    "compiled 1×1": ("compiled", 1, 1),
    "compiled 1×2": ("compiled", 1, CORES),
    "eager 2×1": ("eager", CORES, 1),
    "compiled 2×1": ("compiled", CORES, 1),
    "ours 2×1": ("ours", CORES, 1),
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


def group_of(shape: Architecture, store: TokenStore, copies: int) -> TrainingGroup:
    """Our engine, compiled, before its first step."""
    settings = EngineSettings(compile="always", device="cpu")
    runs = [run_of(shape, seed) for seed in range(copies)]
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
        if kind == "ours":
            copies = copies_of(Program.of(run_of(self.shape, 0).shared), EngineSettings(), "cpu")
            trainer: TrainingGroup | EagerTrainer = group_of(self.shape, self.store, copies)
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

    def sgemm(self, seconds: float) -> float:
        """GFLOP/s of the best fp32 matrix product, by size."""
        best = 0.0
        for size in (512, 1024, 2048):
            a, b = torch.rand(size, size), torch.rand(size, size)
            out, start, done = a @ b, time.perf_counter(), 0
            while (took := time.perf_counter() - start) < seconds / 3:
                torch.mm(a, b, out=out)
                done += 1
            best = max(best, 2 * size**3 * done / took / 1e9)
        return best

    def ours_losses(self, params: float, tokens: float, seeds: int) -> list[dict[str, float]]:
        """Final validation losses of our engine by domain, for each seed."""
        runs = [run_of(shape_of(params), seed, tokens) for seed in range(seeds)]
        with tempfile.TemporaryDirectory() as folder:
            settings = EngineSettings(compile="always", device="cpu")
            results = train_group(runs, self.store, settings, Path(folder) / "group.safetensors")
        return [{d: loss.mean_nats for d, loss in r.evaluations[-1].losses.items()} for r in results]

    def eager_losses(self, params: float, tokens: float, seeds: int) -> list[dict[str, float]]:
        """The same of the plain trainer."""
        found = []
        for seed in range(seeds):
            trainer = EagerTrainer(run_of(shape_of(params), seed, tokens), self.store)
            while trainer.step < trainer.run.steps:
                trainer.advance()
            found.append(trainer.validate(int(EngineSettings().eval_tokens)))
        return found

    def peak_rss(self, params: float, copies: int) -> float:
        """Peak memory of this process after training and validating a group, compiler included, GiB."""
        group = group_of(shape_of(params), self.store, copies)
        for _ in range(3):
            group.advance()
        group._evaluate()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


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


def measure(pool: Pool, params: float, seconds: float) -> tuple[int, dict[str, list[float]], dict[str, float]]:
    """Exact parameters; tokens per second of each contender by turn; warm-up seconds by kind of contender."""
    count = pool.call(CORES, 1, "clear", params)[0]
    pool.call(1, CORES, "clear", params)
    ours = max(pool.call(CORES, 1, "build", "ours"))
    # The compiler has a core to itself, as it would for one user; the other workers find its cache.
    one, several = pool.ask({0: ("build", "compiled"), CORES: ("build", "compiled")})
    for worker in range(1, CORES):
        pool.ask({worker: ("build", "compiled")})
    pool.call(CORES, 1, "build", "eager")
    pool.call(1, CORES, "build", "eager")
    warm = dict.fromkeys(CONTENDERS, 0.0) | {"ours 2×1": ours, "compiled 1×2": several}
    warm |= {"compiled 1×1": one, "compiled 2×1": one}
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(REPEATS):
        for name, (kind, processes, threads) in CONTENDERS.items():
            rates[name].append(sum(pool.call(processes, threads, "time", kind, seconds)))
    return count, rates, warm


def report(count: int, rates: dict[str, list[float]], warm: dict[str, float], peak: float) -> None:
    """One size of the table."""
    ours = "ours 2×1"
    best = max(SINGLE, key=lambda name: median(rates[name]))
    pair = max(("eager 2×1", "compiled 2×1"), key=lambda name: median(rates[name]))
    for name, (_, processes, threads) in CONTENDERS.items():
        speed = median(rates[name])
        gflops = 6 * count * speed / 1e9
        ratio = median(a / b for a, b in zip(rates[name], rates[best], strict=True))
        print(f"{format_count(count):>7} {name:13} {speed:9.0f} {gflops:8.1f} "
              f"{gflops / (processes * threads * peak):6.0%} {ratio:7.2f} {warm[name]:10.1f}"
              f"{'  best single process' if name == best else ''}")  # fmt: skip
    against = median(a / b for a, b in zip(rates[ours], rates[pair], strict=True))
    models, tokens = BUDGET
    mine, theirs = (warm[n] + models * tokens / median(rates[n]) for n in (ours, best))
    print(f"        ours / {pair}: {against:.2f}; {models} models × {format_count(tokens)} tokens, warm-up included: "
          f"ours {mine:.0f} s, {best} {theirs:.0f} s, {theirs / mine:.2f} times")  # fmt: skip


def compare_losses(pool: Pool, params: float, tokens: float, seeds: int = 2) -> None:
    """The second table: final losses of the same seeds from both."""
    ours, theirs = pool.ask({n: (k, params, tokens, seeds) for n, k in enumerate(("ours_losses", "eager_losses"))})
    print(f"\nfinal loss, nats per byte, {format_count(params)} parameters, {format_count(tokens)} tokens, "
          f"same initial weights and rows\ndomain       seed     ours    eager  ours-eager")  # fmt: skip
    for domain in DOMAINS:
        for seed, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            print(f"{domain:12} {seed:4d} {a[domain]:8.4f} {b[domain]:8.4f} {a[domain] - b[domain]:+11.4f}")
    means = [[mean(loss.values()) for loss in losses] for losses in (ours, theirs)]
    print(f"mean difference {mean(means[0]) - mean(means[1]):+.4f}; "
          f"sd over seeds: ours {stdev(means[0]):.4f}, eager {stdev(means[1]):.4f}")  # fmt: skip


def tables(folder: str, sizes: list[float], seconds: float, loss_tokens: float) -> None:
    """Measure and print all of them."""
    pool = Pool(folder)
    try:
        peak = mean(pool.call(CORES, 1, "sgemm", 1.5))
        print(f"sgemm, both cores at once: {peak:.0f} GFLOP/s per core; ours with the default copies per process\n"
              "\n params trainer        tokens/s  GFLOP/s   peak   ratio warm-up,s\n"
              f"{'':21} (processes×threads)  (6·N·tokens)")  # fmt: skip
        for params in sizes:
            report(*measure(pool, params, seconds), peak)
        if loss_tokens:
            compare_losses(pool, min(sizes, key=lambda size: abs(size - 2e5)), loss_tokens)
    finally:
        pool.close()
    params, copies = RSS_CASE
    fresh = Pool(folder)
    try:
        gib = fresh.call(1, 1, "peak_rss", params, copies)[0]
    finally:
        fresh.close()
    print(f"\npeak memory of a worker, {format_count(params)} parameters × {copies} copies: {gib:.2f} GiB (at most 2)")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description="Speed of training proxies.")
    parser.add_argument("--sizes", default="50k,200k,1M", help="parameters, separated by commas")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each timing")
    parser.add_argument("--loss-tokens", default="500k", help="tokens of the loss comparison; 0 leaves it out")
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
        plan = resolve(EngineSettings(device="cpu"), [run_of(shape_of(sizes[-1]), 0)])
        print(f"{usable_cores()} cores, {plan.device_name}, torch {torch.__version__}, "
              f"ours in {plan.precision}, trainer in fp32")  # fmt: skip
        tables(str(Path(folder) / "store"), sizes, arguments.seconds, parse_count(arguments.loss_tokens))
    print(f"took {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
