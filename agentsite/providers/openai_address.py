"""Who is behind an OpenAI-compatible address, and what only some of them take."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from agentsite.manifest.models import ModelConfig

PROVIDER = "openai"
BASE_URL = "https://api.openai.com/v1"
_REASONING = re.compile(r"^(?:o\d|gpt-(?:[5-9]|\d\d)|codex)(?!.*chat)")


def host_of(config: ModelConfig) -> str:
    return urlsplit(config.base_url or BASE_URL).netloc.lower()


def is_openai(config: ModelConfig) -> bool:
    """Tell whether OpenAI itself answers."""
    host = host_of(config).partition(":")[0]
    return host == "openai.com" or host.endswith(".openai.com")


def is_mistral(config: ModelConfig) -> bool:
    """Mistral refuses `stream_options` and reports usage without being asked."""
    return host_of(config).endswith("mistral.ai")


def origin_of(config: ModelConfig) -> str:
    """Return who made an id or an encrypted block: these mean nothing at another address."""
    return PROVIDER if is_openai(config) else f"{PROVIDER}:{host_of(config)}"


def reasons(model: str) -> bool:
    """Tell whether a model of OpenAI's reasons; the others refuse to encrypt reasoning."""
    return _REASONING.match(model) is not None


def effort_of(budget: int) -> str:
    """Return the effort that stands for a budget of reasoning tokens."""
    return "low" if budget < 4096 else "medium" if budget < 16384 else "high"
