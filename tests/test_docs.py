"""What the pages say exists: their links, their command lines, the paths of the map, and the Python in them."""

import re
import runpy
import shlex
import shutil
import textwrap
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import click
import foretrain
import numpy as np
import pytest
from foretrain.cli import simulate
from foretrain.core.reading.yaml_reader import loads_yaml
from foretrain.proxies.generations.space import GenerationsSpace

ROOT = Path(__file__).parents[1]
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
MADE = [
    ROOT / "docs/reference" / f"{name}.md"
    for name in ("commands", "corpora", "generations", "names", "plan", "python", "run-table", "space")
]
"""Pages that docs/generate.py makes; tests/test_docs_site.py compares them with the code."""
GUIDE = [ROOT / "README.md", *sorted({*(ROOT / "docs").rglob("*.md")} - {*DECISIONS, *MADE})]
OTHERS = [ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "benchmarks/README.md")]
PAGES = [*GUIDE, *DECISIONS, *OTHERS]
TUTORIAL = ROOT / "docs/tutorial/from-text-to-a-plan.md"
REGISTRIES = [
    *ROOT.glob("*/**/_registry.py"),
    *ROOT.glob("datasets/selection/**/*.py"),
    ROOT / "datasets/generators/registry.py",
    ROOT / "datasets/facts/accelerators.py",
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r'^```(\w*)(?: title="[^"]*")?\n(.*?)^```', flags=re.MULTILINE | re.DOTALL)
FILE = re.compile(r'^```\w* title="([^"]*)"\n(.*?)^```', flags=re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


of_pages = pytest.mark.parametrize("page", PAGES, ids=named)
of_guide = pytest.mark.parametrize("page", GUIDE, ids=named)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(text(page)) if found == language]


def anchors(page: Path) -> set[str]:
    """What `#…` may name in a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", text(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *MADE], ids=named)
def test_every_relative_link_leads_somewhere(page):
    for link in LINK.findall(text(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


# command lines


def shell_lines(page: Path) -> Iterator[str]:
    """Lines that a page shows for a shell: indented, or fenced; what commands print is left out."""
    language = None
    for line in text(page).splitlines():
        if line.startswith("```"):
            language = line.removeprefix("```").partition(" ")[0] if language is None else None
        elif (
            (language is None and line.startswith("    "))
            or language in ("sh", "bash")
            or (language == "console" and line.startswith("$ "))
        ):
            yield line.strip().removeprefix("$ ")


def typed_lines(page: Path) -> Iterator[list[str]]:
    """The words after `simulate` of every command line that a page shows, in their order."""
    for line in shell_lines(page):
        for part in re.split(r"&&|;", line):
            if part.strip().startswith("simulate "):
                yield shlex.split(part.partition(" > ")[0], comments=True)[1:]


def named_commands(page: Path) -> Iterator[list[str]]:
    """The words after `simulate` in running text, `a|b` taken as either."""
    for code in CODE.findall(text(page)):
        if code.startswith("simulate "):
            words = [word for word in re.sub(r"[\[\]]", "", code).split()[1:] if word != "…"]
            yield from map(list, product(*(word.split("|") for word in words)))


def follow(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words lead to, and the words that are left."""
    command: click.Command = simulate
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs/reference/commands.md"], ids=named)
def test_every_command_line_would_be_accepted(page):
    for words in typed_lines(page):
        command, rest = follow(words)
        assert not isinstance(command, click.Group), words
        command.make_context(" ".join(words), rest)  # raises what click would say of it


def test_the_tutorial_names_files_that_are_there_by_then():
    """It trains for half an hour, so benchmarks/tutorial.py runs it, and writes what is printed into the page."""
    there = {path.name for path in (ROOT / "examples/project").iterdir()} | {"demo"}
    written = {"train": ("proxies",), "design": ("proxies",), "train --plan": ("planned.csv",)}
    count = 0
    for words in typed_lines(TUTORIAL):
        out = {words[words.index("--out") + 1]} if "--out" in words else set()
        places = {word for word in words if re.search(r"\.(yaml|csv)$", word) or word in ("predictor", "proxies")}
        assert places - {words[0], words[1]} - out <= there, words
        key = next((word for word in words if word in written), "") + (" --plan" if "--plan" in words else "")
        there |= {*out, *written.get(key, ())}
        count += 1
    assert count > 8


def test_the_tutorial_shows_forecast_and_truth():
    """What it closes with is as it says: of each loss the observed one lies where the page prints that it does."""
    rows = re.findall(
        r"^loss\S* +([\d.]+) +([\d.]+) +([\d.]+) to ([\d.]+) +(inside|outside)", text(TUTORIAL), re.MULTILINE
    )
    assert len(rows) == 4  # the mean and three domains
    for observed, forecast, low, high, verdict in rows:
        assert float(low) < float(forecast) < float(high)
        assert (verdict == "inside") == (float(low) <= float(observed) <= float(high))
    observed, forecast = map(float, rows[0][:2])
    assert f"off by {abs(forecast / observed - 1):.1%}".replace("%", " %") in text(TUTORIAL)
    assert ("Here all do" in text(TUTORIAL)) == all(verdict == "inside" for *_, verdict in rows)


@of_pages
def test_every_command_that_is_named_exists(page):
    for words in named_commands(page):
        command, rest = follow(words)
        options = {option for parameter in (*command.params, *simulate.params) for option in parameter.opts}
        assert isinstance(command, click.Group) <= (not rest or rest[0].startswith("-")), words
        assert {word for word in rest if word.startswith("--")} <= options | {"--help", "--version"}, words


def test_the_pages_show_command_lines():
    assert sum(len(list(typed_lines(page))) for page in PAGES) > 40
    assert sum(len(list(named_commands(page))) for page in PAGES) > 20


NOT_RUN = {
    "proxies train": "trains: benchmarks/tutorial.py and tests/commands/test_proxies_project.py do",
    "proxies design": "measures the machine with torch: tests/commands/test_proxies_project.py does",
    "proxies status": "of a project that was trained, as tests/commands/test_proxies_project.py has one",
    "proxies table": "likewise",
    "proxies curves": "likewise",
    "proxies generations": "trains: tests/proxies/generations does",
    "proxies radioactivity": "of a run that keeps its weights, as its own tests have one",
    "fit ladders.csv": "of ladders that were trained: tests/commands/test_architectures.py fits such a table",
    "fit generations/generations.csv": "of chains that were trained there",
    "score predictor planned.csv": "likewise",
    "optimize": "a minute: tests/commands/test_optimize.py runs smaller studies, the page of Python one from a script",
    "serve": "serves until it is stopped: tests/simulator/web and tests/commands do",
    "report --study": "a search: tests/simulator/report does",
    "report --backtest": "ten seconds, likewise",
    "planner": "fits again and again: tests/commands/test_planner.py does, on smaller studies",
    "data select": "chooses from text, as tests/commands/test_data_select.py has some",
    "data prepare kept/corpora.yaml": "likewise",
    "data inspect --tokenizer": "with a tokenizer of yours, as tests/commands/test_data.py has one",
    "data inspect --watermark": "with a key of yours, likewise",
    "backtest": "ten seconds: tests/commands runs it",
    "optimal point --budget": "tries layouts of many sizes: tests/commands/test_optimal.py does",
    "optimal more": "likewise",
    "optimal sensitivity": "likewise",
}
"""Commands of the how-to pages that are not run here, each by words that it holds, with the reason."""
BEHIND = 4  # the exit code of a job that is not on track; ours has no plan to be held against
CORPORA = "".join(
    f"  {name}: {{synthetic: {{kind: zipf_markov, vocab_size: 64, branching: 4, tokens: 200k, seed: {seed}}}}}\n"
    for seed, name in enumerate(("python", "docs", "headers"))
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, call_in, write_runs):
    """A folder with the files that the pages speak of: a project, examples, tables, a log, curves, a predictor."""
    folder = tmp_path_factory.mktemp("desk")
    assert call_in(folder, "init", ".").returncode == 0
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("project", "pipeline"))
    (folder / "corpora.yaml").write_text(f"name: built-in\ndomains:\n{CORPORA}")
    sizes = [(n, n * ratio) for n in (2e5, 5e5, 1e6, 2e6) for ratio in (10, 40, 160)]
    runs = write_runs(folder / "runs.csv", *zip(*sizes, strict=True), noise=0.003, corpus=[1.0, 2.0] * 6)
    runs.write_text(runs.read_text().replace(",1\n", ",web\n").replace(",2\n", ",code\n"))
    write_runs(folder / "larger_runs.csv", [4e6, 8e6], [1e8, 2e8])
    log = [f'{{"step": {step}, "loss": {1.3 + 3 / (step + 1) ** 0.3:.4f}}}' for step in range(0, 8000, 100)]
    (folder / "metrics.jsonl").write_text("\n".join(log) + "\n")
    write_curves(folder / "curves")
    assert call_in(folder, "fit", "runs.csv", "--law", "chinchilla", "--out", "predictor").returncode == 0
    assert call_in(folder, "curve", "fit", "curves", "--out", "law").returncode == 0
    for page in GUIDE:
        for name, body in FILE.findall(text(page)):
            (folder / name).write_text(body)
    return folder


def write_curves(folder: Path) -> None:
    """Loss curves of one size under four schedules."""
    steps = np.arange(100, 4001, 50)
    rates = {
        "constant": np.ones(len(steps)),
        "cosine": 0.55 + 0.45 * np.cos(np.pi * steps / 4000),
        "two_stage": np.where(steps < 3000, 1.0, 0.3),
        "linear": 1 - 0.9 * steps / 4000,
    }
    (folder / "curves").mkdir(parents=True)
    rows = ["run_id,source,params,schedule,total_steps,warmup_steps,lr_peak,lr_final"]
    for name, rate in rates.items():
        loss = 2 + 30 * (np.cumsum(rate) * 50 + 100) ** -0.5 - 0.1 * (1 - rate)
        lines = [f"{step},{one:.5f},{0.003 * r:.6f}" for step, one, r in zip(steps, loss, rate, strict=True)]
        (folder / f"curves/{name}.csv").write_text("\n".join(["step,loss,lr", *lines]) + "\n")
        rows.append(f"{name},ours,1e6,logged,4000,0,0.003,{0.003 * rate[-1]:.6f}")
    (folder / "runs.csv").write_text("\n".join(rows) + "\n")


def reason_not_to_run(words: list[str]) -> str | None:
    """The reason why a command is not run, None if it is."""
    return next((reason for held, reason in NOT_RUN.items() if set(held.split()) <= {*words}), None)


@pytest.mark.parametrize("page", [page for page in GUIDE if page.parent.name == "how-to"], ids=named)
def test_the_commands_of_a_how_to_page_run(page, desk, call_in):
    for words in typed_lines(page):
        if reason_not_to_run(words) is None:
            again = ["--force"] if words[:2] == ["init", "."] else []  # the desk is one such project already
            done = call_in(desk, *words, *again)
            assert done.returncode == 0 or (words[0], done.returncode) == ("track", BEHIND), (words, done.stderr)
            assert done.stdout, words


def test_what_is_not_run_is_on_a_page_and_little():
    shown = [words for page in GUIDE if page.parent.name == "how-to" for words in typed_lines(page)]
    assert all(any(set(held.split()) <= {*words} for words in shown) for held in NOT_RUN)
    assert sum(reason_not_to_run(words) is None for words in shown) > 35


# Python


@of_guide
def test_every_public_name_exists(page):
    entry_points = re.findall(r'"foretrain\.(\w+)"', " ".join(path.read_text("utf-8") for path in REGISTRIES))
    for code in [*CODE.findall(text(page)), *blocks(page, "python")]:
        for name in re.findall(r"(?<![\w/])foretrain\.(\w+)", code):
            assert name in ("core", "testing", *entry_points, *foretrain.__all__), name


@pytest.mark.parametrize("page", [page for page in GUIDE if blocks(page, "python")], ids=named)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, write_runs, capsys):
    sizes = [(n, n * ratio) for n in (20e6, 50e6, 100e6, 200e6, 400e6) for ratio in (10, 40, 160)]
    write_runs(tmp_path / "runs.csv", *zip(*sizes, strict=True), noise=0.003)
    run = text(ROOT / "examples/llama-7b.yaml")
    (tmp_path / "run.yaml").write_text(run, encoding="utf-8")
    study = """
        run: {name: page, model: {params: 1B}, data: {tokens: 200B}}
        space:
          model.params: {low: 1B, high: 10B, log: true}
          data.tokens: {low: 200B, high: 2T, log: true}
        objective: loss_nats
        constraints: {training_flops: 1e23}
        search: {trials: 20, sampler: tpe}
    """
    (tmp_path / "study.yaml").write_text(textwrap.dedent(study), encoding="utf-8")
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", [page for page in GUIDE if blocks(page, "yaml")], ids=named)
def test_plans_and_corpora_in_the_pages_can_be_read(page, tmp_path):
    for body in blocks(page, "yaml"):
        (tmp_path / "page.yaml").write_text(body, encoding="utf-8")
        if body.startswith("selections:"):
            space = {"corpora": "corpora.yaml", "tokens": ["1M"], "widths": [64], **loads_yaml(body)}
            assert foretrain.ProxySpace.from_mapping(space).selections
            continue
        if body.startswith("corpora:") and "generations:" not in body:
            assert foretrain.ProxySpace.from_mapping(loads_yaml(body)).rungs
            continue
        if body.startswith("corpora:"):
            assert GenerationsSpace.from_mapping(loads_yaml(body)).generations.chains()
            continue
        if body.startswith("run:"):  # a study; the plan that it starts from is a file of the same page
            for name, plan in FILE.findall(text(page)):
                (tmp_path / name).write_text(plan, encoding="utf-8")
            assert foretrain.Study.load(tmp_path / "page.yaml").space.paths
            continue
        kind = foretrain.Corpus if "\ndomains:" in body else foretrain.RunConfig
        assert kind.load(tmp_path / "page.yaml").name


# paths


@pytest.mark.parametrize("page", [ROOT / "ARCHITECTURE.md", *GUIDE, *DECISIONS], ids=named)
def test_the_files_and_folders_that_are_named_exist(page):
    tops = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    for code in CODE.findall(text(page)):
        if re.fullmatch(r"[\w./-]+", code) and "/" in code and code.partition("/")[0] in tops:
            assert (ROOT / code).exists(), code
