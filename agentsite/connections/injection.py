"""Context injection: values of the scope that go into every request, and that nobody else sets.

Law: a name that is injected is reserved everywhere a server might look for it; a request
that tries to set it is refused, not quietly changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from agentsite.connections.caller import Caller
from agentsite.connections.errors import Refused
from agentsite.connections.fieldnames import fold_name, name_readings
from agentsite.connections.routes import (
    NAMED,
    Route,
    find_places,
    is_literal_at,
    matches,
    names_field,
    read_segment,
)
from agentsite.manifest.connections import RestSpec

CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
OVERRIDES = frozenset(map(fold_name, ("_method", "X-HTTP-Method-Override", "method_override")))


@dataclass(frozen=True, slots=True)
class Injected:
    """Values by field, for each of the four places."""

    query: Mapping[str, str] = field(default_factory=dict)
    header: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, str] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()
    """Folded names that only the server sets, those without a value too."""
    path_fields: tuple[str, ...] = ()


def collect(connection: str, spec: RestSpec, caller: Caller) -> Injected:
    """The values for one caller. Raises `Refused` when a required one is missing."""
    places: dict[str, dict[str, str]] = {"query": {}, "header": {}, "path": {}, "body": {}}
    for key, rule in spec.context_injection.items():
        value = caller.value(key)
        if value is None or value == "":
            if rule.required:
                raise Refused(
                    f'Required context injection key "{key}" is missing from scope context for'
                    f' connection "{connection}"'
                )
            continue
        text = str(value)
        if CONTROLS.search(text):
            raise Refused(f'The context value "{key}" holds control characters.')
        if rule.place == "path" and (re.search(r"[/\\;%]", text) or not text.strip(". ")):
            raise Refused(f'The context value "{key}" cannot stand in a path.')
        places[rule.place][rule.field] = text
    rules = spec.context_injection.values()
    return Injected(
        **places,
        reserved=frozenset(fold_name(rule.field) for rule in rules),
        path_fields=tuple(rule.field for rule in rules if rule.place == "path"),
    )


def refuse_reserved(names: Iterable[object], injected: Injected) -> None:
    """Refuse names of parameters or of a body that belong to the server."""
    for name in names:
        folded = name_readings(name)
        if folded & injected.reserved:
            raise Refused(f'"{name}" is set by the server; leave it out.')
        if folded & OVERRIDES:
            raise Refused(f'"{name}" would change the method; name the method itself.')


def refuse_reserved_in_body(body: Any, injected: Injected) -> None:
    """The same for what stands at the top of a body, or of the items of a list."""
    if isinstance(body, Mapping):
        refuse_reserved(body, injected)
    elif isinstance(body, str):  # a server might take it for a form
        pairs = parse_qsl(body.replace(";", "&"), keep_blank_values=True)
        refuse_reserved([name for name, _ in pairs], injected)
    elif isinstance(body, list | tuple):
        for item in body:
            refuse_reserved_in_body(item, injected)


def check_path(
    route: Route,
    used: frozenset[str],
    injected: Injected,
    templates: Iterable[str],
    base: tuple[str, ...],
) -> None:
    """Refuse a path in which another value stands where one is injected.

    `templates` are all paths the connection's files tell. A path that none of them fits
    must name each injected field itself: nobody could say where its value stands.
    """
    templates = tuple(templates)
    fitting = [template for template in templates if matches(template, route, base)]
    for name in injected.path_fields:
        told = [template for template in templates if names_field(template, name)]
        places = {found for each in told for found in find_places(each, name, route, base)}
        values = {
            value
            for place, segment in places
            if not any(is_literal_at(template, place, route) for template in fitting)
            for value in read_segment(segment, name, route.values[place])
        }
        if values - {injected.path.get(name)}:
            raise Refused(f'"{{{name}}}" in the path is set by the server; write it as it is.')
        # Where no template tells its place, each placeholder of theirs may be it.
        vague = not told and fitting and all(map(NAMED.search, fitting))
        if not values and name not in used and (not fitting or vague):
            raise Refused(
                f"This endpoint is not one the connection describes; write it with {{{name}}}"
                " in the place of the value."
            )


def add_to_body(body: Any, injected: Injected, connection: str) -> Any:
    """The body with the injected values. Raises `Refused` for a body that takes none."""
    if not injected.body:
        return body
    if body is None:
        return dict(injected.body)
    if not isinstance(body, Mapping):
        raise Refused(f'The body of a request to "{connection}" must be a JSON object.')
    return {**body, **injected.body}
