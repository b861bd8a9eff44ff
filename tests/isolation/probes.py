"""What a stranger gets for ids of another scope, held against what unknown ids get.

Law: a probe reports in words and asserts nothing, so that the mutation test can say which filter
a leak belongs to. No clock is read: status, body and number of statements are compared.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

from tests.isolation.recipes import Recipe, make_recipes
from tests.isolation.world import (
    AGENT,
    CANARY,
    PICTURE,
    STRICT,
    Ids,
    World,
    blank,
    make_unknown,
)
from tests.lab import plan
from tests.server import Answer, Client, session_of
from tests.servers import Server

ATTEMPTS = 3
"""How often statements are counted: something of the scope's own may run beside the request."""
SECRETS = (CANARY.encode(), base64.b64encode(PICTURE))


class Stranger:
    """A tenant with little of its own, that asks for what the owner has."""

    def __init__(self, world: World, server: Server, scope: str) -> None:
        self.world = world
        self.client = Client(server, scope, AGENT)
        own = session_of(self.client.say(plan({"text": "Mine."}), scope_id=scope or None))
        more = {"own": own, "agent": AGENT}
        self.foreign: Ids = {**world.ids, **more}
        self.unknown: Ids = {**make_unknown(world.ids), **more}

    def ask(self, recipe: Recipe, ids: Ids, **more: Any) -> tuple[Answer, int]:
        """An answer, and how many statements it took on the stranger's behalf."""
        place = self.world.statements.mark()
        query = {"scope_id": self.client.scope, **more.pop("named", {})}
        mark = "&" if recipe.query else "?"
        told = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        target = recipe.target(ids) + (f"{mark}{told}" if told else "")
        answer = self.client.ask(recipe.method, target, recipe.filled(ids), scope_id=None, **more)
        return answer, len(self.world.statements.of_scope(self.client.scope, place))

    def compare(self, recipe: Recipe) -> Iterator[str]:
        """Whether foreign and unknown ids can be told apart."""
        where = f"{recipe.method} {recipe.target({})} {recipe.body} as {self.client.scope!r}"
        named = {} if self.client.scope else {"named": {"scope_id": None}}
        answers: list[tuple[Answer, int]] = []
        for _ in range(ATTEMPTS):
            answers = []
            # What finds nothing prepared is the first of its kind.
            for ids in (self.unknown, self.foreign, self.unknown, self.foreign):
                answers.append(self.ask(recipe, ids, **named))
                if answers[0][0].status == 405:
                    return
            if answers[2][1] == answers[3][1]:
                break
        for (first, _), (second, _) in ((answers[0], answers[1]), (answers[2], answers[3])):
            yield from find_canary(where, second.body)
            if first.status >= 500:
                yield f"{where}: {first.status} {first.body[:200]!r}"
            if self.tell(first) != self.tell(second):
                yield f"{where}: unknown {self.tell(first)}, foreign {self.tell(second)}"
        if answers[2][1] != answers[3][1]:
            yield f"{where}: {answers[2][1]} statements for unknown, {answers[3][1]} for foreign"

    def tell(self, answer: Answer) -> tuple[int, str]:
        """What counts of an answer."""
        return answer.status, blank(answer.body, self.foreign, self.unknown)


def find_canary(where: str, body: bytes) -> Iterator[str]:
    """Whether something of the owner stands in these bytes."""
    for secret in SECRETS:
        if secret in body:
            place = body.find(secret)
            yield f"{where}: leaks {body[max(0, place - 80) : place + 20]!r}"


def probe_routes(world: World, server: Server) -> Iterator[str]:
    """Every route by every method: as a stranger, and as nobody."""
    for scope in (f"stranger-{uuid.uuid4().hex}", ""):
        stranger = Stranger(world, server, scope)
        for recipe in make_recipes():
            yield from stranger.compare(recipe)


def probe_refusals(world: World, server: Server) -> Iterator[str]:
    """Every route where a scope is required and none named, and with two that contradict."""
    stranger = Stranger(world, server, f"stranger-{uuid.uuid4().hex}")
    stranger.foreign["agent"] = stranger.unknown["agent"] = STRICT
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("scope_required", {"named": {"scope_id": None, "agentId": STRICT}}),
        (
            "scope_contradiction",
            {"named": {"scope_id": world.owner}, "headers": {"X-Scope-Id": stranger.client.scope}},
        ),
        ("scope_contradiction", {"named": {"scope_id": world.owner, "scopeId": "other"}}),
    )
    for recipe in make_recipes():
        for code, how in cases:
            where = f"{recipe.method} {recipe.target({})} {recipe.body} {code}"
            since = world.statements.mark()
            told = []
            for ids in (stranger.unknown, stranger.foreign):
                answer, _ = stranger.ask(recipe, ids, **how)
                told.append(stranger.tell(answer))
                yield from find_canary(where, answer.body)
            if told[0][0] == 405:
                break
            if told[0] != told[1]:
                yield f"{where}: unknown {told[0]}, foreign {told[1]}"
            if told[1][0] != 400 or f'"{code}"' not in told[1][1]:
                yield f"{where}: {told[1]}"
            if world.statements.of_scope(world.owner, since):
                yield f"{where}: the owner's rows were asked for"


def probe_keys(world: World, server: Server) -> Iterator[str]:
    """An idempotency key of another scope is no key of one's own."""
    stranger = Stranger(world, server, f"stranger-{uuid.uuid4().hex}")
    told = []
    for ids in (stranger.unknown, stranger.foreign):
        body = stranger.client.message(plan({"text": "Mine too."}))
        answer = stranger.client.ask(
            "POST", "/chat/sync", body, headers={"Idempotency-Key": ids["idem"]}
        )
        yield from find_canary("Idempotency-Key", answer.body)
        told.append((answer.status, json.loads(answer.body)["response"]))
    if told[0] != told[1] or told[0][0] != 200:
        yield f"Idempotency-Key: unknown {told[0]}, foreign {told[1]}"


def probe_counts(world: World, server: Server, scope: str = "") -> Iterator[str]:
    """Counts and lists of an agent that has a tenant, held against those of one that has none."""
    client = Client(server, scope or f"stranger-{uuid.uuid4().hex}", AGENT)
    for recipe in make_recipes():
        if recipe.method == "GET" and "{agent}" in recipe.query:
            told = []
            for agent in (STRICT, AGENT):
                target = recipe.target({**world.ids, "agent": agent})
                answer = client.ask("GET", f"{target}&scope_id={client.scope}", scope_id=None)
                told.append((answer.status, blank(answer.body, {"agent": agent})))
            if told[0] != told[1]:
                yield f"GET {recipe.path}: {told[1]} where there is a tenant, else {told[0]}"
