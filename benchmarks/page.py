"""How soon the page of `simulate serve` is there, and how soon a change is answered and drawn, in a real browser.

A server of its own process and Chromium, both on this machine. A change is one position of a slider (size, tokens,
count and price in turn, each to a value that was not asked before), timed in the page from the slider's event to the
new numbers, and on to the drawn pictures. Needs `foretrain[web]`, playwright and Chromium.

    python benchmarks/page.py                 5 loads, 40 changes, half a minute
    python benchmarks/page.py --changes 100

Ends with 1 where the first paint takes over 1.5 s at the median, or the numbers of a change over 300 ms.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

_MOST_PAINT_MS, _MOST_UPDATE_MS = 1500.0, 300.0
_QUIET = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")
_WAIT_MS = 60_000
_STEPS = {"model.params": 23, "data.tokens": 31, "hardware.count": 0, "hardware.price_usd_per_hour": 37}
"""Sliders, and how far each moves with a change, of 1000 positions; 0 for the next count that there is."""

# notes, in the page's own clock, when a slider was moved and when the answer was shown and drawn
_WATCH = """() => {
  window.times = {};
  document.addEventListener("input", () => { window.times = { moved: performance.now() }; }, true);
  new MutationObserver((changes) => {
    for (const change of changes) window.times[change.attributeName] ??= performance.now();
  }).observe(document.body, { attributes: true, attributeFilter: ["data-shown", "data-drawn"] });
}"""
_MOVE = """([key, by, up]) => {
  const slider = document.querySelector(`input[type=range][data-for="${key}"]`);
  if (by) slider.value = String(Number(slider.value) + (up ? by : -by));
  else if (up) slider.stepUp();
  else slider.stepDown();
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}"""
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


@contextmanager
def server() -> Iterator[str]:
    """A server of its own process: its address."""
    command = [sys.executable, "-m", "foretrain", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"http://\S+", said)
            assert found, said
            yield found[0]
        finally:
            process.terminate()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of the system."""
    program = next(
        (at for name in ("chromium", "chromium-browser", "google-chrome") if (at := shutil.which(name))), None
    )
    if program is None:
        sys.exit("no Chromium was found; expected chromium, chromium-browser or google-chrome")
    alone = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # it doesn't work for root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_QUIET, *alone])
        yield browser
        browser.close()


def opened(browser: Browser, address: str) -> tuple[Page, float]:
    """The page in a browser that has not seen it, drawn; and its first paint, ms after the navigation began."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(_WAIT_MS)
    page.goto(address)
    page.wait_for_selector('body[data-drawn="1"]')
    return page, page.evaluate(_PAINT)


def changes(page: Page, count: int) -> list[tuple[str, float, float]]:
    """Change after change: the slider, and the time to its numbers and to its pictures, ms."""
    page.evaluate(_WATCH)
    found = []
    for number in range(count):
        key = list(_STEPS)[number % len(_STEPS)]
        up = number // len(_STEPS) % 4 < 2 if key == "hardware.count" else number < 8 * len(_STEPS)
        page.evaluate(_MOVE, [key, _STEPS[key], up])
        page.wait_for_selector(f'body[data-drawn="{number + 2}"]')
        times = page.evaluate("window.times")
        moved = times["moved"]
        found.append((key, times["data-shown"] - moved, times["data-drawn"] - moved))
    return found


def row(name: str, values: list[float]) -> str:
    """Median and 90th percentile."""
    return (
        f"| {name} | {statistics.median(values):.0f} | {statistics.quantiles(values, n=10)[-1]:.0f} | {len(values)} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--changes", type=int, default=40)
    asked = parser.parse_args()
    load_before = os.getloadavg()[0]
    with server() as address, chromium() as browser:
        start = time.perf_counter()
        page, _ = opened(browser, address)  # loads the predictor and bundles the charts' libraries, once per server
        first_s = time.perf_counter() - start
        paints = []
        for _ in range(asked.loads):
            page.context.close()
            page, paint = opened(browser, address)
            paints.append(paint)
        found = changes(page, asked.changes)
    shown, drawn = [shown for _, shown, _ in found], [drawn for *_, drawn in found]
    print("| ms | median | 90 % | of |\n|---|---|---|---|")
    print(row("first paint", paints))
    print(row("change to new numbers", shown))
    print(row("change to drawn pictures", drawn))
    for key in _STEPS:
        print(row(f"… numbers, {key}", [shown for name, shown, _ in found if name == key]))
    print(f"\nfirst visit of a fresh server, until drawn: {first_s:.1f} s")
    print(f"machine: {os.cpu_count()} cores, load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after")
    missed = statistics.median(paints) > _MOST_PAINT_MS or statistics.median(shown) > _MOST_UPDATE_MS
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
