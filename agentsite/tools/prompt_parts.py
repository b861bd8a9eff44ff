"""What the system prompt says of skills, knowledge and stores.

Law: byte-stable for one bundle. Short ones stand there whole; of long ones there
is a list, and a tool loads them. The tools ask here which it is.
"""

from __future__ import annotations

from agentsite.manifest.bundle import Bundle
from agentsite.manifest.knowledge import Document
from agentsite.manifest.skills import Skill
from agentsite.tools.store_schema import describe_store

SKILL_CHARS = 8_000
"""Skills that are not longer in all stand in the prompt."""
KNOWLEDGE_CHARS = 24_000
"""Knowledge that is not longer in all stands in the prompt."""


def are_skills_inlined(bundle: Bundle) -> bool:
    """Tell whether the compiled prompt holds all skills whole; a `basePrompt` holds none."""
    if bundle.config.base_prompt is not None:
        return False
    return sum(len(skill.body) for skill in bundle.skills) <= SKILL_CHARS


def is_knowledge_inlined(bundle: Bundle) -> bool:
    """Tell whether the compiled prompt holds all documents whole."""
    if bundle.config.base_prompt is not None:
        return False
    return sum(len(document.body) for document in bundle.knowledge) <= KNOWLEDGE_CHARS


def describe_skills(bundle: Bundle) -> str:
    """The section on skills; empty without skills."""
    if not bundle.skills:
        return ""
    if not are_skills_inlined(bundle):
        lines = "\n".join(map(_list_skill, bundle.skills))
        return (
            "# Skills\nMethods for certain kinds of work. When one fits, call `activate_skill` "
            f"with its name first, then follow what it says.\n\n{lines}"
        )
    sections = "\n\n".join(map(_inline_skill, bundle.skills))
    return (
        "# Skills\nMethods for certain kinds of work. When one fits, call `activate_skill` with "
        f"its name, so that the user sees it, and follow it as it stands here.\n\n{sections}"
    )


def _list_skill(skill: Skill) -> str:
    trigger = f" Use it when: {skill.trigger}" if skill.trigger != skill.description else ""
    return f"- **{skill.name}**: {skill.description}" + (trigger if skill.trigger else "")


def _inline_skill(skill: Skill) -> str:
    trigger = f"Use it when: {skill.trigger}\n\n" if skill.trigger else ""
    files = f"\n\nFiles, for `read_skill_file`: {', '.join(skill.files)}" if skill.files else ""
    return f"## {skill.name}\n{trigger}{skill.body}{files}"


def describe_knowledge(bundle: Bundle) -> str:
    """The section on knowledge; empty without documents."""
    if not bundle.knowledge:
        return ""
    if not is_knowledge_inlined(bundle):
        lines = "\n".join(map(_list_document, bundle.knowledge))
        return (
            "# Knowledge base\nDocuments you can read with `load_knowledge`. Read what bears on "
            f"the question before you answer.\n\n{lines}"
        )
    sections = "\n\n".join(f"## {doc.title}\n{doc.body}" for doc in bundle.knowledge)
    return f"# Knowledge base\n\n{sections}"


def _list_document(document: Document) -> str:
    tags = f" [{', '.join(document.tags)}]" if document.tags else ""
    title = "" if document.title == document.name else f": {document.title}"
    return f"- {document.name}{title}{tags}"


def describe_stores(bundle: Bundle) -> str:
    """The section on stores; empty without stores."""
    if not bundle.stores:
        return ""
    lines = "\n".join(map(describe_store, bundle.stores))
    return (
        "# Stores\nDocuments that last beyond this conversation. Read them with `query_store`, "
        f"write them with `store_<name>`.\n\n{lines}"
    )
