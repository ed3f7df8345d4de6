"""What the pages say exists: their links, their command lines, the paths of the map, and the Python in them."""

import re
import runpy
import shlex
import textwrap
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import click
import foretrain
import pytest
from foretrain.cli import simulate
from foretrain.datasets.runs.columns import markdown_table

ROOT = Path(__file__).parents[1]
GUIDE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
OTHERS = [ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "benchmarks/README.md")]
PAGES = [*GUIDE, *DECISIONS, *OTHERS]
REGISTRIES = [*ROOT.glob("*/**/_registry.py"), ROOT / "datasets/facts/accelerators.py"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)

of_pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(text(page)) if found == language]


def anchors(page: Path) -> set[str]:
    """What `#…` may name in a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", text(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@of_pages
def test_every_relative_link_leads_somewhere(page):
    for link in LINK.findall(text(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_guide():
    listed = {(ROOT / "docs" / link).resolve() for link in LINK.findall(text(ROOT / "docs/index.md"))}
    assert {*(ROOT / "docs").glob("*.md"), *DECISIONS} - listed == {ROOT / "docs/index.md"}


# command lines


def typed_lines(page: Path) -> Iterator[list[str]]:
    """The words after `simulate` of every command line that a page shows in a block."""
    # indented, or fenced for a shell
    shown = [line for line in text(page).splitlines() if line.startswith("    ")]
    shown += "\n".join([*blocks(page, "sh"), *blocks(page, "bash")]).splitlines()
    for line in shown:
        for part in re.split(r"&&|;", line.strip().removeprefix("$ ")):
            if part.strip().startswith("simulate "):
                yield shlex.split(part, comments=True)[1:]


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


@of_pages
def test_every_command_line_would_be_accepted(page):
    for words in typed_lines(page):
        command, rest = follow(words)
        assert not isinstance(command, click.Group), words
        command.make_context(" ".join(words), rest)  # raises what click would say of it


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.name)
def test_every_plan_in_a_command_line_is_there_or_stands_for_yours(page):
    if "in the place of" in text(page):
        return
    made = {"best.yaml", *(path.name for path in (ROOT / "examples/project").iterdir())}
    for words in typed_lines(page):
        for name in (word for word in words if word.endswith(".yaml")):
            assert name in made or (ROOT / name).is_file(), (name, words)


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


# Python


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.name)
def test_every_public_name_exists(page):
    entry_points = re.findall(r'"foretrain\.(\w+)"', " ".join(path.read_text("utf-8") for path in REGISTRIES))
    for code in [*CODE.findall(text(page)), *blocks(page, "python")]:
        for name in re.findall(r"(?<![\w/])foretrain\.(\w+)", code):
            assert name in ("core", "testing", *entry_points, *foretrain.__all__), name


@pytest.mark.parametrize("page", [page for page in GUIDE if blocks(page, "python")], ids=lambda page: page.name)
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


@pytest.mark.parametrize("page", [page for page in GUIDE if blocks(page, "yaml")], ids=lambda page: page.name)
def test_plans_in_the_pages_can_be_read(page, tmp_path):
    for body in blocks(page, "yaml"):
        (tmp_path / "run.yaml").write_text(body, encoding="utf-8")
        assert foretrain.RunConfig.load(tmp_path / "run.yaml").name


# tables and paths


def test_the_table_of_columns_is_that_of_the_code():
    """Made anew by: python -c "from foretrain.datasets.runs.columns import *; print(markdown_table())"."""
    page = text(ROOT / "docs/your-runs.md")
    shown = page.partition("<!-- columns: begin -->\n")[2].partition("\n<!-- columns: end -->")[0]
    assert shown == markdown_table()


@pytest.mark.parametrize("page", [ROOT / "ARCHITECTURE.md", *GUIDE, *DECISIONS], ids=lambda page: page.name)
def test_the_files_and_folders_that_are_named_exist(page):
    tops = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    for code in CODE.findall(text(page)):
        if re.fullmatch(r"[\w./-]+", code) and "/" in code and code.partition("/")[0] in tops:
            assert (ROOT / code).exists(), code
