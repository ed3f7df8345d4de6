"""What works without the optional libraries, and what is said where one of them is asked for."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from foretrain.core import extras
from foretrain.core.errors import MissingExtraError, UsageError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IMPORT_NAMES = {"scikit_learn": "sklearn", "vl_convert_python": "vl_convert"}

# `simulate` where the optional libraries can't be found, as in a plain installation
BARE = """
import sys
from foretrain.core.extras import EXTRAS

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
from foretrain.cli import main
main(sys.argv[1:])
"""

STUDY = """
run: {{model: {{params: 1B}}, data: {{tokens: 20B}}}}
space:
  model.params: {{low: 100M, high: 10B, log: true}}
  data.tokens: {{low: 2B, high: 200B, log: true}}
objective: loss_nats
constraints: {{training_flops: 1e21}}
search: {{trials: 6, sampler: {sampler}}}
"""


def libraries(extra: str) -> set[str]:
    """The libraries of one of pyproject's extras, by the names that they are imported by."""
    names = {re.split(r"[^\w.-]", line)[0].replace("-", "_") for line in PROJECT["optional-dependencies"][extra]}
    return {IMPORT_NAMES.get(name, name) for name in names - {"foretrain"}}


def test_the_extras_are_those_of_the_project():
    known = {name: libraries(name) for name in PROJECT["optional-dependencies"] if name not in ("all", "dev")}
    assert set(extras.EXTRAS) == set().union(*known.values())  # several may bring a library, one is named
    assert all(library in known[extra] for library, extra in extras.EXTRAS.items())
    assert PROJECT["optional-dependencies"]["all"] == [f"foretrain[{','.join(known)}]"]


def test_the_message_is_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError) as caught:
        extras.require("training proxies", "safetensors", "torch")
    assert str(caught.value) == "training proxies needs torch; install it with: pip install 'foretrain[proxies]'"
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, ImportError)


def test_a_library_is_looked_for_but_not_imported():
    program = "import sys; from foretrain.core.extras import has; print(has('torch'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory, write_runs):
    """`bare(*arguments)`: `simulate` without the optional libraries, in a folder with a project in it."""
    folder = tmp_path_factory.mktemp("bare")
    rows = [(n, d) for n in (1e7, 3e7, 1e8, 3e8) for d in (1e9, 3e9, 9e9)]
    write_runs(folder / "runs.csv", [n for n, _ in rows], [d for _, d in rows], noise=0.002)
    (folder / "few.yaml").write_text(STUDY.format(sampler="auto"))
    (folder / "gp.yaml").write_text(STUDY.format(sampler="gp"))
    (folder / "bpe.yaml").write_text(
        "name: bpe\ntokenizer: {kind: bpe, vocab_size: 300}\ndomains:\n  docs: {path: docs/*.txt}\n"
    )
    (folder / "docs").mkdir()
    for number in range(40):
        (folder / "docs" / f"{number}.txt").write_text(f"Document {number} has these words in it. " * 50)
    _write_curves(folder / "curves_in")
    lines = [json.dumps({"step": step, "loss": 2.0 + 20 / step**0.5}) for step in range(100, 5000, 100)]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")

    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        words = [sys.executable, "-c", BARE, *arguments]
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=240)

    assert run("init", ".").returncode == 0
    return run


def _write_curves(folder: Path) -> None:
    """Two runs of one size: a cosine and a constant rate."""
    import numpy as np

    (folder / "curves").mkdir(parents=True)
    header = "run_id,source,params,schedule,total_steps,warmup_steps,decay_start,lr_peak,lr_final\n"
    rows = [f"{name},toy,1e8,{name},2000,100,,1e-3,{last}\n" for name, last in (("cosine", 1e-4), ("constant", 1e-3))]
    (folder / "runs.csv").write_text(header + "".join(rows))
    steps = np.arange(100, 2001, 50)
    for name, drop in (("cosine", 0.15), ("constant", 0.0)):
        loss = 2.5 + 8 * steps**-0.4 - drop * (steps / 2000) ** 2
        points = [f"{step},{value:.6f}\n" for step, value in zip(steps, loss, strict=True)]
        (folder / "curves" / f"{name}.csv").write_text("step,loss\n" + "".join(points))


LLAMA = str(ROOT / "examples/llama-7b.yaml")
ANSWERED = [
    ["predict", "--config", LLAMA],
    ["fit", "runs.csv", "--out", "mine"],
    ["score", "mine", "runs.csv"],
    ["backtest", "runs.csv"],
    ["cluster", "estimate", "--config", LLAMA],
    ["cluster", "search", "--config", LLAMA],
    ["optimize", "--config", "few.yaml", "--trials", "6", "--storage", "memory"],
    ["optimal", "point", "--flops", "1e22"],
    ["optimal", "curves", "--flops", "1e21,1e22"],
    ["curve", "fit", "curves_in", "--out", "curves"],
    ["curve", "score", "curves", "curves_in", "--ids", "cosine"],
    ["track", "--config", LLAMA, "--log", "log.jsonl"],
    ["planner", "ask", "--config", "few.yaml", "--runs", "runs.csv", "--storage", "plans.journal"],
    ["data", "inspect", "bpe.yaml"],
    ["data", "stock"],
]
REFUSED = [
    (["predict", "--config", LLAMA, "--chart", "x.svg"], "a chart needs vl_convert", "charts"),
    (["optimize", "--config", "few.yaml", "--chart", "x.html"], "a chart needs vl_convert", "charts"),
    (["data", "prepare", "bpe.yaml"], "a bpe tokenizer needs tokenizers", "proxies"),
    (["proxies", "design", "space.yaml"], "training proxies needs torch", "proxies"),
    (["proxies", "train", "space.yaml"], "training proxies needs torch", "proxies"),
    (["optimize", "--config", "few.yaml", "--storage", "postgresql://h/d"], "needs psycopg", "postgresql"),
]


def test_a_plain_installation_answers_the_base_commands(bare):
    """In one test, as later commands read what earlier ones wrote."""
    for words in ANSWERED:
        done = bare(*words)
        assert done.returncode in (0, 4), (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout


@pytest.mark.parametrize(("words", "needs", "extra"), REFUSED, ids=[" ".join(words[:2]) for words, _, _ in REFUSED])
def test_what_needs_more_says_how_to_install_it(bare, words, needs, extra):
    done = bare(*words)
    assert done.returncode == 2
    assert f"{needs}; install it" not in done.stdout
    assert f"{needs}; install it with: pip install 'foretrain[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_search_without_torch_takes_another_sampler_and_says_so(bare):
    done = bare("optimize", "--config", "few.yaml", "--trials", "6", "--storage", "memory", "--json")
    result = json.loads(done.stdout)
    assert result["study"]["sampler"] == "tpe"
    assert any("torch isn't installed" in note for note in result["notes"])


def test_a_sampler_that_needs_torch_is_refused_without_it(bare):
    done = bare("optimize", "--config", "gp.yaml", "--trials", "6", "--storage", "memory")
    assert (done.returncode, done.stdout) == (2, "")
    assert "search.sampler gp needs torch; install it with: pip install 'foretrain[proxies]'" in done.stderr
