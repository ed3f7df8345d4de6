"""Members of other packages, by entry points: found, refused by name where they fail, left out when asked.

Each test runs processes of its own: registries are filled once in a process, and tests leave plugins out.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ACME = Path(__file__).parents[1] / "data" / "plugin" / "acme_laws.py"

FITTED = """
import json, sys, warnings
import foretrain
warnings.simplefilter("ignore", foretrain.DataWarning)
table = foretrain.RunTable.read("runs.csv")
foretrain.save_predictor(foretrain.Predictor.fit(table), "mine")
"""


@pytest.fixture
def installed(tmp_path, plain_environment):
    """`installed(name, module, *groups)`: a distribution on the path whose entry points name a module."""
    site = tmp_path / "site"
    site.mkdir()

    def install(name: str, source: str, *groups: str) -> dict[str, str]:
        module = f"{name}_module"
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        facts = site / f"{name}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        points = "".join(f"[foretrain.{group}]\n{name} = {module}\n" for group in groups)
        (facts / "entry_points.txt").write_text(points, encoding="utf-8")
        return {**plain_environment, "PYTHONPATH": str(site), "FORETRAIN_NO_PLUGINS": "0"}

    return install


@pytest.fixture
def call(tmp_path):
    """`call(environment, *words)`: a Python program, or `simulate`, in this test's folder."""

    def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=120
        )

    return run


def simulate(*words: str) -> tuple[str, ...]:
    return ("-m", "foretrain", *words)


def write_flavoured_runs(path: Path) -> None:
    """Runs of a Chinchilla law whose reducible loss depends on days of cooling and on the flavour."""
    rng = np.random.default_rng(0)
    params = 10 ** rng.uniform(7, 9, 48)
    tokens, days = params * 10 ** rng.uniform(1, 2, 48), 2.0 ** rng.integers(0, 5, 48)
    flavour = rng.choice(["dry", "sour", "sweet"], 48)
    factor = days**-0.1 * np.exp(np.select([flavour == "sweet", flavour == "dry"], [-0.1, 0.1], 0.0))
    loss = 1.7 + (400 * params**-0.34 + 1500 * tokens**-0.34) * factor
    rows = zip(params, tokens, days, flavour, loss, strict=True)
    lines = [f"{n:.8g},{d:.8g},{c:g},{f},{value:.8g}" for n, d, c, f, value in rows]
    path.write_text("\n".join(["params,tokens,cooling,flavour,loss", *lines]) + "\n", encoding="utf-8")


STUDY = """
run: {model: {params: 1B}, data: {tokens: 20B}, columns: {cooling_days: 2, flavour: dry}}
space:
  columns.cooling_days: {low: 1, high: 16, log: true}
  columns.flavour: [sweet, dry, sour]
objective: loss_nats
search: {trials: 12, sampler: tpe}
"""


def test_a_term_with_columns_of_its_own_reaches_fit_predict_optimize_and_the_conformance_suite(
    installed, call, tmp_path
):
    environment = installed("acme", ACME.read_text(encoding="utf-8"), "laws")
    write_flavoured_runs(tmp_path / "runs.csv")
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "run.yaml").write_text("model: {params: 1B}\ndata: {tokens: 20B}\n", encoding="utf-8")
    done = call(environment, *simulate("fit", "runs.csv", "--out", "mine", "--json"))
    assert done.returncode == 0, done.stderr
    fitted = json.loads(done.stdout)["targets"]["loss"]
    assert fitted["law"] == "general+cooling+flavour"
    assert fitted["levels"] == {"flavour": ["dry", "sour", "sweet"]}
    assert fitted["parameters"]["cooling_exponent"] == pytest.approx(0.1, abs=0.01)
    assert fitted["parameters"]["flavour.dry"] - fitted["parameters"]["flavour.sweet"] == pytest.approx(0.2, abs=0.02)
    assert "one law is fitted over all of them" not in done.stderr

    def predicted(*settings: str) -> subprocess.CompletedProcess:
        words = [word for setting in settings for word in ("--set", f"columns.{setting}")]
        return call(environment, *simulate("predict", "--config", "run.yaml", "--predictor", "mine", "--json", *words))

    truth = 1.7 + (400 * 1e9**-0.34 + 1500 * 2e10**-0.34) * 4**-0.1 * np.exp(-0.1)
    answer = json.loads(predicted("cooling_days=4", "flavour=sweet").stdout)
    assert answer["loss_nats"]["median"] == pytest.approx(truth, rel=5e-3)
    assert answer["config"]["columns"] == {"cooling_days": 4, "flavour": "sweet"}
    far = json.loads(predicted("cooling_days=400", "flavour=sweet").stdout)
    assert "cooling_days: 400 lies outside the fitted runs, 1 to 16 (25 times the largest)" in far["warnings"]
    unknown = predicted("cooling_days=4", "flavour=bitter")
    assert unknown.returncode == 3
    assert "flavour: got 'bitter'; the fitted runs had 'dry', 'sour', 'sweet'" in unknown.stderr
    assert "flavour: is not stated" in predicted("cooling_days=4").stderr

    found = call(environment, *simulate("optimize", "--config", "study.yaml", "--predictor", "mine", "--json"))
    assert found.returncode == 0, found.stderr
    best = json.loads(found.stdout)["best"]["values"]
    assert (best["columns.cooling_days"], best["columns.flavour"]) == (pytest.approx(16), "sweet")

    suite = "from foretrain.testing import check_law\nfor n in ('general+cooling', 'general+flavour'): check_law(n)"
    checked = call(environment, "-c", suite)
    assert checked.returncode == 0, checked.stderr


def test_every_kind_of_member_may_come_from_another_package(installed, call):
    source = """
from foretrain.core.columns import Column
from foretrain.datasets.facts.accelerators import Accelerator, add_accelerator
from foretrain.datasets.runs.columns import add
from foretrain.datasets.selection.judges import Judge, register_judge
from foretrain.datasets.selection.registry import register_step
from foretrain.datasets.selection.step import Step
from foretrain.proxies.executors import Executor, register_executor
from foretrain.proxies.models import ProxyModel, register_model

add(Column("patience", "epochs of patience", "epochs", rule="count"))
add_accelerator(Accelerator(name="acme-1", vendor="acme", peak_tflops={"bf16": 100}, hbm_gib=32))
register_model("acme_model")(type("AcmeModel", (ProxyModel,), {}))
register_executor("acme_executor")(type("AcmeExecutor", (Executor,), {}))
register_step("acme_step")(type("AcmeStep", (Step,), {}))
register_judge("acme_judge")(type("AcmeJudge", (Judge,), {}))
"""
    groups = ("columns", "accelerators", "architectures", "executors", "selection", "judges")
    environment = installed("acme", source, *groups)
    program = """
from foretrain.datasets.facts.accelerators import catalogue
from foretrain.datasets.runs.columns import columns
from foretrain.datasets.selection.judges import judges
from foretrain.datasets.selection.registry import steps
from foretrain.proxies.executors import executor_names
from foretrain.proxies.models import models
print("patience" in columns(), "acme-1" in catalogue(), "acme_model" in models(), "acme_executor" in executor_names())
print("acme_step" in steps(), "acme_judge" in judges())
"""
    done = call(environment, "-W", "error", "-c", program)
    assert done.stdout == "True True True True\nTrue True\n", done.stderr
    left_out = call({**environment, "FORETRAIN_NO_PLUGINS": "1"}, "-W", "error", "-c", program)
    assert left_out.stdout == "False False False False\nFalse False\n", left_out.stderr


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "from foretrain.core.columns import Column\nfrom foretrain.datasets.runs.columns import add\n"
            "add(Column('fresh', 'new', rule='count'), Column('lr', 'mine', rule='count'))",
            "column 'lr': the name is taken by foretrain itself; expected another",
        ),
    ],
    ids=["fails to import", "claims a taken name"],
)
def test_a_plugin_that_fails_is_named_and_leaves_nothing_behind(installed, call, source, reason):
    environment = installed("acme", source, "columns")
    program = "from foretrain.datasets.runs.columns import columns\nprint('fresh' in columns(), len(columns()) > 20)"
    done = call(environment, "-c", program)
    assert done.stdout == "False True\n"
    assert f"plugin acme of acme (foretrain.columns) is left out: {reason}" in done.stderr


def test_an_accelerator_may_not_take_the_name_of_another(installed, call):
    source = """
from foretrain.datasets.facts.accelerators import Accelerator, add_accelerator
add_accelerator(Accelerator(name="mine", aliases=("h100 sxm 80",), vendor="acme", peak_tflops={"bf16": 100}))
"""
    environment = installed("acme", source, "accelerators")
    done = call(environment, "-c", "from foretrain import accelerator\nprint(accelerator('h100-sxm-80').vendor)")
    assert done.stdout == "nvidia\n", done.stderr
    assert "'h100 sxm 80' names H100-SXM-80; expected another" in done.stderr


def test_the_command_line_leaves_plugins_out_when_asked(installed, call, tmp_path):
    environment = installed("acme", "raise RuntimeError('broken')", "laws")
    (tmp_path / "run.yaml").write_text("model: {params: 1B}\ndata: {tokens: 20B}\n", encoding="utf-8")
    words = ("predict", "--config", "run.yaml", "--json")
    loud, quiet = call(environment, *simulate(*words)), call(environment, *simulate("--no-plugins", *words))
    assert (loud.returncode, quiet.returncode) == (0, 0), loud.stderr
    assert "plugin acme of acme (foretrain.laws) is left out: RuntimeError: broken" in loud.stderr
    assert quiet.stderr == ""
    assert loud.stdout == quiet.stdout


def test_entry_points_of_foretrain_itself_are_ours(monkeypatch):
    """They load without plugins, their names are taken, and what fails in them isn't swallowed."""
    from types import SimpleNamespace

    from foretrain.core import registry
    from foretrain.core.errors import RegistryError

    fruit = registry.Registry("fruit", lambda: None, "foretrain.fruit")

    def fails():
        raise ImportError("no pears today")

    points = [SimpleNamespace(dist=SimpleNamespace(name="foretrain"), load=lambda: fruit.add("apple", "round"))]
    monkeypatch.setattr(registry, "_loaded", set())
    monkeypatch.setattr(registry, "_entry_points", lambda: SimpleNamespace(select=lambda group: points))
    assert fruit.all() == {"apple": "round"}
    with pytest.raises(RegistryError, match="taken by foretrain itself"):
        fruit.add("apple", "oval")
    points.append(SimpleNamespace(dist=SimpleNamespace(name="foretrain"), load=fails))
    monkeypatch.setattr(registry, "_loaded", set())
    fruit.remove("apple")
    with pytest.raises(ImportError, match="no pears"):
        fruit.all()
