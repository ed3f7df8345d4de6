"""The page as people meet it: a real server, a real browser, every request watched."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from foretrain.simulator.forecast.compare import compare
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.documents.contents.headlines import headlines
from foretrain.simulator.report.documents.contents.judged import Judged
from foretrain.simulator.web.what_if.stated import Asked

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python isn't installed")
expect = sync_api.expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

QUIET = [
    "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
WAIT_MS = 20_000
CHANGED = "from=llama-7b&base.from=llama-7b&data.tokens=1T"


@pytest.fixture(scope="module")
def address(plain_environment) -> Iterator[str]:
    """Where a server listens that is a process of its own."""
    command = [sys.executable, "-m", "foretrain", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=plain_environment) as server:
        try:
            yield re.search(r"http://\S+", server.stdout.readline())[0]
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # its sandbox doesn't work for root
    options = [*QUIET, "--no-sandbox"] if root else QUIET
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser, address) -> Iterator[Callable[..., sync_api.Page]]:
    """`visit(query, **context)`: the page, drawn; at the end, all that it said and asked is judged."""
    contexts, said, asked = [], [], []

    def visited(query: str = "", **options) -> sync_api.Page:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}?{query}")
        if options.get("java_script_enabled", True):
            drawn(page, 1)
        return page

    visited.said = said
    yield visited
    for context in contexts:
        context.close()
    assert not said
    assert asked
    assert {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:", "file:"))} == {"127.0.0.1"}


def drawn(page: sync_api.Page, times: int) -> None:
    """Wait until an answer is shown and drawn, the first being that of the page's start."""
    page.wait_for_selector(f'body[data-drawn="{times}"]')


def numbers(page: sync_api.Page) -> list[str]:
    return page.locator(".value").all_inner_texts()


def press(page: sync_api.Page, key: str, times: int, arrow: str = "ArrowRight") -> None:
    slider = page.locator(f'input[type=range][data-for="{key}"]')
    slider.focus()
    for _ in range(times):
        page.keyboard.press(arrow)


def test_three_sliders_change_every_number_and_the_address_shares_them(visit):
    page = visit()
    before, titles = numbers(page), page.locator("figure .finding").all_inner_texts()
    assert len(before) == 4
    press(page, "model.params", 1, "PageUp")
    drawn(page, 2)
    slider = page.locator('input[type=range][data-for="data.tokens"]')
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    drawn(page, 3)
    press(page, "hardware.count", 2)
    drawn(page, 4)
    after = numbers(page)
    assert all(one != other for one, other in zip(before, after, strict=True)), (before, after)
    assert page.locator("figure .finding").all_inner_texts() != titles
    assert page.locator("#dock b").first.text_content() == after[0]

    asked = Asked.of(urlsplit(page.url).query)
    assert set(asked.own.changes) == {"model.params", "data.tokens", "hardware.count"}
    assert asked.own.changes["hardware.count"] == "1024"  # two arrows on from 512, which batches can be shared by
    predictor = load("web-text")
    found = compare([asked.base.config(), asked.own.config()], predictor)
    judged = Judged(found.forecasts[1], predictor, found.forecasts[0], found.differences[1])
    shown = page.locator(".headlines").inner_text()
    for one in headlines(judged):
        assert one.value in shown
        assert one.difference in shown
        assert one.note in shown

    again = visit(urlsplit(page.url).query)
    assert numbers(again) == after
    assert again.locator("h1").inner_text() == page.locator("h1").inner_text()
    for key in asked.own.changes:
        assert again.locator(f'[id="{key}"]').input_value() == page.locator(f'[id="{key}"]').input_value()
    again.locator("#reset").click()
    expect(again.locator(".value").first).to_have_text(before[0])


def test_a_pinned_plan_is_the_baseline_of_what_follows(visit):
    page = visit(CHANGED)
    page.locator("#pin").click()
    drawn(page, 2)
    assert "baseline" not in page.locator(".headlines").inner_text()
    press(page, "data.tokens", 30)
    expect(page.locator(".headlines")).to_contain_text("than the baseline")
    assert Asked.of(urlsplit(page.url).query).base.changes["data.tokens"] == "1T"


def test_changes_that_follow_at_once_end_with_the_last(visit):
    page = visit()
    tokens = page.locator('[id="data.tokens"]')
    for text in ("1T", "8T", "300B", "5T", "2.5T"):
        tokens.fill(text)
    drawn(page, 2)
    press(page, "model.params", 20)
    page.wait_for_timeout(150)
    page.wait_for_load_state("networkidle")
    expect(page.locator('[id="data.tokens"]')).to_have_value("2.5T")
    expected = visit(urlsplit(page.url).query)
    expect(page.locator("h1")).to_have_text(expected.locator("h1").inner_text())
    assert numbers(page) == numbers(expected)
    for name in ("forecast", "cost", "time"):
        assert page.locator(f"#{name} svg").text_content() == expected.locator(f"#{name} svg").text_content()


def test_what_is_wrong_is_said_and_what_was_shown_stays(visit):
    page = visit()
    before = numbers(page)
    with page.expect_response("**/page/answer"):
        page.locator('[id="data.tokens"]').fill("lots")
    expect(page.locator("#problem")).to_contain_text("data.tokens")
    assert re.search("422", visit.said.pop())  # the browser's own line about an answer that refuses
    assert numbers(page) == before
    page.locator('[id="data.tokens"]').fill("1T")
    drawn(page, 2)
    expect(page.locator("#problem")).to_be_hidden()


def test_the_report_opens_without_a_network(visit, browser, tmp_path):
    page = visit("from=repeated-data")
    page.locator(".menu.right summary").click()
    with page.expect_download() as coming:
        page.locator('[data-download="report.html"]').click()
    coming.value.save_as(tmp_path / "report.html")
    context = browser.new_context(offline=True, viewport={"width": 400, "height": 900})
    report = context.new_page()
    said = []
    report.on("console", lambda line: said.append(line.text))
    report.goto((tmp_path / "report.html").as_uri())
    assert report.locator("h1").inner_text() == page.locator("h1").inner_text()
    assert report.evaluate("document.documentElement.scrollWidth") <= 400
    context.close()
    assert not said


def luminance(page: sync_api.Page) -> int:
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", ground)[:3])


def test_it_is_dark_where_the_system_is_and_where_one_asks(visit):
    page = visit(color_scheme="dark")
    assert luminance(page) < 200
    page.locator("#theme").click()
    assert luminance(page) > 600
    page.locator("#theme").click()
    assert luminance(page) < 200


OPEN = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"


def test_nobody_is_shut_out(visit):
    page = visit(CHANGED)
    axe = axe_api.Axe()
    for scheme, width, opened in (
        *(("light", width, True) for width in (1280, 768, 400)),
        *(("dark", width, True) for width in (400, 768, 1280)),
        ("light", 1280, False),
    ):
        page.emulate_media(color_scheme=scheme)
        if page.viewport_size["width"] != width:
            with page.expect_response("**/page/answer"):
                page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_load_state("networkidle")
        page.evaluate(OPEN if opened else OPEN.replace("true", "false"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, (scheme, width, [(one["id"], one["nodes"][0]["html"][:200]) for one in serious])


def test_the_numbers_are_there_without_a_script(visit):
    page = visit(CHANGED, java_script_enabled=False)
    scripted = visit(CHANGED)
    assert numbers(page) == numbers(scripted)
    assert page.locator("#forecast table").count() == 1
    page.locator('[id="data.tokens"]').fill("3T")
    page.locator("noscript button", has_text="Update").click()
    assert Asked.of(urlsplit(page.url).query).own.config().data.tokens == 3e12
    assert numbers(page) != numbers(scripted)


def test_a_search_tells_how_far_it_is_and_can_be_ended(visit):
    page = visit()
    page.locator("#search").click()
    expect(page.locator("#searching")).to_be_visible()
    expect(page.locator("#share")).not_to_have_attribute("value", "0", timeout=WAIT_MS)
    page.locator("#cancel").click()
    expect(page.locator("#searching")).to_be_hidden(timeout=WAIT_MS)
    expect(page.locator("#said")).to_have_text("Cancelled.")
    expect(page.locator("#search")).to_be_visible()
