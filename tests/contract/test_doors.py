"""No door is forgotten: every route refuses strangers, and callers without a scope.

Law: the routes are read off the URL patterns. One that is neither open nor a staff page must
refuse; a route that is added later is found without being named here.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.urls import get_resolver

from tests.gatehouse import Gate
from tests.patterns import METHODS, OPEN, OPERATORS, PAGE, SIGNED, is_staff_route, routes
from tests.requirements import requirement
from tests.server import Client

ROUTES = sorted(
    {
        route
        for route in routes(get_resolver())
        if route not in OPEN | SIGNED | {PAGE} and not is_staff_route(route)
    }
)


def fill(route: str) -> str:
    path = re.sub(r"<int:\w+>", "1", route.replace("<str:agent_id>", "strict"))
    return "/" + re.sub(r"<(\w+:)?\w+>", "sess_aaaaaaaaaaaaaaaaaaaaaaaaaa", path)


def body_of(route: str) -> dict[str, Any]:
    session = {"sessionId": "sess_aaaaaaaaaaaaaaaaaaaaaaaaaa"}
    if route.startswith("widget"):
        return {**session, "action": "credential_saved", "values": {"A": "b"}}
    return (
        {**session, "approved": True}
        if "ask-user" in route
        else {"message": "x", "agentId": "strict"}
    )


def served(gate: Gate, route: str, bearer: str | None, query: str) -> list[tuple[str, int, str]]:
    """What the route answers to each method that it takes."""
    found = []
    for method in METHODS:
        body = None if method in ("GET", "DELETE") else body_of(route)
        answer = gate.ask(method, fill(route) + query, body, bearer)
        if answer.status == 405:
            continue
        assert answer.headers["content-type"] == "application/json", (route, answer.headers)
        found.append((method, answer.status, answer.code))
    return found


@requirement("scope.unauthorized")
@pytest.mark.parametrize("route", ROUTES)
def test_strangers_get_nowhere(gate: Gate, route: str) -> None:
    answers = served(gate, route, None, "")
    assert answers, "no method is served at all"
    assert {(status, code) for _, status, code in answers} == {(401, "unauthorized")}, answers


@requirement("scope.unauthorized")
@pytest.mark.parametrize("route", sorted(OPERATORS))
def test_pages_of_operators_are_for_operators(gate: Gate, route: str) -> None:
    for bearer in (gate.key(), gate.key(role="ops", scopes=["acme"])):
        answer = gate.ask("GET", fill(route), None, bearer)
        assert (answer.status, answer.code) == (403, "forbidden")
    assert gate.ask("GET", fill(route), None, gate.key(role="ops")).status == 200


@requirement("http.scope-required")
@pytest.mark.parametrize("route", sorted(set(ROUTES) - OPERATORS))
def test_no_route_is_reached_without_the_scope_that_is_required(gate: Gate, route: str) -> None:
    answers = served(gate, route, gate.key(agents=["strict"]), "?agentId=strict")
    assert answers
    assert {(status, code) for _, status, code in answers} == {(400, "scope_required")}, answers


def test_what_is_open_is_open(gate: Gate) -> None:
    for route in sorted(OPEN - {"favicon.ico"}):
        assert gate.ask("GET", f"/{route}").status == 200, route


@requirement("scope.staff-page")
def test_staff_come_in_by_their_cookie_and_change_nothing_by_it_alone(gate: Gate) -> None:
    away = gate.ask("GET", "/?scope_id=acme")
    assert (away.status, away.headers["location"]) == (
        302, "/admin/login/?next=%2F%3Fscope_id%3Dacme",
    )  # fmt: skip
    for groups, role in ((("operators",), "user"), (("operators", "admin"), "admin")):
        cookie = gate.sign_in(f"staff-{role}", groups)
        page = gate.ask("GET", "/?scope_id=acme", Cookie=cookie)
        assert page.status == 200
        config = re.search(r'<script id="chat-config"[^>]*>(.*?)</script>', page.body.decode())
        assert config
        token = json.loads(config[1])["csrfToken"]
        both = (
            f"{cookie}; csrftoken={page.headers['set-cookie'].split('csrftoken=')[1].split(';')[0]}"
        )
        assert gate.ask("GET", "/sessions?scope_id=acme", Cookie=cookie).status == 200
        body = {"message": "x", "agentId": "free", "scope_id": "acme", "session_type": "admin"}
        bare = gate.ask("POST", "/chat", body, Cookie=both)
        assert (bare.status, bare.code) == (403, "csrf_failed")
        forged = gate.ask("POST", "/chat", body, Cookie=both, X_CSRFToken="a" * 32)
        assert (forged.status, forged.code) == (403, "csrf_failed")
        asked = gate.ask("POST", "/chat", body, Cookie=both, X_CSRFToken=token)
        assert asked.status == (200 if role == "admin" else 403), asked.body
        plain = {**body, "session_type": "chat"}
        assert gate.ask("POST", "/chat", plain, Cookie=both, X_CSRFToken=token).status == 200
    customer = gate.sign_in("customer", (), staff=False)
    assert gate.ask("GET", "/sessions", Cookie=customer).status == 401
    assert gate.ask("GET", "/sessions", Cookie="sessionid=" + "x" * 32).status == 401


@requirement("scope.staff-page", "admin.audited")
def test_staff_look_and_act_by_their_groups_and_what_they_do_is_told(gate: Gate) -> None:
    token = "a" * 32
    signed = {"X_CSRFToken": token, "X_Scope_Id": "looked-at"}
    session = gate.chat(gate.key(), scope_id="looked-at").json["sessionId"]
    path = f"/sessions/{session}"

    def cookie(name: str, *groups: str) -> str:
        return f"{gate.sign_in(name, groups)}; csrftoken={token}"

    nobody, viewer = cookie("in-no-group"), cookie("a-viewer", "viewers")
    for method, where in (("GET", path), ("DELETE", path), ("GET", "/api/events?all=1"),
                          ("GET", "/admin/events"), ("GET", "/metrics"), ("GET", "/")):  # fmt: skip
        assert gate.ask(method, where, Cookie=nobody, **signed).status == 403, where
    assert gate.ask("GET", path, Cookie=viewer, **signed).status == 200
    refused = gate.ask("DELETE", path, Cookie=viewer, **signed)
    assert (refused.status, refused.code) == (403, "forbidden")
    assert not gate.query("SELECT 1 FROM operations_auditentry WHERE subject = %s", path)
    operator = cookie("an-operator", "operators")
    assert gate.ask("DELETE", path, Cookie=operator, **signed).status == 204
    told = gate.query(
        "SELECT actor, action, details::jsonb->>'scope' FROM operations_auditentry"
        " WHERE subject = %s", path,
    )  # fmt: skip
    assert told == [("an-operator", "api.delete", "looked-at")]


@requirement("scope.export", "admin.audited")
def test_staff_download_a_scope(gate: Gate) -> None:
    key = gate.key()
    session = gate.chat(key, scope_id="exported").json["sessionId"]
    gate.change(
        "INSERT INTO sessions_app_scope (agent, scope_id, label, context)"
        " VALUES ('free', 'exported', '', '{}') ON CONFLICT DO NOTHING"
    )
    [(scope,)] = gate.query("SELECT id FROM sessions_app_scope WHERE scope_id = 'exported'")
    path = f"/accounts/scopes/{scope}/export"
    client = Client(gate.server, "", "free")
    assert client.ask("GET", path, scope_id=None).status == 403
    cookie = gate.sign_in("clerk", ())
    assert gate.ask("GET", path, Cookie=cookie).status == 403
    said = gate.ask("GET", path, Cookie=gate.sign_in("chief", (), superuser=True))
    assert said.status == 200
    assert [row["id"] for row in said.json["tables"]["sessions_app.session"]] == [session]
    told = gate.query(
        "SELECT actor, subject FROM operations_auditentry WHERE action = 'scope.export'"
    )
    assert told == [("chief", str(scope))]


@requirement("http.body-limit")
def test_a_body_that_is_too_large_can_be_read_about_from_another_origin(gate: Gate) -> None:
    answer = gate.ask("POST", "/widget-actions", b" " * 1_100_000, Origin="http://localhost:5173")
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
    answer = gate.ask("POST", "/widget-actions", b" " * 1_100_000, Origin="https://evil.example")
    assert "access-control-allow-origin" not in answer.headers
