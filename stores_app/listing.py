"""Lists: one question, answered in the way that is cheapest for how many documents it meets.

Law: bounded. Few matches (by index) are all fetched and sorted; of many, the first ones are met
on a walk along the index of the order; what neither answers runs whole, under a time limit.
"""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg.errors
from django.db import OperationalError, connection

from agentsite.rows.tenancy import tenant
from stores_app import sorting
from stores_app.compiling import (
    TABLE,
    Source,
    Sql,
    check,
    everything,
    indexed,
    join,
    matching,
    partition,
    predicate,
    sources,
)
from stores_app.conditions import Condition, read_filter, undeclared
from stores_app.errors import BadQuery, SlowQuery
from stores_app.places import COLUMNS, WIDTH, Place, Read, read_row
from stores_app.sorting import Cursor, Order, value_of

DEFAULT_LIMIT = 20
MAX_LIMIT = 500
MAX_OFFSET = 10_000
MAX_WORDS = 1_000


class Limits(msgspec.Struct, frozen=True):
    """How much work one list may make."""

    few: int = 5_000
    """Matches that are all fetched and sorted: as many as a walk would look at in vain."""
    walk: int = 5_000
    """Documents looked at along an index before the question is asked as a whole."""
    held: int = 1_000
    """Of more matches than few, those held against the other conditions for an "at least"."""
    counted: int = 10_000
    """Beyond this a total is "at least"."""
    timeout_ms: int = 3_000
    """Of each statement."""


LIMITS = Limits()


class Query(msgspec.Struct, frozen=True):
    """What a caller asks for, checked."""

    conditions: tuple[Condition, ...]
    order: Order
    words: str = ""
    """Full text search over all strings."""
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    after: Cursor | None = None


class Page(msgspec.Struct, frozen=True):
    """Documents in order."""

    documents: list[Read]
    total: int
    total_exact: bool
    """False: there are at least `total`."""
    cursor: str | None
    """Where the next page begins; None when this is the last one."""
    notes: list[str]
    """What the caller should know of paths without an index."""


def read_query(
    place: Place,
    *,
    filter: Any = None,
    sort: str | None = None,
    search: str | None = None,
    limit: int = DEFAULT_LIMIT,
    offset: int = 0,
    cursor: str | None = None,
) -> Query:
    """Check a question. Raises `BadQuery` that says what is wrong with it."""
    if not 1 <= limit <= MAX_LIMIT:
        raise BadQuery(f'"limit" must be from 1 to {MAX_LIMIT}')
    if not 0 <= offset <= MAX_OFFSET:
        raise BadQuery(f'"offset" must be from 0 to {MAX_OFFSET:,}; go on by "cursor" beyond that')
    if cursor and offset:
        raise BadQuery('"cursor" and "offset" exclude each other')
    words = (search or "").strip()
    if len(words) > MAX_WORDS or "\x00" in words:
        raise BadQuery(f'"search" has at most {MAX_WORDS} characters')
    order = sorting.read_order(place.spec, sort, searches=bool(words))
    after = sorting.read_cursor(order, cursor) if cursor else None
    conditions = read_filter(place.spec, {} if filter is None else filter)
    return Query(conditions, order, words, limit, offset, after)


def list_documents(place: Place, query: Query, limits: Limits = LIMITS) -> Page:
    """A page and the total. Raises `SlowQuery` that names what has no index."""
    paths = dict.fromkeys(
        [condition.path for condition in query.conditions if not condition.listed]
        + ([] if query.order.path.startswith("$") else [query.order.path])
    )
    notes = [note for path in paths if (note := undeclared(place.spec, path))]
    try:
        with tenant(place.caller_scope):
            _fetch(
                Sql("SELECT set_config('statement_timeout', %s, true)", (str(limits.timeout_ms),))
            )
            return _Listing(place, query, limits).read(notes)
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise SlowQuery(_explain(place, notes, limits.timeout_ms)) from error
        raise


def _explain(place: Place, notes: list[str], timeout_ms: int) -> str:
    text = f'The query on store "{place.name}" took longer than {timeout_ms / 1000:g} seconds.'
    if notes:
        return (
            f"{text} {'; '.join(notes)}. Declare it in the schema as a string, number, boolean, "
            "enum or datetime to have it indexed, or filter by another field as well."
        )
    return f"{text} Filter by more fields, or by fewer values."


def count_documents(place: Place, most: int) -> int:
    """How many documents a store has, counted up to `most`. In a transaction of the scope."""
    return _count(everything(place).first(most))


def _fetch(sql: Sql) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql.text, list(sql.params))
        return list(cursor.fetchall())


def _count(ids: Sql) -> int:
    return int(_fetch(Sql("SELECT count(*) FROM (") + ids + ") x")[0][0])  # noqa: S608 - constants


class _Listing:
    """One question on its way to an answer, in a transaction."""

    def __init__(self, place: Place, query: Query, limits: Limits) -> None:
        self.limits = limits
        self.place, self.query, self.order = place, query, query.order
        self.sources = sources(place, query.conditions)
        if query.words:
            self.sources.append(matching(place, query.words))
        self.skipped = query.offset or (query.after.place if query.after else 0)
        self.after = query.after if self.order.kind is not None else None
        self.window = Sql("LIMIT %s OFFSET %s", (query.limit + 1, self.skipped))

    def read(self, notes: list[str]) -> Page:
        best, ids = self._probe()
        if best is not None and len(ids) <= self.limits.few:
            ids = self._narrow(best, ids)
            rows, total, exact = self._read_few(ids), len(ids), True
        else:
            rows = self._read_many()
            total, exact = self._count_many(best)
        return self._page(rows, total, exact, notes)

    def _filter(self, beyond: Source | None = None) -> tuple[Sql, Sql]:
        """Joins and conditions that leave of ids `f.document_id` those that the question means.

        `beyond` a source, what it does not promise. Documents are fetched only for what no
        value in the side table can tell.
        """
        joins, covered = Sql(""), list(beyond.covers if beyond else ())
        for number, source in enumerate(self.sources):
            if source is not beyond and not source.limited:
                joins = joins + check(self.place, source, f"v{number}")
                covered += source.covers
        told = [predicate(each) for each in self.query.conditions if each not in covered]
        if self.query.words and not (beyond and beyond.searches):
            text = "d.words @@ websearch_to_tsquery('simple', %s)"
            told.append(Sql(text, (self.query.words,)))
        if told:
            joins = joins + f"JOIN {TABLE} d ON d.id = f.document_id"
            told.append(partition(self.place))
        return joins, join("AND", [Sql("true"), *told])

    # ---- few documents ------------------------------------------------------------------

    def _probe(self) -> tuple[Source | None, list[int]]:
        """The source that meets the fewest documents, and their ids up to one more than few."""
        if not self.sources:
            return None, []
        most = self.limits.few + 1
        arrays = (
            Sql("ARRAY(SELECT x.document_id FROM (") + each.first(most) + ") x)"  # noqa: S608 - constants
            for each in self.sources
        )
        found = _fetch(Sql("SELECT") + join(",", arrays))[0]
        place = min(range(len(found)), key=lambda number: len(found[number]))
        return self.sources[place], found[place]

    def _narrow(self, best: Source, ids: list[int]) -> list[int]:
        """Those that meet the other conditions, too."""
        joins, told = self._filter(beyond=best)
        if not joins.text or not ids:
            return ids
        met = Sql("SELECT f.document_id FROM unnest(%s::bigint[]) f(document_id)", (ids,))
        return [row[0] for row in _fetch(met + joins + "WHERE" + told)]

    def _read_few(self, ids: list[int]) -> list[tuple[Any, ...]]:
        if value_of(self.order) != "s.value":
            return self._read(Sql(f"{TABLE} d"), [Sql("d.id = ANY(%s)", (ids,))])
        # The side table alone decides which documents are worth being fetched.
        met = Sql("SELECT f.document_id, s.value FROM unnest(%s::bigint[]) f(document_id)", (ids,))
        met = met + sorting.beside(self.place, self.order, "f.document_id")
        if self.after is not None:
            met = met + "WHERE" + sorting.go_on(self.order, self.after, "f.document_id")
        return self._fetch_all(met + sorting.arrange(self.order, document="f.document_id"))

    def _fetch_all(self, ordered: Sql) -> list[tuple[Any, ...]]:
        """The documents of a page, from `document_id, value` of all in order."""
        sql = Sql(f"SELECT {COLUMNS}, s.value FROM (") + ordered + self.window  # noqa: S608 - constants
        sql = sql + f") s JOIN {TABLE} d ON d.id = s.document_id WHERE" + partition(self.place)
        word = self.order.word
        return _fetch(sql + f"ORDER BY (s.value IS NULL), s.value {word}, d.id {word}")

    def _read(self, source: Sql, predicates: list[Sql]) -> list[tuple[Any, ...]]:
        """A page of documents `d` of a source, with the value of the order beside them."""
        sql = Sql(f"SELECT {COLUMNS}, {value_of(self.order)} FROM") + source
        sql = sql + sorting.beside(self.place, self.order)
        if self.after is not None:
            predicates = [*predicates, sorting.go_on(self.order, self.after)]
        sql = sql + "WHERE" + join("AND", [partition(self.place), *predicates])
        return _fetch(sql + sorting.arrange(self.order, self.query.words) + self.window)

    # ---- many ---------------------------------------------------------------------------

    def _read_many(self) -> list[tuple[Any, ...]]:
        if self.order.kind is not None and (self.after is None or self.after.value is not None):
            rows = self._walk()
            if len(rows) > self.query.limit:
                return rows
        return self._read_whole()

    def _walk(self) -> list[tuple[Any, ...]]:
        """Look at the first documents along the order's index; fewer rows prove nothing."""
        bounds = [
            bound
            for each in self.query.conditions
            if each.path == self.order.path and (bound := indexed(each)) is not None
        ]
        joins, told = self._filter()
        most = self.query.limit + 1 + self.skipped + (self.limits.walk if joins.text else 0)
        way = sorting.walk(self.place, self.order, bounds, self.after, most)
        met = Sql("SELECT f.document_id, f.value FROM (") + way + ") f"  # noqa: S608 - constants
        word = self.order.word
        order = f"ORDER BY f.value {word}, f.document_id {word}"
        return self._fetch_all(met + joins + "WHERE" + told + order)

    def _read_whole(self) -> list[tuple[Any, ...]]:
        """All sources as sets; the database finds the way."""
        met = [
            Sql("d.id IN (SELECT x.document_id FROM (") + each.first(None) + ") x)"  # noqa: S608 - constants
            for each in self.sources
        ]
        covered = [condition for each in self.sources for condition in each.covers]
        rest = [predicate(each) for each in self.query.conditions if each not in covered]
        return self._read(Sql(f"{TABLE} d"), [*met, *rest])

    def _count_many(self, best: Source | None) -> tuple[int, bool]:
        """A total that may be "at least"."""
        source = best or everything(self.place)
        joins, told = self._filter(beyond=best)
        if not joins.text:
            total = _count(source.first(self.limits.counted + 1))
            return min(total, self.limits.counted), total <= self.limits.counted
        sql = Sql("WITH f AS MATERIALIZED (") + source.first(self.limits.held + 1)
        sql = sql + ") SELECT (SELECT count(*) FROM f), count(*) FROM f"  # noqa: S608 - constants
        seen, met = _fetch(sql + joins + "WHERE" + told)[0]
        return int(met), int(seen) <= self.limits.held

    # ---- the page -----------------------------------------------------------------------

    def _page(self, rows: list[tuple[Any, ...]], total: int, exact: bool, notes: list[str]) -> Page:
        limit = self.query.limit
        page, more = rows[:limit], len(rows) > limit
        cursor = self._cursor(page[-1]) if more else None
        if not exact:
            total = max(total, self.skipped + len(rows))
        return Page([read_row(row) for row in page], total, exact, cursor, notes)

    def _cursor(self, row: tuple[Any, ...]) -> str:
        if self.order.kind is None:
            place = self.skipped + self.query.limit
            return sorting.write_cursor(Cursor(self.order.name, 0, None, place))
        return sorting.write_cursor(Cursor(self.order.name, row[0], row[WIDTH]))
