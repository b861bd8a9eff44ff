"""`connections/<name>/`: an API or MCP server the agent may call, and how it is described."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from agentsite.manifest.access import Access
from agentsite.manifest.base import CamelModel, Flag, Text, Url
from agentsite.manifest.mcp import McpServer
from agentsite.manifest.reader import Entry, Reader

SURFACE_ENDPOINT = re.compile(r"^###[ \t]+([A-Z]+[ \t]+/\S*)", re.MULTILINE)
FILES = ("spec.json", "access.json", "surface.md", "entities.md", "rules.md")


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


class Sync(CamelModel):
    auto: Flag = False
    frequency: Text | None = None
    notify_drift: Flag = False


class Filter(CamelModel):
    tags: tuple[Text, ...] = ()
    include_paths: tuple[Text, ...] = ()
    exclude_paths: tuple[Text, ...] = ()


class RestSpec(CamelModel):
    """`spec.json` of a REST connection."""

    protocol: Literal["rest"] = "rest"
    base_url: Url
    spec_url: Url | None = None
    test_path: Text | None = None
    format: Text | None = None
    auth: Auth | None = None
    sync: Sync | None = None
    filter: Filter | None = None
    context_injection: dict[str, Injection] = Field(default_factory=dict)


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
    for path in reader.list_folder(entry.path):
        if path.name not in FILES:
            reader.report(reader.show(path), f"is not one of {', '.join(FILES)}")
    spec = read_spec(reader, entry)
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
