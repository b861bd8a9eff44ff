"""Two tenants of one server: one with something of everything, one that looks for it.

Law: every value that the first one keeps carries CANARY, and every id of it is in `Ids`; its ids
and keys carry none, because whoever asks for one may be told it back.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet

from tests.gatehouse import SIGN
from tests.lab import ANTHROPIC, KEY, OPENAI, PRICES, FakeThread, call, plan
from tests.queries import Statements, log_statements
from tests.server import Client, Frame, session_of
from tests.servers import ROOT, Server, fresh_database

CANARY = f"canary{uuid.uuid4().hex}"
WORD = "zebrafinch"
"""Said by the first tenant beside the canary: others may search for it."""
TEXT = f"{CANARY} {WORD}"
PICTURE = b"\x89PNG\r\n\x1a\n" + CANARY.encode() + b"!"
AGENT = "isle"
STRICT = "strict"
Ids = dict[str, str]
"""Ids by what they name."""

FILES: dict[str, Any] = {
    "stores/notes.json": {
        "name": "notes",
        "entity": {
            "name": "Note",
            "key": "{title}",
            "schema": {
                "title": {"type": "string"},
                "text": {"type": "string"},
                "about": {"type": "ref", "store": "notes", "nullable": True},
            },
        },
        "trace": True,
        "history": {"versions": 3},
    },
    "automations/island.json": {"title": "Island", "prompt": "Look around."},
    "knowledge/shipping.md": "# Knowledge: Shipping\n\nTwo days.",
    "skills/refund/SKILL.md": "---\nname: refund\ndescription: Pay back\n---\nAsk first.",
    "skills/refund/form.txt": "Form A",
    "agents/porter/AGENT.md": (
        "---\ndisplayName: The porter\ndescription: Carries.\ntools: [query_store]\n---\nCarry.\n"
    ),
}


def write_agent(folder: Path, name: str, **more: Any) -> Path:
    """An agent with all that touches tenants' rows."""
    config = {
        "name": name,
        "version": "1.0.0",
        "models": {"main": ANTHROPIC, "simple": OPENAI},
        "prices": PRICES,
        "agent": {"confirmationGrace": 0.2},
        "memory": {"enabled": True},
        "fileTools": True,
        **more,
    }
    for path, content in {"amodal.json": config, **FILES}.items():
        file = folder / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


def find_call(frames: list[Frame], name: str) -> str:
    """The id of the first call of a tool."""
    told = (f.data for f in frames if f.event == "tool_call_start")
    return str(next(data["tool_id"] for data in told if data["tool_name"] == name))


def fill(client: Client) -> Ids:
    """Give a tenant something of everything; the ids of it."""
    key = f"key-{uuid.uuid4().hex}a"
    calls = [
        call("store_notes", title=key, text=TEXT),
        call("memory", action="add", content=TEXT),
        call("propose_knowledge", title=TEXT, reasoning=TEXT, content=TEXT),
    ]
    picture = {"mimeType": "image/png", "data": base64.b64encode(PICTURE).decode()}
    said = plan({"tools": calls}, {"text": TEXT}, say=TEXT)
    frames = client.say(said, images=[picture])
    session = session_of(frames)
    change = {"title": TEXT, "tags": [WORD, CANARY], "metadata": {"note": CANARY}}
    assert client.ask("PATCH", f"/sessions/{session}", change).status == 200
    options = [{"label": TEXT}, {"label": "Other"}]
    asked = client.say(plan({"tools": [call("ask_choice", question=TEXT, options=options)]}, {}))
    at = f"/api/stores/notes/{key}"
    for version in ("", " again"):
        body = {"title": key, "text": TEXT + version}
        assert client.ask("PUT", at, body, agentId=AGENT).status == 200
    kept = client.ask("POST", "/api/memory", {"content": f"{TEXT} too"}, agentId=AGENT)
    assert kept.status == 201, kept.body
    saved = {"sessionId": session, "action": "credential_saved", "values": {"TOKEN": CANARY}}
    assert client.ask("POST", "/widget-actions", saved).status == 200
    idem = f"idem-{uuid.uuid4().hex}a"
    repeated = client.ask(
        "POST",
        "/chat/sync",
        client.message(plan({"text": TEXT})),
        headers={"Idempotency-Key": idem},
    )
    assert repeated.status == 200, repeated.body
    messages = client.get(f"/sessions/{session}")["messages"]
    message = messages[0]
    question = next(f.data for f in asked if f.event == "ask_choice")
    return {
        "session": session,
        "run": str(frames[0].data["runId"]),
        "call": find_call(frames, "store_notes"),
        "attachment": next(
            block["source"]["attachmentId"]
            for block in message["contentBlocks"]
            if block["type"] == "image"
        ),
        "waiting": session_of(asked),
        "interaction": str(question["interactionId"]),
        "asking": find_call(asked, "ask_choice"),
        "message": next(each["id"] for each in messages if each["type"] == "assistant_text"),
        "key": key,
        "entry": str(kept.json["added"]["id"]),
        "idem": idem,
        "word": WORD,
    }


def make_unknown(ids: Ids) -> Ids:
    """Ids of the same shape that nobody has."""
    return {name: f"{value[:-1]}{'1' if value[-1] == '0' else '0'}" for name, value in ids.items()}


@dataclass
class World:
    """The database, the fake model, the agents, and what the first tenant keeps."""

    database: str
    fake: FakeThread
    folder: Path
    statements: Statements
    owner: str = ""
    ids: Ids = field(default_factory=dict)
    """Empty until a server has been talked to (`furnish`)."""

    @contextmanager
    def serve(self, root: Path = ROOT, **more: str) -> Iterator[Server]:
        """A server of the program in `root`; `more` are settings."""
        server = Server(
            self.database,
            self.folder / "data",
            root,
            AGENTS_DIR=str(self.folder / "agents"),
            LAB_URL=self.fake.fake.url,
            LAB_OPENAI_URL=self.fake.fake.openai_url,
            ANTHROPIC_API_KEY=KEY,
            OPENAI_API_KEY=KEY,
            SECRET_KEY=SIGN,
            AGENT_SECRET_KEYS=Fernet.generate_key().decode(),
            KEEPALIVE_SECONDS="1",
            **more,
        )
        try:
            yield server.wait_ready()
        finally:
            server.close()

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows as they are committed now."""
        with psycopg.connect(self.database, autocommit=True) as rows:
            return rows.execute(sql.encode(), values).fetchall()


@contextmanager
def make_world(socket_folder: str, folder: Path) -> Iterator[World]:
    """A world without a server; its log of statements is on."""
    with ExitStack() as stack:
        database = stack.enter_context(fresh_database(socket_folder))
        log_statements(database)
        fake = stack.enter_context(FakeThread())
        write_agent(folder / "agents", AGENT)
        write_agent(folder / "agents", STRICT, scope={"requireScope": True})
        yield World(database, fake, folder, Statements(database))


def furnish(world: World, server: Server) -> None:
    """Let the first tenant make its things."""
    world.owner = f"owner-{uuid.uuid4().hex}"
    world.ids = fill(Client(server, world.owner, AGENT))
    world.query(REPORT, "arun_of_the_owner", world.owner, TEXT, TEXT, TEXT, AGENT)


REPORT = """
INSERT INTO automations_app_automationrun (id, automation_id, scope_id, cause, requested_by, tries,
    status, session_id, run_id, output, summary, error, last_tool_call, request_key, request_hash)
SELECT %s, id, %s, 'manual', '', 1, 'failed', '', '', %s, %s, %s, '', '', ''
FROM automations_app_automation
WHERE agent = %s AND name = 'island' RETURNING id
"""
"""A run of an automation in a tenant's scope."""


VARYING = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)"
    r"|\b[0-9a-f]{32}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|(?<=\"totalEntries\":)\d+"
    r"|\b[a-z]{2,5}_[0-9a-z]{20,}(?:_\d+)?\b"
)
"""What differs from one answer to the next: times, ids that are made for it, what there is now."""


def blank(body: bytes, *known: Ids) -> str:
    """A body without the ids that were asked for, times, and ids that are made anew."""
    text = body.decode("utf-8", "replace")
    for ids in known:
        for name, value in ids.items():
            text = text.replace(value, f"<{name}>")
    return VARYING.sub("<made>", text)
