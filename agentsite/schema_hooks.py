"""Webhooks in the OpenAPI document."""

from __future__ import annotations

from agentsite.schema_shapes import OBJECT, STRING, Shape, many, ref
from automations_app.inbound import ID_HEADERS

ASYNC = "`respond-async`: answer as soon as the delivery is stored."
IDS = ", ".join(f"`{name}`" for name in ID_HEADERS)
ABOUT = (
    "The raw body is verified as the automation's `webhookAuth` says; no bearer token is asked "
    "for. The payload is JSON, or a form (whose one field `payload` may hold JSON). "
    f"A delivery is known again by its sender's id: the header {IDS}, Stripe's `id`, Slack's "
    "`event_id`. It starts nothing then and gets the first answer, or 202 `running` while there "
    "is none. Slack's `url_verification` is answered with its challenge. Where several agents are "
    "served, `agentId` names the automation's."
)
RUN: Shape = {"automationRunId": STRING, "runId": STRING, "sessionId": STRING}


def _shape(properties: Shape, *required: str) -> Shape:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
    }


def _answer(description: str, schema: Shape) -> Shape:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refusal(description: str) -> Shape:
    return _answer(description, ref("Error"))


def _operation(operation: str, summary: str, body: Shape, *parameters: Shape) -> Shape:
    ended = {"status": {"const": "completed"}, "automation": STRING, **RUN}
    several = {"runs": many(_shape(RUN))}
    status = {"enum": ["accepted", "running", "waiting"]}
    stored = {**ended, **several, "status": status, "automationRunIds": many(STRING)}
    failed = {"error": OBJECT, "matched": {"const": True}, **ended, **several}
    return {
        "post": {
            "operationId": operation,
            "tags": ["webhooks"],
            "summary": summary,
            "description": ABOUT,
            "parameters": [
                *parameters,
                {"name": "agentId", "in": "query", "schema": STRING},
                {"name": "Prefer", "in": "header", "description": ASYNC, "schema": STRING},
            ],
            "requestBody": {"content": {"application/json": {"schema": body}}},
            "responses": {
                "200": _answer(
                    "The run has ended.", _shape({**ended, **several}, "status", "automation")
                ),
                "202": _answer(
                    "It is stored and runs, or waits for a person.",
                    _shape(stored, "status", "automation"),
                ),
                "400": _refusal("The body cannot be read."),
                "401": _refusal("The signature is missing or wrong, or its time is."),
                "404": _refusal("No automation of that name is triggered by webhooks."),
                "413": _refusal("The body is larger than 1 MB."),
                "429": _refusal("The server is full; nothing was stored."),
                "500": _answer(
                    "The run failed.", _shape({**failed, "status": STRING}, "error", "matched")
                ),
                "503": _refusal("The automation is paused, or the server cannot take it now."),
            },
        }
    }


def webhook_paths() -> Shape:
    """Both addresses."""
    named = {"automation": STRING, "data": {}, "agentId": STRING}
    return {
        "/webhooks/{name}": _operation(
            "receiveWebhook",
            "Set an automation off.",
            {},
            {"name": "name", "in": "path", "required": True, "schema": STRING},
        ),
        "/webhooks": _operation(
            "receiveNamedWebhook",
            "Set off the automation that the body names.",
            _shape(named, "automation"),
        ),
    }
