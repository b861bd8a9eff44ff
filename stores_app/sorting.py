"""Orders of a list, and the cursors that go on in them.

Law: an order ends with the id, so it is total. Documents without the value come last, both
ways. A cursor names its order and is worth nothing in another one.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import Any

import msgspec

from agentsite.manifest.stores import StoreSpec
from stores_app.compiling import COLUMN, TABLE, Sql, partition, slot
from stores_app.conditions import Kind, check_path, find_kind
from stores_app.errors import BadQuery
from stores_app.places import Place

OWN: dict[str, tuple[str, Kind]] = {
    "$updatedAt": ("updated_at", "time"),
    "$key": ("key", "text"),
}
"""What every document has and an index serves."""
NEWEST = "-$updatedAt"


class Order(msgspec.Struct, frozen=True):
    """One way to sort."""

    path: str
    """A path of the payload, a name of `OWN`, or `$rank` (of a search)."""
    descending: bool
    kind: Kind | None
    """None: no index sorts by it."""

    @property
    def name(self) -> str:
        return f"-{self.path}" if self.descending else self.path

    @property
    def word(self) -> str:
        return "DESC" if self.descending else "ASC"


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The last document of a page; without an index its place in the list."""

    order: str
    id: int
    value: Any
    place: int = 0


def read_order(spec: StoreSpec, given: str | None, *, searches: bool) -> Order:
    """The order that `sort` names; the newest or the best first without one. `BadQuery`."""
    if not given:
        return Order("$rank", True, None) if searches else read_order(spec, NEWEST, searches=False)
    path = given.removeprefix("-")
    if path in OWN:
        return Order(path, given != path, OWN[path][1])
    if path.startswith("$"):
        raise BadQuery(f'"{path[:100]}" is no order; known: {", ".join(OWN)} and fields')
    return Order(check_path(path), given != path, find_kind(spec, path))


def walk(place: Place, order: Order, bounds: list[Sql], after: Cursor | None, most: int) -> Sql:
    """`document_id, value` of documents that have the value, in order, by index."""
    if order.path in OWN:
        column, key = f"d.{OWN[order.path][0]}", "d.id"
        head = Sql(f"SELECT d.id AS document_id, {column} AS value FROM {TABLE} d WHERE")  # noqa: S608 - constants
        told = [partition(place), *bounds]
    else:
        column, key = f"v.{_column(order)}", "v.document_id"
        head = Sql(
            f"SELECT v.document_id, {column} AS value FROM stores_app_documentvalue v WHERE"  # noqa: S608 - constants
        )
        live = Sql("(v.expires_at IS NULL OR v.expires_at > now())")
        told = [slot(place, order.path), Sql(f"{column} IS NOT NULL"), live, *bounds]
    if after is not None:
        sign = "<" if order.descending else ">"
        told.append(Sql(f"({column}, {key}) {sign} (%s, %s)", (after.value, after.id)))
    tail = Sql(f"ORDER BY {column} {order.word}, {key} {order.word} LIMIT %s", (most,))
    return head + join_and(told) + tail


def join_and(pieces: list[Sql]) -> Sql:
    """All must hold."""
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + "AND" + piece
    return whole


def _column(order: Order) -> str:
    if order.kind is None:
        raise ValueError(f"nothing sorts by {order.path}")
    return COLUMN[order.kind]


def value_of(order: Order) -> str:
    """What documents `d`, with `beside` them where that is needed, are sorted by."""
    if order.path in OWN:
        return f"d.{OWN[order.path][0]}"
    return "NULL" if order.kind is None else "s.value"


def beside(place: Place, order: Order, document: str = "d.id") -> Sql:
    """The join that brings in `s.value`; nothing for what stands in the document itself."""
    if order.path in OWN or order.kind is None:
        return Sql("")
    column = _column(order)
    text = (
        f"LEFT JOIN (SELECT v.document_id, v.{column} AS value FROM stores_app_documentvalue v"  # noqa: S608 - constants
        f" WHERE v.{column} IS NOT NULL AND"
    )
    return Sql(text) + slot(place, order.path) + f") s ON s.document_id = {document}"


def arrange(order: Order, words: str = "", document: str = "d.id") -> Sql:
    """`ORDER BY` over documents with their values beside them; `words` are what is searched."""
    if order.path == "$rank":
        rank = "ORDER BY ts_rank(d.words, websearch_to_tsquery('simple', %s)) DESC, d.id DESC"
        return Sql(rank, (words,))
    if order.kind is None:
        return _arrange_any(order)
    value = value_of(order)
    nulls = "" if order.path in OWN else f"({value} IS NULL), "
    return Sql(f"ORDER BY {nulls}{value} {order.word}, {document} {order.word}")


def _arrange_any(order: Order) -> Sql:
    """By what the values are: numbers, then times, then text, then whatever is left."""
    path, word = order.path.split("."), f"{order.word} NULLS LAST"
    return Sql(
        f"ORDER BY stores_number(d.payload #> %s) {word}, stores_time(d.payload #>> %s) {word},"
        f' (d.payload #>> %s) COLLATE "C" {word}, d.id {order.word}',
        (path, path, path),
    )


def go_on(order: Order, after: Cursor, document: str = "d.id") -> Sql:
    """What comes behind the cursor, of documents with their values beside them."""
    value, sign = value_of(order), "<" if order.descending else ">"
    if after.value is None:
        return Sql(f"({value} IS NULL AND {document} {sign} %s)", (after.id,))
    behind = Sql(f"({value}, {document}) {sign} (%s, %s)", (after.value, after.id))
    return behind if order.path in OWN else Sql("(") + behind + f"OR {value} IS NULL)"


def write_cursor(cursor: Cursor) -> str:
    """The cursor as callers carry it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def read_cursor(order: Order, given: str) -> Cursor:
    """The cursor of this order. Raises `BadQuery` for any other."""
    try:
        raw = base64.b64decode(given, altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(raw, type=Cursor)
        value = _revive(order, cursor.value)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise BadQuery('"cursor" is not one of this server') from error
    if cursor.order != order.name:
        raise BadQuery(f'"cursor" belongs to the order "{cursor.order[:100]}", not "{order.name}"')
    if not (0 <= cursor.id < 2**63 and 0 <= cursor.place <= 2**31):
        raise BadQuery('"cursor" is not one of this server')
    return msgspec.structs.replace(cursor, value=value)


def _revive(order: Order, value: Any) -> Any:
    if value is None or order.kind is None:
        return None
    wanted = {"text": str, "number": float, "time": dt.datetime}[order.kind]
    revived: Any = msgspec.convert(value, wanted)
    if isinstance(revived, str) and "\x00" in revived:
        raise ValueError("no text of a row")
    if isinstance(revived, dt.datetime) and revived.tzinfo is None:
        raise ValueError("no moment of a row")
    return revived
