"""What the SDK and the system raise, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
from mcp import MCPError
from mcp_types import CONNECTION_CLOSED
from pydantic import ValidationError

from agentsite.mcp_client.errors import Lost, McpError, NotSent, Refused, cut, lost

TERMINATED = "Session terminated"
"""What the SDK says when a server no longer knows the session: the request was not run."""


def classify(error: BaseException, name: str) -> McpError:
    """The failure of a request to the server `name`, as one of ours."""
    match error:
        case McpError():
            return error
        case MCPError() if error.code == CONNECTION_CLOSED:
            return Lost(lost(name))
        case MCPError() if error.message == TERMINATED:
            return NotSent(f"The MCP server {name} no longer knows the session.")
        case MCPError():
            return Refused(cut(error.message) or f"The MCP server {name} refused.")
        case ValidationError():
            return Refused(f"The MCP server {name} fails: {describe(error)}.")
        case _:
            return Refused(f"The MCP server {name} failed: {cut(str(error))}")


def explain(error: BaseException, command: str, seconds: float) -> str:
    """Why a connection could not be made within `seconds`, or ended, after "the server is down"."""
    for each in _leaves(error):
        if isinstance(each, TimeoutError):
            return f"it did not answer within {seconds:g} s"
        if isinstance(each, OSError):
            return _explain_os(each, command)
        if isinstance(each, Exception):
            return _explain_protocol(each)
    return "it was stopped"


def _explain_os(error: OSError, command: str) -> str:
    match error:
        case FileNotFoundError():
            return f"there is no command {command}"
        case PermissionError():
            return f"{command} may not be run"
        case _:
            return cut(str(error))


def describe(error: ValidationError) -> str:
    """Where an answer is not what the protocol says."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return cut(f"its answer breaks the protocol at {place}: {first['msg']}")


def _explain_protocol(error: Exception) -> str:
    match error:
        case httpx2.HTTPStatusError():
            return f"it answered with HTTP {error.response.status_code}"
        case httpx2.TransportError():
            return cut(str(error)) or "no connection could be made"
        case MCPError() if error.code == CONNECTION_CLOSED:
            return "it closed the connection"
        case MCPError() | McpError():
            return cut(str(error))
        case ValidationError():
            return describe(error)
        case _:
            return f"{type(error).__name__}: {cut(str(error))}"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
