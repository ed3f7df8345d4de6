"""What the README shows is what the program does."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import foretrain

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def typed_names() -> dict[str, tuple[str, str]]:
    """Name: module and attribute, as the imports of the package's door tell type checkers."""
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }


def test_the_forecast_in_the_readme_is_the_one_that_is_printed(run_in):
    shown = README.partition("$ simulate predict --config examples/llama-7b.yaml\n")[2].partition("\n\n")[0]
    printed = run_in(ROOT, "predict", "--config", "examples/llama-7b.yaml").stdout
    assert [line.strip() for line in shown.splitlines()] == [line.strip() for line in printed.splitlines()]


def test_the_first_shell_block_holds_exactly_the_two_commands():
    commands = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)[0].splitlines()
    assert len(commands) == 2
    assert commands[0].endswith("&& simulate predict --config examples/llama-7b.yaml")
    assert commands[1].endswith("&& pytest")


def test_the_door_costs_nothing_to_open():
    program = "import sys, foretrain; foretrain.FitError; print({'numpy', 'pydantic', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "set()"


def test_every_error_of_the_tree_is_public():
    kinds = [foretrain.ForetrainError, foretrain.ForetrainWarning]
    for kind in kinds:
        kinds += kind.__subclasses__()
    ours = {kind.__name__ for kind in kinds if kind.__module__ == "foretrain.core.errors"}
    assert ours == set(foretrain.errors.__all__)
    assert ours <= set(foretrain.__all__)


def test_the_readme_is_short():
    """What a newcomer reads first; the rest is in docs/."""
    assert 80 <= len(README.splitlines()) <= 120


def test_every_shipped_predictor_is_on_the_page_of_predictors():
    from foretrain.simulator.predictor.storage.folder import shipped

    page = (ROOT / "docs/how-to/choose-a-predictor.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in shipped())


def test_the_public_door_offers_what_it_names():
    for name in foretrain.__all__:
        assert getattr(foretrain, name) is not None
    errors = {name: ("core.errors", name) for name in foretrain.errors.__all__}
    at_once = {"__version__": ("core.version", "__version__"), "errors": ("core", "errors"), **errors}
    assert set(foretrain._HOMES) | set(at_once) == set(foretrain.__all__)
    assert typed_names() == {**foretrain._HOMES, **at_once}
    assert set(foretrain.__all__) <= set(dir(foretrain))
