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
from stores_app.sorting import Cursor, Order

DEFAULT_LIMIT = 20
MAX_LIMIT = 500
MAX_OFFSET = 10_000
MAX_WORDS = 1_000


class Limits(msgspec.Struct, frozen=True):
    """How much work one list may make."""

    few: int = 1_000
    """Matches that are all fetched and sorted."""
    walk: int = 5_000
    """Documents looked at along an index before the question is asked as a whole."""
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
        self.predicates = [predicate(condition) for condition in query.conditions]
        if query.words:
            found = Sql("d.words @@ websearch_to_tsquery('simple', %s)", (query.words,))
            self.predicates.append(found)
        self.skipped = query.offset or (query.after.place if query.after else 0)
        self.after = query.after if self.order.kind is not None else None

    def read(self, notes: list[str]) -> Page:
        best, met = self._probe()
        if best is not None and met <= self.limits.few:
            rows, total, exact = self._read_few(best), None, True
            if len(rows) <= self.query.limit and not self.skipped and self.after is None:
                total = len(rows)
            if total is None:
                total = self._count_few(best)
        else:
            rows = self._read_many()
            total, exact = self._count_many(best)
        return self._page(rows, total, exact, notes)

    def _probe(self) -> tuple[Source | None, int]:
        """The source that meets the fewest documents, and how many, up to one more than few."""
        if not self.sources:
            return None, 0
        counts = join(
            ",",
            (
                Sql("(SELECT count(*) FROM (") + source.first(self.limits.few + 1) + ") x)"  # noqa: S608 - constants
                for source in self.sources
            ),
        )
        found = _fetch(Sql("SELECT") + counts)[0]
        met = min(found)
        return self.sources[found.index(met)], met

    def _conditions(self, predicates: list[Sql]) -> Sql:
        return join("AND", [partition(self.place), *predicates])

    def _select(self, source: Sql, conditions: Sql) -> Sql:
        """Documents with the value of the order beside them."""
        value = sorting.value_of(self.order) if self.order.kind is not None else "NULL"
        sql = Sql(f"SELECT {COLUMNS}, {value} FROM") + source
        sql = sql + sorting.beside(self.place, self.order) + "WHERE" + conditions
        if self.after is not None:
            sql = sql + "AND" + sorting.go_on(self.order, self.after)
        window = Sql("LIMIT %s OFFSET %s", (self.query.limit + 1, self.skipped))
        return sql + sorting.arrange(self.order) + window

    def _few(self, best: Source) -> Sql:
        ids = Sql("(") + best.first(self.limits.few + 1) + ") f"
        return ids + f"JOIN {TABLE} d ON d.id = f.document_id" + self._rank("f", best)

    def _rank(self, alias: str, best: Source) -> str | Sql:
        """The ranks of a search, where the order is theirs."""
        if self.order.path != "$rank":
            return ""
        ranked = matching(self.place, self.query.words)
        return Sql("JOIN (") + ranked.first(None) + ") m ON m.document_id = d.id"

    def _read_few(self, best: Source) -> list[tuple[Any, ...]]:
        return _fetch(self._select(self._few(best), self._conditions(self.predicates)))

    def _count_few(self, best: Source) -> int:
        ids = Sql("SELECT 1 FROM") + self._few(best) + "WHERE" + self._conditions(self.predicates)
        return _count(ids)

    def _read_many(self) -> list[tuple[Any, ...]]:
        wanted = self.query.limit + 1
        if self.order.kind is not None and (self.after is None or self.after.value is not None):
            rows = self._walk()
            if len(rows) == wanted:
                return rows
        return self._read_whole()

    def _walk(self) -> list[tuple[Any, ...]]:
        """Look at the first documents along the order's index; fewer rows prove nothing."""
        last = self.query.limit + 1 + self.skipped
        bounds = [
            bound
            for condition in self.query.conditions
            if condition.path == self.order.path and (bound := indexed(condition)) is not None
        ]
        most = last + self.limits.walk if self.predicates else last
        way = sorting.walk(self.place, self.order, bounds, self.after, most)
        sql = Sql(f"SELECT {COLUMNS}, c.value FROM (") + way  # noqa: S608 - constants
        sql = sql + f") c JOIN {TABLE} d ON d.id = c.document_id WHERE"
        sql = sql + self._conditions(self.predicates)
        word = self.order.word
        window = Sql("LIMIT %s OFFSET %s", (self.query.limit + 1, self.skipped))
        return _fetch(sql + f"ORDER BY c.value {word}, c.document_id {word}" + window)

    def _read_whole(self) -> list[tuple[Any, ...]]:
        """All sources as sets; the database finds the way."""
        met = [
            Sql("d.id IN (SELECT x.document_id FROM (") + s.first(None) + ") x)"  # noqa: S608 - constants
            for s in self.sources
        ]
        found = [
            predicate(condition)
            for condition in self.query.conditions
            if not condition.listed and (condition.kind is None or indexed(condition) is None)
        ]
        table = Sql(f"{TABLE} d") + self._rank("d", everything(self.place))
        return _fetch(self._select(table, self._conditions([*met, *found])))

    def _count_many(self, best: Source | None) -> tuple[int, bool]:
        if best is None and not self.predicates:
            total = _count(everything(self.place).first(self.limits.counted + 1))
            return min(total, self.limits.counted), total <= self.limits.counted
        if best is not None and self._is_whole(best):
            total = _count(best.first(self.limits.counted + 1))
            return min(total, self.limits.counted), total <= self.limits.counted
        source = best or everything(self.place)
        sql = Sql("WITH f AS MATERIALIZED (") + source.first(self.limits.walk + 1)
        sql = sql + ") SELECT (SELECT count(*) FROM f), count(*) FROM f"  # noqa: S608 - constants
        sql = sql + f"JOIN {TABLE} d ON d.id = f.document_id WHERE"
        seen, met = _fetch(sql + self._conditions(self.predicates))[0]
        return int(met), int(seen) <= self.limits.walk

    def _is_whole(self, source: Source) -> bool:
        """Whether a source answers every condition by itself."""
        if source.limited:
            return len(self.predicates) == 1
        bounds = [indexed(condition) for condition in self.query.conditions]
        return len(self.sources) == 1 and not self.query.words and None not in bounds

    def _page(self, rows: list[tuple[Any, ...]], total: int, exact: bool, notes: list[str]) -> Page:
        limit = self.query.limit
        page, more = rows[:limit], len(rows) > limit
        cursor = self._cursor(page[-1]) if more else None
        seen = self.skipped + len(rows)
        if not exact:
            total = max(total, seen)
        return Page([read_row(row) for row in page], total, exact, cursor, notes)

    def _cursor(self, row: tuple[Any, ...]) -> str:
        if self.order.kind is None:
            place = self.skipped + self.query.limit
            return sorting.write_cursor(Cursor(self.order.name, 0, None, place))
        return sorting.write_cursor(Cursor(self.order.name, row[0], row[WIDTH]))
