"""Which class serves which provider: one dict of dotted names, imported on first use."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from typing import cast

from agentsite.manifest.models import ModelConfig
from agentsite.manifest.scripts import Script
from agentsite.providers.base import ProviderError, VendorModel
from agentsite.providers.clients import close_clients
from agentsite.providers.scripted import ScriptedModel

logger = logging.getLogger(__name__)

MODELS: dict[str, str] = {
    "anthropic": "agentsite.providers.anthropic.AnthropicModel",
    "openai": "agentsite.providers.openai.OpenAIModel",
    "google": "agentsite.providers.google.GoogleModel",
}

__all__ = ["build", "build_chain", "close_clients", "warm"]


def build(config: ModelConfig, scripts: Mapping[str, Script]) -> VendorModel:
    """Return the model of a config. It opens nothing and checks no key until it is asked."""
    if config.provider == "scripted":
        return ScriptedModel(config, scripts)
    module, _, name = MODELS[config.provider].rpartition(".")
    return cast(VendorModel, getattr(importlib.import_module(module), name)(config))


def build_chain(config: ModelConfig, scripts: Mapping[str, Script]) -> tuple[VendorModel, ...]:
    """Return the model and what serves in its place when it fails, in order."""
    return tuple(build(link, scripts) for link in config.chain)


async def warm(config: ModelConfig) -> None:
    """Load and make beforehand what first calls of a model and its fallbacks would wait for."""
    for model in build_chain(config, {}):
        try:
            async with model.lease():
                pass
        except ProviderError:
            pass  # calls tell of it, those that make them
        except Exception as error:  # noqa: BLE001 - one model that cannot be asked stops no server
            logger.warning("%s/%s cannot be asked yet: %s", model.provider, model.name, error)
