"""Conditions as SQL: what an index finds, and what any document can be held against.

Law: the text is made of constants of this module alone; whatever a caller said, paths
included, is a parameter.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, NamedTuple

from stores_app.conditions import Condition, Kind
from stores_app.models import Document
from stores_app.places import Place, to_json

INDEXED_CHARS = 250
"""Of a string, in the side table; longer ones are only held against documents."""
COLUMN: dict[Kind, str] = {"text": "text_value", "number": "number_value", "time": "time_value"}
SYMBOL = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
LIVE = "({0}.expires_at IS NULL OR {0}.expires_at > now())"
TABLE = Document._meta.db_table


class Sql(NamedTuple):
    """A piece of SQL and its parameters."""

    text: str
    params: tuple[Any, ...] = ()

    def __add__(self, other: Any) -> Sql:
        """Both, one after the other."""
        if isinstance(other, str):
            return Sql(f"{self.text} {other}", self.params)
        return Sql(f"{self.text} {other.text}", (*self.params, *other.params))


def join(word: str, pieces: Iterable[Sql]) -> Sql:
    """Pieces with a word between them."""
    listed = list(pieces)
    return Sql(
        f" {word} ".join(piece.text for piece in listed),
        tuple(param for piece in listed for param in piece.params),
    )


class Source(NamedTuple):
    """Where the ids of all documents that meet some conditions come from, by index."""

    sql: Sql
    """`SELECT … AS document_id`; a LIMIT may follow, or is the last parameter already."""
    covers: tuple[Condition, ...]
    """The conditions that its documents meet."""
    limited: bool = False
    """It takes its limit as its last parameter."""
    searches: bool = False
    """Its documents have the words that are searched."""

    def first(self, most: int | None) -> Sql:
        """At most so many of the ids."""
        if self.limited:
            return Sql(self.sql.text, (*self.sql.params[:-1], most))
        return self.sql if most is None else self.sql + Sql("LIMIT %s", (most,))


def partition(place: Place) -> Sql:
    """The documents of a store in its scope that have not expired."""
    text = "d.scope_id = %s AND d.agent = %s AND d.store = %s AND " + LIVE.format("d")
    return Sql(text, (place.scope_id, place.agent, place.name))


def everything(place: Place) -> Source:
    """The whole store as a source."""
    ids = Sql(f"SELECT d.id AS document_id FROM {TABLE} d WHERE")  # noqa: S608 - constants
    return Source(ids + partition(place), ())


def slot(place: Place, path: str) -> Sql:
    """The rows `v` of one path in the side table."""
    text = "v.scope_id = %s AND v.slot = stores_slot(%s, %s, %s)"
    return Sql(text, (place.scope_id, place.agent, place.name, path))


def sources(place: Place, conditions: Iterable[Condition]) -> list[Source]:
    """One source for each path, and each `$contains`, that an index serves."""
    paths: dict[str, list[Condition]] = {}
    found: list[Source] = []
    for condition in conditions:
        if condition.listed:
            found.append(_containing(place, condition))
        elif indexed(condition) is not None:
            paths.setdefault(condition.path, []).append(condition)
    for path, covered in paths.items():
        head = Sql("SELECT v.document_id FROM stores_app_documentvalue v WHERE")
        told = _bounds(place, path, covered) + "AND" + Sql(LIVE.format("v"))
        found.append(Source(head + told, tuple(covered)))
    return found


def _bounds(place: Place, path: str, covered: Iterable[Condition]) -> Sql:
    bounds = (bound for each in covered if (bound := indexed(each)) is not None)
    return join("AND", [slot(place, path), *bounds])


def check(place: Place, source: Source, alias: str) -> Sql:
    """The join that leaves of documents `f` those that a source of values covers.

    One look into an index per document: `OFFSET 0` keeps the planner, whose statistics know
    no single store, from reading all that the source covers instead.
    """
    head = Sql("JOIN LATERAL (SELECT 1 FROM stores_app_documentvalue v WHERE")
    told = _bounds(place, source.covers[0].path, source.covers)
    return head + "v.document_id = f.document_id AND" + told + f"OFFSET 0) {alias} ON true"


def _containing(place: Place, condition: Condition) -> Source:
    params = (place.agent, place.name, place.spec.shared, condition.path, to_json(condition.value))
    text = "SELECT f AS document_id FROM stores_containing(%s, %s, %s, %s, %s::jsonb, %s) f"
    return Source(Sql(text, (*params, None)), (condition,), limited=True)


def matching(place: Place, words: str) -> Source:
    """Documents that a full text search finds."""
    text = "SELECT f AS document_id FROM stores_matching(%s, %s, %s, %s, %s) f"
    params = (place.agent, place.name, place.spec.shared, words, None)
    return Source(Sql(text, params), (), limited=True, searches=True)


def indexed(condition: Condition) -> Sql | None:
    """The comparison on the side table; None when only the document itself can tell."""
    if condition.kind is None or condition.operator == "$contains":
        return None
    column = f"v.{COLUMN[condition.kind]}"
    if condition.operator == "$exists":
        return Sql(f"{column} IS NOT NULL") if condition.value else None
    values = condition.value if condition.operator == "$in" else [condition.value]
    if any(isinstance(value, str) and len(value) >= INDEXED_CHARS for value in values):
        return None
    if condition.operator == "$in":
        cast = {"text": "text", "number": "float8", "time": "timestamptz"}[condition.kind]
        return Sql(f"{column} = ANY(%s::{cast}[])", (list(values),))
    return Sql(f"{column} {SYMBOL[condition.operator]} %s", (condition.value,))


def predicate(condition: Condition) -> Sql:
    """The comparison on a document `d` itself."""
    path = condition.path.split(".")
    if condition.operator == "$exists":
        word = "<>" if condition.value else "="
        return Sql(f"coalesce(d.payload #> %s, 'null') {word} 'null'", (path,))
    if condition.operator == "$contains":
        return _contains(condition, path)
    if condition.kind is None:
        return _compare_any(condition, path)
    value = _typed(condition.kind, path)
    if condition.operator == "$in":
        cast = {"text": "text", "number": "float8", "time": "timestamptz"}[condition.kind]
        return value + Sql(f"= ANY(%s::{cast}[])", (list(condition.value),))
    return value + Sql(f"{SYMBOL[condition.operator]} %s", (condition.value,))


def _typed(kind: Kind, path: list[str]) -> Sql:
    match kind:
        case "text":
            return Sql('(d.payload #>> %s) COLLATE "C"', (path,))
        case "number":
            return Sql("stores_number(d.payload #> %s)", (path,))
        case "time":
            return Sql("stores_time(d.payload #>> %s)", (path,))


def _contains(condition: Condition, path: list[str]) -> Sql:
    held = Sql("d.payload #> %s @> jsonb_build_array(%s::jsonb)", (path, to_json(condition.value)))
    if condition.listed:
        return held
    if not isinstance(condition.value, str):
        return held
    part = Sql("strpos(d.payload #>> %s, %s) > 0", (path, condition.value))
    if condition.kind is not None:
        return part
    is_list = Sql("CASE jsonb_typeof(d.payload #> %s) WHEN 'array' THEN", (path,))
    return is_list + held + "WHEN 'string' THEN" + part + "ELSE false END"


def _compare_any(condition: Condition, path: list[str]) -> Sql:
    """Values of no declared type: numbers with numbers, times with times, text with text."""
    value = condition.value
    if condition.operator in ("$eq", "$in"):
        wanted = value if condition.operator == "$in" else [value]
        return Sql("d.payload #> %s = ANY(%s::jsonb[])", (path, [to_json(item) for item in wanted]))
    kind: Kind = (
        "number"
        if isinstance(value, float)
        else "time"
        if isinstance(value, dt.datetime)
        else "text"
    )
    return _typed(kind, path) + Sql(f"{SYMBOL[condition.operator]} %s", (value,))
