"""Tools of the agent's own: `tools/<name>/tool.json` and `handler.py`.

Law: a handler is imported once per content of the agent; one that cannot be
imported is a problem of that tool alone, told by `check` and to the model.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from agentsite.manifest.bundle import Bundle
from agentsite.manifest.tools import ToolFolder
from agentsite.tools.base import Ask, Call, Tool, ToolContext, ToolError, ToolResult
from agentsite.tools.chain import make_chain_ask, make_chain_call
from agentsite.tools.connections import find_host, find_host_rate
from agentsite.tools.executable import make_executable_call
from agentsite.tools.handler import HandlerContext
from agentsite.tools.http_tool import make_http_ask, make_http_call
from agentsite.tools.shaping import shape_result
from agentsite.tools.threads import run_in_thread

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handler:
    """An imported handler, or why there is none."""

    function: Callable[..., Any] | None
    problem: str | None = None


class _FreshLoader(SourceFileLoader):
    """Compiles from the source each time: an edit within one second counts, no cache is written."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


@lru_cache(maxsize=256)
def load_handler(version: str, path: Path) -> Handler:
    """Import a handler.py of the agent's content `version`; its siblings are `from . import x`."""
    name = re.sub(r"\W", "_", f"agentsite_tool_{version[:16]}_{path.parent.name}")
    loader = _FreshLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=[str(path.parent)]
    )
    if spec is None:
        return Handler(None, f"{path.name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        logger.exception("The handler of tool %s cannot be imported", path.parent.name)
        return Handler(None, f"{path.name} cannot be imported: {type(error).__name__}: {error}")
    function = getattr(module, "handle", None)
    if not callable(function):
        return Handler(None, f"{path.name} defines no `async def handle(params, ctx)`")
    return Handler(function)


def check(bundle: Bundle) -> list[tuple[str, str]]:
    """Import every handler now: (tool, problem) for each that cannot run. Blocks; for load time."""
    problems = []
    for folder in bundle.tools:
        if problem := _find_problem(bundle, folder):
            problems.append((folder.name, problem))
    return problems


def _find_problem(bundle: Bundle, folder: ToolFolder) -> str | None:
    if is_sandboxed(folder) or folder.handler is None:  # nothing of it is imported here
        return None
    return load_handler(bundle.hash, folder.handler).problem


def is_sandboxed(folder: ToolFolder) -> bool:
    """Whether the tool runs in the sandbox, not in the server."""
    return folder.kind == "executable" or folder.manifest.sandbox is not None


def make_tool(bundle: Bundle, folder: ToolFolder) -> Tool:
    """The tool of one folder."""
    rate = folder.manifest.rate_limit
    connection = folder.manifest.connection or ""
    return Tool(
        name=folder.name,
        description=folder.description,
        parameters=dict(folder.parameters),
        call=_make_call(bundle, folder),
        read_only=folder.read_only,
        idempotent=folder.idempotent,
        exclusive=folder.exclusive,
        timeout_s=None if folder.timeout_ms is None else folder.timeout_ms / 1000,
        running_label=folder.running_label,
        completed_label=folder.completed_label,
        internal=folder.internal,
        confirm=folder.confirm,
        pool="sandbox" if is_sandboxed(folder) else "tools",
        ask=_make_ask(bundle, folder),
        reads=(lambda _: folder.manifest.method == "GET") if folder.kind == "http" else None,
        rate=None if rate is None else (rate.calls, rate.seconds),
        host=(lambda _: find_host(bundle, connection)) if connection else None,
        host_rate=(lambda _: find_host_rate(bundle, connection)) if connection else None,
    )


def _make_ask(bundle: Bundle, folder: ToolFolder) -> Ask | None:
    match folder.kind:
        case "http":
            asks: Ask = make_http_ask(bundle, folder)
            return asks
        case "chain":
            return make_chain_ask(bundle, folder)
        case _:
            return None


def _make_call(bundle: Bundle, folder: ToolFolder) -> Call:
    if is_sandboxed(folder):
        return make_executable_call(bundle, folder)
    if folder.kind == "http":
        return make_http_call(folder)
    if folder.kind == "chain":
        return make_chain_call(folder)

    async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        if folder.handler is None:
            raise RuntimeError(f"the Python tool {folder.name} was loaded without its handler")
        handler = load_handler(bundle.hash, folder.handler)
        if handler.function is None:
            # The cause may quote what the model must not see; operators have it in the log.
            raise ToolError(f'Tool "{folder.name}" cannot run: its handler does not load.')
        environment = {name: bundle.tool_env.get(name) for name in folder.env}
        handler_context = HandlerContext(context, environment, asyncio.get_running_loop())

        async def shape_late(future: asyncio.Future[Any]) -> ToolResult:
            return shape_result(await future, folder.response_shaping)

        value = await _call_handler(
            handler.function,
            arguments,
            handler_context,
            folder.name,
            lambda future: context.left.append(lambda: shape_late(future)),
        )
        return shape_result(value, folder.response_shaping)

    return call


async def _call_handler(
    function: Callable[..., Any],
    arguments: dict[str, Any],
    context: HandlerContext,
    name: str,
    left: Callable[[asyncio.Future[Any]], None],
) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(arguments, context)
    value = await run_in_thread(lambda: function(arguments, context), f"tool {name}", left)
    return await value if inspect.isawaitable(value) else value
