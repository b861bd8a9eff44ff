"""What models are told of an agent, part by part, as staff see it."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentsite.dashboard import agents
from agentsite.engine.tokens import estimate, text_tokens
from agentsite.operations.pins import Met, ToolVersion, record_listing
from stores_app import specs
from tests.operations.staff_rows import AGENT, build_agent
from tests.requirements import requirement

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(tmp_path: Path, settings: Any) -> Iterator[Client]:
    """A viewer of two agents, of which one has a fault in its files."""
    settings.AGENTS_DIR = build_agent(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "amodal.json").write_text('{"name": "broken"')
    config = {"name": AGENT, "version": "1.0.0", "mcp": {"servers": {"clock": {
        "transport": "http", "url": "https://clock.example/mcp"}}}}  # fmt: skip
    (tmp_path / AGENT / "amodal.json").write_text(json.dumps(config))
    for cached in (specs.served_agents, agents._agents):
        cached.cache_clear()
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    yield client
    for cached in (specs.served_agents, agents._agents):
        cached.cache_clear()


@requirement("admin.agents")
def test_the_prompt_is_shown_whole_and_in_parts_that_add_up(staff: Client) -> None:
    tool = ToolVersion("now", "1", "Tells the time.", {"type": "object"})
    record_listing(AGENT, "clock", Met("1", "toy"), [tool], common=True)
    agent = agents._agents().current(AGENT)
    text = html.unescape(staff.get(f"/admin/agents/{AGENT}/").content.decode())
    assert agent.prompt in text
    for part in ("Use the scale.", "Within thirty days.", "clock__now", "store_orders"):
        assert part in text, part
    shown = agents.describe(agent)
    tables = {table.title: table.parts for table in shown["tables"]}
    assert [part.name for part in tables["System prompt"]] == [
        "Identity", "How it works", "Skills", "Knowledge", "Stores",
    ]  # fmt: skip
    assert "\n\n".join(part.text for part in tables["System prompt"]) == agent.prompt
    assert sum(part.tokens for part in tables["System prompt"]) - text_tokens(agent.prompt) <= 5
    offer = agent.offer(accepted={"clock": (tool,)})
    assert [part.name for part in tables["Tools"]] == [spec.name for spec in offer.specs]
    assert sum(part.tokens for part in tables["Tools"]) == estimate((), "", offer.specs)
    assert shown["whole"] == f"{estimate((), agent.prompt, offer.specs):,}"


@requirement("admin.agents")
def test_an_agent_with_faulty_files_is_listed_with_its_fault(staff: Client) -> None:
    text = html.unescape(staff.get("/admin/agents/").content.decode())
    assert "/admin/agents/desk/" in text and "amodal.json" in text
    assert "amodal.json" in staff.get("/admin/agents/broken/").content.decode()
    assert staff.get("/admin/agents/nobody/").status_code == 404


@requirement("admin.agents")
def test_only_who_may_see_runs_sees_prompts(staff: Client) -> None:
    client = Client()
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    for path in ("/admin/agents/", f"/admin/agents/{AGENT}/"):
        assert client.get(path).status_code == 403
        assert Client().get(path).status_code == 302
