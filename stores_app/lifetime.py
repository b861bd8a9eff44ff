"""How long a document lives, as its store says."""

from __future__ import annotations

from typing import Any

from agentsite.manifest.stores import StoreSpec


def find_ttl(spec: StoreSpec, payload: dict[str, Any]) -> int | None:
    """Seconds a document lives: the first condition that fits decides; None means for ever."""
    for rule in spec.ttl_rules:
        name, operator, values = rule.parts
        value = payload.get(name)
        fits = value is not None and _as_text(value) in values
        if fits != (operator == "!="):
            return rule.ttl
    return spec.ttl.default if spec.ttl else None


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
