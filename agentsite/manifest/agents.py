"""`agents/main.md`, who the agent is, and `agents/<name>/AGENT.md`, its sub-agents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from pydantic import model_validator

from agentsite.manifest.base import CamelModel, Count, Positive, Seconds, Text
from agentsite.manifest.markdown import Page, parse_page, split_sections, strip_label
from agentsite.manifest.reader import Entry, Reader

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class AgentMeta(CamelModel):
    """Front matter or `## Config` of an AGENT.md."""

    display_name: Text | None = None
    description: str = ""
    tools: tuple[Text, ...] = ("shell_exec", "load_knowledge")
    max_depth: Count = 1
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
