"""Documents found by meaning: embedded beside the transactions, tried again, kept apart."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.fernet import Fernet

from tests.host.test_bus_callers import make_key
from tests.lab import ANTHROPIC, GOOGLE, OPENAI, PRICES, Lab, call, plan
from tests.mcp_server.speaking import MODES, read, speak
from tests.requirements import requirement
from tests.wire_client import Client, eventually

TEXTS = {
    "tent": "A light tent for two people and heavy rain",
    "stove": "A gas stove that boils water in the cold",
    "boots": "Leather boots for long walks in the mountains",
}
ROWS = (
    "SELECT run_id, input, cost_micros FROM sessions_app_modelcall"
    " WHERE scope_id = %s AND purpose = 'embedding'"
)
EMBEDDERS: dict[str, dict[str, Any]] = {
    "openai": {**OPENAI, "model": "text-embedding-3-small"},
    "google": {**GOOGLE, "model": "text-embedding-004"},
}


def write_agent(folder: Path, embedding: dict[str, Any]) -> None:
    (folder / "stores").mkdir(parents=True)
    models = {"main": ANTHROPIC, "simple": OPENAI, "embedding": embedding}
    label = f"{embedding['provider']}/{embedding['model']}"
    prices = {**PRICES, label: {"input": 1, "output": 0}}
    config = {"name": folder.name, "version": "1.0.0", "models": models, "prices": prices}
    (folder / "amodal.json").write_text(json.dumps(config))
    fields = {
        "id": {"type": "string"},
        "text": {"type": "string", "nullable": True},
        "kind": {"type": "string", "nullable": True},
    }
    store = {"name": "wares", "entity": {"name": "Ware", "key": "{id}", "schema": fields}}
    (folder / "stores" / "wares.json").write_text(json.dumps({**store, "embed": ["text"]}))


@pytest.fixture(scope="module")
def vector_lab(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Lab(postgres, tmp_path_factory.mktemp("vectors")) as lab:
        for name, embedding in EMBEDDERS.items():
            write_agent(lab.agents / f"wares-{name}", embedding)
        lab.start().wait_ready()
        yield lab


class Shop:
    """The store of one agent in a scope of its own."""

    def __init__(self, client: Client, agent: str) -> None:
        self.client, self.agent, self.scope = client, agent, f"v-{uuid.uuid4().hex[:10]}"

    async def ask(self, method: str, body: Any = None, **query: str) -> Any:
        asked = {"agentId": self.agent, "scope_id": self.scope, **query}
        text = "&".join(f"{name}={value.replace(' ', '%20')}" for name, value in asked.items())
        return (await self.client.ask(method, f"/api/stores/wares?{text}", body)).json

    async def put(self, name: str, text: str | None, kind: str = "ware") -> None:
        stored = await self.ask("POST", {"id": name, "text": text, "kind": kind})
        assert stored["stored"] is True, stored

    async def near(self, text: str, **query: str) -> list[str]:
        found = await self.ask("GET", similar=text, **query)
        return [each["key"] for each in found["documents"]]

    async def settled(self) -> None:
        async def none_pending() -> bool:
            return bool((await self.ask("GET", similar="anything"))["pending"] == 0)

        await eventually(none_pending)


@pytest.fixture(params=EMBEDDERS)
def shop(vector_lab: Lab, http: aiohttp.ClientSession, request: pytest.FixtureRequest) -> Shop:
    return Shop(Client(http, vector_lab.servers[0].url), f"wares-{request.param}")


@requirement("scope.store-vectors")
async def test_the_nearest_come_first_within_the_scope(shop: Shop) -> None:
    other = Shop(shop.client, shop.agent)
    await other.put("foreign", TEXTS["tent"])
    for name, text in TEXTS.items():
        await shop.put(name, text)
    await shop.put("nameless", None)
    await shop.settled()
    assert (await shop.near("tent for rain"))[0] == "tent"
    assert (await shop.near("boils water on gas"))[0] == "stove"
    assert set(await shop.near("anything")) == set(TEXTS)
    await shop.put("tent", TEXTS["boots"])
    await shop.settled()
    assert set((await shop.near("long walks mountains"))[:2]) == {"tent", "boots"}
    filtered = await shop.near("tent for rain", filter='{"id":"stove"}')
    assert filtered == ["stove"]


async def test_the_tool_finds_by_meaning_too(shop: Shop) -> None:
    await shop.put("tent", TEXTS["tent"])
    await shop.put("stove", TEXTS["stove"])
    await shop.settled()
    tool = call("query_store", store="wares", similar="gas and water", limit=1)
    stream = await shop.client.of(shop.agent).talk(plan({"tools": [tool]}, {}), scope_id=shop.scope)
    told = json.loads(stream.all("tool_call_result")[0].data["result"])
    assert [each["key"] for each in told["documents"]] == ["stove"]
    assert told["documents"][0]["meta"]["similarity"] > 0.3


@requirement("runs.beside")
async def test_each_scope_pays_for_its_vectors(shop: Shop, vector_lab: Lab) -> None:
    await shop.put("tent", TEXTS["tent"])
    await shop.settled()
    tool = call("query_store", store="wares", similar="gas and water")
    stream = await shop.client.of(shop.agent).talk(plan({"tools": [tool]}, {}), scope_id=shop.scope)

    async def counted() -> bool:
        return len(vector_lab.query(ROWS, shop.scope)) >= 3

    await eventually(counted)
    rows = vector_lab.query(ROWS, shop.scope)
    assert all(tokens > 0 and cost == tokens for _, tokens, cost in rows), rows
    assert {run for run, _, _ in rows} == {"", stream.run_id}
    whole = "SELECT input, cost_micros FROM sessions_app_run WHERE id = %s"
    parts = (
        "SELECT sum(input)::int, sum(cost_micros)::int FROM sessions_app_modelcall"
        " WHERE run_id = %s"
    )

    async def adds_up() -> bool:  # two looks, and a title's call may come between them
        return vector_lab.query(whole, stream.run_id) == vector_lab.query(parts, stream.run_id)

    await eventually(adds_up)


@requirement("runs.beside")
async def test_what_no_budget_is_left_for_is_not_embedded(shop: Shop, vector_lab: Lab) -> None:
    vector_lab.change(
        "INSERT INTO operations_budget (kind, agent, scope_id, subject, period, \"limit\", soft,"
        " changed_at) VALUES ('scope', %s, %s, '', 'day', 0.000001, 0.8, now())",
        shop.agent, shop.scope,
    )  # fmt: skip

    async def refused() -> bool:
        told = await shop.ask("GET", similar="anything")
        return bool(told.get("error", {}).get("code") == "budget_exceeded")

    await eventually(refused)
    await shop.put("tent", TEXTS["tent"])

    async def waits() -> bool:
        told = vector_lab.query(
            "SELECT problem FROM stores_app_documentvector WHERE scope_id = %s", shop.scope
        )
        return any("budget" in problem for (problem,) in told)

    await eventually(waits)


@requirement("scope.store-vectors-wait")
async def test_what_waits_for_its_vector_is_found_otherwise_and_says_so(
    shop: Shop, vector_lab: Lab
) -> None:
    await shop.put("bad", "unlucky @@fail@@ tent")
    listed = await shop.ask("GET", search="unlucky")
    assert [each["key"] for each in listed["documents"]] == ["bad"]
    assert listed["documents"][0]["meta"]["embedding"] == "pending"
    await shop.put("good", "lucky tent")

    async def found() -> bool:
        return await shop.near("lucky tent") == ["good"]

    await eventually(found)
    assert (await shop.ask("GET", similar="x"))["pending"] == 1

    async def tried() -> bool:
        rows = vector_lab.query(
            "SELECT attempts, problem FROM stores_app_documentvector WHERE scope_id = %s"
            " AND vector IS NULL",
            shop.scope,
        )
        return bool(rows[0][0] >= 1 and "overloaded" in rows[0][1])

    await eventually(tried)
    await shop.put("bad", "a repaired tent")
    await shop.settled()
    assert set(await shop.near("tent")) == {"good", "bad"}


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"similar": "x", "sort": "id"}, "exclude each other"),
        ({"similar": " "}, "blank"),
        ({"similar": "x", "filter": '{"id":{"$near":1}}'}, "$near"),
    ],
)
async def test_questions_that_mean_nothing_are_refused(
    vector_lab: Lab, http: aiohttp.ClientSession, query: dict[str, str], problem: str
) -> None:
    shop = Shop(Client(http, vector_lab.servers[0].url), "wares-openai")
    assert problem in json.dumps(await shop.ask("GET", **query))


async def test_documents_from_before_get_vectors_too(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab = lone_lab()
    write_agent(lab.agents / "wares-openai", EMBEDDERS["openai"])
    lab.change(
        "INSERT INTO stores_app_document (agent, scope_id, store, key, version, shared, payload)"
        " VALUES ('wares-openai', 'old', 'wares', 'tent', 1, false, %s)",
        json.dumps({"id": "tent", "text": TEXTS["tent"], "kind": None}),
    )
    shop = Shop(Client(http, lab.start().wait_ready().url), "wares-openai")
    shop.scope = "old"

    async def found() -> bool:
        return await shop.near("tent") == ["tent"]

    await eventually(found)


@requirement("runs.beside", "mcp.resources", "scope.canary")
async def test_a_question_is_its_keys_to_pay_and_holds_no_credential_of_its_scope(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    secret, seal = "a-tent-that-nobody-knows", Fernet.generate_key().decode()
    lab = lone_lab(AGENT_AUTH="key", AGENT_SECRET_KEYS=seal)
    write_agent(lab.agents / "wares-openai", EMBEDDERS["openai"])
    lab.change(
        "INSERT INTO sessions_app_scope (agent, scope_id, label, context)"
        " VALUES ('wares-openai', 'old', '', '{}')"
    )
    lab.change(
        "INSERT INTO sessions_app_scopecredential (agent, scope_id, name, connection, value)"
        " VALUES ('wares-openai', 'old', 'PIN', '', %s)",
        Fernet(seal).encrypt(secret.encode()),
    )
    lab.change(  # as from before the credential was saved
        "INSERT INTO stores_app_document (agent, scope_id, store, key, version, shared, payload)"
        " VALUES ('wares-openai', 'old', 'wares', 'tent', 1, false, %s)",
        json.dumps({"id": "tent", "text": f"It is {secret}", "kind": None}),
    )
    url, bearer = lab.start().wait_ready().url, {"Authorization": make_key(lab)}

    async def found() -> bool:
        path = f"/api/stores/wares?agentId=wares-openai&scope_id=old&similar={secret}"
        told = (await Client(http, url).ask("GET", path, **bearer)).json
        return [each["key"] for each in told["documents"]] == ["tent"]

    await eventually(found)
    paid = "SELECT count(key_id), count(*) FROM sessions_app_modelcall WHERE purpose = 'embedding'"
    [(by_key, _)] = lab.query(paid)
    async with speak(f"{url}/mcp/wares-openai?scope_id=old", MODES[-1], bearer) as mcp:
        near = await read(mcp, f"store://wares?similar={secret}")
    assert [each["key"] for each in near["documents"]] == ["tent"]

    async def counted() -> bool:
        return bool(lab.query(paid)[0][0] == by_key + 1)

    await eventually(counted)
    asked = [each for each in lab.fake.fake.requests if each.vendor == "embeddings"]
    assert len(asked) >= 3
    assert all("[REDACTED]" in json.dumps(each.body) for each in asked)
    assert secret not in json.dumps([each.body for each in asked])
