"""One call of a connection, checked and composed, all but its credentials.

Law: pure. What is judged here is what will be sent: the same function serves the question
to a person, the refusal, and the sending.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from agentsite.connections.access import Decision, Rules, decide
from agentsite.connections.caller import Caller
from agentsite.connections.errors import Refused
from agentsite.connections.headers import check_headers, fold_header
from agentsite.connections.injection import (
    Injected,
    add_to_body,
    check_path,
    collect,
    refuse_reserved,
    refuse_reserved_in_body,
)
from agentsite.connections.routes import PLACEHOLDER, Route, fold, read_endpoint
from agentsite.connections.surface import read_surface
from agentsite.manifest.connections import Connection, RestSpec

WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
FORM = "application/x-www-form-urlencoded"
LARGEST_BODY = 2_000_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What a model, a tool.json or a handler asks for."""

    connection: str
    method: str
    endpoint: str
    params: Mapping[str, Any] = field(default_factory=dict)
    data: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    trusted_headers: bool = False
    """An operator's file names the headers, not a model."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What will be sent, and what the rules say of it."""

    method: str
    url: str
    route: Route
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    data: Any
    body: bytes | None = field(repr=False)
    decision: Decision
    rules: Rules
    injected: Injected
    templates: tuple[str, ...] = ()
    """All paths that the connection's files tell."""
    in_base: frozenset[str] = frozenset()
    """Injected values that stand in the base address: no path needs them."""


def prepare(connection: Connection, spec: RestSpec, wish: Wish, caller: Caller) -> Prepared:
    """Check and compose. Raises `Refused` with a sentence for the model."""
    injected = collect(connection.name, spec, caller)
    surface = read_surface(connection.surface)
    base_url, base = _fill_base(spec.base_url, injected, connection.name)
    in_base = frozenset(PLACEHOLDER.findall(spec.base_url))
    given = {str(name): value for name, value in wish.params.items() if value is not None}
    fill = {name: _to_text(value) for name, value in given.items() if not _is_list(value)}
    fill = {name: text for name, text in fill.items() if name not in injected.path_fields}
    route, used = read_endpoint(wish.endpoint, {**fill, **injected.path})
    templates = (*_paths(connection), *surface.paths)
    check_path(route, used | in_base, injected, templates, base)
    named = [name for name in given if name not in used or name in injected.path_fields]
    refuse_reserved([*named, *(name for name, _ in route.query)], injected)
    own = (*route.query, *((n, text) for n in named for text in _to_texts(given[n])))
    query = (*own, *injected.query.items())
    data = _read_data(wish.data) if wish.method in WITH_BODY else None
    refuse_reserved_in_body(data, injected)
    reserved = [*spec.headers, *injected.header, *(r.field for r in _header_rules(spec))]
    reserved += [spec.auth.header] if spec.auth and spec.auth.header else []
    headers = check_headers(wish.headers, reserved, trusted=wish.trusted_headers)
    rules = Rules(connection.access, base, surface.excluded)
    decision = decide(rules, wish.method, route, _group(query), data, caller)
    if wish.method in WITH_BODY:
        data = add_to_body(data, injected, connection.name)
    body = _encode(data, headers, decision)
    headers |= {fold_header(name): value for name, value in injected.header.items()}
    text = urlencode(query, quote_via=quote)
    url = base_url + route.path + (f"?{text}" if text else "")
    return Prepared(
        method=wish.method,
        url=url,
        route=route,
        query=query,
        headers=headers,
        data=data,
        body=body,
        decision=decision,
        rules=rules,
        injected=injected,
        templates=templates,
        in_base=in_base,
    )


def base_segments(url: str) -> tuple[str, ...]:
    """The folded segments of a base address's path."""
    return tuple(fold(segment) for segment in urlsplit(url).path.split("/") if segment)


def _fill_base(url: str, injected: Injected, connection: str) -> tuple[str, tuple[str, ...]]:
    for name in PLACEHOLDER.findall(url):
        if name not in injected.path:
            raise Refused(f'The address of "{connection}" needs the context value "{name}".')
    filled = PLACEHOLDER.sub(lambda match: quote(injected.path[match[1]], safe=""), url)
    return filled.rstrip("/"), base_segments(filled)


def _paths(connection: Connection) -> list[str]:
    return [key.partition(" ")[2] for key in connection.access.endpoints]


def _header_rules(spec: RestSpec) -> list[Any]:
    return [rule for rule in spec.context_injection.values() if rule.place == "header"]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _to_texts(value: Any) -> list[str]:
    return [_to_text(item) for item in value] if _is_list(value) else [_to_text(value)]


def _to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise Refused("A parameter must be a text, a number, true or false, or a list of them.")


def _group(query: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in query:
        grouped.setdefault(name, []).append(value)
    return grouped


def _read_data(data: Any) -> Any:
    """A body; a text that is a JSON object or list counts as what it says."""
    if isinstance(data, str) and data.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            return json.loads(data.lstrip("\ufeff"), object_pairs_hook=_refuse_doubles)
        except (ValueError, RecursionError):
            raise Refused("The body looks like JSON and is not; give it as an object.") from None
    return data


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("the same name twice")
    return dict(pairs)


def _encode(data: Any, headers: dict[str, str], decision: Decision) -> bytes | None:
    """The bytes of a body, in the type the headers say; sets the type where they do not."""
    if data is None:
        headers.pop("content-type", None)
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if isinstance(data, str):
        if any(rule.thresholds for rule in decision.rules) or kind == FORM or "json" in kind:
            raise Refused("Give the body as a JSON object, not as a text.")
        headers.setdefault("content-type", "text/plain; charset=utf-8")
        body = data.encode()
    elif kind == FORM:
        if not isinstance(data, Mapping):
            raise Refused("A form is given as an object of names and values.")
        body = urlencode({str(k): _to_texts(v) for k, v in data.items()}, doseq=True).encode()
    elif kind and not kind.endswith("json"):
        raise Refused(f"The body is JSON, the content type is {kind}.")
    else:
        headers.setdefault("content-type", "application/json")
        body = msgspec.json.encode(data)
    if len(body) > LARGEST_BODY:
        raise Refused(f"The body is larger than {LARGEST_BODY:,} bytes.")
    return body
