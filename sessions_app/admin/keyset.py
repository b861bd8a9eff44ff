"""Pages of big tables, turned by the place of a row instead of by a number.

Law: nothing is counted and nothing is skipped over. Filters that no index answers look through
the next `WALK` rows and say so; the page goes on from there.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList  # type: ignore[import-untyped]  # it has no types

from sessions_app.admin.formats import show_time

WALK = 10_000
"""Rows that a filter without an index looks through for one page."""
OLDER, NEWER = "older", "newer"
Place = tuple[dt.datetime, str]


class KeysetPages:
    """What the template of the pages asks for."""

    template_name = "admin/sessions_app/keyset_pages.html"

    def __init__(self, per_page: int) -> None:
        self.per_page = per_page
        self.num_pages = 1
        self.count = per_page


class KeysetChangeList(ChangeList):  # type: ignore[misc]  # unfold has no types
    """A list by `model_admin.keyset` (a time, newest first) and the id."""

    older_url: str | None = None
    newer_url: str | None = None
    looked_back_to: dt.datetime | None = None
    """Where a filter without an index stopped looking."""

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """All but the place."""
        found: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in (OLDER, NEWER)}

    def get_results(self, request: HttpRequest) -> None:
        """One page from the place that the address names."""
        self._time = self.model_admin.keyset
        older, newer = (read_place(request.GET.get(name, "")) for name in (OLDER, NEWER))
        self._per = self.list_per_page
        rows, more = self._walk_back(request, older) if newer is None else self._walk_on(newer)
        if newer is not None and not more:  # the newest page, with whatever has come since
            older, newer = None, None
            rows, more = self._walk_back(request, None)
        self._set_links(rows, more, older, newer)
        self.result_list = self.model_admin.complete_page(rows)
        self.paginator = KeysetPages(self._per)
        self.result_count = len(rows)
        self.full_result_count = len(rows)  # equal: the page says no number
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    def _walk_back(self, request: HttpRequest, place: Place | None) -> tuple[list[Any], bool]:
        queryset, floor = self.queryset, None
        if self._has_residual():
            base = self._before(self._indexed(request), place)
            ahead = base.order_by(f"-{self._time}", "-pk").values_list(self._time, flat=True)
            floor = next(iter(ahead[WALK : WALK + 1]), None)
        if floor is not None:
            queryset = queryset.filter(**{f"{self._time}__gte": floor})
        ordered = self._before(queryset, place).order_by(f"-{self._time}", "-pk")
        rows = list(ordered[: self._per + 1])
        if len(rows) <= self._per and floor is not None:
            self.looked_back_to = floor
            messages.info(
                request,
                f"These filters have no index: the list was looked through back to "
                f'{show_time(floor)}. "Older" looks further.',
            )
            return rows, True
        return rows[: self._per], len(rows) > self._per

    def _walk_on(self, place: Place) -> tuple[list[Any], bool]:
        moment, key = place
        behind = Q(**{f"{self._time}__gt": moment}) | Q(**{self._time: moment, "pk__gt": key})
        rows = list(self.queryset.filter(behind).order_by(self._time, "pk")[: self._per + 1])
        return rows[: self._per][::-1], len(rows) > self._per

    def _before(self, queryset: QuerySet[Any], place: Place | None) -> QuerySet[Any]:
        if place is None:
            return queryset
        moment, key = place
        if not key:
            return queryset.filter(**{f"{self._time}__lt": moment})
        # The plain bound as well: it is what the index is entered with.
        return queryset.filter(
            Q(**{f"{self._time}__lt": moment}) | Q(**{self._time: moment, "pk__lt": key}),
            **{f"{self._time}__lte": moment},
        )

    def _has_residual(self) -> bool:
        return bool(self.query and self.model_admin.residual_search) or any(
            getattr(spec, "residual", False) and spec.value() for spec in self.filter_specs
        )

    def _indexed(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows by those filters alone that an index answers."""
        rows: QuerySet[Any] = self.root_queryset
        for spec in self.filter_specs:
            if not getattr(spec, "residual", False):
                found = spec.queryset(request, rows)
                rows = rows if found is None else found
        if self.query and not self.model_admin.residual_search:
            rows, _ = self.model_admin.get_search_results(request, rows, self.query)
        return rows

    def _set_links(
        self, rows: list[Any], more: bool, older: Place | None, newer: Place | None
    ) -> None:
        going_on = newer is not None or more
        if self.looked_back_to is not None:
            self.older_url = self._link(OLDER, (self.looked_back_to, ""))
        elif rows and going_on:
            self.older_url = self._link(OLDER, self._place_of(rows[-1]))
        if older is not None or (newer is not None and more):
            at = self._place_of(rows[0]) if rows else older
            self.newer_url = self._link(NEWER, at) if at else None

    def _place_of(self, row: Model) -> Place:
        return getattr(row, self._time), str(row.pk)

    def _link(self, name: str, place: Place) -> str:
        kept = self.get_filters_params()
        return "?" + urlencode({**kept, name: make_place(place)}, doseq=True)


def make_place(place: Place) -> str:
    """Where a page begins, for an address."""
    moment, key = place
    return base64.urlsafe_b64encode(f"{moment.isoformat()}|{key}".encode()).decode()


def read_place(text: str) -> Place | None:
    """The same back; None for none, and for what this server has not made."""
    try:
        moment, _, key = (
            base64.b64decode(text, altchars=b"-_", validate=True).decode().partition("|")
        )
        at = dt.datetime.fromisoformat(moment)
    except (binascii.Error, ValueError):
        return None
    return None if at.tzinfo is None or "\x00" in key else (at, key)
