"""`/api/stores` over real HTTP, beside an agent that writes to the same documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

from agentsite.host import store_fields
from tests.requirements import requirement
from tests.server import Client, session_of
from tests.servers import Server, fresh_database
from tests.stores_app.conftest import SPECS

SCRIPT = {
    "replies": [
        {"when": {"user": "^USER: "}, "text": "Title"},
        {"when": {"turn": 1}, "text": "Done."},
        {
            "when": {"user": "store"},
            "tool_calls": [
                {"name": "store_orders", "arguments": {"number": "tool", "state": "new"}}
            ],
        },
        {
            "when": {"user": "query"},
            "tool_calls": [{"name": "query_store", "arguments": {"store": "orders"}}],
        },
        {"text": "Nothing."},
    ]
}
ORDER = {"number": "1", "state": "new", "total": 5}


def write_agents(folder: Path) -> Path:
    for name in ("desk", "second"):
        home = folder / name
        (home / "stores").mkdir(parents=True)
        (home / "scripts").mkdir()
        model = {"main": {"provider": "scripted", "model": "lab"}}
        config = {"name": name, "version": "1.0.0", "models": model}
        (home / "amodal.json").write_text(json.dumps(config))
        (home / "scripts" / "lab.json").write_text(json.dumps(SCRIPT))
        for store, spec in SPECS.items():
            path = home / "stores" / f"{store}.json"
            path.write_text(json.dumps({"name": store, "description": "What is kept", **spec}))
    return folder


@pytest.fixture(scope="module")
def keeping(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("keeping")
    with fresh_database(postgres) as url:
        agents = write_agents(folder / "agents")
        running = Server(url, folder / "data", AGENTS_DIR=str(agents))
        try:
            yield running.wait_ready()
        finally:
            running.close()


@pytest.fixture
def caller(keeping: Server, request: pytest.FixtureRequest) -> Client:
    return Client(keeping, f"t-{request.node.name}"[:150], "desk")


def test_stores_are_listed_with_what_the_caller_has(caller: Client) -> None:
    caller.ask("POST", "/api/stores/orders", ORDER)
    found = caller.get("/api/stores")
    Draft202012Validator(store_fields.STORES).validate(found)
    stores = {store["name"]: store for store in found["stores"]}
    assert set(stores) == set(SPECS)
    orders = stores["orders"]
    assert (orders["documentCount"], orders["trace"]) == (1, True)
    assert orders["history"] == {"versions": 2}
    assert orders["entity"]["key"] == "{number}"
    assert orders["entity"]["schema"]["state"]["values"] == ["new", "sent", "lost"]
    assert stores["rates"]["shared"] is True
    assert caller.ask("GET", "/api/stores", agentId="nobody").code == "agent_not_found"


@requirement("scope.store-rest")
def test_a_document_lives_over_rest(caller: Client) -> None:
    first = caller.ask("POST", "/api/stores/orders", ORDER)
    assert (first.status, first.json) == (201, {"stored": True, "key": "1", "version": 1})
    sent = {**ORDER, "state": "sent"}
    second = caller.ask("PUT", "/api/stores/orders/1", sent, ifVersion=1)
    assert (second.status, second.json["previousVersion"]) == (200, 1)
    late = caller.ask("PUT", "/api/stores/orders/1", sent, ifVersion=1)
    assert (late.status, late.code) == (409, "version_conflict")
    assert late.json["error"]["details"] == {"key": "1", "ifVersion": 1, "version": 2}
    found = caller.get("/api/stores/orders/1")
    Draft202012Validator(store_fields.ONE).validate(found)
    assert found["document"]["payload"]["state"] == "sent"
    assert found["document"]["appId"] == "desk"
    assert found["document"]["meta"]["trace"] == {"source": "api"}
    assert [version["version"] for version in found["history"]] == [1]
    assert caller.ask("DELETE", "/api/stores/orders/1", ifVersion=1).status == 409
    gone = caller.ask("DELETE", "/api/stores/orders/1")
    assert (gone.status, gone.body) == (204, b"")
    assert caller.ask("GET", "/api/stores/orders/1").code == "document_not_found"
    assert caller.ask("PUT", "/api/stores/orders/1", ORDER).status == 201


@requirement("scope.store-query")
def test_lists_are_filtered_sorted_and_paged(caller: Client) -> None:
    for number in range(5):
        order = {"number": f"{number}", "state": "new", "total": number * 5, "note": f"n{number}"}
        assert caller.ask("POST", "/api/stores/orders", order).status == 201
    path = "/api/stores/orders"
    page = caller.get(path, filter='{"total": {"$gte": 5}}', sort="-total", limit=2)
    Draft202012Validator(store_fields.PAGE).validate(page)
    assert [doc["payload"]["total"] for doc in page["documents"]] == [20, 15]
    assert (page["total"], page["hasMore"], page["totalExact"]) == (4, True, True)
    again = {"filter": '{"total": {"$gte": 5}}', "sort": "-total", "limit": 2}
    rest = caller.get(path, **again, cursor=page["cursor"])
    assert [doc["payload"]["total"] for doc in rest["documents"]] == [10, 5]
    assert (rest["hasMore"], rest["cursor"]) == (False, None)
    assert caller.get(path, **again, offset=2)["documents"] == rest["documents"]
    assert [doc["key"] for doc in caller.get(path, search="n3")["documents"]] == ["3"]
    assert caller.get(path, filter='{"stat": 1}')["notes"]
    wrong = caller.ask("GET", path, filter="{")
    assert (wrong.status, wrong.json["error"]["message"]) == (400, "Invalid filter JSON")
    for query in ({"limit": 0}, {"limit": 501}, {"offset": -1}, {"sort": "a b"}, {"cursor": "x"}):
        assert caller.ask("GET", path, **query).status == 400, query


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "nope", None, 404, "store_not_found"),
        ("POST", "nope", {}, 404, "store_not_found"),
        ("POST", "orders", {"number": "1"}, 400, "invalid_document"),
        ("POST", "orders", {**ORDER, "scope_id": "x"}, 400, "invalid_document"),
        ("POST", "orders", b"[]", 400, "invalid_json"),
        ("POST", "orders", b"{", 400, "invalid_json"),
        ("PUT", "orders/2", ORDER, 400, "invalid_document"),
        ("POST", "rates", {"code": "x"}, 403, "store_read_only"),
        ("DELETE", "rates/x", None, 403, "store_read_only"),
        ("DELETE", "orders/x", None, 404, "document_not_found"),
        ("DELETE", "orders/%00", None, 404, "document_not_found"),
        ("GET", "orders/%00", None, 404, "document_not_found"),
        ("PATCH", "orders", {}, 405, "method_not_allowed"),
        ("POST", "orders/1", ORDER, 405, "method_not_allowed"),
    ],
)
def test_what_cannot_be_done_is_told(
    caller: Client, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answer = caller.ask(method, f"/api/stores/{path}", body)
    assert (answer.status, answer.code) == (status, code)


def test_validation_names_every_field(caller: Client) -> None:
    answer = caller.ask("POST", "/api/stores/orders", {"state": "gone", "colour": 1})
    fields = {each["field"] for each in answer.json["error"]["details"]}
    assert fields == {"number", "state", "colour"}
    plain = {"Content-Type": "text/plain"}
    assert caller.ask("POST", "/api/stores/orders", b"{}", headers=plain).status == 415


@requirement("scope.store-rest")
def test_foreign_documents_look_unknown(caller: Client) -> None:
    caller.ask("POST", "/api/stores/orders", ORDER)
    strangers = (
        Client(caller.server, caller.scope + "-b", "desk"),
        Client(caller.server, "", "desk"),
    )
    for stranger in strangers:
        for method, body in (("GET", None), ("DELETE", None)):
            there = stranger.ask(method, "/api/stores/orders/1", body)
            nowhere = stranger.ask(method, "/api/stores/orders/0", body)
            assert (there.status, there.body) == (404, nowhere.body)
        assert stranger.get("/api/stores/orders")["total"] == 0
    assert caller.get("/api/stores/orders", agentId="second")["total"] == 0
    assert caller.ask("GET", "/api/stores/orders/1", agentId="second").status == 404
    assert caller.get("/api/stores/orders")["total"] == 1


def test_shared_stores_are_written_by_the_empty_scope(caller: Client) -> None:
    owner = Client(caller.server, "", "desk")
    assert owner.ask("POST", "/api/stores/rates", {"code": "a/b c", "rate": 2}).status == 201
    found = caller.get(f"/api/stores/rates/{quote('a/b c', safe='')}")
    assert found["document"]["payload"] == {"code": "a/b c", "rate": 2}
    assert caller.get("/api/stores/rates", filter='{"rate": 2}')["total"] == 1


@requirement("scope.store-validation")
def test_tools_and_rest_see_the_same_documents(caller: Client) -> None:
    session_id = session_of(caller.say("store it"))
    document = caller.get("/api/stores/orders/tool")["document"]
    trace = document["meta"]["trace"]
    assert (trace["source"], trace["sessionId"]) == ("tool", session_id)
    assert trace["runId"].startswith("run_")
    assert trace["arguments"] == {"number": "tool", "state": "new"}
    frames = caller.say("query them")
    result = next(frame for frame in frames if frame.event == "tool_call_result")
    assert json.loads(result.data["result"])["documents"][0]["key"] == "tool"
    stranger = Client(caller.server, caller.scope + "-b", "desk")
    frames = stranger.say("query them")
    result = next(frame for frame in frames if frame.event == "tool_call_result")
    assert json.loads(result.data["result"])["total"] == 0


def test_the_document_describes_the_routes() -> None:
    made: Any = SchemaGenerator().get_schema(request=None, public=True)
    routes = {path for path in made["paths"] if path.startswith("/api/stores")}
    assert routes == {"/api/stores", "/api/stores/{name}", "/api/stores/{name}/{key}"}
    post = made["paths"]["/api/stores/{name}"]["post"]
    assert {"201", "400", "403", "404", "409", "503"} == set(post["responses"])
    assert "filter" in {p["name"] for p in made["paths"]["/api/stores/{name}"]["get"]["parameters"]}
