"""What a forecast speaks of: one loss among several, what isn't read, files of another kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import permutations
from pathlib import Path

from .case import Case, simulate

_LOSSES = {"web": 2.0, "code": 1.1, "wiki.en": 2.6}
_PLAN = "model: {params: 1B}\ndata: {tokens: 20B}\n"
_STUDY = "run: run.yaml\nspace: {data.tokens: {low: 10B, high: 30B, log: true}}\nobjective: {minimise: loss_nats}\n"
_UNREAD = {
    "lr": ("lr: 3e-4", "optim.lr"),
    "optimizer": ("optimizer: muon", "optim.optimizer"),
    "schedule": ("lr: 3e-4, schedule: cosine", "optim.schedule"),
    "final rate": ("lr: 3e-4, lr_final: 3e-5", "optim.lr_final"),
    "weight decay": ("weight_decay: 0.1", "optim.weight_decay"),
    "batch": ("batch_tokens: 1M", "optim.batch_tokens"),
}
_WEB = ("web-text", "chinchilla-massivetext", "olmo-c4", "repeats-c4")


def cases() -> Iterator[Case]:
    """Loss columns in every order, each setting that no law reads, and files that belong to other commands."""
    for order in permutations(_LOSSES):
        yield Case("meaning", f"the headline with columns {', '.join(order)}", partial(_headline, order))
    for level, chance in (("0.5", 0.75), ("0.8", 0.9), ("0.9", 0.95), ("0.95", 0.975)):
        yield Case("meaning", f"the target at the {level} interval's end", partial(_chance, level, chance))
    for name in _LOSSES:
        yield Case("meaning", f"evaluated on {name}", partial(_evaluated, name))
    for predictor in _WEB:
        for name, (optim, place) in _UNREAD.items():
            yield Case("meaning", f"{predictor} doesn't read the {name}", partial(_unread, predictor, optim, place))
    for predictor in _WEB[1:]:
        yield Case("meaning", f"85 % code by {predictor}", partial(_code, predictor))
    for command in ("predict", "cluster estimate"):
        yield Case("meaning", f"a study given to {command}", partial(_study, command))
    yield Case("meaning", "a run given to optimize", _run)
    for command in ("predict", "optimize"):
        yield Case("meaning", f"config.json given to {command}", partial(_hugging_face, command))
    for key, meant in {
        "optim.min_lr": "lr_final",
        "optim.learning_rate": "optim.lr",
        "targets.loss": "loss_nats",
    }.items():
        yield Case("meaning", f"{key} is {meant}", partial(_meant, key, meant))


def _fitted(folder: Path, order: tuple[str, ...]) -> None:
    lines = ["params,tokens," + ",".join(f"loss.{name}" for name in order)]
    for params in (2e7, 5e7, 1e8, 3e8):
        for ratio in (10.0, 30.0, 90.0):
            power = 300 * params**-0.33 + 900 * (params * ratio) ** -0.33
            losses = [f"{_LOSSES[name] + power:.6f}" for name in order]
            lines.append(f"{params:.0f},{params * ratio:.0f},{','.join(losses)}")
    (folder / "runs.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "run.yaml").write_text(_PLAN, encoding="utf-8")
    simulate(folder, "fit", "runs.csv", "--law", "chinchilla", "--out", "mine").answered()


def _predicted(folder: Path, *words: str) -> dict:
    return simulate(folder, "predict", "--config", "run.yaml", "--predictor", "mine", "--json", *words).answered().json


def _headline(order: tuple[str, ...], folder: Path) -> None:
    _fitted(folder, order)
    found = _predicted(folder)
    median = found["loss_nats"]["median"]
    mean = sum(one["loss_nats"]["median"] for one in found["domains"].values()) / len(_LOSSES)
    assert abs(median / mean - 1) < 1e-9, f"{median} isn't the mean {mean}"
    assert found["average"]["loss_nats"] == found["loss_nats"]
    page = simulate(folder, "predict", "--config", "run.yaml", "--predictor", "mine").answered("mean of domains").out
    assert f"{median:.3f}" in page, page


def _chance(level: str, chance: float, folder: Path) -> None:
    _fitted(folder, tuple(_LOSSES))
    end = _predicted(folder)["loss_nats"]["intervals"][level][1]
    told = _predicted(folder, "--set", f"targets.loss_nats={end!r}")["p_target"]
    assert abs(told - chance) < 0.003, f"{told} at the end of the {level} interval"


def _evaluated(name: str, folder: Path) -> None:
    _fitted(folder, tuple(_LOSSES))
    found = _predicted(folder, "--set", f"data.evaluated_on={name}")
    assert found["loss_nats"] == found["domains"][f"loss.{name}"]["loss_nats"]


def _unread(predictor: str, optim: str, place: str, folder: Path) -> None:
    (folder / "run.yaml").write_text(f"{_PLAN}optim: {{{optim}}}\n", encoding="utf-8")
    found = simulate(folder, "predict", "--config", "run.yaml", "--predictor", predictor, "--json").answered().json
    said = [text for text in found["warnings"] if text.startswith("not read by this predictor: ")]
    assert len(said) == 1, found["warnings"]
    assert place in said[0], said
    (folder / "run.yaml").write_text(_PLAN, encoding="utf-8")
    silent = simulate(folder, "predict", "--config", "run.yaml", "--predictor", predictor, "--json").json["warnings"]
    assert not any(text.startswith("not read") for text in silent), "nothing is stated"


def _code(predictor: str, folder: Path) -> None:
    plan = _PLAN.replace("20B", "20B, mix: {code: 0.85, web: 0.15}")
    (folder / "run.yaml").write_text(plan, encoding="utf-8")
    done = simulate(folder, "predict", "--config", "run.yaml", "--predictor", predictor, "--json").answered()
    assert any("this is a forecast of" in text and "85%" in text for text in done.json["warnings"]), done.json[
        "warnings"
    ]


def _study(command: str, folder: Path) -> None:
    (folder / "study.yaml").write_text(_STUDY, encoding="utf-8")
    simulate(folder, *command.split(), "--config", "study.yaml").refused("is a study", "simulate optimize")


def _run(folder: Path) -> None:
    (folder / "run.yaml").write_text(_PLAN, encoding="utf-8")
    simulate(folder, "optimize", "--config", "run.yaml", "--storage", "memory").refused("is a run", "simulate predict")


def _hugging_face(command: str, folder: Path) -> None:
    shape = {"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32000}
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    simulate(folder, command, "--config", "config.json").refused("Hugging Face", "model.architecture")


def _meant(key: str, meant: str, folder: Path) -> None:
    (folder / "run.yaml").write_text(_PLAN, encoding="utf-8")
    simulate(folder, "predict", "--config", "run.yaml", "--set", f"{key}=1").refused(key, "did you mean", meant)
