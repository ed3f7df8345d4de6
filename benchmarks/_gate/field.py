"""The shared field cases: inputs that people had, which were answered wrongly once. None where they are absent."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from _tables import DATA

from .case import Answer, Case, simulate

_CASES = DATA.parent / "field_cases"


def cases() -> Iterator[Case]:
    """One case each for what its EXPECTED.md asks of the command line."""
    for folder, name, check in _CHECKS:
        if (_CASES / folder).is_dir():
            yield Case("field", f"{folder[:2]}: {name}", partial(_in_a_copy, folder, check))


def _in_a_copy(name: str, check: Callable[[Path], None], folder: Path) -> None:
    for path in (_CASES / name).iterdir():
        shutil.copy(path, folder)
    check(folder)


def _number(answer: Answer, label: str) -> float:
    """The first number of the printed row that begins so."""
    found = re.search(rf"^{re.escape(label)}\D*?(\d+\.\d+)", answer.answered().out, flags=re.MULTILINE)
    assert found, f"no row {label!r} in {answer.out[:400]}"
    return float(found[1])


def _records_for_steps(folder: Path) -> None:
    said = simulate(folder, "track", "--config", "plan.yaml", "--log", "chart.csv")
    said.answered("can't be optimizer steps", "about 500 steps to a record")
    assert "half" not in said.err, "a last line that is quoted and has all its cells is whole"


def _stated_records(folder: Path) -> None:
    stated = ("--log", "chart.csv", "--step-unit", "500steps")
    said = simulate(folder, "track", "--config", "plan.yaml", *stated).answered("step 60000 of 100000 (60%)")
    assert "can't be optimizer steps" not in said.out + said.err


def _mean_of_domains(folder: Path) -> None:
    for table in ("mixes.csv", "mixes_columns_reversed.csv"):
        simulate(folder, "fit", table, "--out", "mine").answered()
        said = simulate(folder, "predict", "--config", "plan.yaml", "--predictor", "mine")
        assert _number(said, "loss, nats per token, mean of domains") == 2.430
        said.answered("(loss 2.5, mean of 3 domains): over 99 %")
        found = simulate(folder, "predict", "--config", "plan.yaml", "--predictor", "mine", "--json").json
        assert abs(found["loss_nats"]["median"] - 2.430) < 1e-3
        assert found["p_target"] > 0.99


def _best_mix(folder: Path) -> None:
    found = []
    for table in ("mixes.csv", "mixes_columns_reversed.csv"):
        simulate(folder, "fit", table, "--out", "predictor").answered()
        said = simulate(folder, "optimize", "--config", "study.yaml", "--storage", "memory", "--json", "--trials", 12)
        found.append(said.answered().json["best"]["values"]["data.mix"])
    for domain, share in found[0].items():
        assert abs(share - found[1][domain]) < 0.01, f"the order of columns decides: {found}"
        assert 0.28 < share < 0.40, f"the mean is lowest near 36/31/33, not {found[0]}"


def _pooled_corpora(folder: Path) -> None:
    said = simulate(folder, "fit", "runs.csv", "--out", "mine")
    said.answered("the law misses these runs by", "column 'data' explains most of what the law leaves over")
    (folder / "plan.yaml").write_text("model: {params: 1B}\ndata: {tokens: 20B}\n", encoding="utf-8")
    simulate(folder, "predict", "--config", "plan.yaml", "--predictor", "mine").answered("the law misses these runs by")


def _one_corpus(folder: Path) -> None:
    lines = (folder / "runs.csv").read_text(encoding="utf-8").splitlines()
    one = [lines[0], *(line for line in lines[1:] if "code" in line)]
    (folder / "one.csv").write_text("\n".join(one) + "\n", encoding="utf-8")
    said = simulate(folder, "fit", "one.csv").answered()
    assert "misses these runs" not in said.out + said.err


def _without_the_column(folder: Path) -> None:
    lines = (folder / "runs.csv").read_text(encoding="utf-8").splitlines()
    place = lines[0].split(",").index("data")
    rows = [",".join(cell for at, cell in enumerate(line.split(",")) if at != place) for line in lines]
    (folder / "bare.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    simulate(folder, "fit", "bare.csv").answered("the law misses these runs by")


def _sequences(folder: Path) -> None:
    simulate(folder, "fit", "runs.csv", "--out", "mine").answered()
    said = simulate(folder, "predict", "--config", "plan.yaml", "--predictor", "mine")
    assert abs(_number(said, "loss, nats per token") / 2.067 - 1) < 0.01
    assert "outside the fitted runs" not in said.out
    far = ("--predictor", "mine", "--set", "optim.batch_tokens=256M")
    simulate(folder, "predict", "--config", "plan.yaml", *far).answered("61 times the largest")


def _sequences_for_tokens(folder: Path) -> None:
    said = simulate(folder, "fit", "runs.csv", "--columns", "batch_tokens=gbsz", "--out", "mine")
    said.answered("in sequences of 4096 tokens?")


def _lightning(folder: Path) -> None:
    said = simulate(folder, "track", "--config", "plan.yaml", "--log", "metrics.csv").answered("train_loss_step")
    assert re.search(r"rests on 1[12]\d points", said.out), said.out
    first = simulate(folder, "track", "--config", "plan.yaml", "--log", "before_first_validation.csv")
    first.answered("train_loss_step")


def _console(name: str, points: int, folder: Path) -> None:
    simulate(folder, "track", "--config", "plan.yaml", "--log", name).answered(f"rests on {points} points")


def _logarithms(folder: Path) -> None:
    simulate(folder, "fit", "runs.csv").refused("'flops'", "log10?")
    columns = "tokens=log10_tokens,params=model_size"
    simulate(folder, "fit", "runs.csv", "--columns", columns, "--out", "mine").refused("log10")


def _mixes(folder: Path) -> None:
    simulate(folder, "fit", "counts.csv").answered("as tokens of each domain")
    simulate(folder, "fit", "percent.csv").answered("as percent")
    simulate(folder, "fit", "w_percent.csv").answered("as percent")


def _memory(plan: str, recompute: str, folder: Path) -> float:
    stated = ("--set", f"layout.recompute={recompute}", "--json")
    said = simulate(folder, "cluster", "estimate", "--config", plan, *stated)
    if said.code == 4:
        needed = re.search(r"needs ([\d.]+) GiB", said.err)
        assert needed, said.err
        return float(needed[1])
    return json.loads(said.out)["peak_memory_gib"]["median"]


def _recomputation(plan: str, folder: Path) -> None:
    none, some, full = (_memory(plan, kind, folder) for kind in ("none", "selective", "full"))
    assert none > some > full, f"{none}, {some}, {full}"


def _fp16(folder: Path) -> None:
    parts = simulate(folder, "cluster", "estimate", "--config", "fp16.yaml", "--json").json["memory_parts_gib"]
    states = sum(parts[name] for name in ("weights", "gradients", "optimizer"))
    assert abs(states - 16.0) < 0.2, f"20 bytes per parameter are 16.0 GiB, not {states:.2f}"


def _pure_bf16(folder: Path) -> None:
    stated = ("--set", "optim.master_weights=none", "--json")
    found = simulate(folder, "cluster", "estimate", "--config", "seven_b.yaml", *stated).answered().json
    states = sum(found["memory_parts_gib"][name] for name in ("weights", "gradients", "optimizer"))
    assert 12.0 < states < 14.0, states


_CHECKS: tuple[tuple[str, str, Callable[[Path], None]], ...] = (
    ("01_step_counts_log_calls", "records taken for steps", _records_for_steps),
    ("01_step_counts_log_calls", "steps to a record stated", _stated_records),
    ("02_loss_of_the_first_column", "one meaning of the loss", _mean_of_domains),
    ("02_loss_of_the_first_column", "the best mix is that of the mean", _best_mix),
    ("03_selective_recompute_and_chunked_loss", "dense", partial(_recomputation, "dense.yaml")),
    ("03_selective_recompute_and_chunked_loss", "experts", partial(_recomputation, "moe.yaml")),
    ("04_fp16_bytes", "states", _fp16),
    ("05_corpora_pooled", "pooled", _pooled_corpora),
    ("05_corpora_pooled", "one corpus", _one_corpus),
    ("05_corpora_pooled", "the column is missing", _without_the_column),
    ("06_batch_in_sequences", "as it is", _sequences),
    ("06_batch_in_sequences", "taken for tokens", _sequences_for_tokens),
    ("07_lightning_names", "both files", _lightning),
    ("08_text_logs", "pipes", partial(_console, "pipes.log", 50)),
    ("08_text_logs", "iter lines", partial(_console, "iter_lines.log", 301)),
    ("08_text_logs", "key and value", partial(_console, "key_value.log", 100)),
    ("09_counts_as_logarithms", "refused", _logarithms),
    ("10_mix_in_other_units", "three units", _mixes),
    ("11_states_of_other_optimizers", "pure bf16", _pure_bf16),
)
