"""The `models` block: which model of which vendor serves which tier, and its fallbacks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, Strict, field_validator, model_validator

from agentsite.manifest.base import CamelModel, Positive, Seconds, SnakeModel, Text, Url

ProviderName = Literal["anthropic", "openai", "google", "scripted"]
Api = Literal["chat", "responses"]
COMPATIBLE = ("ollama", "vllm", "llamacpp", "groq", "mistral", "xai", "deepseek", "openrouter")


class Credentials(SnakeModel):
    """Explicit keys of a model; in files they are `env:NAME` references."""

    api_key: SecretStr | None = None
    aws_access_key_id: SecretStr | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None
    project: str | None = None
    """Google Cloud project, with `region` for Vertex."""

    @property
    def has_aws(self) -> bool:
        return self.aws_access_key_id is not None and self.aws_secret_access_key is not None


class ModelConfig(CamelModel):
    """One model and, recursively, what serves in its place when it fails."""

    provider: ProviderName
    model: Text
    base_url: Url | None = None
    region: Text | None = None
    """Vertex location (google) or Bedrock region (anthropic with AWS credentials)."""
    credentials: Credentials = Credentials()
    """After loading it holds the resolved key, from here or from the provider's variable."""
    fallback: ModelConfig | None = None
    context_window: Positive | None = None
    """Tokens; None means what the catalogue knows of the model."""
    max_tokens: Positive | None = None
    temperature: Annotated[float, Strict(), Field(ge=0, le=2)] | None = None
    thinking: Annotated[int, Strict(), Field(ge=0)] | None = None
    """Budget of reasoning tokens; 0 and None leave it off."""
    timeout: Seconds = 120.0
    """Seconds to the first byte and between two bytes."""
    api: Api | None = None
    """Ours: which OpenAI API. None is responses for OpenAI itself, chat for other base URLs."""

    @property
    def api_key(self) -> SecretStr | None:
        """The resolved key, or None when the provider has none."""
        return self.credentials.api_key

    @property
    def label(self) -> str:
        """`provider/model`, as events and prices name it."""
        return f"{self.provider}/{self.model}"

    @property
    def chain(self) -> tuple[ModelConfig, ...]:
        """This model and its fallbacks, in the order they are tried."""
        return (self, *(self.fallback.chain if self.fallback else ()))

    @field_validator("provider", mode="before")
    @classmethod
    def name_the_way_in(cls, provider: Any) -> Any:
        if provider in COMPATIBLE:
            raise ValueError(
                f'{provider} speaks the OpenAI API: write "provider": "openai" and its "baseUrl"'
            )
        return provider

    @model_validator(mode="after")
    def check_keys_fit_provider(self) -> ModelConfig:
        if self.api is not None and self.provider != "openai":
            raise ValueError(f"`api` has an effect with openai only, not with {self.provider}")
        if self.region is not None and self.provider not in ("anthropic", "google"):
            raise ValueError(f"`region` has no effect with {self.provider}")
        if self.provider == "anthropic" and self.thinking and self.temperature is not None:
            raise ValueError(
                "`temperature` has no effect with anthropic while `thinking` is on: remove one"
            )
        if self.provider == "scripted":
            useless = ("base_url", "thinking", "temperature", "max_tokens")
            given = [name for name in useless if getattr(self, name) is not None]
            if given:
                raise ValueError(f"the scripted provider has no use for {', '.join(given)}")
        return self


class Models(CamelModel):
    """The tiers; absent ones fall back to `main`, an absent `main` is detected."""

    main: ModelConfig | None = None
    simple: ModelConfig | None = None
    advanced: ModelConfig | None = None
    embedding: ModelConfig | None = None
