"""How the tools of MCP servers are called here. Imports no SDK."""

from __future__ import annotations

import hashlib
import re

OURS = "ours:"
"""Begins the digest of tools that are ours: no digest of a server's tool can."""
LONGEST_NAME = 64
UNFIT = re.compile(r"[^A-Za-z0-9_-]")


def name_tool(server: str, tool: str) -> str:
    """`<server>__<tool>`, in letters that all vendors take and never longer than they take.

    Where something had to be changed, a hash tells tools apart that would look the same.
    """
    name = f"{server}__{tool}"
    fit = UNFIT.sub("_", name)
    if fit == name and len(name) <= LONGEST_NAME:
        return name
    mark = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:6]
    return f"{fit[: LONGEST_NAME - 7]}_{mark}"
