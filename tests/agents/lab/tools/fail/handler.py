"""Fails in a way nobody foresaw."""

from typing import Any


async def handle(params: dict[str, Any], ctx: Any) -> str:
    raise RuntimeError("secret of the inside")
