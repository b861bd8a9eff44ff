"""The tools of stores: what models may do, and that no argument reaches another scope."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agentsite.engine.messages import ToolCallPart
from agentsite.host.prompt import compile_prompt
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.stores import Failure
from agentsite.rows.tenancy import acting_for
from agentsite.rows.units import close_units, unit
from agentsite.tools.base import ToolError
from agentsite.tools.executor import Settled, run_calls
from agentsite.tools.store_access import open_store, pause_before
from agentsite.tools.toolset import build_toolset
from stores_app.models import Document
from tests.requirements import requirement
from tests.servers import test_database_url
from tests.stores_app.conftest import SPECS
from tests.tools.agents import Calls, write_agent

TOOL_JSON = {"description": "d", "parameters": {"type": "object"}}
HANDLER = """
async def handle(params, ctx):
    first = await ctx.store("orders", {"number": "h", "state": "new"})
    second = await ctx.store("orders", {"number": "h", "state": "sent"}, if_version=1)
    return [first, second]
"""
IN_A_THREAD = """
import asyncio
def handle(params, ctx):
    return asyncio.run(ctx.store("orders", params))
"""


class Desk:
    """An agent with stores, called in one scope."""

    def __init__(self, root: Path, **changes: dict[str, Any]) -> None:
        stores = {
            f"stores/{name}.json": {"name": name, **spec, **changes.get(name, {})}
            for name, spec in SPECS.items()
        }
        tools = {
            "tools/write_two/tool.json": TOOL_JSON,
            "tools/write_two/handler.py": HANDLER,
            "tools/threaded/tool.json": TOOL_JSON,
            "tools/threaded/handler.py": IN_A_THREAD,
        }
        self.bundle = write_agent(root, {**stores, **tools})
        self.calls = Calls(self.bundle)
        self.tools = build_toolset(self.bundle)
        self.count = 0

    async def settle(
        self, name: str, arguments: Any, *, scope: str = "acme", id: str = ""
    ) -> Settled:
        """How a call ends, run as the host runs it."""
        self.count += 1
        found: list[Settled] = []

        def context(call: ToolCallPart, deadline: float) -> Any:
            made = self.calls.context(call.name, call.id, deadline)
            made.scope_id = scope
            return made

        async def settled(call: ToolCallPart, how: Settled) -> None:
            found.append(how)

        part = ToolCallPart(id or f"tc_{self.count}", name, arguments)
        with acting_for(scope):
            await run_calls(
                [part], self.tools, context, concurrency=1, timeout_s=10, settled=settled,
                backoff_s=(0.0, 0.0),
            )  # fmt: skip
        return found[0]

    async def ok(self, name: str, **arguments: Any) -> Any:
        """The JSON of a call that succeeds."""
        settled = await self.settle(name, arguments)
        assert settled.status == "ok", settled.result.text
        return json.loads(settled.result.text)

    async def fail(self, name: str, arguments: Any, **more: Any) -> str:
        """The text of a call that fails."""
        settled = await self.settle(name, arguments, **more)
        assert settled.status == "error", settled.result.text
        return settled.result.text


@pytest.fixture
async def make_desk(transactional_db: None, tmp_path: Path) -> AsyncIterator[Callable[..., Desk]]:
    """Desks whose stores differ from those above."""
    yield lambda **changes: Desk(tmp_path, **changes)
    await close_units()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


@requirement("scope.store-tools")
async def test_documents_are_stored_queried_and_deleted(desk: Desk) -> None:
    stored = await desk.ok("store_orders", number="1", state="new", total=5)
    assert stored == {"stored": True, "key": "1", "version": 1}
    again = await desk.ok("store_orders", number="1", state="sent", total=7, ifVersion=1)
    assert again == {"stored": True, "key": "1", "version": 2, "previousVersion": 1}
    batch = await desk.ok("store_orders_batch", items=[{"number": "2", "state": "new"}, {}])
    assert (batch["stored"], batch["failed"], batch["total"]) == (1, 1, 2)
    found = await desk.ok("query_store", store="orders", key="1")
    assert (found["found"], found["payload"]["total"], found["meta"]["stale"]) == (True, 7, False)
    assert await desk.ok("query_store", store="orders", key="9") == {"found": False, "key": "9"}
    question = {"filter": {"total": {"$gt": 1}}, "sort": "-total", "limit": 5}
    page = await desk.ok("query_store", store="orders", **question)
    assert [doc["key"] for doc in page["documents"]] == ["1"]
    assert (page["total"], page["hasMore"]) == (1, False)
    history = await desk.ok("query_store_history", store="orders", key="1")
    assert [doc["version"] for doc in history["history"]] == [1]
    trace = history["current"]["meta"]["trace"]
    assert (trace["runId"], trace["tool"]) == ("r_1", "store_orders")
    assert trace["arguments"] == {"number": "1", "state": "sent", "total": 7}
    assert await desk.ok("delete_from_store", store="orders", key="1") == {
        "deleted": True,
        "key": "1",
    }
    assert (await desk.ok("query_store", store="orders"))["total"] == 1


async def test_refusals_are_told_in_the_stores_words(desk: Desk) -> None:
    wrong = {"number": "1", "stat": "new"}
    text = await desk.fail("store_orders", wrong)
    assert text.startswith('Not a document of store "orders": ')
    assert '"stat" is not a field; did you mean "state"?' in text
    assert '"state" is required' in text
    await desk.ok("store_orders", number="1", state="new")
    late = {"number": "1", "state": "new", "ifVersion": 7}
    assert "is at version 1, not at version 7" in await desk.fail("store_orders", late)
    assert '"ifVersion"' in await desk.fail("store_orders", {**late, "ifVersion": "x"})
    shared = await desk.fail("store_rates", {"code": "x"})
    assert shared == 'Store "rates" is shared (read-only) — writes are not allowed'
    unknown = await desk.fail("query_store", {"store": "nope"})
    assert "nope" in unknown
    assert "is a number" in await desk.fail(
        "query_store", {"store": "orders", "filter": {"total": "x"}}
    )
    assert 'has no document "9"' in await desk.fail(
        "delete_from_store", {"store": "orders", "key": "9"}
    )
    for items in ({}, {"items": []}, {"items": [1] * 501}, {"items": 1}, {"items": [], "x": 1}):
        assert "items" in await desk.fail("store_orders_batch", items)


@requirement("scope.handles")
async def test_no_argument_names_another_scope(desk: Desk) -> None:
    await desk.ok("store_orders", number="1", state="new", note="secret")
    for tool in desk.tools.values():
        if "store" in tool.name:
            assert not {"scope", "scope_id", "scopeId", "agent"} & set(
                tool.parameters["properties"]
            )
    for arguments in ({"store": "orders"}, {"store": "orders", "search": "secret"}):
        settled = await desk.settle("query_store", arguments, scope="other")
        assert json.loads(settled.result.text)["total"] == 0
    one = {"store": "orders", "key": "1"}
    settled = await desk.settle("query_store", one, scope="other")
    assert json.loads(settled.result.text) == {"found": False, "key": "1"}
    assert "scope_id" in await desk.fail("query_store", {**one, "scope_id": "acme"}, scope="other")
    stolen = {"number": "1", "state": "new", "scope_id": "acme"}
    assert '"scope_id" is not a field' in await desk.fail("store_orders", stolen, scope="other")
    await desk.fail("delete_from_store", one, scope="other")


async def test_a_call_that_is_made_again_changes_nothing(desk: Desk) -> None:
    given = {"number": "1", "state": "new"}
    results = [await desk.settle("store_orders", given, id="tc_x") for _ in range(2)]
    assert results[0].result == results[1].result
    for _ in range(2):
        settled = await desk.settle("delete_from_store", {"store": "orders", "key": "1"}, id="tc_y")
        assert settled.status == "ok"
    tools = desk.tools
    assert all(tool.idempotent for name, tool in tools.items() if "store" in name)
    assert {name for name, tool in tools.items() if "store" in name and tool.read_only} == {
        "query_store",
        "query_store_history",
    }


async def test_handlers_store_too(desk: Desk) -> None:
    first, second = await desk.ok("write_two")
    assert (first["version"], second["version"]) == (1, 2)
    assert (await desk.ok("threaded", number="t", state="new"))["key"] == "t"
    assert '"state" is required' in await desk.fail("threaded", {"number": "t"})
    with acting_for("acme"):
        row = await unit(Document.objects.get, key="h")
    assert (row.scope_id, row.agent, row.trace["source"]) == ("acme", "desk", "handler")


async def test_a_write_is_tried_again_when_the_database_was_busy(
    make_desk: Callable[..., Desk],
) -> None:
    failure = {"failure": {"retries": 1, "backoff": "none", "deadLetter": True}}
    desk = make_desk(orders=failure)
    given = {"number": "1", "state": "new"}
    with psycopg.connect(test_database_url(), autocommit=True) as other:
        with other.transaction():
            other.execute("LOCK TABLE stores_app_document IN EXCLUSIVE MODE")
            waiting = asyncio.create_task(desk.settle("store_orders", given))
            await wait_until_blocked(other)
            other.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        settled = await waiting
    assert settled.status == "ok", settled.result.text


async def wait_until_blocked(other: psycopg.Connection[Any]) -> None:
    """Return once somebody waits for a lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while other.execute(query).fetchone() == (0,):  # noqa: ASYNC110 - another's backend
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [("none", [0, 0, 0]), ("linear", [0.2, 0.4, 0.6]), ("exponential", [0.2, 0.4, 0.8])],
)
def test_pauses_grow_as_the_store_says(backoff: str, pauses: list[float]) -> None:
    failure = Failure.model_validate({"retries": 3, "backoff": backoff})
    assert [pause_before(failure, n) for n in range(3)] == pytest.approx(pauses)


def test_the_prompt_tells_of_stores_behind_knowledge(tmp_path: Path) -> None:
    files = {f"stores/{name}.json": {"name": name, **spec} for name, spec in SPECS.items()}
    prompt = compile_prompt(write_agent(tmp_path, {**files, "knowledge/a.md": "Fact."}))
    assert prompt.index("# Knowledge base") < prompt.index("# Stores")
    assert "- **rates** (Rate): Shared by all, read-only. Key `{code}`." in prompt
    assert 'state: "new" | "sent" | "lost"' in prompt
    assert "lines: list of {sku: string, qty: number} or null" in prompt
    assert "# Stores" not in compile_prompt(write_agent(tmp_path / "b", {}))


def test_tools_of_stores_have_names_of_their_own(tmp_path: Path) -> None:
    customers = SPECS["customers"]
    clashes = {
        "stores/orders-batch.json": {"name": "orders-batch", **customers},
        "stores/orders.json": {"name": "orders", **customers},
    }
    with pytest.raises(ManifestError, match='another tool "store_orders_batch"'):
        write_agent(tmp_path / "a", clashes)
    own = {
        "stores/orders.json": {"name": "orders", **customers},
        "tools/store_orders/tool.json": TOOL_JSON,
        "tools/store_orders/handler.py": HANDLER,
    }
    with pytest.raises(ManifestError, match='another tool "store_orders"'):
        write_agent(tmp_path / "b", own)


def test_unknown_stores_are_an_error_for_handlers(tmp_path: Path) -> None:
    calls = Calls(write_agent(tmp_path, {}))
    with pytest.raises(ToolError, match=r'Store "x" not found\. Stores: none'):
        open_store(calls.context(), "x")
