"""Markdown files with a heading or YAML front matter, the two forms that agents use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

FRONT = re.compile(r"\A---[ \t]*\n(.*?)(?:^|\n)---[ \t]*(?:\n|\Z)(.*)\Z", re.DOTALL)
HEADING = re.compile(r"\A\s*#[ \t]+(.+?)[ \t]*(?:\n|\Z)")
SECTION = re.compile(r"^##[ \t]+(.+?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """A file taken apart: front matter, first heading, and the text below."""

    meta: dict[str, Any]
    heading: str | None
    body: str


def parse_page(text: str) -> Page:
    """Take a Markdown file apart. ValueError says what is wrong with its front matter."""
    meta: dict[str, Any] = {}
    match = FRONT.match(text)
    if match:
        try:
            loaded = yaml.safe_load(match[1]) or {}
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 2}" if mark else ""
            raise ValueError(f"the front matter is not YAML{line}") from None
        if not isinstance(loaded, dict):
            raise ValueError("the front matter must be `key: value` lines")
        meta, text = {str(key): value for key, value in loaded.items()}, match[2]
    found = HEADING.match(text)
    if not found:
        return Page(meta, None, text.strip())
    return Page(meta, found[1], text[found.end() :].strip())


def strip_label(heading: str | None, label: str) -> str | None:
    """Return the rest of `Label: rest`, or None when the heading has another form."""
    if heading is None:
        return None
    match = re.match(rf"{label}\s*:\s*(.+)$", heading, re.IGNORECASE)
    return match[1] if match else None


def split_sections(body: str) -> dict[str, str]:
    """Return the `## Title` sections by lower-case title; text before them under ``."""
    parts = SECTION.split(body)
    sections = {"": parts[0].strip()}
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        sections[title.strip().lower()] = text.strip()
    return sections


def take_line(body: str, label: str) -> tuple[str | None, str]:
    """Take the first line `Label: value` out of a body: (value or None, the rest)."""
    pattern = re.compile(rf"^{label}:[ \t]*(.+?)[ \t]*$\n?", re.IGNORECASE | re.MULTILINE)
    match = pattern.search(body)
    if not match:
        return None, body
    return match[1], (body[: match.start()] + body[match.end() :]).strip()
