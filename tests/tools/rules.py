"""Tools of each kind, and what permission rules say of a call of them."""

from __future__ import annotations

from typing import Any

from agentsite.manifest.blocks import Permissions
from agentsite.tools.permissions import Guard
from tests.tools.runs import answer, make_tool

SHELL = make_tool("shell_exec", answer, shell_argument="command")
WRITE = make_tool("write_repo_file", answer, subject="path")
OTHER = make_tool("other", answer)
REQUEST = make_tool("request", answer)
FETCH = make_tool("fetch_url", answer, subject="url")


def judge(rules: dict[str, Any], tool: Any = OTHER, **arguments: Any) -> str:
    return Guard(Permissions(**rules)).judge(tool, arguments).decision
