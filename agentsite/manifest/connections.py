"""`connections/<name>/`: an API or MCP server the agent may call, and how it is described."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from agentsite.manifest.access import Access
from agentsite.manifest.base import CamelModel, Flag, Text, Url
from agentsite.manifest.mcp import McpServer
from agentsite.manifest.reader import Entry, Reader
from agentsite.manifest.tool_schema import RateLimit

SURFACE_ENDPOINT = re.compile(r"^###[ \t]+([A-Z]+[ \t]+/\S*)", re.MULTILINE)
FILES = ("spec.json", "access.json", "surface.md", "entities.md", "rules.md")
FOR_REST = frozenset(("access.json", "surface.md"))
"""They are about endpoints."""


class Auth(CamelModel):
    """Credentials of a connection; the defaults of `header` and `prefix` follow the type."""

    type: Literal["bearer", "api_key", "basic", "header"]
    token: SecretStr
    header: Text | None = None
    prefix: str | None = None

    @model_validator(mode="after")
    def check_header(self) -> Auth:
        if self.type == "header" and not self.header:
            raise ValueError("type header needs the name of a header")
        return self


class Injection(CamelModel):
    """Puts a value of the scope's context into every request."""

    place: Literal["query", "header", "path", "body"] = Field(alias="in")
    field: Text
    required: Flag = False


class Filter(CamelModel):
    tags: tuple[Text, ...] = ()
    include_paths: tuple[Text, ...] = ()
    exclude_paths: tuple[Text, ...] = ()


class RestSpec(CamelModel):
    """`spec.json` of a REST connection."""

    protocol: Literal["rest"] = "rest"
    base_url: Url
    spec_url: Url | None = None
    test_path: Annotated[str, Field(pattern=r"^/")] | None = None
    """Read by `manage.py syncconnections --test`."""
    format: Literal["openapi"] | None = None
    """Of the document behind `specUrl`."""
    auth: Auth | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Ours: sent with every request; `env:` and `scope:` as in `auth.token`."""
    rate_limit: RateLimit | None = None
    """Ours: how often calls to the host begin, whichever tool makes them."""
    sync: Any = None
    """Refused: what an agent may call changes by somebody's hand, never by itself."""
    filter: Filter | None = None
    context_injection: dict[str, Injection] = Field(default_factory=dict)

    @field_validator("sync")
    @classmethod
    def refuse_sync(cls, given: Any) -> None:
        raise ValueError(
            "sync is not supported: what an agent may call changes by somebody's hand; run"
            " `manage.py syncconnections --check` on your own schedule, it exits with 1 on drift"
        )

    @model_validator(mode="after")
    def check_places(self) -> RestSpec:
        authority, _, path = self.base_url.partition("://")[2].partition("/")
        if "{" in authority or "?" in self.base_url or "#" in self.base_url:
            raise ValueError("baseUrl takes {name} in its path only, no query, no fragment")
        places = {rule.field for rule in self.context_injection.values() if rule.place == "path"}
        for name in re.findall(r"\{([^{}]*)\}", path):
            if name not in places:
                raise ValueError(
                    f"baseUrl names {{{name}}}, which no contextInjection has in its path"
                )
        return self


class McpSpec(McpServer):
    """`spec.json` of an MCP connection."""

    protocol: Literal["mcp"]


@dataclass(frozen=True)
class Connection:
    """One folder below `connections/`."""

    name: str
    spec: RestSpec | McpSpec
    access: Access
    surface: str = ""
    entities: str = ""
    rules: str = ""


def read_connections(reader: Reader) -> tuple[Connection, ...]:
    """Read all connections; every defect becomes a problem."""
    read = (read_connection(reader, entry) for entry in reader.entries("connections"))
    return tuple(connection for connection in read if connection is not None)


def read_connection(reader: Reader, entry: Entry) -> Connection | None:
    if not (entry.path / "spec.json").is_file():
        reader.report(entry.file, "a connection is a folder with a spec.json in it")
        return None
    spec = read_spec(reader, entry)
    for path in reader.list_folder(entry.path):
        if path.name not in FILES:
            reader.report(reader.show(path), f"is not one of {', '.join(FILES)}")
        elif isinstance(spec, McpSpec) and path.name in FOR_REST:
            text = "has no effect with an MCP server; agent.permissions has rules for its tools"
            reader.report(reader.show(path), text)
    access: Access | None = Access()
    if (entry.path / "access.json").is_file():
        access = reader.read_model(entry.path / "access.json", Access)
    texts = {
        name: reader.read_text(entry.path / f"{name}.md") or ""
        for name in ("surface", "entities", "rules")
        if (entry.path / f"{name}.md").is_file()
    }
    if "surface" in texts and not SURFACE_ENDPOINT.search(texts["surface"]):
        reader.report(f"{entry.file}/surface.md", 'names no endpoint: "### GET /path" is missing')
    if spec is None or access is None:
        return None
    return Connection(entry.name, spec, access, **texts)


def read_spec(reader: Reader, entry: Entry) -> RestSpec | McpSpec | None:
    path = entry.path / "spec.json"
    data = reader.read_json(path)
    if data is None:
        return None
    file = reader.show(path)
    resolved: dict[str, Any] = reader.resolver.resolve(data, file)
    if resolved.get("protocol") == "mcp":
        return reader.validate(resolved, McpSpec, file)
    return reader.validate(resolved, RestSpec, file)
