"""Prices of the operators: which one holds at a moment.

Law: of two that overlap the one that began later holds. Synchronous: for `unit`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import msgspec

from agentsite.operations.models import PriceOverride

SOURCE = "operators"


class OwnPrice(msgspec.Struct, frozen=True):
    """One price, in the form that `providers.catalog.price` takes."""

    label: str
    """`provider/model`."""
    starts: dt.datetime
    ends: dt.datetime | None
    rates: dict[str, Any]


def read_prices() -> tuple[OwnPrice, ...]:
    """All of them, those that begin later first."""
    return tuple(map(_price, PriceOverride.objects.order_by("-valid_from", "-pk")))


def price_at(prices: Iterable[OwnPrice], label: str, at: dt.datetime) -> dict[str, Any] | None:
    """The rates of a model at a moment; `prices` as they were read."""
    return next(
        (
            each.rates
            for each in prices
            if each.label == label and each.starts <= at and (each.ends is None or at < each.ends)
        ),
        None,
    )


def _price(row: PriceOverride) -> OwnPrice:
    given = {
        "input": row.input,
        "output": row.output,
        "cacheRead": row.cache_read,
        "cacheWrite": row.cache_write,
        "cacheWrite1h": row.cache_write_1h,
    }
    rates: dict[str, Any] = {key: str(value) for key, value in given.items() if value is not None}
    label = f"{row.provider}/{row.model}"
    return OwnPrice(label, row.valid_from, row.valid_until, {**rates, "source": SOURCE})
