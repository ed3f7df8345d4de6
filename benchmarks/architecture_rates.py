"""Rates of architectures as ratios to the transformer's, in one run: training steps, and sampling with what is kept.

    python benchmarks/architecture_rates.py [--sizes 60k,250k] [--contexts 128,512] [--rounds 5] [--default]
    python benchmarks/architecture_rates.py --device cuda

Training tokens per second by torch alone (`compile: never`, fp32, one copy, 1,024 tokens a step), at the shape of the
transformer and at its parameters; mixtures of experts as a transformer with 4, 8, 16 experts, two of them a token's.
`--default` adds what the engine takes by itself for a run of 8M tokens: kernels for the transformer, else torch,
compiled where that pays, which takes minutes. On the CPU seconds are those of one thread's processor time. All
architectures of a case take turns; a ratio is the median over the rounds of one turn against the transformer's in the
same round, with the lowest and the highest. Nothing of this prices another machine: a processor's ratios say nothing of
a GPU's, where Fourier transforms and small operators fare differently.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from foretrain.core.errors import ConfigError
from foretrain.core.model.architecture import Architecture
from foretrain.core.model.mixers.registry import mixers
from foretrain.core.processors import one_torch_thread, processor_name
from foretrain.core.reading.fields import FieldError
from foretrain.core.units import parse_count
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore
from foretrain.proxies.design.family import ModelFamily
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.models import build_model, models
from foretrain.proxies.runs import ProxyRun
from foretrain.proxies.sampling.sampling import sample
from foretrain.proxies.sampling.settings import SamplingSettings
from foretrain.proxies.settings import EngineSettings

BASE = "transformer"
EXPERTS = (4, 8, 16)
STEP_TOKENS = 1024
RUN_TOKENS = 8e6
NEAR = 0.2
"""Architectures of equal parameters differ by this share of them at most; others are left out, and named."""
SEQUENCES = 32  # sampled at once
TURN_S = 0.25


def family(name: str, context: int) -> ModelFamily:
    """The models of an architecture, or of a transformer with experts, over bytes."""
    model, _, experts = name.partition(" + ")
    number = int(experts.split()[0]) if experts else None
    base = ModelFamily(256, context, 4, 32, 2.5, 4 if model == BASE else 0, False)
    more = {"num_experts": number, "experts_per_token": 2} if number else {}
    return replace(base, mixer=mixers()[models()[model].mixer](), **more)


def cases(params: float, context: int, equal: str) -> tuple[dict[str, Architecture], dict[str, str]]:
    """Shapes by name, the transformer first, at its shape or its parameters; and why others are left out."""
    names = [BASE, *sorted(set(models()) - {BASE}), *(f"{BASE} + {number} experts" for number in EXPERTS)]
    usual = family(BASE, context).of_size(params)
    found, left_out = {}, {}
    for name in names:
        try:
            own = family(name, context)
            shape = own.of_width(usual.width) if equal == "shape" else own.of_size(usual.params_total)
        except (ConfigError, FieldError) as error:
            left_out[name] = str(error)
            continue
        if equal == "parameters" and abs(shape.params_total / usual.params_total - 1) > NEAR:
            left_out[name] = f"the nearest has {shape.params_total:,} parameters"
        else:
            found[name] = shape
    return found, left_out


def group_of(name: str, shape: Architecture, store: TokenStore, settings: EngineSettings) -> TrainingGroup:
    """One copy of a model in training, two steps in."""
    batch, mix = STEP_TOKENS // shape.context_length, dict.fromkeys(store.domains, 1 / len(store.domains))
    model = name.partition(" + ")[0]
    run = ProxyRun(run_id="r", model=model, shape=shape, tokens=RUN_TOKENS, batch_sequences=batch, mix=mix)
    group = TrainingGroup([run], store, settings, resolve(settings, [run]))
    group.advance()
    group.advance()
    return group


def seconds_now(device: str) -> float:
    """Processor time; on a GPU, the clock once all that was asked of it is done."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def training_rate(group: TrainingGroup, device: str) -> float:
    """Tokens per second over whole steps of at least a quarter of a second, three at least."""
    began, steps = seconds_now(device), 0
    while steps < 3 or seconds_now(device) - began < TURN_S:
        group.advance()
        steps += 1
    return steps * STEP_TOKENS / (seconds_now(device) - began)


def sampling_rate(name: str, shape: Architecture, device: str) -> float:
    """Tokens per second of sequences of a whole context."""
    model = build_model(name, shape)
    layout = WeightLayout(model)
    weights = {key: part.contiguous().to(device) for key, part in layout.split(layout.initial([0])).items()}
    began = seconds_now(device)
    sample(model, weights, np.full((1, SEQUENCES), 32), shape.context_length + 1, SamplingSettings(), [0])
    return SEQUENCES * shape.context_length / (seconds_now(device) - began)


def report(title: str, shapes: Mapping[str, Architecture], rounds: Sequence[Mapping[str, float]]) -> None:
    """Print the rates of rounds, each as tokens per second by name, and their ratios to the transformer's."""
    print(f"\n{title}\n| architecture | width | parameters | thousand tokens/s | ratio | lowest, highest |")
    print("|---|---|---|---|---|---|")
    for name, shape in shapes.items():
        ratios = [one[name] / one[BASE] for one in rounds]
        rate = median(one[name] for one in rounds) / 1e3
        ends = f"{min(ratios):.2f}, {max(ratios):.2f}"
        print(f"| {name} | {shape.width} | {shape.params_total:,} | {rate:.1f} | {median(ratios):.2f} | {ends} |")
    sys.stdout.flush()


def train_in_turns(title: str, params: float, context: int, equal: str, store: TokenStore, settings: EngineSettings,
                   rounds: int) -> None:  # fmt: skip
    """Measure and print one case of training."""
    shapes, left_out = cases(params, context, equal)
    groups = {name: group_of(name, shape, store, settings) for name, shape in shapes.items()}
    device = next(iter(groups.values())).hardware.device
    turns = [{name: training_rate(group, device) for name, group in groups.items()} for _ in range(rounds)]
    report(title, shapes, turns)
    if settings.compile == "auto":
        ways = {name: "kernels" if group.hardware.kernels else "compiled by torch" if group.hardware.compiled else
                "torch" for name, group in groups.items()}  # fmt: skip
        print("computed by: " + ", ".join(f"{name}: {way}" for name, way in ways.items()))
    for name, why in left_out.items():
        print(f"{name} is left out: {why}")


def sample_in_turns(params: float, context: int, device: str, rounds: int) -> None:
    """Measure and print one case of sampling, without experts, whose work for a token is the same."""
    shapes = {name: shape for name, shape in cases(params, context, "shape")[0].items() if name in models()}
    cached = {name: shape for name, shape in shapes.items() if models()[name].cached}
    turns = [{name: sampling_rate(name, shape, device) for name, shape in cached.items()} for _ in range(rounds)]
    report(f"sampling, context {context}, {SEQUENCES} sequences, what is kept is kept", cached, turns)


def random_store(folder: Path) -> TokenStore:
    """Two megabytes of bytes at random: rates don't depend on what the text says."""
    letters = np.random.default_rng(0).integers(97, 123, (4, 500_000), dtype=np.uint8)
    for part, side in enumerate(("train", "valid")):
        text = "\n\n".join(bytes(row[:: 1 if part == 0 else 10]).decode() for row in letters)
        (folder / f"{side}.txt").write_text(text, encoding="utf-8")
    domain = {"path": "train.txt", "validation_path": "valid.txt"}
    prepare(Corpus.from_mapping({"domains": {"random": domain}}, folder=folder), folder / "store")
    return TokenStore.open(folder / "store")


def wanted(options: argparse.Namespace) -> Iterator[tuple[float, int]]:
    """Sizes and contexts that are asked for."""
    for size in options.sizes.split(","):
        for context in options.contexts.split(","):
            yield parse_count(size), int(context)


def main() -> int:
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="60k,250k")
    parser.add_argument("--contexts", default="128,512")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--default", action="store_true", help="also what the engine takes by itself")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("skipped: --device cuda, and torch finds no GPU here")
        return 0
    print(f"{processor_name() if options.device == 'cpu' else torch.cuda.get_device_name()}, torch {torch.__version__}")
    plain = EngineSettings(device=options.device, precision="fp32", compile="never")
    with tempfile.TemporaryDirectory() as folder, one_torch_thread():
        store = random_store(Path(folder))
        for params, context in wanted(options):
            for equal in ("shape", "parameters"):
                title = f"training by torch, equal {equal}, context {context}"
                train_in_turns(title, params, context, equal, store, plain, options.rounds)
            if options.default:
                title = f"training by default, equal shape, context {context}"
                own = plain.model_copy(update={"compile": "auto"})
                train_in_turns(title, params, context, "shape", store, own, options.rounds)
        for params, context in wanted(options):
            if context == min(int(each) for each in options.contexts.split(",")):
                sample_in_turns(params, context, options.device, 3)
    print(f"\n{time.process_time():.0f} CPU seconds")
    return 0


if __name__ == "__main__":
    torch.manual_seed(0)
    sys.exit(main())
