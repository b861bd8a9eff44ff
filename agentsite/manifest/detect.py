"""Which models serve: keys put in place, `main` detected, tiers filled.

Detection takes the first vendor whose key (else whose base URL) the environment
holds; with neither the `scripted` provider answers, in production nobody does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from agentsite.manifest.models import ModelConfig, Models, ProviderName
from agentsite.manifest.problems import translate
from agentsite.manifest.reader import Reader

AWS_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
NOTICE = (
    "No model key is set, so an offline script answers. Set ANTHROPIC_API_KEY, OPENAI_API_KEY or "
    "GOOGLE_API_KEY and start again to talk to a model."
)
MODEL_VARIABLE = "AGENT_MODEL"
_NEVER_REASONS = re.compile(r"(?:chatgpt-|gpt-(?:3|4)|gpt-5[^/]*-chat)")
"""Names of OpenAI's; of others nobody here knows whether they reason."""


@dataclass(frozen=True)
class Vendor:
    """What the environment calls a provider's key and address, and a model to begin with."""

    keys: tuple[str, ...]
    base_url: str
    model: str


VENDORS: dict[ProviderName, Vendor] = {
    "google": Vendor(
        ("GOOGLE_API_KEY", "GEMINI_API_KEY"), "GOOGLE_GEMINI_BASE_URL", "gemini-3.8-flash"
    ),
    "anthropic": Vendor(("ANTHROPIC_API_KEY",), "ANTHROPIC_BASE_URL", "claude-sonnet-5-5"),
    "openai": Vendor(("OPENAI_API_KEY",), "OPENAI_BASE_URL", "gpt-5.4-mini"),
}
"""In the order of detection."""


def settle_models(
    reader: Reader, models: Models, env: Mapping[str, str], *, production: bool
) -> tuple[Models, str | None]:
    """Return the models with keys resolved and tiers filled, and the notice of offline mode."""
    notice = None
    main = models.main
    if main is None:
        main = detect_main(reader, env)
        if main.provider == "scripted":
            notice = NOTICE
            if production:
                message = (
                    "is missing and no model key is set; a production server needs models.main or "
                    "one of GOOGLE_API_KEY, GEMINI_API_KEY, ANTHROPIC_API_KEY, OPENAI_API_KEY"
                )
                reader.report("amodal.json", message, "models", "main")
    main = settle(reader, main, env, ("models", "main"))
    simple, advanced, embedding = (
        settle(reader, tier, env, ("models", name)) if tier is not None else None
        for name, tier in (
            ("simple", models.simple),
            ("advanced", models.advanced),
            ("embedding", models.embedding),
        )
    )
    settled = Models(
        main=main, simple=simple or main, advanced=advanced or main, embedding=embedding
    )
    return settled, notice


def detect_main(reader: Reader, env: Mapping[str, str]) -> ModelConfig:
    """Choose the main model from what the environment holds."""
    for by_key in (True, False):
        for provider, vendor in VENDORS.items():
            names = vendor.keys if by_key else (vendor.base_url,)
            if any(env.get(name) for name in names):
                return from_environment(reader, provider, env)
    return ModelConfig(provider="scripted", model="offline")


def from_environment(reader: Reader, provider: ProviderName, env: Mapping[str, str]) -> ModelConfig:
    """Build a vendor's model; a malformed base URL becomes a problem."""
    vendor = VENDORS[provider]
    model = env.get(MODEL_VARIABLE) or vendor.model
    return with_base_url(reader, ModelConfig(provider=provider, model=model), env)


def with_base_url(reader: Reader, model: ModelConfig, env: Mapping[str, str]) -> ModelConfig:
    """Take the vendor's address from the environment where the manifest names none."""
    vendor = VENDORS.get(model.provider)
    url = env.get(vendor.base_url) if vendor else None
    if vendor is None or not url or model.base_url or model.region:
        return model
    try:
        ModelConfig(provider=model.provider, model=model.model, base_url=url)
    except ValidationError as error:
        for problem in translate(error, ModelConfig, f"environment variable {vendor.base_url}"):
            reader.report(problem.file, problem.message)
        return model
    return model.model_copy(update={"base_url": url})


def settle(
    reader: Reader, model: ModelConfig, env: Mapping[str, str], path: tuple[str, ...]
) -> ModelConfig:
    """Return a model, and its fallbacks, with the keys its calls will use."""
    credentials = model.credentials
    vendor = VENDORS.get(model.provider)
    changes: dict[str, SecretStr] = {}
    if vendor and credentials.api_key is None:
        key = next((env[name] for name in vendor.keys if env.get(name)), None)
        if key:
            changes["api_key"] = SecretStr(key)
    if model.provider == "anthropic" and model.region and not credentials.has_aws:
        changes |= {name.lower(): SecretStr(env[name]) for name in AWS_VARIABLES if env.get(name)}
    settled = credentials.model_copy(update=changes)
    for secret in (
        settled.api_key,
        settled.aws_access_key_id,
        settled.aws_secret_access_key,
        settled.aws_session_token,
    ):
        reader.resolver.keep_secret(secret.get_secret_value() if secret else None)
    model = with_base_url(reader, model.model_copy(update={"credentials": settled}), env)
    check_credentials(reader, model, path)
    if model.thinking and never_reasons(model):
        message = f"has no effect: {model.model} does not reason; remove it or name another model"
        reader.report("amodal.json", message, *path, "thinking")
    if model.fallback is None:
        return model
    fallback = settle(reader, model.fallback, env, (*path, "fallback"))
    return model.model_copy(update={"fallback": fallback})


def never_reasons(model: ModelConfig) -> bool:
    """Tell whether it is a model of OpenAI's own that is known not to reason."""
    host = urlsplit(model.base_url or "https://api.openai.com").hostname or ""
    own = host == "openai.com" or host.endswith(".openai.com")
    return model.provider == "openai" and own and _NEVER_REASONS.match(model.model) is not None


def check_credentials(reader: Reader, model: ModelConfig, path: tuple[str, ...]) -> None:
    """Report credentials without effect; warn of a vendor that will refuse every call."""
    given = model.credentials
    if given.has_aws != (model.provider == "anthropic" and model.region is not None):
        message = "belongs to a Bedrock region: anthropic, `region` and both AWS keys together"
        reader.report("amodal.json", message, *path, "region")
    if given.project is not None and (model.provider != "google" or model.region is None):
        message = "belongs to Vertex: google and a `region` together"
        reader.report("amodal.json", message, *path, "credentials", "project")
    vendor = VENDORS.get(model.provider)
    if vendor and not (given.api_key or given.has_aws or model.region or model.base_url):
        message = f"{' or '.join(vendor.keys)} is not set: every call will fail to authenticate"
        reader.warn("amodal.json", message, *path, code="ENV_NOT_SET")
