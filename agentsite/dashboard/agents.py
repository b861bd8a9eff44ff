"""The served agents: what a model is told of each, and how many tokens every part of it takes.

Law: shown is what the next run would be told, redacted as it is there. Tokens are the estimate
that decides on compaction; a scope's memory comes on top and is no agent's.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from urllib.parse import quote

import msgspec
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from agentsite.engine.ports import ToolSpec
from agentsite.engine.tokens import estimate, text_tokens
from agentsite.host.agents import TIERS, Agent, ServedAgents
from agentsite.host.prompt import compile_parts
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import UnknownAgent
from agentsite.operations.pins import list_accepted
from agentsite.tools.prompt_parts import are_skills_inlined, is_knowledge_inlined
from stores_app.specs import served_agents

IN_PROMPT, ON_DEMAND = "in the prompt", "loaded when it is needed"


class Part(msgspec.Struct, frozen=True):
    """A part of what a model is told."""

    name: str
    tokens: int
    note: str = ""
    text: str = ""

    @property
    def shown(self) -> str:
        """The tokens as people read them."""
        return f"{self.tokens:,}"


class Table(msgspec.Struct, frozen=True):
    """Parts of one kind."""

    title: str
    parts: list[Part]

    @property
    def total(self) -> str:
        """Of all of them."""
        return f"{sum(part.tokens for part in self.parts):,}"


@cache
def _agents() -> ServedAgents:
    return ServedAgents(served_agents())


def list_agents(request: HttpRequest) -> HttpResponse:
    """`/admin/agents/`: all of them, those with broken files too."""
    _check(request)
    rows = [_summarise(name) for name in sorted(served_agents().sources)]
    return _page(request, "agents", "Agents", {"rows": rows})


def show_agent(request: HttpRequest, agent: str) -> HttpResponse:
    """`/admin/agents/<agent>/`: the compiled prompt and the tokens of its parts."""
    _check(request)
    try:
        found = _agents().current(agent)
    except UnknownAgent as error:
        raise Http404(f'There is no agent "{agent}".') from error
    except ManifestError as error:
        return _page(request, "agent", agent, {"problem": str(error)})
    return _page(request, "agent", agent, describe(found))


def describe(agent: Agent) -> dict[str, Any]:
    """What the page shows of one that can be served."""
    specs = agent.offer(accepted=list_accepted(agent.id)).specs
    window = agent.window()
    whole = estimate((), agent.prompt, specs)
    return {
        "facts": _facts(agent),
        "tables": [_prompt_table(agent), _tool_table(agent, specs), *_loadable(agent)],
        "prompt": agent.prompt,
        "whole": f"{whole:,}",
        "window": f"{window:,}",
        "share": f"{100 * whole / window:.1f}",
        "links": _links(agent),
    }


def _summarise(name: str) -> dict[str, Any]:
    url = reverse("agent", args=[name])
    try:
        agent = _agents().current(name)
    except ManifestError as error:
        return {"name": name, "url": url, "problem": str(error).splitlines()[0]}
    specs = agent.offer(accepted=list_accepted(agent.id)).specs
    config = agent.config()
    return {
        "name": name,
        "url": url,
        "model": f"{config.provider}/{config.model}",
        "version": agent.bundle.version,
        "prompt": f"{text_tokens(agent.prompt):,}",
        "tools": f"{len(specs):,}",
        "tokens": f"{estimate((), '', specs):,}",
    }


def _facts(agent: Agent) -> list[tuple[str, str]]:
    bundle, block = agent.bundle, agent.block
    chains = [
        (tier, [f"{c.provider}/{c.model}" for c in bundle.model(tier).chain]) for tier in TIERS
    ]
    return [
        ("Version", f"{bundle.version} ({bundle.hash[:12]})"),
        *((f"Model, {tier}", ", then ".join(chain)) for tier, chain in chains),
        ("Most turns", f"{block.max_turns:,}"),
        ("Skills", ", ".join(skill.name for skill in bundle.skills) or "none"),
        ("Stores", ", ".join(store.name for store in bundle.stores) or "none"),
        ("Automations", ", ".join(each.name for each in bundle.automations) or "none"),
    ]


def _prompt_table(agent: Agent) -> Table:
    clean = agent.redactor.text
    parts = {name: clean(text) for name, text in compile_parts(agent.bundle).items()}
    rows = [Part(name, text_tokens(text), text=text) for name, text in parts.items()]
    return Table("System prompt", rows)


def _tool_table(agent: Agent, specs: tuple[ToolSpec, ...]) -> Table:
    clean = agent.redactor.text
    rows = [
        Part(
            spec.name,
            estimate((), "", (spec,)),
            note=clean(spec.description),
            text=clean(json.dumps(spec.parameters, indent=2, ensure_ascii=False)),
        )
        for spec in specs
    ]
    return Table("Tools", rows)


def _loadable(agent: Agent) -> list[Table]:
    bundle, clean = agent.bundle, agent.redactor.text
    skills = IN_PROMPT if are_skills_inlined(bundle) else ON_DEMAND
    knowledge = IN_PROMPT if is_knowledge_inlined(bundle) else ON_DEMAND
    tables = [
        Table(
            "Skills",
            [Part(s.name, text_tokens(s.body), skills, clean(s.body)) for s in bundle.skills],
        ),
        Table(
            "Knowledge",
            [
                Part(d.title, text_tokens(d.body), knowledge, clean(d.body))
                for d in bundle.knowledge
            ],
        ),
    ]
    return [table for table in tables if table.parts]


def _links(agent: Agent) -> list[tuple[str, str]]:
    name = quote(agent.id)
    return [
        ("Its sessions", f"{reverse('admin:sessions_app_session_changelist')}?agent={name}"),
        ("Its cost", f"{reverse('admin:sessions_app_usageday_changelist')}?agent={name}"),
        ("Its MCP servers", f"{reverse('admin:operations_mcpserver_changelist')}?agent={name}"),
        ("Its automations", f"{reverse('admin:automations_app_automation_changelist')}?q={name}"),
    ]


def _check(request: HttpRequest) -> None:
    may: Any = request.user
    if not may.has_perm("sessions_app.view_run"):
        raise PermissionDenied


def _page(request: HttpRequest, template: str, title: str, more: dict[str, Any]) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, **more}
    return TemplateResponse(request, f"admin/{template}.html", context)
