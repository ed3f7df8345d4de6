"""What an installation gets: the wheel holds the whole package and nothing else, and works away from its source."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from foretrain.simulator.predictor.named import views

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Folders beside the package that no wheel holds; hidden ones too.
NOT_PACKAGES = {"tests", "benchmarks", "docs", "build", "dist", "__pycache__"}
SUFFIXES = {".py", ".cpp", ".typed", ".json", ".npz", ".md", ".yaml", ".csv", ".html", ".js", ".css", ".svg"}


def package_folders() -> list[Path]:
    """Folders below the root that belong to the package, the root first, as relative paths."""
    found = [Path()]
    for parent, names, _ in os.walk(ROOT):
        names[:] = sorted(n for n in names if n not in NOT_PACKAGES and n[0] != "." and not n.endswith(".egg-info"))
        found += [(Path(parent) / name).relative_to(ROOT) for name in names]
    return found


def expected_packages() -> list[str]:
    """The folders with modules, and those of the examples, under their import names."""
    folders = [f for f in package_folders() if list((ROOT / f).glob("*.py")) or f.parts[:1] == ("examples",)]
    return sorted(".".join(["foretrain", *folder.parts]) for folder in folders)


def expected_files() -> set[str]:
    """Every file of the package as the wheel should name it: modules, data, examples."""
    files = {Path("py.typed"), *(p.relative_to(ROOT) for p in ROOT.glob("*.py"))}
    for folder in package_folders()[1:]:
        files |= {p.relative_to(ROOT) for p in (ROOT / folder).iterdir() if p.is_file() and p.suffix in SUFFIXES}
    return {(PurePosixPath("foretrain") / file.as_posix()).as_posix() for file in files}


def is_example(file: str) -> bool:
    """Whether a file of the package is an example: a script that is run where it is copied to, no part of foretrain."""
    return file.startswith("foretrain/examples/")


def test_the_package_list_is_the_tree():
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == expected_packages()


def test_every_library_that_is_imported_is_asked_for():
    """One that only comes along with another vanishes when that other no longer needs it."""
    project = PYPROJECT["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines]
    lines = [*project["dependencies"], *extras]
    asked = {re.split(r"[^\w.-]", line)[0].replace("-", "_").casefold() for line in lines}
    other_names = {"yaml": "pyyaml", "vl_convert": "vl_convert_python", "sklearn": "scikit_learn"}
    imported = set()
    for file in expected_files():
        if file.endswith(".py") and not is_example(file):
            for node in ast.walk(ast.parse((ROOT / file.removeprefix("foretrain/")).read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    imported.add(str(node.module).split(".")[0])
    libraries = imported - set(sys.stdlib_module_names) - {"foretrain"}
    assert {other_names.get(name, name) for name in libraries} <= asked


def run(*words: object, folder: Path, check: bool = True) -> str:
    """Standard output of a command in `folder`, with nothing in the environment that points at the source."""
    names = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "FORCE_COLOR", "COLUMNS")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=300
    )
    if check and done.returncode:
        pytest.fail(f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout if check else done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that no build folder is left in the source."""
    pytest.importorskip("pip")
    place = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__", "tests", "benchmarks")
    shutil.copytree(ROOT, place / "source", ignore=ignored)
    isolation = ["--no-build-isolation"] if has_setuptools() else []
    words = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", *isolation, "--wheel-dir", "out", "./source"]
    said = run(*words, folder=place, check=False)
    built = list((place / "out").glob("foretrain-*.whl"))
    if not built and "No matching distribution found for setuptools" in said:
        pytest.skip("setuptools can't be had here")
    assert len(built) == 1, said
    # pip's own warnings are in capitals; setuptools' tell of settings that a later version refuses
    assert not re.findall(r".*(?:\w+Warning\b|absent from the `packages`).*", said)
    return built[0]


def has_setuptools() -> bool:
    """Whether this environment's own setuptools is the one that pyproject.toml asks for."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The Python of a fresh environment: the wheel, and this environment's libraries but not its foretrain."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--no-compile"]
    run(*pip, wheel, folder=folder)
    # A folder that a .pth file names is searched, but its own .pth files, such as an editable foretrain's, don't run.
    purelib = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip())
    libraries = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (purelib / "libraries.pth").write_text("\n".join(libraries) + "\n", encoding="utf-8")
    return python


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """An empty folder to work in."""
    return tmp_path_factory.mktemp("elsewhere")


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    inside = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert inside == expected_files()


def test_every_module_of_the_wheel_imports(installed, elsewhere):
    program = """
import importlib, json, pathlib, pkgutil, foretrain
names = [m.name for m in pkgutil.walk_packages(foretrain.__path__, "foretrain.") if m.name != "foretrain.__main__"]
for name in names:
    importlib.import_module(name)
print(json.dumps({"file": foretrain.__file__, "names": names}))
"""
    result = json.loads(run(installed, "-W", "error", "-c", program, folder=elsewhere))
    assert Path(result["file"]).is_relative_to(installed.parents[1]), "the wheel's copy must be the one imported"
    modules = {name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in expected_files()
               if name.endswith(".py") and not is_example(name)}  # fmt: skip
    assert {"foretrain", "foretrain.__main__", *result["names"]} == modules


@pytest.mark.parametrize("name", ["datasets", "simulator", "proxies", "cli", "units"])
def test_no_other_name_is_taken(installed, elsewhere, name):
    """`datasets` belongs to Hugging Face in the environments that this is for."""
    program = f"import importlib.util as u; s = u.find_spec({name!r}); print(s.origin or '' if s else '')"
    origin = run(installed, "-c", program, folder=elsewhere).strip()
    assert not origin or not (Path(origin).is_relative_to(installed.parents[1]) or Path(origin).is_relative_to(ROOT))


def test_the_installed_command_predicts_on_an_installed_example(installed, elsewhere):
    program = """
from importlib import resources
from foretrain.simulator.predictor.storage.folder import load, shipped
for name in shipped():
    load(name)
print(len(shipped()), *resources.files("foretrain.examples").iterdir(), sep="\\n")
"""
    count, *files = run(installed, "-c", program, folder=elsewhere).splitlines()
    assert int(count) == len(list((ROOT / "datasets/facts/laws").glob("*/predictor.json"))) + len(views())
    examples = sorted(Path(file) for file in files if file.endswith(".yaml"))
    assert [path.name for path in examples] == sorted(path.name for path in (ROOT / "examples").glob("*.yaml"))
    simulate = installed.with_name("simulate" + installed.suffix)
    result = json.loads(run(simulate, "predict", "--config", examples[0], "--json", folder=elsewhere))
    assert 1 < result["loss_nats"]["median"] < 10
    assert "Usage: simulate" in run(installed, "-m", "foretrain", "--help", folder=elsewhere)
    run(simulate, "init", ".", folder=elsewhere)
    written = ["corpora.yaml", "run.yaml", "space.yaml", "study.yaml"]
    assert sorted(path.name for path in elsewhere.iterdir()) == written
