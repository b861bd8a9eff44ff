"""The blocks of amodal.json besides `models`: one frozen model each, with its defaults."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from agentsite.manifest.base import (
    Amount,
    CamelModel,
    Count,
    Flag,
    Positive,
    Seconds,
    SnakeModel,
    Text,
    Url,
)
from agentsite.manifest.mcp import McpServer

OnBusy = Literal["reject", "enqueue", "interrupt", "rollback", "steer"]
RULE = re.compile(r"^[A-Za-z_][\w.*-]*(\(.*\))?$", re.DOTALL)


class Permissions(CamelModel):
    """Rules over tool calls, `tool` or `tool(pattern)`; deny before ask before allow."""

    mode: Literal["allow", "ask", "deny"] = "allow"
    """What becomes of a call that no rule names."""
    deny: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    @field_validator("deny", "ask", "allow")
    @classmethod
    def check_rules(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        for rule in rules:
            if not RULE.match(rule):
                raise ValueError("a rule is `tool` or `tool(pattern)`")
        return rules


class AgentBlock(CamelModel):
    """How a run of this agent behaves. Times are seconds."""

    max_turns: Positive = 50
    """Model calls in one run at the most."""
    max_tool_repeats: Count = 0
    """Calls of the same tool with similar arguments in one run; 0 = no limit."""
    on_busy: OnBusy = "reject"
    tool_concurrency: Positive = 8
    tool_timeout: Seconds = 30.0
    confirmation_ttl: Seconds = 86_400.0
    confirmation_grace: Seconds = 300.0
    recovery: Literal["resume", "fail"] = "resume"
    run_timeout: Seconds = 600.0
    """Parked time is not counted."""
    max_run_cost: Amount | None = None
    """US dollars; None = no limit."""
    permissions: Permissions = Permissions()
    plan_mode: Literal["offered", "required"] | None = None
    """Ours: the model may plan first, or every run begins so: nothing is changed outside of this
    server before a person has approved the plan."""
    expose_thinking: Flag = False
    """Ours: whether `thinking_delta` events leave the server."""


class PriceOverride(CamelModel):
    """US dollars per million tokens, in place of the catalogue's price."""

    input: Amount
    output: Amount
    cache_read: Amount | None = None
    cache_write: Amount | None = None


class BudgetWindow(CamelModel):
    """US dollars that may be spent in a window."""

    day: Amount | None = None
    month: Amount | None = None
    soft: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of a limit at which operators are told."""


class Budgets(CamelModel):
    """Limits of what this agent may spend, for all, for each scope, for each key."""

    agent: BudgetWindow | None = None
    scope: BudgetWindow | None = None
    key: BudgetWindow | None = None


class Sandbox(CamelModel):
    """Where handlers and shell commands run."""

    shell_exec: Flag = False
    template: Text | None = None
    max_timeout: Positive = 30_000
    """Milliseconds."""


class StoresBlock(CamelModel):
    """Which database holds sessions and stores."""

    backend: Literal["pglite", "postgres"] | None = None
    """`pglite` or nothing is the embedded Postgres."""
    data_dir: Text | None = None
    postgres_url: SecretStr | None = None
    connection_string: SecretStr | None = None

    @property
    def address(self) -> str | None:
        """The database's address, under whichever of its two names."""
        given = self.postgres_url or self.connection_string
        return given.get_secret_value() if given else None

    @model_validator(mode="after")
    def check_consistency(self) -> StoresBlock:
        both = self.postgres_url and self.connection_string
        if both and self.postgres_url != self.connection_string:
            raise ValueError("postgresUrl and connectionString are the same key and differ here")
        if self.backend == "pglite" and self.address:
            raise ValueError('an address has no effect with backend "pglite"; use "postgres"')
        external = self.backend == "postgres" or self.address is not None
        if external and self.data_dir is not None:
            raise ValueError("dataDir has an effect with the embedded database only")
        return self


class Proactive(CamelModel):
    """The public address under which `/webhooks` is reached."""

    webhook: Url


class Mcp(CamelModel):
    servers: dict[str, McpServer] = Field(default_factory=dict)


class WebTools(CamelModel):
    """`web_search` and `fetch_url`; `true` takes the defaults."""

    provider: Literal["google", "searxng", "brave"] = "google"
    api_key: SecretStr | None = None
    """None takes GOOGLE_API_KEY, GEMINI_API_KEY or BRAVE_API_KEY from the environment."""
    model: Text = "gemini-2.5-flash"
    """Of Google."""
    base_url: Url | None = None
    """Required for SearXNG; another address of Google or Brave."""

    @model_validator(mode="after")
    def check_provider(self) -> WebTools:
        if self.provider == "searxng" and self.base_url is None:
            raise ValueError('provider "searxng" needs a baseUrl')
        if self.provider == "searxng" and self.api_key is not None:
            raise ValueError('apiKey has no effect with provider "searxng"')
        if self.provider != "google" and "model" in self.model_fields_set:
            raise ValueError('model has an effect with provider "google" only')
        return self


class Memory(CamelModel):
    """Facts that outlive a session."""

    enabled: Flag
    editable_by: Literal["any", "admin", "none"] = "any"
    max_entries: Positive = 50
    max_total_chars: Positive = 8000
    nudge_interval: Count = 10
    """User messages between two reminders; 0 = none."""
    session_search: Flag = True


class FileTools(CamelModel):
    """Tools over the agent's own files; `true` takes the defaults."""

    allowed_dirs: tuple[Text, ...] | None = None
    blocked_files: tuple[Text, ...] | None = None


class ScopeBlock(CamelModel):
    require_scope: Flag = False


class PackageRef(SnakeModel):
    """A package to merge, whole or only the named parts of it."""

    package: Text
    use: tuple[Text, ...] | None = None
    """`<folder>.<name>`, such as `connections.slack`; None takes everything."""

    @model_validator(mode="before")
    @classmethod
    def accept_name(cls, data: Any) -> Any:
        return {"package": data} if isinstance(data, str) else data

    @field_validator("use")
    @classmethod
    def check_use(cls, use: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for part in use or ():
            if not re.fullmatch(r"[a-z]+\.[\w-]+", part):
                raise ValueError('each part reads "<folder>.<name>", as in "connections.slack"')
        return use
