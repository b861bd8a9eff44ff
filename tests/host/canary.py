"""Secrets that are planted everywhere, and the eyes that look for them outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentsite.engine.redaction import spell
from tests.lab import ANTHROPIC, OPENAI, PRICES, Lab

KEY = "sk-ant-canary/0+provider"
TOOL = "canary-tool & token 77"
SIGNING = "canary-signing-key-0123456789"
FERNET = "Y2FuYXJ5LWZlcm5ldC1rZXktMDEyMzQ1Njc4OWFiY2Q="
SCOPED = "canary of a scope + 11"
"""Saved as a credential of the scope; with it the server's own must stay known."""
SCOPE = "canary"
PLANTED = {"CANARY_SCOPED": SCOPED, "CANARY_KEY": KEY, "CANARY_TOOL": TOOL, "SECRET_KEY": SIGNING}
PLANTED |= {"AGENT_SECRET_KEYS": FERNET}
EMBEDDING = {**OPENAI, "model": "text-embedding-3-small"}
IN_PART = {
    "automations_app_inbounddelivery": "SELECT id, scope_id, sender_id, headers"
    " FROM automations_app_inbounddelivery"
}
"""What is looked through of a table that keeps bytes as they came in, for a replay."""
HANDLER = """
from agentsite.tools.results import ToolError

async def handle(params, ctx):
    secret = ctx.env("CANARY_TOOL")
    ctx.log(f"log {secret}")
    ctx.progress({"deep": [{secret: secret}]})
    ctx.set_label(f"running {secret}", f"completed {secret}")
    if params.get("fail") == "kindly":
        raise ToolError(f"refused by {secret}")
    if params.get("fail"):
        raise ValueError(f"broken by {secret}")
    await ctx.store("notes", {"title": "by handler", "text": f"stored {secret}"})
    return {"said": f"result {secret}", secret: 1}
"""


def write_agent(folder: Path) -> None:
    """An agent whose every part knows secrets."""
    (folder / "tools" / "leak").mkdir(parents=True)
    (folder / "stores").mkdir()
    (folder / "automations").mkdir()
    main = {**ANTHROPIC, "credentials": {"api_key": "env:CANARY_KEY"}}
    config = {
        "name": "canary",
        "version": "1.0.0",
        "models": {"main": main, "simple": OPENAI, "embedding": EMBEDDING},
        "prices": {**PRICES, "openai/text-embedding-3-small": {"input": 1, "output": 0}},
        "memory": {"enabled": True},
    }
    (folder / "amodal.json").write_text(json.dumps(config))
    tool = {
        "name": "leak",
        "description": "Leaks.",
        "env": ["CANARY_TOOL"],
        "runningLabel": "Leaking {{note}}",
        "parameters": {
            "type": "object",
            "properties": {"note": {"type": "string"}, "fail": {"type": "string"}},
        },
    }
    (folder / "tools" / "leak" / "tool.json").write_text(json.dumps(tool))
    (folder / "tools" / "leak" / "handler.py").write_text(HANDLER)
    fields = {"title": {"type": "string"}, "text": {"type": "string"}}
    store = {"name": "notes", "entity": {"name": "Note", "key": "{title}", "schema": fields}}
    store |= {"trace": True, "history": {"versions": 3}}
    store["embed"] = ["text"]
    (folder / "stores" / "notes.json").write_text(json.dumps(store))
    hook = {"title": "Hook", "prompt": "What came?", "trigger": "webhook", "scope": SCOPE}
    (folder / "automations" / "hook.json").write_text(json.dumps(hook))


def escape(text: str) -> str:
    """As JSON writes it where nobody shall recognise it: the fake model reads it all the same."""
    return "".join(f"\\u{ord(char):04x}" for char in text)


def find_secrets(text: str) -> list[str]:
    """The planted secrets in a text, in whatever form, and where."""
    found = []
    for name, secret in PLANTED.items():
        for form in spell(secret):
            place = text.find(form)
            if place >= 0:
                found.append(f"{name}: …{text[max(0, place - 120) : place + 60]}…")
                break
    return found


def read_rows(lab: Lab) -> Iterator[tuple[str, str]]:
    """Every table, and all of its values as text."""
    tables = lab.query(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        " AND table_type = 'BASE TABLE'"
    )
    for (table,) in tables:
        rows = lab.query(IN_PART.get(str(table), f'TABLE "{table}"'))
        yield str(table), "\n".join(map(_to_text, rows))


def _to_text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        # Logs are JSON; escapes in it would hide a secret that has quotes.
        return bytes(value).decode("utf-8", "replace").replace('\\"', '"')
    if isinstance(value, tuple | list):
        return "\n".join(map(_to_text, value))
    if isinstance(value, dict):
        return "\n".join(f"{_to_text(key)}\n{_to_text(item)}" for key, item in value.items())
    return str(value)
