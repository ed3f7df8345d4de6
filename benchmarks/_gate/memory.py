"""Memory: the chance to fit, recomputation by software, the loss in parts, bytes by precision and optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .case import Answer, Case, simulate

_PLAN = """\
model:
  architecture: {layers: 16, width: 2048, heads: 16, ffn_width: 5632, vocab_size: 100352, context_length: 4096}
data: {tokens: 20B}
optim: {batch_tokens: 524288}
hardware: {accelerator: H100, count: 8, precision: bf16}
layout: {tp: 1, pp: 1, cp: 1, dp: 8, zero_stage: 1, micro_batch: 4, recompute: none}
"""
_PARAMS = 2 * 100352 * 2048 + 16 * (4 * 2048**2 + 3 * 2048 * 5632 + 2 * 2048) + 2048
_STATES = ("weights", "gradients", "optimizer")
_FRAMEWORKS = ("megatron", "fsdp", "deepspeed", "xla")


def cases() -> Iterator[Case]:
    """Each part of memory against what is documented of it, and what is said of a plan that may not fit."""
    for framework in _FRAMEWORKS:
        for plan in ("", "layout.flash_attention=false", "layout.tp=2 layout.dp=4"):
            name = f"none > selective > full: {framework} {plan}"
            yield _case(name, _policies, f"hardware.framework={framework}", *plan.split())
        yield _case(f"chunks of the loss: {framework}", _chunks, f"hardware.framework={framework}")
        yield _case(f"16 bits alone: {framework}", _pure, f"hardware.framework={framework}")
    for precision, (kept, sharded) in {"fp16": (4, 16), "bf16": (6, 12), "fp32": (8, 8)}.items():
        for replicas in (1, 2, 8):
            yield _case(f"documented bytes: {precision} over {replicas}", partial(_documented, precision, replicas),
                        kept + sharded / replicas)  # fmt: skip
    for optimizer, total in _OPTIMIZERS.items():
        yield _case(f"states of {optimizer}", partial(_optimizer, optimizer), total)
    for slip, meant in {"adamww": "adamw", "muno": "muon", "lino": "lion", "adafacter": "adafactor"}.items():
        yield _case(f"slip: {slip}", partial(_slip, slip), meant)
    yield _case("unknown optimizer", _unknown)
    for asked in ("50%", "0.75", "90%", "0.99"):
        yield _case(f"chance asked for: {asked}", _asked, asked)
    for micro_batch in (2, 4, 8, 16):
        yield _case(f"chance and interval: {micro_batch}", _chance_of_interval, micro_batch)
    for wrong in ("0", "1", "90", "-10%", "likely"):
        yield _case(f"no chance: {wrong}", _no_chance, wrong)
    for wrong in ("{chunked: 0}", "halved", "{chunked: many}", "{parts: 8}", "[8]"):
        yield _case(f"no loss: {wrong}", _no_loss, wrong)
    yield _case("ways out of logits", _ways_out)
    yield _case("refusal says the chance", _refusal)
    yield _case("software that changes", _software)
    for params in ("350M", "1.5B", "13B"):
        yield _case(f"size alone: {params}", _size_alone, params)
    yield _case("sparse size alone", _sparse)


_OPTIMIZERS = {
    "adamw": 18, "AdamW-8bit": 12, "adafactor": 10, "lion": 14, "sgd": 10, "sgd_momentum": 14, "sophia": 18,
    "adam_mini": 14, "prodigy": 26, "lamb": 18,
}  # fmt: skip


def _case(name: str, check: Any, *words: Any) -> Case:
    return Case("memory", name, partial(check, *words))


def _estimate(folder: Path, *overrides: str, as_json: bool = True) -> Answer:
    (folder / "run.yaml").write_text(_PLAN, encoding="utf-8")
    sets = [word for override in overrides for word in ("--set", override)]
    return simulate(folder, "cluster", "estimate", "--config", "run.yaml", *sets, *(["--json"] if as_json else []))


def _parts(folder: Path, *overrides: str) -> dict[str, float]:
    return _estimate(folder, *overrides).answered().json["memory_parts_gib"]


def _bytes(parts: dict[str, float]) -> float:
    return sum(parts[name] for name in _STATES) * 2**30 / _PARAMS


def _near(value: float, expected: float, share: float = 0.01) -> None:
    assert abs(value - expected) <= share * expected, f"{value:.4g} instead of {expected:.4g}"


def _policies(*words: Any) -> None:
    *overrides, folder = words
    small = (*overrides, "layout.micro_batch=1")
    kept = [_parts(folder, *small, f"layout.recompute={how}")["activations"] for how in ("none", "selective", "full")]
    assert kept[0] > kept[1] > kept[2] > 0, kept


def _chunks(framework: str, folder: Path) -> None:
    overrides = (framework, "layout.recompute=full", "layout.micro_batch=8")
    peaks = []
    for loss in ("whole", "{chunked: 1}", "{chunked: 2}", "{chunked: 8}", "fused"):
        peaks.append(_estimate(folder, *overrides, f"layout.loss={loss}").answered().json["peak_memory_gib"]["median"])
    assert peaks[0] == peaks[1], peaks
    assert peaks == sorted(peaks, reverse=True), peaks
    assert peaks[-1] < peaks[0], peaks


def _pure(framework: str, folder: Path) -> None:
    parts = _parts(folder, framework, "optim.master_weights=none", "layout.zero_stage=0", "layout.micro_batch=1")
    _near(_bytes(parts), 8)


def _documented(precision: str, replicas: int, expected: float, folder: Path) -> None:
    own = (f"hardware.precision={precision}", f"hardware.count={replicas}", f"layout.dp={replicas}")
    machines = ("hardware.framework=megatron", "layout.micro_batch=1", "layout.recompute=full")
    _near(_bytes(_parts(folder, *own, *machines)), expected)


def _optimizer(optimizer: str, expected: float, folder: Path) -> None:
    overrides = (f"optim.optimizer={optimizer}", "layout.zero_stage=0", "layout.micro_batch=1")
    _near(_bytes(_parts(folder, *overrides)), expected)


def _slip(slip: str, meant: str, folder: Path) -> None:
    _estimate(folder, f"optim.optimizer={slip}").refused("optim.optimizer", f"did you mean {meant}?")


def _unknown(folder: Path) -> None:
    found = _estimate(folder, "optim.optimizer=frobnicate").answered().json
    assert found["memory_parts_gib"] == _parts(folder), found["memory_parts_gib"]
    assert any("frobnicate" in note and "adamw" in note for note in found["cluster_notes"]), found["cluster_notes"]


def _asked(asked: str, folder: Path) -> None:
    found = _estimate(folder, f"hardware.fit_chance={asked}", "layout=null").answered().json
    least = float(asked.rstrip("%")) / (100 if asked.endswith("%") else 1)
    assert found["p_fit"] >= least, found["p_fit"]
    assert found["fits"] == "fits"


def _chance_of_interval(micro_batch: int, folder: Path) -> None:
    override = f"layout.micro_batch={micro_batch}"
    found = _estimate(folder, override, "layout.recompute=full").answered().json
    peak, usable, chance = found["peak_memory_gib"], found["usable_memory_gib"], found["p_fit"]
    for level, (low, high) in peak["intervals"].items():
        tail = (1 - float(level)) / 2
        assert (high <= usable) == (chance >= 1 - tail - 1e-3), (level, high, usable, chance)
        assert (low <= usable) == (chance >= tail - 1e-3), (level, low, usable, chance)
    assert (peak["median"] <= usable) == (chance >= 0.5), (peak["median"], usable, chance)
    shown = "over 99 %" if chance > 0.99 else "under 1 %" if chance < 0.01 else f"{chance:.0%}"
    _estimate(folder, override, "layout.recompute=full", as_json=False).answered(f"with a chance of {shown}")


def _no_chance(wrong: str, folder: Path) -> None:
    _estimate(folder, f"hardware.fit_chance={wrong}").refused("hardware.fit_chance")


def _no_loss(wrong: str, folder: Path) -> None:
    _estimate(folder, f"layout.loss={wrong}").refused("layout.loss", "chunked: 8")


def _ways_out(folder: Path) -> None:
    overrides = ("layout.micro_batch=16", "layout.recompute=full", "model.architecture.vocab_size=250000")
    said = _estimate(folder, *overrides)
    said.refused("logits", "layout.loss=chunked", "layout.micro_batch=", code=4)
    _estimate(folder, *overrides, "layout.loss=chunked").answered()


def _refusal(folder: Path) -> None:
    small = ("hardware.accelerator=T4", "hardware.precision=fp16", "hardware.count=1", "layout=null")
    _estimate(folder, *small).refused("a chance to fit of under 1 %", "usable", code=4)


def _software(folder: Path) -> None:
    found = _estimate(folder, "layout.zero_stage=3").answered().json
    below = _estimate(folder, "layout.zero_stage=2").answered().json
    rises = found["peak_memory_gib"]["median"] > below["peak_memory_gib"]["median"]
    assert rises == any("megatron" in note and "fsdp" in note for note in found["cluster_notes"]), found[
        "cluster_notes"
    ]
    assert rises, "the case is no case"


def _size_alone(params: str, folder: Path) -> None:
    found = _estimate(folder, f"model={{params: {params}}}", "layout=null").answered().json
    notes = [note for note in found["cluster_notes"] if note.startswith("model.architecture isn't stated")]
    assert notes, found["cluster_notes"]
    assert all(word in notes[0] for word in ("layers", "width", "heads")), notes


def _sparse(folder: Path) -> None:
    _estimate(folder, "model={params: 7B, params_active: 2B}", "layout=null").refused("model.architecture: missing")
