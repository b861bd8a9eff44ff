"""`agents/main.md`, who the agent is, and `agents/<name>/AGENT.md`, its sub-agents."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from pydantic import model_validator

from agentsite.manifest.base import CamelModel, Positive, Seconds, Text
from agentsite.manifest.markdown import Page, parse_page, split_sections, strip_label
from agentsite.manifest.problems import suggest
from agentsite.manifest.reader import Entry, Reader

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class AgentMeta(CamelModel):
    """Front matter or `## Config` of an AGENT.md."""

    display_name: Text | None = None
    description: str = ""
    tools: tuple[Text, ...] = ("shell_exec", "load_knowledge")
    max_depth: Positive = 1
    """Levels of sub-agents, itself included: 1 dispatches nobody."""
    max_tool_calls: Positive = 10
    timeout: Seconds = 20.0
    """Seconds."""
    target_output_min: Positive = 200
    target_output_max: Positive = 400
    """Tokens."""
    model_tier: Literal["simple", "default", "advanced"] = "simple"

    @model_validator(mode="after")
    def check_range(self) -> AgentMeta:
        if self.target_output_min > self.target_output_max:
            raise ValueError("targetOutputMin is larger than targetOutputMax")
        return self


@dataclass(frozen=True)
class AgentSpec:
    """A sub-agent: `name` is its folder's."""

    name: str
    display_name: str
    meta: AgentMeta
    prompt: str
    reach: Literal["listed", "reading", "all"] = "listed"
    """Which tools of the agent it gets: those of `meta.tools`, those that change nothing, all."""


BUILT_IN = (
    AgentSpec(
        "task",
        "Task",
        AgentMeta(
            description="Carries out one task with the tools you name, or with all of them.",
            timeout=60.0,
        ),
        "You carry out one task for another agent. Do exactly what it asks, with as few steps as "
        "it needs, and report what you found or did: facts and figures first.",
        reach="all",
    ),
    AgentSpec(
        "explore",
        "Explore",
        AgentMeta(
            description="Finds things out with reading tools and reports them; changes nothing.",
            max_tool_calls=20,
            timeout=60.0,
        ),
        "You find things out for another agent. Look wherever an answer may be, several places "
        "at once, and report what you found, with names, numbers and where each comes from. Say "
        "what you could not find. You change nothing.",
        reach="reading",
    ),
    AgentSpec(
        "plan",
        "Plan",
        AgentMeta(
            description="Thinks a task through and returns a plan of steps; changes nothing.",
            timeout=120.0,
            model_tier="advanced",
            target_output_max=800,
        ),
        "You plan for another agent. Look up what the plan depends on, then return numbered "
        "steps that can be carried out one by one with the tools there are, what each must "
        "achieve, and what could go wrong. You change nothing.",
        reach="reading",
    ),
)
"""Sub-agents that every agent has, unless it overrides or disables them."""
TOOL_NAMES = frozenset(
    {
        *("activate_skill", "ask_choice", "ask_user", "dispatch", "dispatch_task", "fetch_url"),
        *("load_knowledge", "memory", "present", "propose_knowledge", "query_store"),
        *("read_skill_file", "read_tool_result", "request", "search_sessions", "shell_exec"),
        *("stop_execution", "web_search", "read_repo_file", "write_repo_file", "edit_repo_file"),
        *("delete_repo_file", "list_repo_files", "glob_repo_files", "grep_repo_files"),
        "read_many_repo_files",
    }
)
"""Tools that may exist without a file of their own."""


def check_agents(
    reader: Reader, agents: Iterable[AgentSpec], disabled: Iterable[str], tools: Iterable[str]
) -> None:
    """Report sub-agents that list tools nobody has, and names that switch nobody off."""
    known = TOOL_NAMES.union(tools)
    names = {agent.name for agent in (*BUILT_IN, *agents)}
    for agent in agents:
        for tool in agent.meta.tools:
            if tool not in known and "__" not in tool:
                file = f"agents/{agent.name}/AGENT.md"
                reader.report(file, f'there is no tool "{tool}"{suggest(tool, known)}', "tools")
    for place, name in enumerate(disabled):
        if name not in names:
            text = f'there is no sub-agent "{name}"{suggest(name, names)}'
            reader.report("amodal.json", text, "disabledSubagents", place)


def read_agents(reader: Reader) -> tuple[str | None, tuple[AgentSpec, ...]]:
    """Read the identity text (None without main.md) and all sub-agents."""
    identity = None
    agents = []
    for entry in reader.entries("agents"):
        if entry.path.is_dir():
            agent = read_agent(reader, entry)
            if agent is not None:
                agents.append(agent)
        elif entry.path.name == "main.md":
            identity = (reader.read_text(entry.path) or "").strip()
            if not identity:
                reader.report(entry.file, "is empty")
        else:
            reader.report(entry.file, "agents/ holds main.md and folders with an AGENT.md")
    return identity, tuple(agents)


def read_agent(reader: Reader, entry: Entry) -> AgentSpec | None:
    path = entry.path / "AGENT.md"
    if not path.is_file():
        reader.report(entry.file, "a sub-agent is a folder with an AGENT.md in it")
        return None
    if not NAME.fullmatch(entry.name):
        reader.report(entry.file, "a sub-agent's name is letters, digits, - and _")
    text = reader.read_text(path)
    if text is None:
        return None
    file = reader.show(path)
    try:
        page = parse_page(text)
        config, prompt = split_agent(page)
    except ValueError as error:
        reader.report(file, str(error), code="CONFIG_PARSE_FAILED")
        return None
    meta = reader.validate({**page.meta, **config}, AgentMeta, file)
    if not prompt:
        reader.report(file, "says nothing: the prompt is missing")
    if meta is None:
        return None
    display = meta.display_name or strip_label(page.heading, "Agent") or entry.name
    return AgentSpec(entry.name, display, meta, prompt)


def split_agent(page: Page) -> tuple[dict[str, Any], str]:
    """Return the `## Config` block, if any, and the prompt."""
    sections = split_sections(page.body)
    if "config" not in sections and "prompt" not in sections:
        return {}, page.body
    block = re.sub(r"\A```\w*\n|\n```\s*\Z", "", sections.get("config", ""))
    try:
        config = yaml.safe_load(block) or {}
    except yaml.YAMLError:
        raise ValueError("## Config is not YAML") from None
    if not isinstance(config, dict):
        raise ValueError("## Config must be `key: value` lines")
    return config, sections.get("prompt", "")
