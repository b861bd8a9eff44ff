"""Lists and writes of a large store over REST, and the search of past sessions.

Law: the questions are of many kinds and values, so that no cache of one answers the next.
"""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec

from agentsite.management.bench import rows
from agentsite.management.bench.client import Line
from agentsite.management.bench.figures import Figures, quantiles
from agentsite.management.bench.load import PATIENCE
from agentsite.management.bench.report import STORES
from agentsite.management.bench.stack import Stack
from agentsite.rows.tenancy import PREFIX, SWITCH

ASKED = 60
"""Of each kind of list."""
PUTS = 400
SEARCHES = 200
CITIES = 500
WARM = 5
Chance = random.Random


def lists_of(chance: Chance) -> dict[str, dict[str, Any]]:
    """One question of each kind."""
    total, city = chance.uniform(0, 10_000), f"city {chance.randrange(CITIES)}"
    year = f"20{chance.randrange(20, 24)}-0{chance.randrange(1, 10)}-01T00:00:00Z"
    state = chance.choice(("new", "open", "sent", "lost"))
    return {
        "state, by total": {"filter": {"state": state}, "sort": "-total"},
        "city, by date": {"filter": {"city": city}, "sort": "-placed", "limit": 50},
        "city and state, by total": {"filter": {"city": city, "state": state}, "sort": "total"},
        "total from to, by date": {
            "filter": {"total": {"$gte": total, "$lt": total + 20}}, "sort": "placed"
        },
        "date and state, by total": {
            "filter": {"placed": {"$gte": year}, "state": {"$in": [state, "new"]}}, "sort": "total"
        },
        "all, by date": {"sort": "-placed", "limit": 100},
    }  # fmt: skip


async def measure_stores(stack: Stack, figures: Figures, documents: int, messages: int) -> None:
    """Fill a store and many sessions, then ask."""
    chance = random.Random(7)  # noqa: S311 - the same questions each time
    line = await Line.open(stack.url)
    body = msgspec.json.encode({"message": "Hello", "scope_id": rows.SCOPE})
    _, told = await _ask(line, "POST", "/chat/sync", body)
    session_id = str(msgspec.json.decode(told)["sessionId"])
    await asyncio.to_thread(rows.fill_store, stack.connect, documents)
    with stack.connect() as connection:
        await asyncio.to_thread(rows.settle, connection)
        await asyncio.to_thread(rows.fill_sessions, connection, messages, session_id)
    line.close()
    line = await Line.open(stack.url)
    await _measure_lists(line, figures, documents, chance)
    await _measure_puts(line, figures, documents, chance)
    line.close()
    waits = await asyncio.to_thread(_search, stack, chance)
    figures.add(STORES, f"search_sessions, {messages:,} messages", **quantiles(waits))


async def _ask(line: Line, method: str, path: str, body: bytes = b"") -> tuple[float, bytes]:
    async with asyncio.timeout(PATIENCE):
        answer = await line.ask(method, path, body)
    if answer.status not in (200, 201):
        raise RuntimeError(f"{path} was answered with {answer.status}: {answer.body[:300]!r}")
    return answer.whole_ms, answer.body


async def _measure_lists(line: Line, figures: Figures, documents: int, chance: Chance) -> None:
    every: list[float] = []
    by_kind: dict[str, list[float]] = {}
    for number in range(ASKED + WARM):
        for kind, question in lists_of(chance).items():
            given = {**question, "scope_id": rows.SCOPE}
            if "filter" in question:
                given["filter"] = msgspec.json.encode(question["filter"]).decode()
            waited, _ = await _ask(line, "GET", f"/api/stores/orders?{urlencode(given)}")
            if number >= WARM:
                by_kind.setdefault(kind, []).append(waited)
                every.append(waited)
    for kind, waits in by_kind.items():
        figures.add(STORES, f"list: {kind}", **quantiles(waits))
    figures.add(STORES, f"lists, {documents:,} documents", **quantiles(every))


async def _measure_puts(line: Line, figures: Figures, documents: int, chance: Chance) -> None:
    waits: list[float] = []
    for number in range(PUTS + WARM):
        known = number % 2 == 0
        name = f"n-{chance.randrange(documents)}" if known else f"new-{number}"
        document = {
            "number": name,
            "state": "sent",
            "city": f"city {chance.randrange(CITIES)}",
            "total": round(chance.uniform(0, 10_000), 2),
            "placed": "2024-05-06T07:08:09Z",
        }
        path = f"/api/stores/orders?scope_id={rows.SCOPE}"
        waited, _ = await _ask(line, "POST", path, msgspec.json.encode(document))
        if number >= WARM:
            waits.append(waited)
    figures.add(STORES, f"put, {documents:,} documents", **quantiles(waits))


def _search(stack: Stack, chance: Chance) -> list[float]:
    """The database's function itself: the tool adds one unit of row work to it."""
    with stack.connect() as connection:
        search = partial(_search_once, connection, chance)
        return [search() for _ in range(SEARCHES + WARM)][WARM:]


def _search_once(connection: rows.Connection, chance: Chance) -> float:
    frequent, rare = chance.randrange(40), chance.randrange(rows.WORDS)
    words = chance.choice((f"word{rare}", f"word{frequent} word{rare}", f"word{frequent}"))
    began = time.perf_counter()
    with connection.transaction():
        connection.execute(SWITCH.encode(), [PREFIX + rows.SCOPE])
        connection.execute(
            "SELECT * FROM agentsite_search_sessions('bench', '', %s, 5)", [words]
        ).fetchall()
    return (time.perf_counter() - began) * 1000
