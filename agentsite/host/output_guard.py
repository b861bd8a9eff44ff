"""Credentials that nobody told us of, recognised by their shape in what tools return.

Law: only shapes that mean a credential and nothing else; what is found is replaced before it is
stored, shown or told to a model. Secrets that are known go by value (`redaction.py`).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from agentsite.engine.events import AnyEvent
from agentsite.engine.messages import ImagePart, TextPart, ToolCallPart, ToolResultPart
from agentsite.operations import audit

SHAPES: dict[str, str] = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]{0,20000}?"
    r"(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----|\Z)",
    "AWS key": r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36,251}\b|\bgithub_pat_[A-Za-z0-9_]{60,251}\b",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,64}\b",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,251}\b",
    "Stripe key": r"\b[sr]k_live_[A-Za-z0-9]{16,251}\b",
    "Anthropic key": r"\bsk-ant-[A-Za-z0-9_-]{20,251}",
    "OpenAI key": r"\bsk-(?:proj|svcacct)-[A-Za-z0-9_-]{20,251}",
    "Google key": r"\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
}
PATTERN = re.compile("|".join(f"({shape})" for shape in SHAPES.values()))
NAMES = tuple(SHAPES)


def scan(text: str) -> tuple[str, frozenset[str]]:
    """The text without what has the shape of a credential, and what kinds were found."""
    found: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        kind = NAMES[(match.lastindex or 1) - 1]
        found.add(kind)
        return f"[REDACTED {kind}]"

    return PATTERN.sub(replace, text), frozenset(found)


def guard_result(part: ToolResultPart) -> tuple[ToolResultPart, frozenset[str]]:
    """A result without credentials of known shapes; the same object when there were none."""
    kinds: set[str] = set()
    content: list[TextPart | ImagePart] = []
    for item in part.content:
        if isinstance(item, TextPart):
            text, found = scan(item.text)
            kinds |= found
            content.append(msgspec.structs.replace(item, text=text) if found else item)
        else:
            content.append(item)
    if not kinds:
        return part, frozenset()
    return msgspec.structs.replace(part, content=tuple(content)), frozenset(kinds)


def guard_event(event: AnyEvent) -> tuple[AnyEvent, frozenset[str]]:
    """The same for what a tool tells clients while it runs: lines, progress, widgets."""
    kinds: set[str] = set()
    told = _scan_value(msgspec.to_builtins(event), kinds)
    if not kinds:
        return event, frozenset()
    return msgspec.convert(told, type(event)), frozenset(kinds)


def _scan_value(value: Any, kinds: set[str]) -> Any:
    if isinstance(value, str):
        text, found = scan(value)
        kinds |= found
        return text
    if isinstance(value, dict):
        return {_scan_value(key, kinds): _scan_value(item, kinds) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scan_value(item, kinds) for item in value]
    return value


def note_leak(call: ToolCallPart, kinds: frozenset[str]) -> None:
    """Tell operators, in the audit log, what a tool was about to give away."""
    found = {"tool": call.name, "kinds": sorted(kinds)}
    audit.record("output guard", "result.redacted", call.id, found)
