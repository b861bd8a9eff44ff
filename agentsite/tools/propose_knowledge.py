"""`propose_knowledge`: the model suggests a document; a person decides whether it becomes one.

Law: nothing is written to the agent's files from here. One call makes one proposal, also when
it is made again after a crash.
"""

from __future__ import annotations

from typing import Any

from agentsite.engine.events import KnowledgeProposed
from agentsite.operations import proposals
from agentsite.operations.proposals import NewProposal
from agentsite.rows.units import unit
from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, clean, object_schema


async def propose(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    proposal = NewProposal(
        id=f"prop_{context.call_id.partition('_')[2]}",
        agent=context.agent,
        scope_id=context.scope_id,
        session_id=context.session_id,
        title=" ".join(clean(context.redact(arguments["title"])).split()),
        reasoning=clean(context.redact(arguments["reasoning"])),
        content=clean(context.redact(arguments["content"])),
    )
    if not proposal.title or not proposal.content.strip():
        raise ToolError("A proposal needs a title and a content.")
    refused = await unit(proposals.create, proposal)
    if refused:
        return ToolResult.fail(
            f'An operator has refused a proposal with the title "{proposal.title}" before'
            f"{': ' + refused.comment if refused.comment else ''}. It was not proposed again."
        )
    context.emit(KnowledgeProposed(proposals.to_api(proposal)))
    return ToolResult.ok({"proposed": True, "id": proposal.id, "status": "waits for review"})


PROPOSE_KNOWLEDGE = Tool(
    name="propose_knowledge",
    description="Propose a document for the knowledge base, or a new text for one of this title: "
    "for what will be of use in other conversations too. An operator reviews it before it counts.",
    parameters=object_schema(
        {
            "title": {"type": "string", "minLength": 1, "maxLength": 200},
            "content": {
                "type": "string",
                "minLength": 1,
                "maxLength": 50_000,
                "description": "The whole document, in Markdown, without the title.",
            },
            "reasoning": {
                "type": "string",
                "minLength": 1,
                "maxLength": 2_000,
                "description": "Why it belongs there, for the operator.",
            },
        },
        ["title", "content", "reasoning"],
    ),
    call=propose,
    idempotent=True,
    inside=True,
)
