"""`simulate serve`: the page and the REST API."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from ...core.errors import UsageError
from ...core.extras import require


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Listen here; what others can reach needs --token.",
)
@click.option(
    "--port", default=8321, show_default=True, type=click.IntRange(0, 65_535), metavar="N", help="0 takes a free one."
)
@click.option(
    "--token",
    envvar="FORETRAIN_TOKEN",
    metavar="TEXT|auto",
    help="What clients must show (or FORETRAIN_TOKEN); auto makes one and prints it.",
)
@click.option(
    "--allow-host", "allow_hosts", multiple=True, metavar="NAME", help="A further name that the server is called by."
)
@click.option(
    "--predictor", "predictors", multiple=True, metavar="NAME=DIR", help="Offer a predictor made by `simulate fit`."
)
@click.option(
    "--curves", "curves", multiple=True, metavar="NAME=DIR", help="Offer curves made by `simulate curve fit`."
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in a browser.")
def serve(
    host: str,
    port: int,
    token: str | None,
    allow_hosts: tuple[str, ...],
    predictors: tuple[str, ...],
    curves: tuple[str, ...],
    open_browser: bool,
) -> None:
    """Serve a page to plan runs on, and the REST API that it asks, until Ctrl-C.

    Only this machine can reach it, unless --host says otherwise, which needs --token. Requests name predictors and
    curves by the names given here and never by paths. The API is described at /openapi.json.

    \b
    Example:  simulate serve --open
              simulate serve --predictor ours=predictor --host 0.0.0.0 --token auto --allow-host plans.example.org
    """
    require("simulate serve", "fastapi", "uvicorn", "vl_convert")
    from ...simulator.web.serving import serve as answer
    from ...simulator.web.settings import Settings, new_token

    shown_token = new_token() if token == "auto" else None
    settings = Settings(
        host=host,
        port=port,
        token=shown_token or token or None,
        allow_hosts=allow_hosts,
        predictors=_named("--predictor", predictors),
        curves=_named("--curves", curves),
    )

    def ready(address: str) -> None:
        click.echo(f"foretrain listens on {address} (Ctrl-C stops it)")
        page = address
        if shown_token is not None:
            page = f"{address}?token={shown_token}"
            click.echo(f"token: {shown_token}\nopen {page}")
        if open_browser:
            webbrowser.open(page)

    answer(settings, ready)
    click.echo("stopped")


def _named(option: str, pairs: tuple[str, ...]) -> dict[str, Path]:
    """`NAME=DIR` of an option that may be repeated."""
    found: dict[str, Path] = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder) or name in found:
            raise UsageError(f"{option}: got {pair!r}; expected NAME=DIR, each name once")
        found[name] = Path(folder)
    return found
