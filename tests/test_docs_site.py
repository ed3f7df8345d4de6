"""The site: built without a warning, nothing in it comes from elsewhere, and its reference says what the code does."""

import runpy
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""Elements that make a browser fetch something, and the attribute that says what."""


class Fetched(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get(LOADED.get(tag, ""))
        if address:
            self.found.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory, plain_environment):
    pytest.importorskip("material", reason="the site is built with MkDocs Material, of the extra dev")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**plain_environment, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr  # strict: a broken link, a page in no menu, a missing one
    return folder


def test_nothing_in_the_site_comes_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 35
    for page in pages:
        fetched = Fetched(page).found
        assert fetched
        for address in fetched:
            assert "//" not in address, (page, address)
            local = address.partition("#")[0].partition("?")[0]
            at = site / local.lstrip("/") if local.startswith("/") or page.name == "404.html" else page.parent / local
            assert not local or at.exists(), (page, address)
    for sheet in site.rglob("*.css"):
        assert "url(http" not in sheet.read_text(encoding="utf-8"), sheet
    assert not [path for path in site.rglob("*") if path.suffix == ".py" or path.name == "__pycache__"]


def test_it_is_read_and_searched_from_the_disk_and_on_a_phone(site):
    api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright, of the extra dev")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run"]  # fmt: skip
    with api.sync_playwright() as driver, driver.chromium.launch(executable_path=browser, args=quiet) as chromium:
        page = chromium.new_page(viewport={"width": 400, "height": 800})
        asked, faults = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        for name in (
            "index",
            "tutorial/from-text-to-a-plan",
            "reference/plan",
            "reference/commands",
            "explanation/accuracy",
        ):
            page.goto((site / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        page.set_viewport_size({"width": 1280, "height": 800})
        page.fill("input.md-search__input", "repeated data")
        page.wait_for_selector(".md-search-result__link")
        assert [url for url in asked if not url.startswith(("file:", "about:", "data:"))] == []
        assert faults == []


def test_the_reference_says_what_the_code_does():
    """Made anew by: python docs/generate.py."""
    made = runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]()
    assert len(made) == 8
    for name, wanted in made.items():
        assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == wanted, (
            f"{name}: python docs/generate.py"
        )
