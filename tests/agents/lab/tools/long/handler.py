"""Returns as many characters as it is asked for."""

from typing import Any


async def handle(params: dict[str, Any], ctx: Any) -> str:
    return "0123456789" * (params["chars"] // 10)
