"""The event bus as a stranger hears it: replayed from before the owner's events, and live."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator

import psycopg

from agentsite.bus.catalogue import CATALOGUE
from tests.isolation.world import AGENT, CANARY, World
from tests.server import Client, read_frames
from tests.servers import Server

INSERT = (
    b"INSERT INTO bus_busevent (audience, agent, scope_id, type, data)"
    b" SELECT 'scope', %s, %s, unnest(%s::text[]), %s"
)


AT_ONCE = 5
"""Live events: where more come together, a stream reads them from the table instead."""


def probe_streams(world: World, server: Server) -> Iterator[str]:
    """`/api/events` for a stranger and for nobody, and what is refused to them."""
    for scope in (f"stranger-{uuid.uuid4().hex}", ""):
        yield from _listen(world, Client(server, scope, AGENT))
    stranger = Client(server, f"stranger-{uuid.uuid4().hex}", AGENT)
    header = {"X-Scope-Id": stranger.scope}
    for path, named, expected in (
        ("/api/events?all=1", stranger.scope, 403),
        ("/api/events", world.owner, 400),
        ("/admin/events", stranger.scope, 403),
    ):
        answer = stranger.ask(
            "GET", path.split("?")[0], headers=header, scope_id=named, **_all(path)
        )
        if answer.status != expected or CANARY.encode() in answer.body:
            yield f"GET {path} of {named}: {answer.status} {answer.body[:200]!r}"


def probe_metrics(world: World, server: Server) -> Iterator[str]:
    """`/metrics` names nothing of any tenant."""
    answer = Client(server, "", AGENT).ask("GET", "/metrics")
    named = {CANARY, world.owner, *world.ids.values()}
    found = sorted(name for name in named if name.encode() in answer.body)
    if answer.status != 200 or found:
        yield f"GET /metrics: {answer.status}, {found}"


def _all(path: str) -> dict[str, str]:
    return {"all": "1"} if path.endswith("all=1") else {}


def _listen(world: World, client: Client) -> Iterator[str]:
    """Every kind of event of the owner, before a stream is opened and while it is open."""
    where = f"/api/events as {client.scope!r}"
    _tell(world, CATALOGUE)
    ours = f"key-{uuid.uuid4().hex}"
    seen: list[bytes] = []
    named = client.scope or None
    with client.open("GET", "/api/events", headers={"Last-Event-ID": "0"}, scope_id=named) as told:
        if told.status != 200:
            yield f"{where}: {told.status}"
            return
        frames = read_frames(told)
        seen.append(next(frames).raw)
        kinds = sorted(CATALOGUE)
        for place in range(0, len(kinds), AT_ONCE):
            _tell(world, kinds[place : place + AT_ONCE])
            key = f"{ours}-{place}"
            body = {"title": key, "text": "mine"}
            put = client.ask("PUT", f"/api/stores/notes/{key}", body, scope_id=named, agentId=AGENT)
            if put.status != 201:
                yield f"{where}: its own document was refused: {put.body[:200]!r}"
                return
            for frame in frames:
                seen.append(frame.raw)
                if key.encode() in frame.raw:
                    break
    heard = b"".join(seen)
    secrets = {"the canary": CANARY, "the owner": world.owner, **world.ids}
    for name, value in secrets.items():  # a key may be asked for, and told back
        if name not in ("word", "key") and value.encode() in heard:
            yield f"{where}: {name} is heard"


def _tell(world: World, kinds: Iterable[str]) -> None:
    """Write an event of each kind on the owner's behalf, as the program writes them."""
    data = json.dumps({"sessionId": world.ids["session"], "title": CANARY, "problem": CANARY})
    with psycopg.connect(world.database, autocommit=True) as rows:
        rows.execute(INSERT, [AGENT, world.owner, sorted(kinds), data])
