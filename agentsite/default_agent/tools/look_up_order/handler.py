"""Looks an order up in a small built-in list, in place of a shop's own system.

The server calls `handle` with the model's arguments, already checked against tool.json.
What it returns is shown to the model as JSON; an exception becomes a tool error that the
model can react to. Other modules in this folder are imported with `from . import name`.
"""

from __future__ import annotations

from typing import Any

ORDERS: dict[str, dict[str, Any]] = {
    "1042": {
        "customer": "Dana Whitfield",
        "placed": "2026-03-02",
        "status": "in transit",
        "carrier": "Northline Parcel",
        "tracking": "NL-7720-4415",
        "expected": "2026-03-06",
        "items": [
            {"item": "Ridge 2 tent", "quantity": 1, "price": 289.00},
            {"item": "Steel tent peg, set of 8", "quantity": 2, "price": 14.50},
            {"item": "Ember gas stove", "quantity": 1, "price": 64.00},
        ],
        "total": 382.00,
    },
    "1057": {
        "customer": "Luis Ortega",
        "placed": "2026-02-24",
        "status": "delayed",
        "reason": "the carrier's depot in Reno is closed by snow",
        "carrier": "Northline Parcel",
        "tracking": "NL-7719-9083",
        "expected": "2026-03-09",
        "items": [{"item": "Hollow 30 sleeping bag", "quantity": 1, "price": 179.00}],
        "total": 179.00,
    },
    "1063": {
        "customer": "Mei Tanaka",
        "placed": "2026-02-11",
        "status": "delivered",
        "delivered": "2026-02-16",
        "carrier": "Northline Parcel",
        "tracking": "NL-7716-2250",
        "items": [
            {"item": "Cairn 45 pack", "quantity": 1, "price": 149.00},
            {"item": "Rain cover, 45 l", "quantity": 1, "price": 24.00},
        ],
        "total": 173.00,
    },
}


async def handle(params: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Return the order, or what is known instead when there is none of that number.

    `ctx` also has `env(name)` for variables that tool.json lists, `progress(data)` for
    intermediate states, `log(text)`, `user`, `scope_id` and `deadline`.
    """
    number = params["order_number"].lstrip("#")
    order = ORDERS.get(number)
    if order is None:
        ctx.log(f"no order {number}")  # a line beside the call in the chat; the model sees none
        return {"found": False, "order_number": number, "hint": "Ask the customer to check it."}
    return {"found": True, "order_number": number, "currency": "USD", **order}
