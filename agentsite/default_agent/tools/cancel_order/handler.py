"""Cancels an order, as far as this built-in example goes: there is no shop behind it.

It runs only after a person has agreed to exactly these arguments.
"""

from __future__ import annotations

from typing import Any


async def handle(params: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Return what a shop's own system would answer."""
    number = params["order_number"].lstrip("#")
    ctx.log(f"order {number} cancelled")
    return {"order_number": number, "status": "cancelled", "refund_days": 5}
