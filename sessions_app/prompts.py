"""What models were sent, as rows: each piece once in a session, each request a list of pieces.

Law: a request is written with its metering row, in that transaction, and never made up afterwards.
A request that goes on where the one before it ended names only what is new.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from django.db import models
from django.db.models.functions import Now

from agentsite.engine.messages import Message
from agentsite.engine.ports import ToolSpec
from agentsite.rows.together import Together


class PromptPiece(models.Model):
    """A system prompt, the tools, or one message, as JSON."""

    pk = models.CompositePrimaryKey("session_id", "digest")
    session = models.ForeignKey(
        "sessions_app.Session", models.CASCADE, db_index=False, related_name="prompt_pieces"
    )
    digest = models.CharField(max_length=32)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    body = models.BinaryField()

    def __str__(self) -> str:
        return self.digest


class Prompt(models.Model):
    """One request, whoever of a chain of models was asked it."""

    id = models.CharField(primary_key=True, max_length=64)
    session = models.ForeignKey(
        "sessions_app.Session", models.CASCADE, db_index=False, related_name="prompts"
    )
    run_id = models.CharField(max_length=64)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    base = models.CharField(max_length=64, default="", blank=True)
    """The request of the same run that this one goes on from."""
    kept = models.IntegerField(default=0)
    """How many of its messages stand unchanged in front."""
    system = models.CharField(max_length=32)
    tools = models.CharField(max_length=32)
    messages: models.JSONField[Any, Any] = models.JSONField(default=list)
    """Digests of the messages behind those."""
    marks: models.JSONField[Any, Any] = models.JSONField(default=list)
    """Places of messages at whose end a vendor with marks of its own was told to cache."""
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index("session", "run_id", name="prompt_of_run"),
        ]

    def __str__(self) -> str:
        return self.id


class SentPrompt(msgspec.Struct, frozen=True):
    """A request on its way to the rows."""

    id: str
    base: str
    kept: int
    system: str
    tools: str
    messages: tuple[str, ...]
    marks: tuple[int, ...]
    pieces: tuple[tuple[str, bytes], ...]
    """What this process has not written for the session yet: digest and JSON."""


PIECES = (
    "INSERT INTO sessions_app_promptpiece (session_id, digest, scope_id, body)"
    " SELECT s.id, p.digest, s.scope_id, p.body FROM sessions_app_session s,"
    " unnest(%s::text[], %s::bytea[]) p(digest, body) WHERE s.id = %s ON CONFLICT DO NOTHING"
)
REQUEST = (
    "INSERT INTO sessions_app_prompt"
    " (id, session_id, run_id, scope_id, base, kept, system, tools, messages, marks)"
    " SELECT %s, s.id, %s, s.scope_id, %s, %s, %s, %s, %s::jsonb, %s::jsonb"
    " FROM sessions_app_session s WHERE s.id = %s ON CONFLICT DO NOTHING"
)


def record_prompt(session_id: str, run_id: str, prompt: SentPrompt) -> None:
    """Write a request; nothing when its session is gone."""
    together = Together()
    if prompt.pieces:
        digests, bodies = (list(column) for column in zip(*prompt.pieces, strict=True))
        together.say(PIECES, [digests, bodies, session_id])
    listed = [msgspec.json.encode(each).decode() for each in (prompt.messages, prompt.marks)]
    parts = [prompt.base, prompt.kept, prompt.system, prompt.tools, *listed]
    together.say(REQUEST, [prompt.id, run_id, *parts, session_id])
    together.send()


class ShownPrompt(msgspec.Struct, frozen=True):
    """A request as it was sent, but for images, which stand as references."""

    system: str
    tools: tuple[ToolSpec, ...]
    messages: tuple[Message, ...]
    marks: frozenset[int]
    raw: tuple[bytes, ...]
    """JSON of each message, byte for byte as it was recorded."""


def read_prompt(prompt_id: str) -> ShownPrompt | None:
    """A request from its rows; None when it is not kept (any more)."""
    prompt = Prompt.objects.filter(pk=prompt_id).first()
    if prompt is None:
        return None
    same_run = Prompt.objects.filter(session_id=prompt.session_id, run_id=prompt.run_id)
    known = {row.pk: row for row in same_run}
    digests = _spell(known, prompt)
    wanted = {prompt.system, prompt.tools, *digests}
    rows = PromptPiece.objects.filter(session_id=prompt.session_id, digest__in=wanted)
    bodies = {digest: bytes(body) for digest, body in rows.values_list("digest", "body")}
    if not wanted <= set(bodies):
        return None
    raw = tuple(bodies[digest] for digest in digests)
    return ShownPrompt(
        system=msgspec.json.decode(bodies[prompt.system], type=str),
        tools=msgspec.json.decode(bodies[prompt.tools], type=tuple[ToolSpec, ...]),
        messages=tuple(msgspec.json.decode(each, type=Message) for each in raw),
        marks=frozenset(prompt.marks),
        raw=raw,
    )


def _spell(known: dict[str, Prompt], prompt: Prompt) -> list[str]:
    """Digests of all messages, the inherited ones first."""
    chain: list[Prompt] = [prompt]
    while chain[-1].base:
        chain.append(known[chain[-1].base])
    digests: list[str] = []
    for each in reversed(chain):
        digests = [*digests[: each.kept], *each.messages]
    return digests
