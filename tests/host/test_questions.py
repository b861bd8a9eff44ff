"""What a person is shown before a tool of the agent's own is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsite.connections.caller import Caller
from agentsite.engine.events import ConfirmationRequired
from agentsite.engine.messages import ToolCallPart
from agentsite.host.questions import make_question, must_ask
from agentsite.manifest.blocks import Permissions
from agentsite.tools.permissions import Guard
from agentsite.tools.toolset import build_toolset
from tests.requirements import requirement
from tests.tools.agents import write_agent

PAYLOAD = {"order": "A-7", "lines": [{"sku": "x", "count": 2}], "note": "n" * 3_000}
GUARD = Guard(Permissions())


@requirement("reference.request-person")
@pytest.mark.parametrize("confirm", [True, "review", False])
def test_a_tool_of_its_own_asks_as_its_file_says(tmp_path: Path, confirm: Any) -> None:
    described = {"description": "Ship it.", "confirm": confirm}
    described["parameters"] = {"type": "object", "properties": {}, "additionalProperties": True}
    files = {
        "tools/ship/tool.json": described,
        "tools/ship/handler.py": "async def handle(params, ctx):\n    return 1\n",
    }
    tool = build_toolset(write_agent(tmp_path, files))["ship"]
    call = ToolCallPart("tc_1", "ship", PAYLOAD)
    assert must_ask(tool, call, GUARD, Caller()) is (confirm is not False)
    question = make_question(tool, call, "", Caller())
    assert isinstance(question, ConfirmationRequired)
    shown: dict[str, Any] = {"tool": "ship", "arguments": PAYLOAD}
    assert question.details == (shown | {"review": True} if confirm == "review" else shown)
    assert question.reason == "Ship it."
