"""OpenAI, and every server that speaks its wire (Ollama, vLLM, llama.cpp, Groq, Mistral, …).

The Responses API serves OpenAI itself, Chat Completions every other address; `api` overrides.
Their request and stream mappings are in `openai_responses.py` and `openai_chat.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from agentsite.engine.deltas import Delta
from agentsite.engine.ports import ModelRequest
from agentsite.manifest.models import ModelConfig
from agentsite.providers import clients, openai_chat, openai_responses
from agentsite.providers.base import ProviderError
from agentsite.providers.clients import Build, Made
from agentsite.providers.openai_address import BASE_URL, PROVIDER, is_openai, origin_of
from agentsite.providers.transport import Read, post, require_key, stream_decoded, to_sdk_error
from agentsite.providers.wire import Decoder

MODULES = ("openai", "httpx2")
"""What its clients need."""


class OpenAIModel:
    """One model of OpenAI or of a compatible server; see `agentsite.engine.ports.Model`."""

    provider = PROVIDER

    def __init__(self, config: ModelConfig) -> None:
        self.name = config.model
        self._config = config
        secret = config.api_key.get_secret_value() if config.api_key else None
        self._client_name = clients.digest(PROVIDER, config.base_url, secret)
        self.limit_key = f"{PROVIDER}:{self._client_name}"

    def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...]]:
        """Yield batches of deltas, `Stopped` last. Raises ProviderError."""
        decoder = make_decoder(self._config)
        return stream_decoded(self._ask(request), decoder, self._config, to_error)

    def lease(self) -> AbstractAsyncContextManager[Any]:
        """The SDK's client, shared; made by the first that asks. Raises ProviderError."""
        return clients.lease(self._client_name, prepare_client(self._config), MODULES)

    @asynccontextmanager
    async def _ask(self, request: ModelRequest) -> AsyncIterator[Read]:
        config = self._config
        body = to_request(request, config)
        path = "/responses" if uses_responses(config) else "/chat/completions"
        async with (
            self.lease() as client,
            post(client, path, body, config.timeout) as read,
        ):
            yield read


def uses_responses(config: ModelConfig) -> bool:
    return config.api == "responses" if config.api else is_openai(config)


def to_request(request: ModelRequest, config: ModelConfig) -> dict[str, Any]:
    """Return the body for the API this model uses."""
    if uses_responses(config):
        return openai_responses.to_request(request, config)
    return openai_chat.to_request(request, config)


def make_decoder(config: ModelConfig) -> Decoder:
    kind = openai_responses.ResponsesDecoder if uses_responses(config) else openai_chat.ChatDecoder
    return kind(PROVIDER, config.model, origin_of(config))


def to_error(error: Exception, config: ModelConfig) -> ProviderError:
    """Map the SDK's and the transport's errors; events inside a 200 are the decoder's."""
    return to_sdk_error(error, config)


def prepare_client(config: ModelConfig) -> Build:
    key = require_key(config)

    def make() -> Made:
        import openai

        client = openai.AsyncOpenAI(
            api_key=key,
            base_url=config.base_url or BASE_URL,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(),
        )
        return client, client.close

    return partial(asyncio.to_thread, make)
