"""The tools every agent has."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsite.engine.events import (
    SkillActivated,
    ToolLogged,
    ToolProgressed,
    ToolRelabelled,
    WidgetShown,
)
from agentsite.engine.messages import ImagePart
from agentsite.tools.activate_skill import ACTIVATE_SKILL, READ_SKILL_FILE
from agentsite.tools.ask_person import ASK_CHOICE, ASK_USER
from agentsite.tools.base import Tool, ToolError, ToolResult, render_label
from agentsite.tools.load_knowledge import LOAD_KNOWLEDGE
from agentsite.tools.present import PRESENT, WIDGETS
from agentsite.tools.prompt_parts import describe_knowledge, describe_skills
from agentsite.tools.propose_knowledge import PROPOSE_KNOWLEDGE
from agentsite.tools.read_tool_result import MAX_CHARS, READ_TOOL_RESULT
from agentsite.tools.stop_execution import STOP_EXECUTION
from agentsite.tools.toolset import DuplicateTool, build_toolset, specs
from tests.tools.agents import Calls, write_agent

BUILT_IN = [
    PRESENT,
    STOP_EXECUTION,
    LOAD_KNOWLEDGE,
    PROPOSE_KNOWLEDGE,
    ACTIVATE_SKILL,
    READ_SKILL_FILE,
    READ_TOOL_RESULT,
    ASK_USER,
    ASK_CHOICE,
]


async def test_present_shows_a_widget(calls: Calls) -> None:
    data = {"label": "Revenue", "value": 7}
    result = await calls.call(PRESENT, widget="metric", data=data)
    assert calls.events == [WidgetShown("metric", data, "tc_1")]
    assert not result.error
    assert len(WIDGETS) == 13
    problem = PRESENT.find_problem({"widget": "hologram", "data": {}})
    assert problem is not None
    assert problem.startswith("Invalid parameters: widget: 'hologram' is not one of")


async def test_stop_execution_asks_the_run_to_end(calls: Calls) -> None:
    result = await calls.call(STOP_EXECUTION, reason="Nothing to do.")
    assert (result.stop, result.error) == ("Nothing to do.", False)


@pytest.mark.parametrize("name", ["shipping", "Shipping times", " SHIPPING.md"])
async def test_knowledge_is_found_by_name_and_title(calls: Calls, name: str) -> None:
    result = await calls.call(LOAD_KNOWLEDGE, document=name)
    assert "Two days." in result.text


async def test_an_unknown_name_is_answered_with_the_known_ones(calls: Calls) -> None:
    with pytest.raises(ToolError, match=r'no document "prices"\. Documents: returns, shipping'):
        await calls.call(LOAD_KNOWLEDGE, document="prices")
    with pytest.raises(ToolError, match=r'no skill "dance"\. Skills: refund'):
        await calls.call(ACTIVATE_SKILL, skill="dance")


async def test_a_skill_that_stands_in_the_prompt_is_only_announced(calls: Calls) -> None:
    result = await calls.call(ACTIVATE_SKILL, skill="Refund")
    assert calls.events == [SkillActivated("refund")]
    assert "Ask first." not in result.text
    assert "Ask first." in describe_skills(calls.bundle)
    assert "Two days." in describe_knowledge(calls.bundle)


@pytest.mark.parametrize("reason", ["long skills", "basePrompt"])
async def test_a_skill_that_the_prompt_does_not_hold_is_loaded(tmp_path: Path, reason: str) -> None:
    body = "Ask first. " * (1_000 if reason == "long skills" else 1)
    config = {
        "name": "d",
        "version": "1.0.0",
        **({"basePrompt": "Hi."} if reason != "long skills" else {}),
    }
    skill = f"---\nname: refund\ndescription: Pay back\n---\n{body}"
    calls = Calls(write_agent(tmp_path, {"amodal.json": config, "skills/refund/SKILL.md": skill}))
    result = await calls.call(ACTIVATE_SKILL, skill="refund")
    assert body.strip() in result.text
    assert body.strip() not in describe_skills(calls.bundle)
    assert calls.events == [SkillActivated("refund")]


def test_long_knowledge_is_listed_with_its_tags(tmp_path: Path) -> None:
    text = "---\ntitle: Rates\ntags: [money, tax]\n---\n" + "x" * 24_001
    bundle = write_agent(tmp_path, {"knowledge/rates-2026.md": text})
    section = describe_knowledge(bundle)
    assert "- rates-2026: Rates [money, tax]" in section
    assert len(section) < 500


async def test_files_of_a_skill_are_read_by_their_listed_path_only(calls: Calls) -> None:
    read = await calls.call(READ_SKILL_FILE, skill="refund", path="./forms/a.txt")
    assert read.text == "Form A"
    picture = await calls.call(READ_SKILL_FILE, skill="refund", path="seal.png")
    assert isinstance(picture.parts[0], ImagePart)
    for path in ("../../amodal.json", "SKILL.md", "/etc/passwd", "forms/b.txt"):
        with pytest.raises(ToolError, match="Files: "):
            await calls.call(READ_SKILL_FILE, skill="refund", path=path)


async def test_a_stored_result_is_read_in_stretches(calls: Calls) -> None:
    calls.stored["tc_9"] = "abcdefghij"
    result = await calls.call(READ_TOOL_RESULT, call_id="tc_9", offset=4, limit=3)
    assert result.text == "[characters 4 to 7 of 10]\nefg"
    with pytest.raises(ToolError, match="10 characters; offset 10 is behind them"):
        await calls.call(READ_TOOL_RESULT, call_id="tc_9", offset=10)
    with pytest.raises(ToolError, match="no stored result"):
        await calls.call(READ_TOOL_RESULT, call_id="tc_1")
    assert READ_TOOL_RESULT.find_problem({"call_id": "tc_9", "limit": MAX_CHARS + 1})


def test_a_toolset_holds_what_the_agent_has_use_for(calls: Calls, tmp_path: Path) -> None:
    full = build_toolset(calls.bundle)
    names = [tool.name for tool in BUILT_IN]
    assert list(full) == sorted([*names, "dispatch", "dispatch_task"])
    offered = [spec.name for spec in specs(dict(reversed(full.items())))]
    assert offered == sorted([*names, "dispatch"])
    bare = build_toolset(write_agent(tmp_path / "bare", {}))
    always = ["ask_choice", "ask_user", "present", "read_tool_result", "stop_execution"]
    assert list(bare) == sorted([*always, "dispatch", "dispatch_task"])
    alone = {"disabledSubagents": ["explore", "plan", "task"]}
    config = {"name": "desk", "version": "1.0.0", **alone}
    assert list(build_toolset(write_agent(tmp_path / "alone", {"amodal.json": config}))) == always


def test_two_tools_of_one_name_are_an_error(calls: Calls) -> None:
    with pytest.raises(DuplicateTool, match='"present"'):
        build_toolset(calls.bundle, [PRESENT])


def test_a_tool_that_is_never_allowed_is_not_offered(calls: Calls) -> None:
    async def call(*_: object) -> ToolResult:
        raise AssertionError("unreachable")

    never = Tool("drop_all", "Drop", {"type": "object"}, call, confirm="never")
    assert "drop_all" not in build_toolset(calls.bundle, [never])


@pytest.mark.parametrize(
    ("template", "label"),
    [
        ("Looking up {{order.id}} for {{ name }}", "Looking up 7 for Ann"),
        ("Looking up {{missing}} {{order.none.x}} now", "Looking up now"),
        ("{{order}}", '{"id": 7}'),
    ],
)
def test_labels_are_filled_and_collapse(template: str, label: str) -> None:
    assert render_label(template, {"order": {"id": 7}, "name": "Ann"}) == label


def test_a_context_speaks_in_events(calls: Calls) -> None:
    context = calls.context("look")
    context.progress({"done": 1})
    context.log("half \x00way")
    context.set_label(running="Still looking")
    assert calls.events == [
        ToolProgressed("tc_1", {"done": 1}),
        ToolLogged("tc_1", "look", "half \ufffdway"),
        ToolRelabelled("tc_1", "Still looking", None, "look"),
    ]
