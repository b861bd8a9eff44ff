"""A server of customers and deals on loopback, and an agent that is connected to it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from agentsite.connections.caller import Caller
from agentsite.engine.events import AnyEvent
from agentsite.manifest.bundle import Bundle
from agentsite.tools.base import Tool, ToolError
from agentsite.tools.toolset import build_toolset
from tests.connections.site import Page, Site
from tests.tools.agents import Calls, write_agent

KEY = "sk-live-0123456789"


def answer(value: Any, status: int = 200) -> Page:
    async def page(_request: web.Request) -> web.StreamResponse:
        return web.json_response(value, status=status)

    return page


class Desk:
    """The agent's tools, called for one caller."""

    def __init__(self, root: Path, site: Site, **files: Any) -> None:
        spec = {"baseUrl": site.url("/"), **files.pop("spec", {})}
        written: dict[str, Any] = {"connections/crm/spec.json": spec}
        for name, content in files.items():
            ending = "json" if name == "access" else "md"
            written[f"connections/crm/{name}.{ending}"] = content
        self.bundle: Bundle = write_agent(root, written, {"CRM_KEY": KEY})
        self.contexts = Calls(self.bundle)
        self.caller = Caller(user={"role": "rep"}, context={"me": "7"})
        self.credentials: dict[str, str] = {}
        self.approved = False
        self.seconds = 5.0

    @property
    def events(self) -> list[AnyEvent]:
        return self.contexts.events

    def tool(self, name: str = "request") -> Tool:
        return build_toolset(self.bundle)[name]

    async def call(self, name: str, **arguments: Any) -> Any:
        """Call a tool; a refusal is the text of its error."""
        context = self.contexts.context(name, deadline=time.monotonic() + self.seconds)
        context.caller, context.approved = self.caller, self.approved
        context.open_credential = self.open_credential
        try:
            result = await self.tool(name).call(context, arguments)
        except ToolError as error:
            return str(error)
        try:
            return json.loads(result.text)
        except ValueError:
            return result.text

    async def get(self, endpoint: str, **more: Any) -> Any:
        return await self.call("request", connection="crm", method="GET", endpoint=endpoint, **more)

    async def send(self, method: str, endpoint: str, **more: Any) -> Any:
        return await self.call(
            "request", connection="crm", method=method, endpoint=endpoint, **more
        )

    async def open_credential(self, name: str) -> str | None:
        return self.credentials.get(name)
