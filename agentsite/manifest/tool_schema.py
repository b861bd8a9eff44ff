"""tool.json as a value: everything that can be said without looking at the folder."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import Field, field_validator

from agentsite.manifest.base import CamelModel, Flag, Positive, Seconds, Some, Text

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Confirm = Literal[False, True, "review", "never"]
CALL_KEYS: tuple[str, ...] = ("connection", "endpoint", "method", "params", "data", "headers")
CHAIN_KEYS: tuple[str, ...] = ("steps", "merge")


class ResponseShaping(CamelModel):
    """Cuts a result down, in this order: path, pick, rename, template, maxLength."""

    path: Text | None = None
    pick: tuple[Text, ...] = ()
    rename: dict[str, Text] = Field(default_factory=dict)
    template: Text | None = None
    max_length: Positive = 50_000
    """Characters."""


class ToolSandbox(CamelModel):
    """Runs handler.py in the sandbox instead of in the server."""

    language: Literal["python"] = "python"


class RateLimit(CamelModel):
    """Ours: at most so many calls begin in so many seconds."""

    calls: Positive
    seconds: Seconds


class Step(CamelModel):
    """One call of a chain; all steps run in parallel."""

    name: Text
    connection: Text
    endpoint: Text
    method: Method = "GET"
    params: dict[str, str] = Field(default_factory=dict)
    data: Any = None


class ToolManifest(CamelModel):
    """tool.json."""

    name: Text | None = None
    description: Text
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    type: Literal["http", "chain"] | None = None
    confirm: Confirm = False
    timeout: Positive | None = None
    """Milliseconds; None takes the agent's `toolTimeout`."""
    env: tuple[Text, ...] = ()
    response_shaping: ResponseShaping | None = None
    running_label: Text | None = None
    completed_label: Text | None = None
    internal: Flag = False
    sandbox: ToolSandbox | None = None
    read_only: Flag = False
    idempotent: Flag = False
    exclusive: Flag = False
    rate_limit: RateLimit | None = None
    connection: Text | None = None
    endpoint: Text | None = None
    method: Method | None = None
    params: dict[str, str] = Field(default_factory=dict)
    data: Any = None
    headers: dict[str, str] = Field(default_factory=dict)
    steps: Annotated[tuple[Step, ...], Some] | None = None
    merge: Text | None = None

    @field_validator("confirm", mode="before")
    @classmethod
    def check_confirm(cls, value: Any) -> Any:
        if isinstance(value, bool) or value in ("review", "never"):
            return value
        raise ValueError('must be false, true, "review" or "never"')

    @field_validator("parameters")
    @classmethod
    def check_parameters(cls, schema: dict[str, Any]) -> dict[str, Any]:
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            place = "/".join(str(part) for part in error.absolute_path)
            where = f" at {place}" if place else ""
            raise ValueError(f"is not a JSON schema{where}: {error.message}") from None
        if schema.get("type") != "object":
            raise ValueError('must be a JSON schema with "type": "object"')
        return schema

    def find_faults(self) -> list[tuple[str, str]]:
        """Return (key, message) of the keys that do not fit the type."""
        given = self.model_fields_set
        if self.type is None:
            message = 'has an effect with "type": "http" or "chain" only'
            return [(key, message) for key in (*CALL_KEYS, *CHAIN_KEYS) if key in given]
        foreign = CALL_KEYS
        needed: tuple[str, ...] = ("steps",)
        if self.type == "http":
            foreign, needed = CHAIN_KEYS, ("connection", "endpoint", "method")
        useless = f'has no effect with "type": "{self.type}"'
        faults = [(key, useless) for key in foreign if key in given]
        missing = f'is required with "type": "{self.type}"'
        return faults + [(key, missing) for key in needed if getattr(self, key) is None]
