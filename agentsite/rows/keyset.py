"""Pages of big tables, turned by the place of a row instead of by a number.

Law: nothing is counted and nothing is skipped over. One index serves a page; what it does not
answer is looked for among its next `WALK` rows, and the page says so and goes on from there.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.timezone import localtime
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.views import ChangeList  # type: ignore[import-untyped]  # it has no types

WALK = 10_000
"""Rows that a filter without an index looks through for one page."""
OLDER, NEWER = "older", "newer"
FEW, INDEXED, RESIDUAL, TIME = "few", "indexed", "residual", "time"
"""How far a filter reaches: to few rows, whichever others there are; to rows that an index has in
the list's order; to rows that have to be looked through; to a stretch of that order."""
Place = tuple[dt.datetime | None, str]
"""A row by its time and key; by its key alone in lists without a time, by its time alone where a
page stopped looking."""


def reach_of(spec: Any) -> str:
    """How far a filter of a list reaches; one that does not say it has an index."""
    if getattr(spec, "residual", False):
        return RESIDUAL
    return str(getattr(spec, "reach", INDEXED))


def _share_index(first: Any, spec: Any) -> bool:
    """Whether an index has the rows of both filters: `indexed_with` names the other's parameter."""
    return bool(getattr(spec, "indexed_with", "") == getattr(first, "parameter_name", None))


def _is_active(spec: Any) -> bool:
    values = spec.used_parameters.values()
    return any(any(each) if isinstance(each, list) else each for each in values)


class KeysetPages:
    """What the template of the pages asks for."""

    template_name = "admin/keyset_pages.html"

    def __init__(self, per_page: int) -> None:
        self.per_page = per_page
        self.num_pages = 1
        self.count = per_page


class KeysetChangeList(ChangeList):  # type: ignore[misc]  # unfold has no types
    """A list by `model_admin.keyset` (a time, newest first; empty: none) and the id."""

    older_url: str | None = None
    newer_url: str | None = None
    stopped_at: Place | None = None
    """Where a filter without an index stopped looking."""

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """All but the place."""
        found: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in (OLDER, NEWER)}

    def get_results(self, request: HttpRequest) -> None:
        """One page from the place that the address names."""
        self._time = self.model_admin.keyset
        older, newer = (self._read_place(request, name) for name in (OLDER, NEWER))
        self._per = self.list_per_page
        self._walked = self._find_walked(request)
        rows, more = self._walk(older, OLDER) if newer is None else self._walk(newer, NEWER)
        if newer is not None and not more:  # the newest page, with whatever has come since
            older, newer = None, None
            rows, more = self._walk(None, OLDER)
        self._set_links(rows, more, older, newer)
        if self.stopped_at is not None:
            back = newer is None
            messages.info(
                request,
                "No index answers all of this together: the list was looked through "
                f"{'back' if back else 'on'} to {_show(self.stopped_at)}. "
                f'"{"Older" if back else "Newer"}" looks further.',
            )
        self.result_list = self.model_admin.complete_page(rows)
        self.paginator = KeysetPages(self._per)
        self.result_count = len(rows)
        self.full_result_count = len(rows)  # equal: the page says no number
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    def _walk(self, place: Place | None, towards: str) -> tuple[list[Any], bool]:
        """The rows behind a place, the newest first, and whether there may be more."""
        back = towards == OLDER
        fields = (self._time, "pk") if self._time else ("pk",)
        order = tuple(f"-{name}" for name in fields) if back else fields
        behind = self._before if back else self._after
        queryset, end = self.queryset, None
        if self._walked is not None:
            ahead = behind(self._walked, place).order_by(*order)
            ends = ahead.values_list(fields[0], flat=True)
            end = next(iter(ends[WALK : WALK + 1]), None)
        if end is not None:
            queryset = queryset.filter(**{f"{fields[0]}__{'gte' if back else 'lte'}": end})
        rows = list(behind(queryset, place).order_by(*order)[: self._per + 1])
        more = len(rows) > self._per
        if not more and end is not None:
            self.stopped_at = (end, "") if self._time else (None, str(end))
        rows = rows[: self._per]
        return rows if back else rows[::-1], more or end is not None

    def _before(self, queryset: QuerySet[Any], place: Place | None) -> QuerySet[Any]:
        return self._behind(queryset, place, "lt")

    def _after(self, queryset: QuerySet[Any], place: Place | None) -> QuerySet[Any]:
        return self._behind(queryset, place, "gt")

    def _behind(self, queryset: QuerySet[Any], place: Place | None, than: str) -> QuerySet[Any]:
        if place is None:
            return queryset
        moment, key = place
        if moment is None:
            return queryset.filter(**{f"pk__{than}": key})
        if not key:
            return queryset.filter(**{f"{self._time}__{than}": moment})
        # The plain bound as well: it is what the index is entered with.
        return queryset.filter(
            Q(**{f"{self._time}__{than}": moment}) | Q(**{self._time: moment, f"pk__{than}": key}),
            **{f"{self._time}__{than}e": moment},
        )

    def _find_walked(self, request: HttpRequest) -> QuerySet[Any] | None:
        """What is looked through row by row, in its order: the rows that one index answers.

        None where nothing has to be: by few rows, or by one index alone.
        """
        active = [spec for spec in self.filter_specs if _is_active(spec)]
        kinds = [reach_of(spec) for spec in active]
        searched = self.model_admin.search_reach(self.query) if self.query else None
        if FEW in (*kinds, searched):
            return None
        rows: QuerySet[Any] = self.root_queryset
        indexed = None
        residual = searched == RESIDUAL
        if searched == INDEXED:
            rows, _ = self.model_admin.get_search_results(request, rows, self.query)
            indexed = self
        for spec, kind in zip(active, kinds, strict=True):
            if kind == TIME or (
                kind == INDEXED and (indexed is None or _share_index(indexed, spec))
            ):
                indexed = indexed if kind == TIME else indexed or spec
                found = spec.queryset(request, rows)
                rows = rows if found is None else found
            else:
                residual = True
        return rows if residual else None

    def _set_links(
        self, rows: list[Any], more: bool, older: Place | None, newer: Place | None
    ) -> None:
        stopped, back = self.stopped_at, newer is None
        if stopped is not None:
            self._set_link(OLDER if back else NEWER, stopped)
        if (stopped is None or not back) and (newer is not None or more):
            last = self._place_of(rows[-1]) if rows else None
            self._set_link(OLDER, last or stopped)
        if (stopped is None or back) and (older is not None or (newer is not None and more)):
            self._set_link(
                NEWER, self._place_of(rows[0]) if rows else older and _just_before(older)
            )

    def _set_link(self, name: str, place: Place | None) -> None:
        if place is not None:
            setattr(self, f"{name}_url", self._link(name, place))

    def _read_place(self, request: HttpRequest, name: str) -> Place | None:
        """A place that may be asked for: its key is one of this table."""
        place = read_place(request.GET.get(name, ""))
        if place is None or (place[0] is None) == bool(self._time):
            return None
        try:
            self.model._meta.pk.to_python(place[1] or None)
        except ValidationError:
            return None
        return place

    def _place_of(self, row: Model) -> Place:
        return getattr(row, self._time) if self._time else None, str(row.pk)

    def _link(self, name: str, place: Place) -> str:
        kept = self.get_filters_params() | ({SEARCH_VAR: self.query} if self.query else {})
        return "?" + urlencode({**kept, name: make_place(place)}, doseq=True)


def make_place(place: Place) -> str:
    """Where a page begins, for an address."""
    moment, key = place
    at = "" if moment is None else moment.isoformat()
    return base64.urlsafe_b64encode(f"{at}|{key}".encode()).decode()


def read_place(text: str) -> Place | None:
    """The same back; None for none, and for what this server has not made."""
    try:
        moment, _, key = (
            base64.b64decode(text, altchars=b"-_", validate=True).decode().partition("|")
        )
        at = dt.datetime.fromisoformat(moment) if moment else None
    except (binascii.Error, ValueError):
        return None
    if "\x00" in key or (at is None and not key) or (at is not None and at.tzinfo is None):
        return None
    return at, key


def _just_before(place: Place) -> Place:
    """Of a page without rows: so that those at the place itself are on the next one."""
    moment, key = place
    if moment is None:
        return None, str(int(key) - 1)
    return (moment, key) if key else (moment - dt.timedelta(microseconds=1), "")


def _show(place: Place) -> str:
    moment, key = place
    return f"number {key}" if moment is None else date_format(localtime(moment), "Y-m-d H:i:s")


class KeysetAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Rows in such numbers that pages are turned by place."""

    keyset: ClassVar[str]
    """The time that orders them, newest first; the id decides between equal ones.
    Empty: the id alone."""
    ids: ClassVar[dict[str, str]] = {}
    """Which ids can be searched for: how they begin, and their field."""
    word_reach: ClassVar[str] = RESIDUAL
    """How far a search for what is no id reaches."""
    list_per_page = 30
    list_filter_submit = True
    list_filter_sheet = True
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by: ClassVar[Any] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        """Turned by place."""
        return KeysetChangeList

    def complete_page(self, rows: list[Any]) -> list[Any]:
        """The rows of one page, with whatever is read for all of them at once."""
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Whole ids by their index; what else there is to find `search` says."""
        term = clean(search_term)
        if not term:
            return queryset, False
        for prefix, field in self.ids.items():
            if term.startswith(prefix):
                return queryset.filter(**{field: term}), False
        return self.search(request, queryset, term), False

    def search_reach(self, search_term: str) -> str:
        """An id finds few rows; how far other terms reach `reach_of_words` says."""
        term = clean(search_term)
        return FEW if term.startswith(tuple(self.ids)) else self.reach_of_words(term)

    def reach_of_words(self, term: str) -> str:
        """Of a term that is no id."""
        return self.word_reach

    def search(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Rows that a term which is no id finds: none, unless a page knows more."""
        return rows.none()


def clean(value: Any) -> str:
    """A text that a database can be asked for."""
    return str(value or "").strip().replace("\x00", "")
