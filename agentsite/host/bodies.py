"""Bodies of chat requests: parsed, named by the field when they are wrong.

Law: `spec/http-and-sse.md` §2. camelCase and snake_case are accepted, camelCase
wins; null counts as absent; an unknown key is refused by name.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
)

from agentsite.host.errors import Refusal, unknown_field

MAX_MESSAGE = 200_000
MAX_IMAGES = 5
MAX_IMAGE_CHARS = 7_000_000
MAX_DEPTH = 32
MediaType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
ScopeId = Id

ALIASES = {
    "session_id": "sessionId",
    "scopeId": "scope_id",
    "user_id": "userId",
    "scopeContext": "context",
    "scope_context": "context",
    "agent": "agentId",
    "agent_id": "agentId",
    "sessionType": "session_type",
    "tenant_id": "tenantId",
    "maxSessionTokens": "max_session_tokens",
    "on_busy": "onBusy",
}


def _check_base64(data: str) -> str:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("is not base64") from error
    return data


Base64 = Annotated[
    str, StringConstraints(max_length=MAX_IMAGE_CHARS), AfterValidator(_check_base64)
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TextContent(_Body):
    type: Literal["text"]
    text: str


class ImageSource(_Body):
    type: Literal["base64", "url"]
    mediaType: MediaType | None = None
    data: Base64 | None = None
    url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$", max_length=8000)] | None = None


class ImageContent(_Body):
    type: Literal["image"]
    source: ImageSource


class Image(_Body):
    mimeType: MediaType
    data: Base64


class AttachedFile(_Body):
    name: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    mimeType: MediaType
    base64: Base64


class ModelPin(_Body):
    provider: str
    model: str


Content = Annotated[TextContent | ImageContent, Field(discriminator="type")]
MessageContent = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[Content], Tag("parts")],
    Discriminator(lambda given: "parts" if isinstance(given, list) else "text"),
]
"""Text, or parts; a problem inside a part is told as that and as nothing else."""


class ChatBody(_Body):
    """The body of `POST /chat*`."""

    message: MessageContent | None = None
    sessionId: Id | None = None
    scope_id: ScopeId | None = None
    userId: ScopeId | None = None
    context: dict[str, str] = {}
    agentId: str | None = None
    tenantId: ScopeId | None = None
    session_type: Literal["chat", "admin"] = "chat"
    model: ModelPin | None = None
    max_session_tokens: Annotated[int, Field(gt=0)] | None = None
    images: Annotated[list[Image], Field(max_length=MAX_IMAGES)] = []
    attachments: Annotated[list[AttachedFile], Field(max_length=MAX_IMAGES)] = []
    onBusy: Literal["reject", "enqueue", "interrupt", "rollback", "steer"] | None = None

    @property
    def text(self) -> str:
        """All text of the message."""
        if isinstance(self.message, str):
            return self.message
        parts = self.message or []
        return "".join(part.text for part in parts if isinstance(part, TextContent))


def parse_chat(raw: bytes) -> ChatBody:
    """Parse and check; raises `Refusal` 400 that names the field."""
    payload = parse_json(raw)
    for key in payload:
        if key not in ALIASES and key not in ChatBody.model_fields:
            raise unknown_field(key, [*ChatBody.model_fields, *ALIASES])
    try:
        body = ChatBody.model_validate(_unify(payload))
    except ValidationError as error:
        raise to_refusal(error) from error
    _check(body)
    return body


def parse_json(raw: bytes) -> dict[str, Any]:
    """A JSON object from raw bytes; raises `Refusal` 400 for anything else."""
    try:
        payload = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, "invalid_json", f"The body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise Refusal(400, "invalid_json", "The body is nested too deeply.") from error
    if not isinstance(payload, dict):
        raise Refusal(400, "invalid_json", "The body must be a JSON object.")
    if _depth(payload) > MAX_DEPTH:
        raise Refusal(400, "invalid_json", f"The body nests deeper than {MAX_DEPTH} levels.")
    return payload


def _depth(payload: Any) -> int:
    level, depth = [payload], 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            child
            for value in level
            for child in (
                value.values()
                if isinstance(value, dict)
                else value
                if isinstance(value, list)
                else ()
            )
            if isinstance(child, dict | list)
        ]
    return depth


def _unify(payload: dict[str, Any]) -> dict[str, Any]:
    """One name per field; of two spellings the camelCase one wins."""
    unified: dict[str, Any] = {}
    given = {key: value for key, value in payload.items() if value is not None}
    for key in sorted(given, key=_rank):
        unified.setdefault(ALIASES.get(key, key), given[key])
    return unified


def _rank(key: str) -> tuple[bool, bool, str]:
    # What is no alias goes first where neither has an underscore: `agentId` before `agent`.
    return "_" in key, key in ALIASES, key


def to_refusal(error: ValidationError) -> Refusal:
    """400 that names the first wrong field and lists all of them."""
    problems = [
        {"field": _name_field(problem["loc"]), "problem": problem["msg"]}
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    first = problems[0]
    message = f'"{first["field"]}": {first["problem"]}'
    return Refusal(400, "invalid_field", message, problems)


def _name_field(path: tuple[int | str, ...]) -> str:
    """The path as a caller knows it, without pydantic's names for the kinds of a message."""
    if path[0] == "message":
        path = (path[0], *path[2:3], *path[4:])
    return ".".join(map(str, path))


def _check(body: ChatBody) -> None:
    images = _count_images(body)
    if images > MAX_IMAGES:
        raise Refusal(400, "invalid_field", f"At most {MAX_IMAGES} images are allowed.")
    _check_message(body, images)


def _count_images(body: ChatBody) -> int:
    parts = body.message if isinstance(body.message, list) else []
    sources = [(n, p.source) for n, p in enumerate(parts) if isinstance(p, ImageContent)]
    for place, source in sources:
        _check_source(place, source)
    return len(body.images) + len(body.attachments) + len(sources)


def _check_message(body: ChatBody, images: int) -> None:
    if body.message is None:
        if body.sessionId is None or images:
            raise Refusal(400, "invalid_field", '"message" is required.')
    elif not body.text.strip() and not images:
        raise Refusal(400, "invalid_field", '"message" is empty.')
    elif len(body.text) > MAX_MESSAGE:
        text = f'"message" has {len(body.text)} characters; {MAX_MESSAGE} are allowed.'
        raise Refusal(400, "invalid_field", text)


def _check_source(place: int, source: ImageSource) -> None:
    wanted = "data" if source.type == "base64" else "url"
    if getattr(source, wanted) is None:
        raise Refusal(400, "invalid_field", f'"message.{place}.source.{wanted}" is required.')
    if source.type == "base64" and source.mediaType is None:
        raise Refusal(400, "invalid_field", f'"message.{place}.source.mediaType" is required.')
