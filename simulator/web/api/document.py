"""The OpenAPI document: schemas of requests made from their models, of answers from what they always hold."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from ...config.run_config import RunConfig
from . import requests

__all__ = ["ERRORS", "describe", "gives", "takes"]

_REF = "#/components/schemas/"
_TEXT, _NUMBER, _FLAG = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
_MAYBE_TEXT, _MAYBE_NUMBER = {"type": ["string", "null"]}, {"type": ["number", "null"]}
_OBJECT = {"type": "object"}
_MAYBE_OBJECT = {"type": ["object", "null"]}
_TEXTS = {"type": "array", "items": _TEXT}
_ERRORS = {
    400: "The request can't be read: no JSON, a key twice, NaN.",
    401: "The token is missing or wrong.",
    403: "A page of another site asks.",
    404: "There is nothing here.",
    405: "This method isn't answered here.",
    408: "The body didn't come in in time.",
    409: "No plan satisfies what is stated; the message says what is in the way.",
    413: "The body is too large.",
    415: "The body isn't declared to be JSON.",
    421: "The server isn't called so.",
    422: "Something in the request is wrong; the message says what, where, and what would be accepted.",
    429: "Too many requests, computations or jobs at once; Retry-After says when to come back.",
    503: "The answer would take too long.",
}


def _object(description: str, properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """A schema of an answer; more keys than these are there, and may come."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties) if required is None else required,
    }


_QUANTITY = _object(
    "A median with central intervals by their level.",
    {"median": _NUMBER, "intervals": {"type": "object", "additionalProperties": {"type": "array", "items": _NUMBER}}},
)
_MAYBE_QUANTITY = {"anyOf": [{"$ref": f"{_REF}Quantity"}, {"type": "null"}]}

_ANSWERS: dict[str, Any] = {
    "Quantity": _QUANTITY,
    "Error": _object(
        "What is wrong, as `simulate … --json` says it.",
        {
            "error": _object(
                "The error.",
                {
                    "kind": {**_TEXT, "description": "Kind of error, such as ConfigError."},
                    "message": {**_TEXT, "description": "The whole sentence; of several errors, one per line."},
                    "where": {**_MAYBE_TEXT, "description": "Key of the request, such as plan: data.tokens."},
                    "got": {**_MAYBE_TEXT, "description": "What was given."},
                    "expected": {**_MAYBE_TEXT, "description": "What would be accepted."},
                    "others": {"type": "array", "items": _OBJECT, "description": "Further errors."},
                },
                ["kind", "message", "where", "got", "expected"],
            )
        },
    ),
    "Forecast": _object(
        "A planned run's forecast. Times, memory, money and energy are null where the plan states no machines.",
        {
            "name": _MAYBE_TEXT,
            "loss_nats": {"$ref": f"{_REF}Quantity"},
            "perplexity": {"$ref": f"{_REF}Quantity"},
            "bits_per_byte": _MAYBE_QUANTITY,
            "domains": _OBJECT,
            "p_target": _MAYBE_NUMBER,
            "p_all": _MAYBE_NUMBER,
            "training_flops": _NUMBER,
            "wall_clock_days": _MAYBE_QUANTITY,
            "gpu_hours": _MAYBE_QUANTITY,
            "cost_usd": _MAYBE_QUANTITY,
            "energy_mwh": _MAYBE_QUANTITY,
            "layout": _MAYBE_OBJECT,
            "cluster_missing": _TEXTS,
            "predictor": _OBJECT,
            "warnings": _TEXTS,
            "config": _OBJECT,
            "seed": {"type": "integer"},
            "version": _TEXT,
        },
    ),
    "Comparison": _object(
        "Plans side by side, each with its differences to the first.",
        {
            "target": _TEXT,
            "plans": {"type": "array", "items": _OBJECT},
            "predictor": _OBJECT,
            "notes": _TEXTS,
            "version": _TEXT,
        },
    ),
    "Layouts": _object(
        "Layouts, the fastest first.", {"layouts": {"type": "array", "items": _OBJECT}, "seconds": _NUMBER}
    ),
    "Curve": _object(
        "The loss along a run.",
        {
            "steps": {"type": "integer"},
            "final_loss_nats": {"$ref": f"{_REF}Quantity"},
            "curve": {"type": "array", "items": _OBJECT},
            "notes": _TEXTS,
        },
    ),
    "Tracking": _object("A running job against its plan.", {"verdict": _TEXT}),
    "Job": _object(
        "A background job.",
        {
            "id": _TEXT,
            "kind": _TEXT,
            "state": {"enum": ["waiting", "running", "done", "failed", "cancelled"]},
            "progress": _object("How far it is.", {"share": _NUMBER, "text": _TEXT, "elapsed_s": _NUMBER}),
            "result": {**_MAYBE_OBJECT, "description": "Once it is done: what `simulate optimize --json` prints."},
            "error": {**_MAYBE_OBJECT, "description": "Where it failed: the error."},
        },
    ),
    "Jobs": _object("Background jobs.", {"jobs": {"type": "array", "items": {"$ref": f"{_REF}Job"}}}),
    "Health": _object("The server answers.", {"status": {"const": "ok"}, "version": _TEXT}),
    "Schema": _object("A JSON Schema.", {"properties": _OBJECT, "$defs": _OBJECT}),
    "Predictors": _object(
        "What forecasts can rest on.",
        {
            "predictors": {"type": "array", "items": _OBJECT},
            "corpora": {"type": "array", "items": _OBJECT},
            "own": {"type": "array", "items": _OBJECT},
            "curves": _TEXTS,
            "version": _TEXT,
        },
    ),
    "Accelerators": _object("Accelerators.", {"accelerators": {"type": "array", "items": _OBJECT}}),
    "Examples": _object(
        "Plans to start from.",
        {
            "examples": {
                "type": "array",
                "items": _object("One of them.", {"name": _TEXT, "yaml": _TEXT, "plan": {"$ref": f"{_REF}RunConfig"}}),
            }
        },
    ),
}
_REQUESTS: tuple[type[BaseModel], ...] = (
    requests.PredictRequest,
    requests.CompareRequest,
    requests.LayoutsRequest,
    requests.CurveRequest,
    requests.TrackRequest,
    requests.OptimizeRequest,
)
_PLAN = {
    "model": {"params": "7B"},
    "data": {"tokens": "2T", "corpus": "fineweb", "tokenizer": "llama3"},
    "optim": {"batch_tokens": "4M"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 512, "price_usd_per_hour": 2.5},
    "targets": {"deadline": "30d", "budget_usd": "1M"},
}
_CURVE_PLAN = {
    **_PLAN,
    "optim": {"batch_tokens": "4M", "lr": 3e-4, "lr_final": 3e-5, "schedule": "cosine", "warmup_steps": 2000},
}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "PredictRequest": {"plan": _PLAN, "predictor": "web-text"},
    "CompareRequest": {"plans": [_PLAN, {**_PLAN, "data": {"tokens": "3T"}}]},
    "LayoutsRequest": {"plan": _PLAN, "top": 3},
    "CurveRequest": {"plan": _CURVE_PLAN, "curves": "own", "predictor": "web-text"},
    "TrackRequest": {"plan": _CURVE_PLAN, "log": "step,loss\n100,7.5\n200,6.1\n300,5.2\n"},
    "OptimizeRequest": {
        "study": {
            "run": _PLAN,
            "space": {"model.params": {"low": "1B", "high": "30B", "log": True}},
            "objective": {"minimise": "loss_nats"},
            "constraints": {"cost_usd": {"at_most": "1M"}},
        },
        "trials": 100,
    },
}


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """The part of a route's description that says what its body holds."""
    name = model.__name__
    content = {"schema": {"$ref": f"{_REF}{name}"}, "example": _EXAMPLES[name]}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def gives(name: str, status: int = 200) -> dict[int | str, Any]:
    """The part that says what it answers."""
    return {status: _answer(_ANSWERS[name]["description"], name)}


def _answer(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": f"{_REF}{name}"}}}}


ERRORS: dict[int | str, Any] = {status: _answer(said, "Error") for status, said in _ERRORS.items()}
"""The errors that every route may answer."""


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of a server."""
    found = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    components = found.setdefault("components", {})
    components["schemas"] = {**_ANSWERS, **_request_schemas()}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{}, {"token": []}]
    return found


def _request_schemas() -> dict[str, Any]:
    """Schemas of plans and of the requests around them."""
    schemas: dict[str, Any] = {}
    _add(schemas, "RunConfig", RunConfig.json_schema())
    for model in _REQUESTS:
        _add(schemas, model.__name__, model.model_json_schema())
    for name in _REQUESTS:
        properties = schemas[name.__name__]["properties"]
        for key in ("plan", "plans"):
            if key in properties:
                at = properties[key] if key == "plan" else properties[key]["items"]
                said = at.get("description")
                at.clear()
                at["$ref"] = f"{_REF}RunConfig"
                if said:
                    at["description"] = said
    return schemas


def _add(schemas: dict[str, Any], name: str, schema: dict[str, Any]) -> None:
    """Put a schema beside the others, its own definitions among them."""
    for inner, definition in schema.pop("$defs", {}).items():
        schemas[inner] = _referring(definition)
    schemas[name] = _referring(schema)


def _referring(schema: Any) -> Any:
    """The schema with its references pointing at where its definitions lie now."""
    if isinstance(schema, dict):
        return {
            key: value.replace("#/$defs/", _REF) if key == "$ref" else _referring(value)
            for key, value in schema.items()
        }
    return [_referring(entry) for entry in schema] if isinstance(schema, list) else schema
