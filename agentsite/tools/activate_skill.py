"""`activate_skill` and `read_skill_file`: a method of working, loaded when it is needed."""

from __future__ import annotations

import asyncio
from typing import Any

from agentsite.engine.events import SkillActivated
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.skills import Skill
from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, object_schema
from agentsite.tools.prompt_parts import are_skills_inlined
from agentsite.tools.results import recognise_image


def find_skill(bundle: Bundle, name: str) -> Skill:
    """The skill of this name. Raises ToolError with the names there are."""
    wanted = name.strip().casefold()
    for skill in bundle.skills:
        if skill.name.casefold() == wanted:
            return skill
    names = ", ".join(skill.name for skill in bundle.skills)
    raise ToolError(f'There is no skill "{name}". Skills: {names}')


async def activate(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    skill = find_skill(context.bundle, arguments["skill"])
    context.emit(SkillActivated(skill.name))
    if are_skills_inlined(context.bundle) and not context.delegated:
        return ToolResult.of_text(
            f'"{skill.name}" is active. Follow it as your instructions give it.'
        )
    text = f"# Skill: {skill.name}\n\n{skill.body}"
    if skill.files:
        text += "\n\nFiles, for `read_skill_file`: " + ", ".join(skill.files)
    return ToolResult.of_text(text)


async def read_file(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    skill = find_skill(context.bundle, arguments["skill"])
    path = skill.files.get(arguments["path"].strip().removeprefix("./"))
    if path is None:
        files = ", ".join(skill.files) or "none"
        raise ToolError(f'"{skill.name}" has no file "{arguments["path"]}". Files: {files}')
    try:
        raw = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise ToolError(f"{arguments['path']} cannot be read: {error.strerror}") from error
    if recognise_image(raw):
        return ToolResult.of_image(raw)
    try:
        return ToolResult.of_text(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ToolError(f"{arguments['path']} is not a text file.") from error


ACTIVATE_SKILL = Tool(
    name="activate_skill",
    description="Load a skill before you do work that its description or trigger names, "
    "and follow it.",
    parameters=object_schema(
        {"skill": {"type": "string", "description": "The skill's name."}}, ["skill"]
    ),
    call=activate,
    read_only=True,
    idempotent=True,
)
READ_SKILL_FILE = Tool(
    name="read_skill_file",
    description="Read a supporting file of a skill.",
    parameters=object_schema(
        {
            "skill": {"type": "string", "description": "The skill's name."},
            "path": {"type": "string", "description": "The file's path, as the skill lists it."},
        },
        ["skill", "path"],
    ),
    call=read_file,
    read_only=True,
    idempotent=True,
)
