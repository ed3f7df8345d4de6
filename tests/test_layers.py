"""The rules of the house, read off the source: who may import whom, what starts fast, what is never called."""

import ast
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_OURS = {"tests", "benchmarks", "docs", "examples", "build", "dist", "__pycache__"}
LONGEST = 500  # lines of a module; past it, split by concept

MOST_MODULES = 12  # directly in a folder; past it, a sub-folder

# Floors of the house, lowest first. A box is a folder at the root or directly in `simulator/`, or a file at the root;
# it imports from floors below its own, never from its own or one above.
FLOORS = [
    ("core", "simulator"),
    ("datasets", "simulator.laws"),
    ("simulator.fitting", "simulator.config", "proxies"),
    ("simulator.surrogate", "simulator.hierarchy", "simulator.cluster", "simulator.curve"),
    ("simulator.predictor", "simulator.after_pretraining"),
    ("simulator.forecast", "simulator.data_budget"),
    ("simulator.allocation", "simulator.tracking"),
    ("simulator.search",),
    ("simulator.report", "workflows", "testing"),
    ("simulator.web",),
    ("commands", ""),
    ("cli",),
]
MOST_FLOORS = 12
# Beyond the floors: (who, must not import).
NEVER = [
    ("datasets", "simulator"),
    ("datasets", "proxies"),
    ("simulator", "proxies"),
    ("proxies", "simulator"),
    ("simulator", "workflows"),
    ("simulator.predictor", "simulator.config"),
]
# Only these import what joins proxies with the simulator.
MEETING_PLACE = "workflows"
WHO_MEETS = ("commands", "", "workflows")
# Libraries that show things to people stay at the top of the house.
FRONT = {"click", "rich", "vl_convert", "fastapi", "starlette", "uvicorn", "jinja2"}
FRONT_FLOORS = ("cli", "commands", "simulator.report", "simulator.web")


@dataclass(frozen=True)
class Import:
    """One import: the full name of what is imported, its line, and whether it runs when the module is loaded."""

    name: str
    line: int
    at_load: bool


def paths() -> list[Path]:
    """Every source file of the package, relative to the root."""
    found = (p.relative_to(ROOT) for p in sorted(ROOT.rglob("*.py")))
    return [p for p in found if not any(part in NOT_OURS or part[0] == "." for part in p.parts)]


def module_name(path: Path) -> str:
    """`simulator/laws/__init__.py` → `simulator.laws`; the root's `__init__.py` → ``."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in paths()}


def of_every_module(faults: Callable[[str], Iterable[str]]) -> Callable[[], None]:
    """A test of a rule that says what is wrong with a module, on all of them."""

    def test():
        assert not [fault for module in MODULES for fault in faults(module)]

    test.__doc__ = faults.__doc__
    return test


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / MODULES[module]).read_text(encoding="utf-8"))


@cache
def imports(module: str) -> list[Import]:
    """All imports of a module, those inside functions and under TYPE_CHECKING too."""
    return list(_imports(module, tree(module), True))


def _imports(module: str, node: ast.AST, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_load) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = _base(module, child)
            # `from .laws import get_law` names a module or something inside one
            names = [f"{base}.{alias.name}" for alias in child.names]
            yield from (Import(n if _ours(n) in MODULES else base, child.lineno, at_load) for n in names)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _only_for_types(child)
            yield from _imports(module, child, at_load and not later)


def _base(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = ["foretrain", *module.split(".")] if module else ["foretrain"]
    if MODULES[module].name != "__init__.py":
        package = package[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, node.module] if node.module else package)


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _ours(name: str) -> str | None:
    """Our own short name of an imported module, None if it is somebody else's."""
    return None if name.split(".")[0] != "foretrain" else name.removeprefix("foretrain").removeprefix(".")


def inner_imports(module: str) -> list[tuple[str, Import]]:
    """Imports of our own modules, with their short names."""
    named = ((_ours(item.name), item) for item in imports(module))
    return [(name, item) for name, item in named if name is not None]


def below(module: str, name: str) -> bool:
    """Whether `module` is `name` or inside it."""
    return module == name or module.startswith(name + ".")


def box(module: str) -> str:
    """The box that a module lies in: `simulator.laws.power` lies in `simulator.laws`, `core.units` in `core`."""
    first, *rest = module.split(".")
    if first == "__main__":
        return "cli"  # `python -m foretrain` is its second door
    return ".".join([first, rest[0]]) if first == "simulator" and rest else first


def floor(module: str) -> int:
    """The number of a module's floor, lowest 0."""
    found = [number for number, boxes in enumerate(FLOORS) if box(module) in boxes]
    assert found, f"{module}: {box(module)!r} is on no floor; name it in FLOORS"
    return found[0]


def places(module: str, items) -> list[str]:
    return [f"{MODULES[module]}:{item.line}: {what}" for what, item in items]


def test_the_walk_sees_the_imports():
    """The rules below say nothing if the walk is blind."""
    seen = {(module, name) for module in MODULES for name, _ in inner_imports(module)}
    assert seen >= {
        ("commands.forecasting.predict", "simulator.predictor.storage.folder"),
        ("cli", "core.version"),
        ("core.units", "core.errors"),
        ("simulator.predictor.predictor", "datasets.runs.run_table"),
        ("simulator.predictor.loss_model", "simulator.laws"),
        ("simulator.laws", "simulator.laws._registry"),
        ("simulator.laws.power", "simulator.laws._law"),
    }
    assert any(item.name == "vl_convert" and not item.at_load for item in imports("simulator.report.charts.picture"))


@of_every_module
def test_arrows_point_down(module):
    """No box imports from its own floor or from one above, not inside a function and not for types either."""
    inner = inner_imports(module)
    return places(module, [p for p in inner if box(p[0]) != box(module) and floor(p[0]) >= floor(module)])


def test_the_house_is_no_higher_than_it_was():
    assert len(FLOORS) <= MOST_FLOORS
    assert {box(module) for module in MODULES} == {name for floor in FLOORS for name in floor}


def test_nothing_lies_loose():
    """A new module names its box: nothing at the root but the three doors, nothing directly in `simulator/`."""
    at_root = {str(path) for path in MODULES.values() if len(path.parts) == 1}
    assert at_root == {"__init__.py", "__main__.py", "cli.py"}
    assert [str(path) for path in MODULES.values() if path.parent == Path("simulator")] == ["simulator/__init__.py"]


def test_no_folder_holds_more_than_one_can_take_in():
    held = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert {str(folder): n for folder, n in held.items() if n > MOST_MODULES} == {}


@of_every_module
def test_only_the_command_line_and_the_door_know_the_workflows(module):
    if box(module) in WHO_MEETS:
        return []
    return places(module, [pair for pair in inner_imports(module) if below(pair[0], MEETING_PLACE)])


@of_every_module
def test_nobody_imports_the_public_door(module):
    """It names what every floor offers; the version is in `core.version`."""
    return [] if module == "__main__" else places(module, [pair for pair in inner_imports(module) if pair[0] == ""])


@pytest.mark.parametrize(("who", "what"), NEVER, ids=lambda name: name)
def test_who_never_imports_what(who, what):
    wrong = [
        place
        for module in MODULES
        if below(module, who)
        for place in places(module, [pair for pair in inner_imports(module) if below(pair[0], what)])
    ]
    assert not wrong


def test_the_errors_stand_on_nothing_of_ours():
    assert inner_imports("core.errors") == []


def test_no_circle_of_imports():
    """A circle works until somebody imports its modules in another order; imports for types and in functions count."""
    edges = {module: {name for name, _ in inner_imports(module) if name not in ("", module)} for module in MODULES}
    while free := [module for module, needs in edges.items() if not needs & edges.keys()]:
        for module in free:
            del edges[module]
    assert not edges, "these import each other"


@of_every_module
def test_what_shows_things_stays_on_top(module):
    if any(below(module, name) for name in FRONT_FLOORS):
        return []
    return places(module, [(i.name, i) for i in imports(module) if i.name.split(".")[0] in FRONT])


@of_every_module
def test_nobody_imports_the_command_line(module):
    if module.split(".")[0] in ("cli", "commands", "__main__"):
        return []
    return places(module, [pair for pair in inner_imports(module) if pair[0].split(".")[0] in ("cli", "commands")])


# every module


@of_every_module
def test_no_module_is_too_long(module):
    lines = len((ROOT / MODULES[module]).read_text(encoding="utf-8").splitlines())
    return [f"{MODULES[module]}: {lines} lines; split it by concept"] if lines > LONGEST else []


@of_every_module
def test_public_names_have_docstrings(module):
    found = tree(module)
    bare = [] if ast.get_docstring(found) or not found.body else ["the module"]
    return [f"{MODULES[module]}: {name} has none" for name in [*bare, *_bare(found, "")]]


def _bare(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for child in node.body:
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or child.name[0] == "_":
            continue
        # who overrides a method need not say again what it does
        decorators = {ast.unparse(decorator).split(".")[-1] for decorator in child.decorator_list}
        if not ast.get_docstring(child) and not decorators & {"override", "overload"}:
            yield f"{prefix}{child.name}"
        if isinstance(child, ast.ClassDef):
            yield from _bare(child, f"{prefix}{child.name}.")


def test_no_test_is_timed():
    """A slow machine fails those; speed is measured in benchmarks, as ratios."""
    timed = [path.name for path in (ROOT / "tests").rglob("*.py") if "perf_counter" + "(" in path.read_text("utf-8")]
    assert timed == []


# what is never called, because a file from somebody else could then run code


@of_every_module
def test_nothing_that_could_run_a_file_is_used(module):
    unpicklers = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    wrong = [(item.name, item) for item in imports(module) if item.name.split(".")[0] in unpicklers]
    calls = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    running = [f"{MODULES[module]}:{call.lineno}: {ast.unparse(call)}" for call in calls if _runs_code(call)]
    return [*places(module, wrong), *running]


def _runs_code(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    words = {k.arg: k.value for k in call.keywords}
    if name in ("eval", "exec", "compile", "__import__", "os.system", "builtins.eval", "builtins.exec"):
        return True
    if any(isinstance(words.get(k), ast.Constant) and words[k].value for k in ("allow_pickle", "shell")):
        return True
    if name in ("np.load", "numpy.load") and "allow_pickle" not in words:
        return True  # said aloud, though it is the default
    if name.endswith(("read_pickle", "torch.load", "unsafe_load", "full_load", "FullLoader", "UnsafeLoader")):
        return not (name.endswith("torch.load") and ast.unparse(words.get("weights_only", call)) == "True")
    # our own loader alone refuses duplicate keys, tags and aliases
    return name in ("yaml.load", "yaml.load_all", "yaml.safe_load", "yaml.safe_load_all")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("eval(x)", True),
        ("exec(x)", True),
        ("np.load(f, allow_pickle=True)", True),
        ("np.load(f)", True),
        ("np.load(f, allow_pickle=False)", False),
        ("yaml.load(f, Loader=yaml.SafeLoader)", True),
        ("subprocess.run(x, shell=True)", True),
        ("torch.load(f, weights_only=True)", False),
        ("torch.load(f)", True),
        ("re.compile(x)", False),
        ("model.eval()", False),
    ],
)
def test_the_search_for_such_calls_finds_them(text, wrong):
    assert _runs_code(ast.parse(text).body[0].value) is wrong


# what starts fast

HEAVY = {"torch", "sklearn", "lightgbm", "optuna", "pandas", "pyarrow", "scipy"}
HELP = HEAVY | {"numpy", "pydantic", "vl_convert", "rich", "yaml"}
COMMANDS = (
    "predict", "report", "serve", "list", "fit", "score", "backtest", "cluster", "optimize", "planner", "optimal",
    "curve", "track", "data", "proxies", "init",
)  # fmt: skip
PROGRAM = """
import contextlib, io, json, sys
from foretrain.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main(sys.argv[1:])
    except SystemExit as stopped:
        code = stopped.code
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]))
"""


STARTS = [
    (["--help"], HELP),
    (["--version"], HELP),
    *(([command, "--help"], HELP) for command in COMMANDS),
    (["predict", "--config", "examples/llama-7b.yaml"], HEAVY | {"vl_convert"}),
    (["predict", "--config", "examples/llama-7b.yaml", "--json"], HEAVY | {"vl_convert", "rich"}),
    (["predict", "--config", "examples/mixtral-8x7b.yaml", "--json"], HEAVY | {"vl_convert", "rich"}),
    *((["cluster", command, "--help"], HELP) for command in ("estimate", "calibrate", "score", "search")),
    *((["curve", command, "--help"], HELP) for command in ("fit", "predict", "score")),
    *((["optimal", command, "--help"], HELP) for command in ("point", "curves", "more", "sensitivity")),
    (["cluster", "estimate", "--config", "examples/llama-7b.yaml"], HEAVY | {"vl_convert"}),
    (["cluster", "search", "--config", "examples/llama-70b.yaml", "--json"], HEAVY | {"vl_convert", "rich"}),
    (["init", "--schema"], HEAVY | {"numpy"}),
    (["list", "models", "--json"], HEAVY | {"numpy", "rich"}),
    (["predict", "--params", "7B", "--json"], HEAVY | {"vl_convert", "rich"}),
]


@pytest.mark.parametrize(("words", "kept_out"), STARTS, ids=[" ".join(words) for words, _ in STARTS])
def test_commands_start_without_libraries_that_they_do_not_need(words, kept_out):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    code, modules = json.loads(done.stdout)
    assert (code, kept_out & set(modules)) == (0, set())
