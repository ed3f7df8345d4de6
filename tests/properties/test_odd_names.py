"""Names as people write them, wherever one is written: what is accepted is read back as it was."""

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import ForetrainError
from foretrain.core.model.architecture import Architecture
from foretrain.core.output.plain import is_plain, visible
from foretrain.core.reading.yaml_reader import dumps_yaml
from foretrain.datasets.runs.run_table import RunTable
from foretrain.proxies.campaign.result_files import read_curve, read_result, write_result, write_run
from foretrain.proxies.results import CurvePoint, DomainLoss, RunResult, Validation
from foretrain.proxies.runs import ProxyRun
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.law.transfer import Library
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.rates.path import named_path
from foretrain.simulator.curve.store import load, save

NAMES = ["12\u202f000", "a\u00a0b", "\U0001f469\u200d\U0001f52c", "\u0645\u06cc\u200c\u062e", "e\u0301", "a\u00adb"]
NAMES += [
    "a.b",
    "..",
    "a/b",
    "a\\b",
    "a b",
    "-x",
    "a: #b",
    "a\"b'c",
    "a,b;c",
    "[red]x[/]",
    "=1+1",
    "1e3",
    "1_0",
    "null",
]
NAMES += ["true", "\uff11", "\ufeffx", "loss", "mix.a", "%s{0}", "\U0001fae9", "a|b=c+d"]
STEERING = ["a\x1b[2J", "a\nb", "\x85", "\u202etxt", "a\u2028b", "\ud800"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_and_cells_of_tables(suffix, tmp_path):
    count = np.arange(len(NAMES))
    cells = {"params": 1e7 + 1e6 * count, "tokens": 1e9 + 1e8 * count, "run_id": NAMES, "corpus": NAMES, "note": NAMES}
    losses = {f"loss.{name}": 3.0 - 0.01 * count for name in NAMES}
    table = RunTable.from_frame(pd.DataFrame({**cells, **losses, **{f"mix.{name}": 1 / len(NAMES) for name in NAMES}}))
    table.write(tmp_path / f"runs.{suffix}")
    again = RunTable.read(tmp_path / f"runs.{suffix}")
    assert again.digest() == table.digest()
    assert list(again.frame.columns) == list(table.frame.columns)
    assert set(losses) == set(again.loss_columns)


def test_runs_and_domains_of_a_curve_library(tmp_path):
    path = named_path("cosine", 600, 30, 0.1)
    step = np.arange(50.0, 601.0, 50.0)
    for name in NAMES[:10]:
        save(Library([Curve(name, f"{name} family", 1e8, path, step, 3 + 1 / step)]), tmp_path / "mine")
        (curve,) = load(tmp_path / "mine").curves
        assert (curve.run_id, curve.family) == (name, f"{name} family")
    for name in STEERING:  # spelled as escapes
        save(Library([Curve(name, name, 1e8, path, step, 3 + 1 / step)]), tmp_path / "mine")
        (curve,) = load(tmp_path / "mine").curves
        assert (curve.run_id, curve.family) == (visible(name), visible(name))


def test_runs_and_domains_of_a_campaign(tmp_path):
    shape = Architecture(layers=1, width=16, heads=2, ffn_width=32, vocab_size=32, context_length=16)
    for number, name in enumerate(NAMES):
        run = ProxyRun(run_id=name, mix={name: 1.0}, tokens=640, batch_sequences=4, shape=shape)
        losses = {name: DomainLoss(3.0, 0.1)}
        found = [Validation(s, s * run.batch_tokens, losses, {name: 64}, {name: 640}) for s in run.evaluate_steps]
        curve = (CurvePoint(1, run.batch_tokens, 3.4, 0.01),)
        result = RunResult(name, "ok", tuple(found), curve, None, {"device": name})
        folder = tmp_path / str(number)
        write_run(folder, run)
        write_result(folder, result)
        assert read_result(folder, run).to_dict() == result.to_dict()
        assert read_curve(folder) == curve


@pytest.mark.parametrize("name", NAMES + STEERING)
def test_names_of_a_configuration(name, tmp_path):
    data = {"tokens": "100B", "corpus": name, "tokenizer": name, "mix": {name: 0.5, "rest": 0.5}}
    try:
        config = RunConfig.from_mapping({"name": name, "model": {"params": "1.3B"}, "data": data})
    except ForetrainError:
        assert not is_plain(name) or name in ("..", "\ufeffx")
        return
    stated = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    (tmp_path / "run.yaml").write_text(dumps_yaml(stated), encoding="utf-8")
    assert RunConfig.load(tmp_path / "run.yaml") == config
