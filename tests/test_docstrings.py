"""What the public names say of themselves: a docstring, every parameter, and examples that run."""

import ast
import contextlib
import doctest
import importlib
import importlib.util
import inspect
import itertools
import pkgutil
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import foretrain
import pytest

OUTSIDE = ("foretrain.tests", "foretrain.benchmarks", "foretrain.build")
"""Folders of a checkout that are no part of the package."""

NEEDS = {
    "foretrain.proxies.project": ("torch", "safetensors"),
    "foretrain.workflows.next_stage": ("torch", "safetensors"),
}
"""Optional libraries that a module's examples need, though the module imports without them."""

ELSEWHERE = ("foretrain.testing.architectures", "foretrain.testing.executors")
"""Modules whose examples are what `tests/conformance` runs, at ten seconds or more each."""

FEW = 2  # parameters that a sentence explains; more are documented one by one
PUBLIC = [name for name in foretrain.__all__ if name not in ("__version__", "errors")]


def is_problem(thing: object) -> bool:
    """Whether it is an error or a warning: the root of the tree shows how to catch them all."""
    return isinstance(thing, type) and issubclass(thing, Exception)


def field_docstrings(kind: type) -> str:
    """The strings below a class's fields, and the descriptions of a pydantic model's."""
    described = [f"{name}: {field.description}" for name, field in getattr(kind, "model_fields", {}).items()]
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            described.append(f"{field.target.id}: {below.value.value}")
    return "\n".join(line for line in described if not line.endswith(": None"))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented_with_an_example(name):
    thing = getattr(foretrain, name)
    text = inspect.getdoc(thing) or ""
    assert text.split("\n")[0].strip().endswith((".", ":")), f"{name}: the docstring begins with no sentence"
    if not is_problem(thing) or name == "ForetrainError":
        assert ">>> " in text, f"{name} has no example"


@pytest.mark.parametrize("name", [name for name in PUBLIC if not is_problem(getattr(foretrain, name))])
def test_every_parameter_is_documented(name):
    thing = getattr(foretrain, name)
    text = inspect.getdoc(thing) or ""
    if isinstance(thing, type):
        text += field_docstrings(thing) + (thing.__init__.__doc__ or "")
    parameters = list(inspect.signature(thing).parameters)
    missing = [parameter for parameter in parameters if f"{parameter}:" not in text and f"`{parameter}`" not in text]
    assert len(parameters) <= FEW or not missing, f"{name} doesn't say what {', '.join(missing)} is"


# examples


def modules() -> Iterator[str]:
    """The package's modules whose source holds examples that this file runs."""
    yield "foretrain"
    root = Path(foretrain.__file__).parent
    for found in pkgutil.walk_packages(foretrain.__path__, "foretrain."):
        if found.name.startswith(OUTSIDE) or found.name in ELSEWHERE:
            continue
        path = root.joinpath(*found.name.split(".")[1:])
        source = path / "__init__.py" if found.ispkg else path.with_suffix(".py")
        if ">>> " in source.read_text(encoding="utf-8"):
            yield found.name


MODULES = sorted(modules())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("examples")


def test_there_are_examples_to_run():
    homes = {foretrain._HOMES[name][0] for name in foretrain._HOMES}
    assert {f"foretrain.{home}" for home in homes} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name, folder):
    for library in NEEDS.get(name, ()):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"its examples need {library}, which is not installed")
    module = imported(name)
    examples = [found for found in doctest.DocTestFinder(exclude_empty=True).find(module, name) if found.examples]
    assert examples, f"{name} has examples in its source, but in no docstring"
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("error")
        for example in examples:
            runner.run(example, out=said.append)
    assert not said, "".join(said)


def imported(name: str) -> ModuleType:
    """The module, or a skip where an optional library that it imports is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("foretrain"):
            raise
        pytest.skip(f"it needs {error.name}, which is not installed")
