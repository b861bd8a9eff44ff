"""The OpenAPI document: valid, complete, and true of what the server answers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.urls import URLPattern
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from agentsite.bus.catalogue import CATALOGUE
from agentsite.engine import events
from agentsite.schema_events import EVENTS
from agentsite.urls import urlpatterns
from tests.patterns import is_staff_route
from tests.server import Client, session_of

NOT_API = ("", "favicon.ico", "admin", "admin/", "accounts/once/<str:token>", "api/docs")
NOT_API += (
    "admin/events",
    "accounts/scopes/<int:key>/export",
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as it is served."""
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]  # it was a dictionary


def test_it_is_valid(document: dict[str, Any]) -> None:
    validate_schema(document)
    assert document["openapi"].startswith("3.1")


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    named = set(re.findall(r"#/components/schemas/([\w.]+)", json.dumps(document)))
    assert named <= set(document["components"]["schemas"])


def test_every_route_is_described(document: dict[str, Any]) -> None:
    routes = {
        "/" + re.sub(r"<(?:str|path):(\w+)>", r"{\1}", str(pattern.pattern))
        for pattern in urlpatterns
        if isinstance(pattern, URLPattern)
        and str(pattern.pattern) not in NOT_API
        and not is_staff_route(str(pattern.pattern))
    }
    assert set(document["paths"]) == routes
    operations = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(set(operations)) == len(operations)


def test_every_event_of_the_bus_is_described(document: dict[str, Any]) -> None:
    told = document["paths"]["/api/events"]["get"]["responses"]["200"]["description"]
    assert [name for name in CATALOGUE if f"| `{name}` |" not in told] == []


def test_every_event_is_described() -> None:
    tags = {kind.__struct_config__.tag for kind in events.AnyEvent.__args__}
    assert set(EVENTS) == tags


def test_the_request_names_every_field(document: dict[str, Any]) -> None:
    body = document["components"]["schemas"]["ChatBody"]
    assert {"message", "sessionId", "scope_id", "onBusy", "images"} <= set(body["properties"])
    assert body["additionalProperties"] is False


def test_answers_have_the_shapes_they_are_said_to_have(
    client: Client, document: dict[str, Any]
) -> None:
    def fits(name: str, value: Any) -> None:
        shapes = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(shapes).validate(value)

    session_id = session_of(client.say("many"))
    fits("SessionPage", client.get("/sessions"))
    fits("SessionDetail", client.get(f"/sessions/{session_id}"))
    fits("SessionDetail", client.get(f"/sessions/history/{session_id}"))
    fits("SessionState", client.get(f"/sessions/{session_id}/state"))
    fits("ChatAnswer", client.ask("POST", "/chat", client.message("many")).json)
    fits("Health", client.get("/health"))
    fits("Readiness", client.ask("GET", "/ready").json)
    fits("Error", client.ask("GET", "/sessions/none").json)
    fits("Error", client.ask("POST", "/chat", client.message("refused")).json)


def test_it_is_served_with_a_page(client: Client) -> None:
    accept = {"Accept": "application/json"}
    served = client.ask("GET", "/api/schema", headers=accept)
    assert served.status == 200
    assert served.json["openapi"].startswith("3.1")
    page = client.ask("GET", "/api/docs", headers={"Accept": "text/html"}, scope_id=None)
    assert page.status == 200
    text = page.body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", text), "no inline script"
    for source in re.findall(r'(?:src|href)="(/[^"]+)"', text):
        assert client.ask("GET", source.replace("&amp;", "&"), scope_id=None).status == 200, source
