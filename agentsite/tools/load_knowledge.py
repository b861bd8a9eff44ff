"""`load_knowledge`: reads a reference document that the prompt only lists."""

from __future__ import annotations

from typing import Any

from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, object_schema

LISTED = 50


async def load_document(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    wanted = arguments["document"].strip().removesuffix(".md").casefold()
    documents = context.bundle.knowledge
    for names in ([d.name for d in documents], [d.title for d in documents]):
        for document, name in zip(documents, names, strict=True):
            if name.casefold() == wanted:
                return ToolResult.of_text(f"# {document.title}\n\n{document.body}")
    listed = ", ".join(document.name for document in documents[:LISTED])
    raise ToolError(f'There is no document "{arguments["document"]}". Documents: {listed}')


LOAD_KNOWLEDGE = Tool(
    name="load_knowledge",
    description="Read a document of the knowledge base, whole.",
    parameters=object_schema(
        {"document": {"type": "string", "description": "Name or title, as the index gives it."}},
        ["document"],
    ),
    call=load_document,
    read_only=True,
    idempotent=True,
)
