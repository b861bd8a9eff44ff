"""A tool's handler.py, looked at without running it.

A plain `def` works, too; it is run in a thread.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from agentsite.manifest.problems import Code

WANTED = "`async def handle(params, ctx)`"


@dataclass(frozen=True)
class Fault:
    """Why a handler cannot work."""

    code: Code
    message: str


def find_fault(source: str) -> Fault | None:
    """Return what is wrong with a handler's source, or None."""
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        reason = getattr(error, "msg", None) or error
        return Fault("CONFIG_PARSE_FAILED", f"is not Python: {reason}{where}")
    for node in module.body:
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name == "handle":
            return check_arguments(node)
        if isinstance(node, ast.ImportFrom) and any(
            (alias.asname or alias.name) == "handle" for alias in node.names
        ):
            return None
    return Fault("CONFIG_VALIDATION_FAILED", f"defines no {WANTED}")


def check_arguments(node: ast.AsyncFunctionDef | ast.FunctionDef) -> Fault | None:
    """A handler is called with two positional arguments."""
    arguments = node.args
    positional = len(arguments.posonlyargs) + len(arguments.args)
    required = positional - len(arguments.defaults)
    enough = positional >= 2 or arguments.vararg is not None
    demanded = [
        a for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not d
    ]
    if enough and required <= 2 and not demanded:
        return None
    return Fault("CONFIG_VALIDATION_FAILED", f"`handle` takes two arguments: {WANTED}")
