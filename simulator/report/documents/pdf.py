"""A report as PDF: its HTML printed on A4 by a browser of the system, which knows best how a page is laid out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ....core.errors import UsageError

__all__ = ["BROWSERS", "browser", "pdf_bytes"]

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
"""Names under which a browser that prints is looked for; FORETRAIN_BROWSER names another."""

_WITHIN_S = 60.0
_OPTIONS = (
    *("--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--no-pdf-header-footer", "--force-color-profile=srgb"),
)


def browser() -> str | None:
    """The path of a browser that can print, None where there is none."""
    named = os.environ.get("FORETRAIN_BROWSER")
    return shutil.which(named) if named else next((found for name in BROWSERS if (found := shutil.which(name))), None)


def pdf_bytes(page: str) -> bytes:
    """A page of HTML as PDF.

    Raises:
        UsageError: There is no browser, or it prints nothing.
    """
    program = browser()
    if program is None:
        raise UsageError(
            "a PDF is printed by Chromium, Chrome or Edge, and none was found; expected one of them "
            "(FORETRAIN_BROWSER names its program), or --out report.html, which every browser prints"
        )
    with tempfile.TemporaryDirectory(prefix="foretrain-") as folder:
        source, target = Path(folder, "report.html"), Path(folder, "report.pdf")
        source.write_text(page, encoding="utf-8")
        # a browser's sandbox doesn't work for root; the page is ours and has no script
        alone = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
        command = [
            program,
            *_OPTIONS,
            *alone,
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={target}",
            source.as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_WITHIN_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(
                f"{program} didn't print the report: {error}; expected --out report.html instead"
            ) from None
        if not target.is_file():
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise UsageError(f"{program} didn't print the report ({said[-1][:200] if said else 'no message'})")
        return target.read_bytes()
