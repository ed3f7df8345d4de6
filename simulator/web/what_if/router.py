"""Routes of the page: the page itself, its answers, what it starts from, what it hands out."""

from __future__ import annotations

import csv
import io
import json
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from ....core.errors import ForetrainError, InputError
from ....core.output.plain import bounded
from ....core.reading.fields import Frozen, Whole
from ....core.reading.yaml_reader import dumps_yaml, loads_yaml
from ....core.units import shown
from ....core.version import __version__
from ...config.starting.sketch import sketch_plan
from ...report.documents.contents.judged import model_and_tokens
from ...report.documents.contents.plans import judged_document
from ...report.documents.html import html_page, style_sheet
from ..answers import Answer
from ..api.facts import examples
from ..api.requests import read_plan
from ..offered import DEFAULT
from ..reading import body_as
from ..state import ServerState, state_of
from .answer import Shown, judge, show
from .better import TRIALS, better_study
from .controls import controls, notes
from .stated import Asked
from .templates import page_environment

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_LEAST_PX, _MOST_PX = 200, 2400
_FIELDS = ("params", "tokens", "on", "price")


class AnswerRequest(Frozen):
    """What the page asks with every change."""

    query: str = Field(description="The page's state, as in its address.")
    half_px: Annotated[Whole, Field(ge=_LEAST_PX, le=_MOST_PX)] = 500
    whole_px: Annotated[Whole, Field(ge=_LEAST_PX, le=_MOST_PX)] = 1040


class StartRequest(Frozen):
    """A file of one's own to start from."""

    text: str = Field(min_length=1, description="A plan as YAML or JSON, or a config.json of Hugging Face.")


@router.get("/")
async def page(request: Request) -> Response:
    """The page with its numbers, which needs no script for them."""
    state = state_of(request)
    query = request.url.query

    def found() -> str:
        return _page(state, query)

    return Response(await state.computing.run(found), media_type="text/html; charset=utf-8")


@router.get("/page/style.css")
async def style() -> Response:
    """The rules that the page shares with reports."""
    return Response(style_sheet(), media_type="text/css", headers={"Cache-Control": "no-cache"})


@router.post("/page/answer")
async def answer(request: Request, asked: Annotated[AnswerRequest, Depends(body_as(AnswerRequest))]) -> Answer:
    """What a change does: the answer as markup, and what to draw."""
    state = state_of(request)

    def found() -> Answer:
        answered = _shown(state, asked.query)
        config, base = answered.judged.plan.config, answered.asked.base.config()
        return Answer(
            {
                "answer": _fragment("answer.html", answered),
                "figures": _fragment("figures.html", answered),
                "title": answered.document.title,
                "dock": [[one.value, one.unit, one.label] for one in answered.document.headlines],
                "notes": notes(config, answered.asked.base, base),
                "pictures": answered.specs(asked.half_px, asked.whole_px),
            }
        )

    return await state.computing.run(found)


@router.post("/page/better")
async def better(request: Request, asked: Annotated[AnswerRequest, Depends(body_as(AnswerRequest))]) -> Answer:
    """The study of better plans around the page's, for `/api/v1/optimize`."""
    state = state_of(request)

    def found() -> Answer:
        page = Asked.of(asked.query)
        judged = judge(page, state.offered.predictor(DEFAULT), state.forecasts)
        return Answer({"study": better_study(page.own, judged), "trials": TRIALS})

    return await state.computing.run(found)


@router.post("/page/start")
async def start(request: Request, asked: Annotated[StartRequest, Depends(body_as(StartRequest))]) -> Answer:
    """The address of a page that starts from a file of one's own."""

    def found() -> Answer:
        plan = _plan_of(asked.text)
        read_plan(plan)
        return Answer({"query": urlencode({"plan": json.dumps(plan, default=str)})})

    return await state_of(request).computing.run(found)


@router.get("/page/plan.yaml")
async def plan_yaml(request: Request) -> Response:
    """The plan as a file."""
    query = request.url.query

    def found() -> str:
        mapping = Asked.of(query).own.mapping()
        read_plan(mapping)
        return dumps_yaml(json.loads(json.dumps(mapping, default=str)))

    return _attachment(await state_of(request).computing.run(found), "application/yaml", "run.yaml")


@router.get("/page/report.html")
async def report_html(request: Request) -> Response:
    """The report of the page's plan against its baseline, one file."""
    state, query = state_of(request), request.url.query

    def found() -> str:
        asked = Asked.of(query)
        judged = judge(asked, state.offered.predictor(DEFAULT), state.forecasts)
        return html_page(judged_document(judged, commands=["simulate report run.yaml"]))

    return _attachment(await state.computing.run(found), "text/html", "report.html")


@router.get("/page/numbers.csv")
async def numbers_csv(request: Request) -> Response:
    """Every number behind the pictures, as a table."""
    state, query = state_of(request), request.url.query

    def found() -> str:
        return _csv(_shown(state, query))

    return _attachment(await state.computing.run(found), "text/csv", "numbers.csv")


def _shown(state: ServerState, query: str) -> Shown:
    return show(Asked.of(query), state.offered.predictor(DEFAULT), state.forecasts)


def _page(state: ServerState, query: str, problem: str = "") -> str:
    try:
        answered = _shown(state, query)
    except ForetrainError as error:  # the page still opens, at its beginning, and says what is wrong with the address
        problem, answered = bounded(str(error)), _shown(state, "")
    own, config = answered.asked.own, answered.judged.plan.config
    base = answered.asked.base.config()
    main, more = controls(own, config, own.start(), base)
    return (
        page_environment()
        .get_template("page.html")
        .render(
            document=answered.document,
            pictures=answered.pictures,
            drawn={},
            asked=answered.asked,
            query=answered.asked.query(),
            base_name=_called(answered),
            groups=main,
            more=more,
            notes=notes(config, answered.asked.base, base),
            examples=[one["name"] for one in examples()],
            bundle=state.assets.bundle,
            problem=problem,
            version=__version__,
        )
    )


def _fragment(template: str, answered: Shown) -> str:
    return (
        page_environment()
        .get_template(template)
        .render(document=answered.document, pictures=answered.pictures, drawn={}, base_name=_called(answered))
    )


def _called(answered: Shown) -> str:
    """The baseline in a few words."""
    base = answered.asked.base.config()
    size = model_and_tokens(base).removesuffix(" tokens")
    return f"{base.name}, {size}" if base.name else size


def _plan_of(text: str) -> dict[str, Any]:
    """A plan from a file's text, which may be a config.json of Hugging Face. Raises InputError and ConfigError."""
    found = loads_yaml(text, "file")
    if "model" not in found and "model_type" in found:
        return dict(sketch_plan(hugging_face=found).mapping)
    if "model" not in found:
        raise InputError("file: states no model; expected a plan with the sections model and data, or a config.json")
    return found


def _csv(answered: Shown) -> str:
    out = io.StringIO()
    table = csv.writer(out)
    for picture in answered.pictures:
        table.writerow(["picture", *map(_cell, picture.numbers.columns)])
        for row in picture.numbers.rows:
            table.writerow([picture.name, *map(_cell, row)])
    return out.getvalue()


def _cell(text: str) -> str:
    """Text that a spreadsheet doesn't take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _attachment(text: str, media_type: str, name: str) -> Response:
    return Response(
        text,
        media_type=f"{media_type}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/start")
async def start_from_fields(request: Request) -> Response:
    """Three fields, sent by a form: the address of the page that starts from them, or the page with what is wrong."""
    state, fields = state_of(request), dict(request.query_params)

    def found() -> Response:
        try:
            plan = _sketch(fields)
        except ForetrainError as error:
            page = _page(state, "", bounded(str(error)))
            return Response(page, 422, media_type="text/html; charset=utf-8")
        return RedirectResponse("/?" + urlencode({"plan": json.dumps(plan, default=str)}), status_code=303)

    return await state.computing.run(found)


def _sketch(fields: dict[str, str]) -> dict[str, Any]:
    """A plan of the form's three fields. Raises InputError and ConfigError."""
    unknown = set(fields) - set(_FIELDS)
    if unknown or not fields.get("params", "").strip():
        raise InputError(f"start: got {shown(sorted(fields))}; expected params, and perhaps tokens, on and price")
    params, tokens, on, price = (fields.get(name, "").strip() or None for name in _FIELDS)
    return dict(sketch_plan(params=params, tokens=tokens, on=on, price=price).mapping)
