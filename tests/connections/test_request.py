"""`request` against a server on loopback: credentials, tiers, fields, rows."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agentsite.connections.access import NEVER, REVIEW
from agentsite.connections.caller import PLANNING, READ_ONLY, Caller
from agentsite.connections.client import close_guarded_client
from agentsite.connections.prepare import Wish
from agentsite.engine.events import FieldsScrubbed
from agentsite.tools.connections import prepare_wish
from tests.connections.desk import KEY, Desk, answer
from tests.connections.site import Site, hang, redirect, serve_site
from tests.requirements import requirement

ENCODED = base64.b64encode(b"user:0123456").decode()
DEALS = [
    {"id": 1, "owner_id": "7", "sum": 10},
    {"id": 2, "owner_id": "8", "sum": 20},
    {"id": 3, "sum": 30},
]
FROM_ENV = "env:CRM_KEY"
MINE = {"Deal": {"owner_id": {"type": "field_match", "userContextField": "me", "label": "yours"}}}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as site:
        yield site
        await close_guarded_client()


def auth(kind: str, token: str = FROM_ENV, **more: str) -> dict[str, Any]:
    return {"auth": {"type": kind, "token": token, **more}}


@requirement("reference.request-auth")
@pytest.mark.parametrize(
    ("spec", "name", "value"),
    [
        (auth("bearer"), "authorization", f"Bearer {KEY}"),
        (auth("api_key"), "x-api-key", KEY),
        (auth("api_key", header="Key", prefix="Token"), "key", f"Token {KEY}"),
        (auth("header", header="X-Pass"), "x-pass", KEY),
        (
            auth("basic", "user:0123456"),
            "authorization",
            f"Basic {ENCODED}",
        ),
        ({"headers": {"X-Version": "env:CRM_KEY"}}, "x-version", KEY),
        (auth("bearer", "scope:CRM"), "authorization", "Bearer of-acme-0123"),
    ],
)
async def test_brings_credentials_that_never_come_back(
    site: Site, tmp_path: Path, spec: dict[str, Any], name: str, value: str
) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.json_response({"told": dict(request.headers)})

    site.pages["/echo"] = echo
    desk = Desk(tmp_path, site, spec=spec)
    desk.credentials["CRM"] = "of-acme-0123"
    told = await desk.get("/echo", headers={"Accept": "application/json"})
    assert site.seen[0].headers[name] == value
    assert value.rpartition(" ")[2] not in str(told)
    refused = await desk.get("/echo", headers={name.title(): "mine"})
    assert "set by the server" in refused
    desk.credentials.clear()
    if "scope:CRM" in str(spec):
        assert 'no credential "CRM"' in await desk.get("/echo")


@requirement("reference.request-tiers")
async def test_tiers_hold_for_every_method(site: Site, tmp_path: Path) -> None:
    rules = {
        "GET /keys": {"confirm": "never"},
        "GET /files": {"confirm": "review"},
        "GET /bank": {"confirm": True, "reason": "Account numbers"},
        "POST /refunds": {
            "confirm": True,
            "reason": "Money leaves",
            "thresholds": [{"field": "body.amount", "above": 500, "escalate": "review"}],
        },
    }
    access = {"endpoints": rules, "delegations": {"escalateConfirm": True}}
    desk = Desk(tmp_path, site, access=access)
    assert await desk.get("/keys") == f"Permission denied: {NEVER}"
    assert await desk.get("/files") == f"Permission denied: {REVIEW}"
    assert "needs the approval of a person" in await desk.get("/bank")
    large = {"data": {"amount": 501}, "intent": "confirmed_write"}
    desk.approved = True
    told = await desk.send("POST", "/refunds", **large)
    assert told == "Permission denied: Threshold escalation: Money leaves"
    told = await desk.send("POST", "/refunds", data={"amount": 5}, intent="read")
    assert told == 'POST requires intent "write" or "confirmed_write", not "read"'
    assert site.seen == []
    assert (await desk.send("POST", "/refunds", data={"amount": 5}))["status"] == 200
    assert site.seen[0].headers["idempotency-key"] == "tc_1"
    many = [{"amount": 1}] * 6
    assert "6 items at once" in await desk.send("POST", "/refunds", data=many)
    desk.caller = desk.caller.delegate()
    told = await desk.get("/bank")
    assert told == "Permission denied: Delegated agent escalation: Account numbers"
    for caller, sentence in (
        (Caller(read_only=True), READ_ONLY),
        (Caller(planning=True), PLANNING),
    ):
        desk.caller = caller
        assert await desk.send("POST", "/notes", data={}) == sentence
        assert (await desk.get("/notes"))["status"] == 200


async def test_asks_with_what_will_be_sent(site: Site, tmp_path: Path) -> None:
    inject = {"tenant": {"in": "body", "field": "tenant_id"}}
    access = {"endpoints": {"POST /refunds/{id}": {"confirm": True, "reason": "Money leaves"}}}
    desk = Desk(tmp_path, site, access=access, spec={"contextInjection": inject})
    caller = Caller(context={"tenant": "acme"})
    arguments = {
        "connection": "crm",
        "method": "POST",
        "endpoint": "/Refunds/{id}?fast=1",
        "params": {"id": "7"},
        "data": {"amount": 5},
    }
    wanted = desk.tool().find_question(caller, arguments)
    assert wanted is not None
    assert (wanted.reason, wanted.connection, wanted.method) == ("Money leaves", "crm", "POST")
    assert wanted.params == {
        "path": "/Refunds/7",
        "query": {"fast": "1"},
        "data": {"amount": 5, "tenant_id": "acme"},
    }
    assert desk.tool().find_question(caller, {**arguments, "method": "GET"}) is None


@requirement("reference.request-fields")
async def test_restricted_fields_are_taken_out_wherever_they_stand(
    site: Site, tmp_path: Path
) -> None:
    access = {
        "endpoints": {
            "GET /contacts": {"returns": ["Contact"]},
            "GET /accounts": {"returns": ["Account"]},
        },
        "fieldRestrictions": [
            {"entity": "Contact", "field": "ssn", "policy": "never_retrieve"},
            {"entity": "Contact", "field": "phone", "policy": "retrieve_but_redact"},
            {
                "entity": "Contact",
                "field": "salary",
                "policy": "role_gated",
                "allowedRoles": ["hr"],
            },
        ],
        "alternativeLookups": [
            {"restrictedField": "Contact.ssn", "alternativeEndpoint": "GET /contacts/{id}/status"}
        ],
    }
    person = {"name": "Eve", "ssn": "1", "SSN": "2", "Phone": "3", "salary": 4}
    clean = {"name": "Eve", "Phone": "[REDACTED]"}
    desk = Desk(tmp_path, site, access=access)
    site.pages["/contacts"] = answer({"data": [person, {"deep": [[person]]}]})
    told = await desk.get("/contacts")
    assert told["data"] == {"data": [clean, {"deep": [[clean]]}]}
    assert told["fields_stripped"] == 8
    assert told["alternatives"] == ["Contact.ssn: GET /contacts/{id}/status"]
    assert FieldsScrubbed("crm", "GET /contacts", 8) in desk.events
    texts = {"note": '{"ssn": "1", "x": 1}', "primaryContact": person, "ssn": "of the account"}
    site.pages["/accounts"] = answer([texts])
    told = (await desk.get("/accounts"))["data"]
    assert told == [{**texts, "primaryContact": clean}]  # an account's own field stays
    site.pages["/anything"] = answer(texts)
    told = (await desk.get("/anything"))["data"]
    assert told == {"note": '{"x": 1}', "primaryContact": clean}
    desk.caller = Caller(user={"roles": ["hr"]})
    assert (await desk.get("/contacts"))["data"]["data"][0]["salary"] == 4
    for probe in ({"ssn": "1"}, {"sort": "-SSN"}, {"filter[ssn]": "1"}, {"fields": "name,ssn"}):
        assert "Contact.ssn is restricted" in await desk.get("/contacts", params=probe)
    aliased = {"query": "{contacts {number: ssn}}"}
    assert "is restricted" in await desk.send("POST", "/graphql", data=aliased)

    async def table(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="name,ssn\nEve,1", content_type="text/csv")

    site.pages["/contacts"] = table
    assert "is not JSON" in await desk.get("/contacts")


@requirement("reference.request-rows")
async def test_rows_of_others_are_left_out(site: Site, tmp_path: Path) -> None:
    access = {
        "endpoints": {
            "GET /deals": {"returns": ["Deal"]},
            "GET /accounts": {"returns": ["Account"]},
            "GET /health": {"returns": []},
        },
        "rowScoping": MINE,
    }
    desk = Desk(tmp_path, site, access=access)
    own = DEALS[:1]
    shapes: list[tuple[Any, Any]] = [
        (DEALS, own),
        ({"data": DEALS, "total": 3, "sum": 60}, {"refused": True}),
        ({"data": DEALS, "total": 3}, {"data": own, "total": 3}),
        ({"result": {"deals": DEALS}, "meta": {"deals": DEALS}}, None),
        ({"data": {"items": DEALS}}, {"data": {"items": own}}),
        (DEALS[0], DEALS[0]),
        (DEALS[1], {"refused": True}),
        (DEALS[2], {"refused": True}),
        ([2, "secret"], []),
        ({**DEALS[1], "items": DEALS}, {"refused": True}),
        ("text", {"refused": True}),
        ([{**DEALS[0], "related_deals": DEALS}], [{**DEALS[0], "related_deals": own}]),
        ([{"owner_id": ["7", "8"]}, {"owner_id": True}, {"owner_id": None}], []),
    ]
    for sent, seen in shapes:
        site.pages["/deals"] = answer(sent)
        told = await desk.get("/deals")
        if seen == {"refused": True}:
            assert isinstance(told, str), sent
        elif seen is None:
            assert '"8"' not in str(told), sent
            assert "'8'" not in str(told), sent
        else:
            assert told["data"] == seen, sent
            assert told["rows"] == "yours"
    site.pages["/accounts"] = answer([{"name": "Inc", "deals": DEALS, "open_deal": DEALS[1]}])
    told = await desk.get("/accounts")
    assert told["data"] == [{"name": "Inc", "deals": own, "open_deal": None}]
    assert told["rows_hidden"] == 3
    assert "does not say what this endpoint returns" in await desk.get("/deals/search")
    assert (await desk.get("/health"))["status"] == 200
    desk.caller = Caller()
    site.pages["/deals"] = answer(DEALS)
    assert (await desk.get("/deals"))["data"] == []


async def test_rows_by_role_and_through_relations(site: Site, tmp_path: Path) -> None:
    roles = {
        "rep": {"type": "field_match", "userContextField": "owner_id"},
        "chief": {"type": "all"},
    }
    through = {"deal": {"type": "through_relation", "throughEntity": "Deal"}}
    access = {
        "endpoints": {
            "GET /deals": {"returns": ["Deal"]},
            "GET /notes": {"returns": ["Note"]},
        },
        "rowScoping": {"Deal": roles, "Note": through},
    }
    desk = Desk(tmp_path, site, access=access)
    site.pages["/deals"] = answer(DEALS)
    site.pages["/notes"] = answer(
        [{"n": 1, "deal": DEALS[0]}, {"n": 2, "deal": DEALS[1]}, {"n": 3, "deal_id": 1}]
    )
    seen = {
        "rep": ([1], [1]),
        "chief": ([1, 2, 3], [1, 2]),
        "guest": ([], []),
    }
    for role, (deals, notes) in seen.items():
        desk.caller = Caller(user={"role": role}, context={"owner_id": "7"})
        assert [row["id"] for row in (await desk.get("/deals"))["data"]] == deals, role
        assert [row["n"] for row in (await desk.get("/notes"))["data"]] == notes, role


async def test_redirects_obey_the_same_rules(site: Site, tmp_path: Path) -> None:
    access = {"endpoints": {"GET /keys": {"confirm": "never"}}}
    inject = {"me": {"in": "query", "field": "tenant_id"}}
    desk = Desk(tmp_path, site, access=access, spec={"contextInjection": inject, **auth("bearer")})
    for place in ("/keys", "/x/../keys", "/KEYS/", "/other?tenant_id=8", "http://127.0.0.1:1/"):
        site.pages["/go"] = redirect(place)
        assert isinstance(await desk.get("/go"), str), place
        assert [seen.target for seen in site.seen] == ["/go?tenant_id=7"]
        site.seen.clear()
    site.pages["/go"] = redirect("/fine?tenant_id=7")
    assert (await desk.get("/go"))["status"] == 200
    assert site.seen[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_a_value_in_the_base_address_is_asked_of_no_path(site: Site, tmp_path: Path) -> None:
    inject = {"me": {"in": "path", "field": "tenant", "required": True}}
    site.pages["/t/7/go"] = redirect("/t/7/there")
    desk = Desk(
        tmp_path, site, spec={"baseUrl": site.url("/t/{tenant}"), "contextInjection": inject}
    )
    assert (await desk.get("/go"))["data"] == {"path": "/t/7/there"}
    site.pages["/t/7/go"] = redirect("/t/8/there")
    assert await desk.get("/go") == "The server redirects out of the connection's base address."


def test_what_is_excluded_may_not_be_looked_at_with_head(site: Site, tmp_path: Path) -> None:
    desk = Desk(tmp_path, site, surface="### GET /a\n## Excluded\n### GET /hidden/{id}\n")
    for method, tier in (("GET", "never"), ("HEAD", "never"), ("POST", "allow")):
        prepared = prepare_wish(desk.bundle, Wish("crm", method, "/hidden/7"), desk.caller)
        assert prepared.decision.tier == tier


async def test_answers_of_all_kinds(site: Site, tmp_path: Path) -> None:
    async def picture(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\xff\xfe\x00\x01", content_type="application/pdf")

    site.pages |= {"/empty": answer(None), "/no": answer({"error": "gone"}, 404), "/pdf": picture}
    desk = Desk(tmp_path, site)
    assert (await desk.get("/no")) == {"status": 404, "data": {"error": "gone"}}
    assert (await desk.get("/pdf"))["data"] == "[binary answer: application/pdf, 4 bytes]"
    assert "There is no connection" in await desk.call(
        "request", connection="erp", method="GET", endpoint="/"
    )
    desk.seconds = 0.4
    site.pages["/hang"] = hang
    assert "no answer within" in await desk.get("/hang")
