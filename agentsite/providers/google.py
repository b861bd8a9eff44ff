"""Google's Gemini API, or Vertex AI when a `region` is set.

Thought signatures go back with the calls and texts they came with; from Gemini 3 on a call
of the running turn that has none (another vendor made it) carries Google's documented stand-in.
"""

from __future__ import annotations

import asyncio
import mimetypes
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from agentsite.engine.deltas import Delta
from agentsite.engine.messages import (
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from agentsite.engine.ports import ModelRequest
from agentsite.manifest.models import ModelConfig
from agentsite.providers import clients
from agentsite.providers.base import ProviderError, classify, read_error_body, text_of
from agentsite.providers.clients import Build, Made
from agentsite.providers.google_stream import PROVIDER, GoogleDecoder, read_retry_info
from agentsite.providers.history import NO_TEXT, echo_of, plain_text, require_data
from agentsite.providers.transport import (
    Read,
    SilenceGuard,
    require_key,
    stream_decoded,
    to_connection_error,
)

MODULES = ("google.genai", "google.genai.errors", "aiohttp")
"""What its clients need."""
_NO_SIGNATURE = "skip_thought_signature_validator"
_VERSION = re.compile(r"gemini-(\d+)")
_API_VERSIONS = {False: "v1beta", True: "v1beta1"}


class GoogleModel:
    """One Gemini model; see `agentsite.engine.ports.Model`."""

    provider = PROVIDER

    def __init__(self, config: ModelConfig) -> None:
        self.name = config.model
        self._config = config
        secret = config.api_key.get_secret_value() if config.api_key else None
        project = config.credentials.project
        self._client_name = clients.digest(
            PROVIDER, config.base_url, config.region, project, secret
        )
        self.limit_key = f"{PROVIDER}:{self._client_name}"

    def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...]]:
        """Yield batches of deltas, `Stopped` last. Raises ProviderError."""
        decoder = GoogleDecoder(PROVIDER, self.name)
        return stream_decoded(self._ask(request), decoder, self._config, to_error)

    def lease(self) -> AbstractAsyncContextManager[Any]:
        """The SDK's client, shared; made by the first that asks. Raises ProviderError."""
        return clients.lease(self._client_name, prepare_client(self._config), MODULES)

    @asynccontextmanager
    async def _ask(self, request: ModelRequest) -> AsyncIterator[Read]:
        config = self._config
        body = to_request(request, config)
        async with self.lease() as client:
            opened = open_stream(client, model_path(config), body, config.timeout)
            async with opened as read:
                yield read


def model_path(config: ModelConfig) -> str:
    name = config.model
    if "/" not in name:
        name = f"publishers/google/models/{name}" if config.region else f"models/{name}"
    return f"{name}:streamGenerateContent?alt=sse"


def prepare_client(config: ModelConfig) -> Build:
    on_vertex = config.region is not None
    key = None if on_vertex and config.credentials.project else require_key(config)

    async def build() -> Made:
        import aiohttp
        from google import genai
        from google.genai import types

        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=True)
        options = types.HttpOptions(
            base_url=config.base_url,
            aiohttp_client=session,
            api_version=_API_VERSIONS[on_vertex],
            # Compression would only delay deltas.
            headers={"Accept-Encoding": "identity"},
            # Without retry options the SDK repeats failed connections on its own, after a sleep.
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        try:
            client = await asyncio.to_thread(
                genai.Client,
                vertexai=on_vertex,
                api_key=key,
                project=config.credentials.project if on_vertex else None,
                location=config.region if key is None else None,
                http_options=options,
            )
        except BaseException:  # cancelled, too: nobody else would close it
            await session.close()
            raise

        async def close() -> None:
            await client.aio.aclose()
            await session.close()

        return client, close

    return build


@asynccontextmanager
async def open_stream(
    client: Any, path: str, body: dict[str, Any], seconds: float
) -> AsyncIterator[Read]:
    """Send `body` and lend the function that reads what comes back.

    The SDK has no public raw stream: its own one builds pydantic objects (90 us a delta) and
    knows only a limit for the whole call. So its client builds, signs and sends the request,
    and the aiohttp response is read here. `tests/providers` fails if that ever changes.
    """
    api = client._api_client
    sent = api._build_request("post", path, body, None)
    async with asyncio.timeout(seconds):
        response = (await api._async_request(sent, None, stream=True)).response_stream

    guard = SilenceGuard(response.content, seconds)
    try:
        yield guard.read
    finally:
        guard.stop()
        response.release()


def to_error(error: Exception, config: ModelConfig) -> ProviderError:
    """Map the SDK's and the transport's errors; events inside a 200 are the decoder's."""
    status = getattr(error, "code", None)
    if type(error).__name__ in ("DefaultCredentialsError", "RefreshError"):
        return ProviderError("auth", str(error), PROVIDER, config.model)
    if not isinstance(status, int):
        return to_connection_error(error, config)
    body = read_error_body(getattr(error, "details", None))
    message = text_of(body.get("message")) or str(error) or type(error).__name__
    return ProviderError(
        classify(status, f"{message} {body.get('details', '')}", text_of(body.get("status"))),
        message,
        PROVIDER,
        config.model,
        status,
        read_retry_info(body),
    )


def to_request(request: ModelRequest, config: ModelConfig) -> dict[str, Any]:
    """Return the body of `:streamGenerateContent`."""
    signed = generation_of(config.model) >= 3
    body: dict[str, Any] = {"contents": to_contents(request.messages, signed)}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        declarations: list[dict[str, Any]] = []
        for tool in request.tools:
            declaration: dict[str, Any] = {"name": tool.name, "description": tool.description}
            if tool.parameters.get("properties"):
                declaration["parametersJsonSchema"] = tool.parameters
            declarations.append(declaration)
        body["tools"] = [{"functionDeclarations": declarations}]
    settings = to_settings(request, config)
    if settings:
        body["generationConfig"] = settings
    return body


def to_settings(request: ModelRequest, config: ModelConfig) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    most = request.max_tokens or config.max_tokens
    if most:
        settings["maxOutputTokens"] = most
    temperature = request.temperature if request.temperature is not None else config.temperature
    if temperature is not None:
        settings["temperature"] = temperature
    budget = request.thinking if request.thinking is not None else config.thinking
    if budget and generation_of(config.model) >= 3:
        level = "low" if budget < 8192 else "high"
        settings["thinkingConfig"] = {"includeThoughts": True, "thinkingLevel": level}
    elif budget:
        settings["thinkingConfig"] = {"includeThoughts": True, "thinkingBudget": budget}
    return settings


def generation_of(model: str) -> int:
    found = _VERSION.search(model)
    return int(found[1]) if found else 0


def to_contents(messages: tuple[Message, ...], signed: bool) -> list[dict[str, Any]]:
    """Return the history with alternating roles; a turn's results stand in one content."""
    echoes = {c.id: echo_of(c, PROVIDER, PROVIDER) for m in messages for c in m.tool_calls}
    contents: list[dict[str, Any]] = []
    for message in messages:
        role = "model" if message.role == "assistant" else "user"
        parts = to_parts(message, echoes)
        if role == "model" and signed:
            sign_first_call(parts)
        if not parts and role == "user":
            parts = [{"text": NO_TEXT}]
        if not parts:
            continue
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    return contents


def sign_first_call(parts: list[dict[str, Any]]) -> None:
    first = next((part for part in parts if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", _NO_SIGNATURE)


def to_parts(message: Message, echoes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    if message.role == "tool":
        results = [to_response(result, echoes) for result in message.tool_results]
        pictures = [p for r in message.tool_results for p in r.content if isinstance(p, ImagePart)]
        return results + [to_image(picture) for picture in pictures]
    parts = [to_part(part, echoes) for part in message.parts]
    return [part for part in parts if part is not None]


def to_part(part: Part, echoes: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    if isinstance(part, TextPart):
        return {"text": part.text} if part.text else None
    if isinstance(part, ImagePart):
        return to_image(part)
    if isinstance(part, ThinkingPart):
        signature = echo_of(part, PROVIDER, PROVIDER).get("thought_signature")
        return {"text": "", "thoughtSignature": signature} if signature else None
    if isinstance(part, ToolCallPart):
        return to_call(part, echoes.get(part.id, {}))
    return to_response(part, echoes)


def to_call(part: ToolCallPart, echo: dict[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = {"name": part.name, "args": part.arguments}
    if "id" in echo:
        call["id"] = echo["id"]
    wire: dict[str, Any] = {"functionCall": call}
    if "thought_signature" in echo:
        wire["thoughtSignature"] = echo["thought_signature"]
    return wire


def to_response(part: ToolResultPart, echoes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    key = "output" if part.status == "ok" else "error"
    answer: dict[str, Any] = {"name": part.name, "response": {key: plain_text(part.content)}}
    own = echoes.get(part.call_id, {}).get("id")
    return {"functionResponse": answer | ({"id": own} if own else {})}


def to_image(part: ImagePart) -> dict[str, Any]:
    if part.url is not None:
        kind = part.media_type or mimetypes.guess_type(part.url)[0] or "image/jpeg"
        return {"fileData": {"mimeType": kind, "fileUri": part.url}}
    return {"inlineData": {"mimeType": part.media_type, "data": require_data(part)}}
