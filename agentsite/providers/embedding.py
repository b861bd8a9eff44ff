"""Texts as vectors, by the vendors' SDKs: OpenAI, whatever speaks its wire, and Google."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentsite.engine.deltas import Usage
from agentsite.engine.tokens import text_tokens
from agentsite.manifest.models import ModelConfig
from agentsite.providers import clients, google, openai
from agentsite.providers.base import ProviderError

Answer = tuple[list[list[float]], int | None]
"""Vectors as they came, and tokens where the vendor counts them."""
AT_ONCE = 64
"""Texts in one request."""


class Embedded(NamedTuple):
    """Vectors of length 1, and the tokens that they took."""

    vectors: list[list[float]]
    usage: Usage


async def embed(config: ModelConfig, texts: Sequence[str]) -> Embedded:
    """One vector for each text, in order; at most `AT_ONCE`. Raises ProviderError.

    Where a vendor counts no tokens (Gemini's API does not) they are estimated.
    """
    ask = _ask_google if config.provider == "google" else _ask_openai
    found, tokens = await ask(config, texts)
    if len(found) != len(texts) or not all(found):
        text = f"{len(texts)} texts were sent, {len(found)} vectors came back"
        raise ProviderError("bad_request", text, config.provider, config.model)
    if tokens is None:
        tokens = sum(map(text_tokens, texts))
    return Embedded([_normalise(vector) for vector in found], Usage(input=tokens))


async def _ask_openai(config: ModelConfig, texts: Sequence[str]) -> Answer:
    build = openai.prepare_client(config)
    async with clients.lease(_name(config), build, openai.MODULES) as client:
        try:
            async with asyncio.timeout(config.timeout):
                answer = await client.embeddings.create(
                    model=config.model, input=list(texts), encoding_format="float"
                )
        except Exception as error:
            raise openai.to_error(error, config) from error
    tokens = answer.usage.prompt_tokens if answer.usage else None
    data = sorted(answer.data, key=lambda each: each.index)
    return [list(each.embedding) for each in data], tokens


async def _ask_google(config: ModelConfig, texts: Sequence[str]) -> Answer:
    build = google.prepare_client(config)
    contents: list[Any] = [{"parts": [{"text": text}]} for text in texts]
    async with clients.lease(_name(config), build, google.MODULES) as client:
        try:
            async with asyncio.timeout(config.timeout):
                answer = await client.aio.models.embed_content(
                    model=config.model, contents=contents
                )
        except Exception as error:
            raise google.to_error(error, config) from error
    told = answer.embeddings or ()
    counts = [each.statistics and each.statistics.token_count for each in told]
    known = [int(count) for count in counts if count is not None]
    tokens = sum(known) if known and len(known) == len(counts) else None
    return [list(each.values or ()) for each in told], tokens


def _name(config: ModelConfig) -> str:
    secret = config.api_key.get_secret_value() if config.api_key else None
    return clients.digest("embedding", config.provider, config.base_url, config.region, secret)


def _normalise(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(each * each for each in vector))
    return [each / length for each in vector] if length else list(vector)
