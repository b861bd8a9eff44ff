"""What the system prompt says of skills, knowledge, connections and stores.

Law: byte-stable for one bundle. Short ones stand there whole; of long ones there
is a list, and a tool loads them. The tools ask here which it is.
"""

from __future__ import annotations

from agentsite.connections.surface import read_surface
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.connections import Connection, RestSpec
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
        return list_skills(bundle)
    sections = "\n\n".join(map(_inline_skill, bundle.skills))
    return (
        "# Skills\nMethods for certain kinds of work. When one fits, call `activate_skill` with "
        f"its name, so that the user sees it, and follow it as it stands here.\n\n{sections}"
    )


def list_skills(bundle: Bundle) -> str:
    """What skills there are, none of them whole."""
    if not bundle.skills:
        return ""
    lines = "\n".join(map(_list_skill, bundle.skills))
    return (
        "# Skills\nMethods for certain kinds of work. When one fits, call `activate_skill` "
        f"with its name first, then follow what it says.\n\n{lines}"
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
        return list_knowledge(bundle)
    sections = "\n\n".join(f"## {doc.title}\n{doc.body}" for doc in bundle.knowledge)
    return f"# Knowledge base\n\n{sections}"


def list_knowledge(bundle: Bundle) -> str:
    """What documents there are, none of them whole."""
    if not bundle.knowledge:
        return ""
    lines = "\n".join(map(_list_document, bundle.knowledge))
    return (
        "# Knowledge base\nDocuments you can read with `load_knowledge`. Read what bears on "
        f"the question before you answer.\n\n{lines}"
    )


def _list_document(document: Document) -> str:
    tags = f" [{', '.join(document.tags)}]" if document.tags else ""
    title = "" if document.title == document.name else f": {document.title}"
    return f"- {document.name}{title}{tags}"


def describe_connections(bundle: Bundle) -> str:
    """The section on connected systems; empty where there is nothing to say of any."""
    called, others = [], []
    for connection in bundle.connections:
        if isinstance(connection.spec, RestSpec):
            called.append(_describe_connection(connection))
        elif about := "\n\n".join(filter(None, map(str.strip, _texts(connection)))):
            others.append(f"## {connection.name}: tools `{connection.name}__…`\n\n{about}")
    if not called and not others:
        return ""
    how = (
        "\nCall them with `request`. Credentials, and values that the server sets, are added by"
        " themselves."
    )
    return "\n\n".join([f"# Connected systems{how if called else ''}", *called, *others])


def _texts(connection: Connection) -> tuple[str, str]:
    return connection.entities, connection.rules


def _describe_connection(connection: Connection) -> str:
    parts = [f"## {connection.name}", read_surface(connection.surface).text]
    parts += [connection.entities.strip(), connection.rules.strip()]
    access = connection.access
    if access.field_restrictions:
        fields = ", ".join(f"{one.entity}.{one.field}" for one in access.field_restrictions)
        parts.append(f"Restricted fields, taken out of answers or blacked out: {fields}.")
    for lookup in access.alternative_lookups:
        about = f" ({lookup.description})" if lookup.description else ""
        parts.append(
            f"In place of {lookup.restricted_field} use {lookup.alternative_endpoint}{about}."
        )
    if access.row_scoping:
        entities = ", ".join(access.row_scoping)
        parts.append(f"Of {entities} you see the rows that are the caller's to see.")
    return "\n\n".join(part for part in parts if part)


def describe_stores(bundle: Bundle) -> str:
    """The section on stores; empty without stores."""
    if not bundle.stores:
        return ""
    lines = "\n".join(map(describe_store, bundle.stores))
    return (
        "# Stores\nDocuments that last beyond this conversation. Read them with `query_store`, "
        f"write them with `store_<name>`.\n\n{lines}"
    )
