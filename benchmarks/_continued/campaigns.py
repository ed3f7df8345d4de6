"""The campaigns: general models, what continues from them with shares of one domain, generalists of equal cost."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import yaml
from _proxies import WORK, corpora
from foretrain.core.errors import CampaignError
from foretrain.proxies.executors import get_executor
from foretrain.proxies.project import Project

RESULTS = Path(__file__).resolve().parents[1] / "results"
TARGET = "dialogue"
GENERAL = ("arxiv_cs", "books", "code_cpp", "law_german")
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
COMPARED_SHARES = (0.1, 0.25, 0.5)
"""Those at which specialists are held against generalists."""
BASE_TOKENS = 8_000_000
TOKENS = (250_000, 500_000, 1_000_000, 2_000_000)
EQUAL_COST_TOKENS = 1_000_000
"""How far specialists and generalists go beyond the base's tokens."""

TABLES = {
    "base": RESULTS / "continued_base.csv",
    "continued": RESULTS / "continued.csv",
    "specialists": RESULTS / "specialists.csv",
    "generalists": RESULTS / "generalists.csv",
}
"""The run table of each campaign; the order is that in which they are trained."""


def space(name: str) -> dict[str, Any]:
    """The space of a campaign: two sizes, three seeds, equal parts of four domains, and shares of the target."""
    common: dict[str, Any] = {
        "corpora": "corpora.yaml",
        "sizes": ["60k", "250k"],
        "seeds": 3,
        "lr": 0.007,
        "mix": dict.fromkeys(GENERAL, 1 / len(GENERAL)),
        "engine": {"eval_tokens": 32_768},
    }
    if name == "base":
        engine = {**common["engine"], "keep_weights": True}
        return {**common, "tokens": [BASE_TOKENS], "recipe": {"schedule": "wsd"}, "engine": engine}
    if name == "continued":
        shares = {"domain": TARGET, "of": list(SHARES)}
        return {**common, "continue_from": "base", "tokens": list(TOKENS), "shares": shares}
    compared = {"shares": {"domain": TARGET, "of": list(COMPARED_SHARES)}}
    if name == "specialists":  # as the base and generalists do, they end with a fall of the rate
        falling = {"recipe": {"schedule": "linear"}}
        return {**common, **compared, **falling, "continue_from": "base", "tokens": [EQUAL_COST_TOKENS]}
    tokens = BASE_TOKENS + EQUAL_COST_TOKENS
    return {**common, **compared, "tokens": [tokens], "recipe": {"schedule": "wsd"}}


def project(name: str) -> Project:
    """The project of a campaign, made where there is none. Continued runs need the base trained."""
    folder = WORK / "continued"
    folder.mkdir(parents=True, exist_ok=True)
    written = {"corpora.yaml": corpora((*GENERAL, TARGET)), f"{name}.yaml": space(name)}
    for file, mapping in written.items():
        (folder / file).write_text(yaml.safe_dump(mapping), encoding="utf-8")
    return Project.create(folder / name, folder / f"{name}.yaml", workers=1)


def train(name: str) -> None:
    """Train a campaign to its end, or go on there; write its run table, and print what this call took."""
    started = time.monotonic()
    project(name).train(get_executor("local", workers=1), _progress)
    print(f"\n{name}: {(time.monotonic() - started) / 60:.1f} min of this call", flush=True)
    collect(name)


def collect(name: str) -> None:
    """Write the run table of what a campaign has trained so far, if anything; another process may be training it."""
    folder = WORK / "continued" / name
    if not (folder / "main").is_dir():
        print(f"{name}: isn't begun")
        return
    try:
        table = Project.open(folder).table()
    except CampaignError as problem:
        print(f"{name}: {problem}")
        return
    TABLES[name].parent.mkdir(exist_ok=True)
    table.write(TABLES[name])
    print(f"{name}: {len(table)} rows", flush=True)


def _progress(text: str, share: float) -> None:
    print(f"\r{share:6.1%} {text:<100.100}", end="", file=sys.stderr, flush=True)
