"""`surface.md`: the endpoints a connection tells of, read and written.

Law: what stands under `## Excluded` is not told and may not be called; endpoints before
any heading count as included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

HEADING = re.compile(r"^##[ \t]+(?!#)(.+?)[ \t]*$")
ENDPOINT = re.compile(r"^###[ \t]+([A-Z]+)[ \t]+(/\S*)[ \t]*(.*)$")


@dataclass(frozen=True, slots=True)
class Surface:
    """Endpoints as `METHOD /path`, and the text that tells of the included ones."""

    included: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    text: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths told of, both kinds."""
        return tuple(key.partition(" ")[2] for key in (*self.included, *self.excluded))


@lru_cache(maxsize=256)
def read_surface(markdown: str) -> Surface:
    """Read a surface; what is no heading and no endpoint belongs to what stands above it."""
    included: list[str] = []
    excluded: list[str] = []
    told: list[str] = []
    out = False
    for line in markdown.splitlines():
        if heading := HEADING.match(line):
            out = heading[1].lower().startswith("exclude")
            if out or heading[1].lower().startswith("include"):
                continue
        if endpoint := ENDPOINT.match(line):
            (excluded if out else included).append(f"{endpoint[1]} {endpoint[2]}")
        if not out:
            told.append(line)
    return Surface(tuple(included), tuple(excluded), "\n".join(told).strip())
