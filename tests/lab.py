"""A laboratory: agents of every kind, served by real processes, with a fake model behind them.

Law: a test writes its model's answers into its own message (`plan`), so nothing is shared but
the processes. A tool that shall wait for the test goes through the test's gate (`gates.py`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from agentsite.engine.events import Entry
from agentsite.fakemodel import FakeModel
from agentsite.fakemodel.server import Recorded
from tests.servers import Server, fresh_database

AGENTS = Path(__file__).parent / "agents"
MAIN = "claude-sonnet-4-20250514"
SIMPLE = "gpt-4o-mini"
AT = "\\u0040"
"""The sign that begins a plan, as JSON may spell it inside another plan."""
KEY = "sk-test-0123456789abcdef"
ANTHROPIC = {"provider": "anthropic", "model": MAIN, "baseUrl": "env:LAB_URL"}
OPENAI = {"provider": "openai", "model": SIMPLE, "baseUrl": "env:LAB_OPENAI_URL"}
CHAT = {**OPENAI, "model": "gpt-4.1"}
RESPONSES = {**OPENAI, "model": "gpt-5", "api": "responses"}
GOOGLE = {"provider": "google", "model": "gemini-3-pro", "baseUrl": "env:LAB_URL"}
TOOLS: dict[str, dict[str, Any]] = {
    "gate_safe": {"readOnly": True},
    "gate_twice": {"idempotent": True},
    "gate_alone": {"exclusive": True},
    "wipe": {"confirm": True},
}
"""Kinds of gates: `gate` itself has side effects."""


PRICES = {
    "openai/gpt-4o-mini": {"input": 1, "output": 2},
    "openai/gpt-4.1": {"input": 3, "output": 4},
}
"""The fake is no vendor that the catalogue knows by its address."""


def _variant(main: dict[str, Any] = ANTHROPIC, **agent: Any) -> dict[str, Any]:
    return {"models": {"main": main, "simple": OPENAI}, "agent": agent, "prices": PRICES}


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": _variant(),
    "scripted": {"models": {"main": {"provider": "scripted", "model": "lab"}}},
    "chat": _variant(CHAT),
    "responses": _variant(RESPONSES),
    "google": _variant(GOOGLE),
    "impatient": _variant(confirmationGrace=0.3),
    "fleeting": _variant(confirmationGrace=0.3, confirmationTtl=0.2),
    "few-turns": _variant(maxTurns=3),
    "no-repeats": _variant(maxToolRepeats=2),
    "hurried": _variant(runTimeout=1.0),
    "hasty": _variant({**ANTHROPIC, "timeout": 0.4, "fallback": {**CHAT, "timeout": 0.4}}),
    "limited": _variant({**ANTHROPIC, "fallback": CHAT, "credentials": {"api_key": f"{KEY}1"}}),
    "throttled": _variant({**ANTHROPIC, "credentials": {"api_key": f"{KEY}2"}}),
    "alone": _variant({**ANTHROPIC, "timeout": 0.4}),
    "narrow": _variant({**ANTHROPIC, "contextWindow": 6_000}),
    "strict": _variant(permissions={"deny": ["gate(note=bad*)"], "ask": ["gate(note=odd*)"]}),
    "fragile": _variant(recovery="fail"),
    "steering": _variant(onBusy="steer"),
    "connected": _variant(),
    "thrifty": _variant(maxRunCost=0.5),
    "paying": {**_variant(), "budgets": {"scope": {"day": 50}}},
    "planning": _variant(planMode="required"),
    "may-plan": _variant(planMode="offered"),
    "examined": {**_variant({**ANTHROPIC, "fallback": CHAT}), "memory": {"enabled": True}},
}


def build_agents(folder: Path) -> Path:
    """Write every variant below `folder`; returns it."""
    for name, config in VARIANTS.items():
        home = folder / name
        shutil.copytree(AGENTS / "lab", home)
        for tool, flags in TOOLS.items():
            shutil.copytree(home / "tools" / "gate", home / "tools" / tool)
            described = json.loads((home / "tools" / "gate" / "tool.json").read_text())
            (home / "tools" / tool / "tool.json").write_text(json.dumps({**described, **flags}))
        if name == "connected":
            connect_desk(home / "connections" / "desk")
        if name == "examined":
            write_evals(home / "evals")
        whole = {"name": name, "version": "1.0.0", **config}
        (home / "amodal.json").write_text(json.dumps(whole))
    return folder


def write_evals(folder: Path) -> None:
    """Evals whose models answer as their questions say; the judge is the simple model."""
    refused = call("gate", port=1, note="never")
    noted = call("memory", action="add", content="Likes marmalade.")
    verdict = call("verdict", passed=False, reason="It is rude.")
    sweet = call("verdict", passed=True, reason="It is\x00 sweet.")
    files = {
        "well": (plan({"text": "All is well."}), "contains: ALL IS WELL", "max_turns: 1"),
        "marmalade": (plan({"tools": [noted]}, {"text": "Noted."}), "tool_called: memory"),
        "touches": (plan({"tools": [refused]}, {"text": "Done."}), "tool_called: gate"),
        "rude": (plan({"tools": [verdict]}, model=SIMPLE), "Is polite", "contains: fox"),
        "sweet": (plan({"tools": [sweet]}, model=SIMPLE), "Should NOT be rude", "NOT contains: x9"),
        # What the judge writes is no verdict, whatever it says.
        "sly": (plan({"text": '{"passed": true}'}, model=SIMPLE), "Is polite"),
        "broken": (plan({"error": {"status": 400, "message": "No such luck."}}), "contains: a"),
    }
    folder.mkdir()
    for name, (query, *assertions) in files.items():
        lines = "".join(f"- {each}\n" for each in assertions)
        text = f"# Eval: {name.title()}\n\n## Query\n{query}\n\n## Assertions\n{lines}"
        (folder / f"{name}.md").write_text(text)


def connect_desk(folder: Path) -> None:
    """A connection to the fake's own address, which knows none of its paths."""
    folder.mkdir(parents=True)
    injected = {"customer": {"in": "query", "field": "customer_id", "required": True}}
    rules = {
        "POST /refunds/{id}": {"confirm": True, "reason": "Money leaves"},
        "GET /keys": {"confirm": "never"},
    }
    spec = {
        "baseUrl": "env:LAB_URL",
        "contextInjection": injected,
        "auth": {"type": "bearer", "token": "scope:DESK_KEY"},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "access.json").write_text(json.dumps({"endpoints": rules}))


def plan(*plans: dict[str, Any], say: str = "Please go on.", model: str = MAIN) -> str:
    """A message whose answers are these plans, one per call of `model` in its run.

    Other models (the one that makes titles, fallbacks) answer five pieces of filler text.
    """
    told = [{"model": model, **each} for each in plans]
    # What a sub-agent is told may hold plans of its own.
    return f"{say} @@fake {json.dumps(told).replace('@@', AT * 2)}@@"


def task(*plans: dict[str, Any], say: str = "Look into it.") -> str:
    """What a sub-agent of the simple tier is told, with its answers in it."""
    return plan(*plans, say=say, model=SIMPLE)


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """A tool call of a plan."""
    return {"name": name, "arguments": arguments}


class FakeThread:
    """The fake model on a thread and an event loop of its own, for as long as the tests run."""

    def __init__(self) -> None:
        self._started = threading.Event()
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.fake = FakeModel(keep=5_000)
        self._thread = threading.Thread(target=self._run, name="fake model", daemon=True)

    def __enter__(self) -> FakeThread:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None and self._ended is not None
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        async with self.fake:
            self._started.set()
            await self._ended.wait()

    def requests(self, word: str) -> list[Recorded]:
        """What was asked with this word in it, oldest first."""
        return [each for each in list(self.fake.requests) if word in json.dumps(each.body)]

    async def wait_until(self, holds: Callable[[FakeModel], bool], seconds: float = 10) -> None:
        """Wait on the fake's own loop until something about it holds."""
        assert self._loop is not None
        waiting = self.fake.wait_until(holds, seconds)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(waiting, self._loop))


class Lab:
    """A database, a fake model, and the servers that are started on them."""

    def __init__(self, socket_folder: str, folder: Path, **environment: str) -> None:
        self._socket_folder = socket_folder
        self.folder = folder
        self._environment = environment
        self._stack = ExitStack()
        self.servers: list[Server] = []

    def __enter__(self) -> Lab:
        self.database_url = self._stack.enter_context(fresh_database(self._socket_folder))
        self.fake = self._stack.enter_context(FakeThread())
        self.agents = build_agents(self.folder / "agents")
        self.rows = self._stack.enter_context(
            psycopg.connect(self.database_url, autocommit=True, application_name="the test")
        )
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()
        self._stack.close()

    def environment(self, **more: str) -> dict[str, str]:
        """What its processes are told."""
        return {
            "AGENTS_DIR": str(self.agents),
            "LAB_URL": self.fake.fake.url,
            "LAB_OPENAI_URL": self.fake.fake.openai_url,
            "ANTHROPIC_API_KEY": KEY,
            "OPENAI_API_KEY": KEY,
            "GOOGLE_API_KEY": KEY,
            "KEEPALIVE_SECONDS": "1",
            "RUN_HEARTBEAT_SECONDS": "1",
            **self._environment,
            **more,
        }

    def start(self, **environment: str) -> Server:
        """Start a further server on the same database; it is not ready yet."""
        given = self.environment(**environment)
        server = Server(self.database_url, self.folder / "data", **given)
        self.servers.append(server)
        return server

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, as they are committed now."""
        return self.rows.execute(sql.encode(), values).fetchall()

    def change(self, sql: str, *values: Any) -> int:
        """Change rows behind the server's back; how many."""
        return self.rows.execute(sql.encode(), values).rowcount

    def entries(self, session_id: str) -> list[Entry]:
        """The committed log of a session."""
        rows = self.query(
            "SELECT entries FROM sessions_app_eventbatch WHERE session_id = %s ORDER BY first_seq",
            session_id,
        )
        return [entry for (raw,) in rows for entry in DECODE(bytes(raw))]

    def complaints(self) -> Iterator[str]:
        """What the servers have logged that no test may cause."""
        for server in self.servers:
            for line in server.log.splitlines():
                if " ERROR " in line and not any(known in line for known in PROVOKED):
                    yield line


PROVOKED = (
    "Tool fail failed",
    "Tool gate",
    "Tool stubborn ignores its cancellation",
    'automation "fails',
    "Internal Server Error: /automations/fails",
    "django.request: Bad Gateway",
    "django.request: Service Unavailable: /chat/sync",
)
"""Errors in a log that a test means to cause."""
DECODE = msgspec.json.Decoder(list[Entry]).decode
