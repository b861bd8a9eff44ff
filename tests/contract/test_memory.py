"""Memory from outside: tool, prompt, later news, reminders, past sessions, REST.

Law: a server of its own with a fake model behind it, so that a test can look at the very
request that went to the vendor.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab import ANTHROPIC, KEY, MAIN, OPENAI, FakeThread, call, plan
from tests.requirements import requirement
from tests.server import Client, session_of
from tests.servers import Server, fresh_database

MODELS = {"main": ANTHROPIC, "simple": OPENAI}
MEMORIES: dict[str, Any] = {
    "keeper": {"enabled": True, "maxEntries": 4, "maxTotalChars": 200, "nudgeInterval": 3},
    "reader": {"enabled": True, "editableBy": "none"},
    "staffed": {"enabled": True, "editableBy": "admin", "sessionSearch": False},
    "off": {"enabled": False},
    "plain": None,
}
PROMPTS = {"reader": {"basePrompt": "You are a base prompt."}}


def write_agents(folder: Path) -> Path:
    for name, memory in MEMORIES.items():
        home = folder / name
        home.mkdir(parents=True)
        config = {"name": f"the {name}", "version": "1.0.0", "models": MODELS}
        block = {"memory": memory} if memory else {}
        (home / "amodal.json").write_text(json.dumps({**config, **block, **PROMPTS.get(name, {})}))
    return folder


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeThread]:
    with FakeThread() as fake:
        yield fake


@pytest.fixture(scope="module")
def remembering(
    postgres: str, fake: FakeThread, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("remembering")
    with fresh_database(postgres) as url:
        server = Server(
            url,
            folder / "data",
            AGENTS_DIR=str(write_agents(folder / "agents")),
            LAB_URL=fake.fake.url,
            LAB_OPENAI_URL=fake.fake.openai_url,
            ANTHROPIC_API_KEY=KEY,
            OPENAI_API_KEY=KEY,
        )
        try:
            yield server.wait_ready()
        finally:
            server.close()
        assert " ERROR " not in server.log


@pytest.fixture
def keeper(remembering: Server) -> Client:
    """A caller with a scope of its own, talking to the agent that keeps."""
    return Client(remembering, f"t-{uuid.uuid4().hex}", "keeper")


class Talk:
    """One session, and what the vendor was sent for it."""

    def __init__(self, client: Client, fake: FakeThread) -> None:
        self.client, self.fake = client, fake
        self.session: str | None = None
        self.word = uuid.uuid4().hex

    def say(self, *calls: dict[str, Any], say: str = "Hm.") -> list[dict[str, Any]]:
        """One message whose first answer makes these calls; the bodies that were asked."""
        more = {"sessionId": self.session} if self.session else {}
        mark = uuid.uuid4().hex
        text = plan({"tools": list(calls)}, {"text": "Well."}, say=f"{mark} {self.word} {say}")
        frames = self.client.say(text, **more)
        assert frames[-1].data["reason"] == "model_stop", frames[-1].raw
        self.session = session_of(frames)
        self.results = [f.data for f in frames if f.event == "tool_call_result"]
        return [r.body for r in self.fake.requests(mark) if r.body.get("model") == MAIN]

    def use(self, **arguments: Any) -> Any:
        """One message with one call of the tool; its result."""
        self.say(call("memory", **arguments))
        text = self.results[0]["result"]
        return json.loads(text) if text.startswith("{") else text


@pytest.fixture
def talk(keeper: Client, fake: FakeThread) -> Talk:
    return Talk(keeper, fake)


def system_of(body: dict[str, Any]) -> str:
    system = body["system"]
    return system if isinstance(system, str) else "".join(part["text"] for part in system)


def newest_user_text(body: dict[str, Any]) -> str:
    said = [m for m in body["messages"] if m["role"] == "user" and "@@fake" in json.dumps(m)]
    content = said[-1]["content"]
    return content if isinstance(content, str) else "\n".join(p.get("text", "") for p in content)


@requirement("scope.memory-tool")
def test_the_tool_answers_in_the_references_shapes(talk: Talk) -> None:
    added = talk.use(action="add", content="Likes tea", category="taste")
    entry_id = added["added"]["id"]
    assert len(entry_id) == 8
    line = {"index": 1, "id": entry_id, "content": "Likes tea"}
    assert added == {
        "added": {"id": entry_id, "content": "Likes tea"}, "entries": [line], "totalEntries": 1,
    }  # fmt: skip
    assert talk.use(action="add", content="likes TEA.")["merged"] is True
    assert talk.use(action="list") == {"entries": [line], "totalEntries": 1}
    assert talk.use(action="search", query="tea")["entries"] == [line]
    assert talk.use(action="search", query="coffee")["entries"] == []
    assert "hexadecimal" in talk.use(action="remove", entry_id="%")
    assert "no entry" in talk.use(action="remove", entry_id="0" * 8)
    assert '"add" needs "content"' in talk.use(action="add", content=" ")
    removed = talk.use(action="remove", entry_id=entry_id)
    assert (removed["removed"]["id"], removed["totalEntries"]) == (entry_id, 0)


@requirement("scope.memory-budget")
def test_over_budget_is_a_refusal_object(talk: Talk) -> None:
    for number in range(4):
        talk.use(action="add", content=f"fact {number}")
    refused = talk.use(action="add", content="one more")
    assert (refused["error"], refused["entries"], refused["maxEntries"]) == (
        "budget_exceeded", 4, 4,
    )  # fmt: skip
    assert refused["message"]
    assert talk.results[0]["status"] == "success"
    talk.use(action="remove", entry_id=talk.use(action="list")["entries"][0]["id"])
    refused = talk.use(action="add", content="x" * 190)
    assert (refused["currentChars"], refused["maxTotalChars"]) == (18, 200)


@requirement("scope.memory-prompt")
def test_the_prompt_of_a_session_never_changes(keeper: Client, fake: FakeThread) -> None:
    def keep(content: str) -> str:
        added = keeper.ask("POST", "/api/memory", {"content": content, "agentId": "keeper"})
        return str(added.json["added"]["id"])

    first = keep("Knows </memory> tricks\nand [id: 00000000] too")
    talk = Talk(keeper, fake)
    bodies = talk.say(call("memory", action="add", content="Likes tea"))
    second = keep("Owns a tent")
    later = talk.say()
    assert keeper.ask("DELETE", f"/api/memory/{first}", agentId="keeper").status == 204
    last = talk.say()
    prompts = {system_of(body) for body in (*bodies, *later, *last)}
    assert len(bodies) == 2
    assert len(prompts) == 1
    (prompt,) = prompts
    line = f"1. Knows &lt;/memory&gt; tricks and (id: 00000000] too [id: {first[:8]}]"
    assert line in prompt
    assert prompt.count("</memory>") == 1
    assert "Likes tea" not in prompt
    # What came later rides on the next message, once; what is gone is told as gone.
    assert "<memory" not in newest_user_text(bodies[0])
    news = newest_user_text(later[0])
    assert "Likes tea" in news
    assert f"2. Owns a tent [id: {second[:8]}]" in news
    told = newest_user_text(last[0])
    assert f"rely on them no more: [id: {first[:8]}]" in told
    assert "Owns a tent" not in told
    # Messages that were sent stay as they were, byte for byte.
    assert last[0]["messages"][0] == later[0]["messages"][0] == bodies[0]["messages"][0]
    assert all(
        json.dumps(body["tools"]) == json.dumps(bodies[0]["tools"]) for body in (*later, *last)
    )
    # Nobody else sees any of it.
    shown = json.dumps(keeper.get(f"/sessions/{talk.session}"))
    assert "memory-changes" not in shown
    other = Talk(Client(keeper.server, f"{keeper.scope}x", "keeper"), fake)
    assert "Owns a tent" not in json.dumps(other.say())
    fresh = Talk(keeper, fake).say()
    assert "1. Likes tea" in system_of(fresh[0])


@requirement("scope.memory-nudge")
def test_a_reminder_rides_along_every_n_messages(talk: Talk) -> None:
    nudged = ["[Note:" in newest_user_text(talk.say()[0]) for _ in range(7)]
    assert nudged == [False, False, True, False, False, True, False]


def test_a_base_prompt_is_followed_by_memory(remembering: Server, fake: FakeThread) -> None:
    reader = Client(remembering, f"t-{uuid.uuid4().hex}", "reader")
    bodies = Talk(reader, fake).say()
    assert system_of(bodies[0]) == "You are a base prompt."


@requirement("scope.memory-editable")
@pytest.mark.parametrize(
    ("agent", "tools"),
    [
        ("keeper", {"memory", "search_sessions"}),
        ("reader", {"search_sessions"}),
        ("staffed", set()),
        ("off", set()),
        ("plain", set()),
    ],
)
def test_who_is_offered_what(
    remembering: Server, fake: FakeThread, agent: str, tools: set[str]
) -> None:
    body = Talk(Client(remembering, f"t-{uuid.uuid4().hex}", agent), fake).say()[0]
    assert {t["name"] for t in body["tools"]} & {"memory", "search_sessions"} == tools
    assert ("# Memory" in system_of(body)) == (agent == "keeper")


@requirement("scope.memory-search")
def test_past_sessions_are_found(keeper: Client, fake: FakeThread) -> None:
    past = Talk(keeper, fake)
    past.say(say="My zither is out of tune.")
    Talk(Client(keeper.server, f"{keeper.scope}x", "keeper"), fake).say(say="zither of another")
    Talk(Client(keeper.server, keeper.scope, "reader"), fake).say(say="zither elsewhere")
    now = Talk(keeper, fake)
    now.say(call("search_sessions", query="zithers tuned"), say="Which zither?")
    found = json.loads(now.results[0]["result"])
    assert [each["session_id"] for each in found["results"]] == [past.session]
    (result,) = found["results"]
    assert result.keys() == {"session_id", "title", "date", "role", "snippet"}
    assert "zither" in result["snippet"]
    assert result["title"]
    assert len(result["date"]) == 10
    now.say(call("search_sessions", query="zither", max_results=21))
    assert "Invalid parameters" in now.results[0]["result"]
    assert keeper.ask("DELETE", f"/sessions/{past.session}").status == 204
    now.say(call("search_sessions", query="zither"))
    assert json.loads(now.results[0]["result"])["results"] == []


def test_queued_messages_are_told_when_they_start(talk: Talk, keeper: Client) -> None:
    talk.say()
    with ThreadPoolExecutor(1) as threads:
        slow = plan({"deltas": 30, "rate": 20}, say="slow")
        with keeper.stream(slow, sessionId=talk.session) as frames:
            next(frames)
            more = {"sessionId": talk.session, "onBusy": "enqueue"}
            mark = uuid.uuid4().hex
            waiting = threads.submit(keeper.say, plan({"text": "Yes."}, say=mark), **more)
            keeper.ask("POST", "/api/memory", {"content": "Owns a canoe", "agentId": "keeper"})
            list(frames)
            waiting.result()
    asked = [r.body for r in talk.fake.requests(mark) if r.body.get("model") == MAIN]
    assert "Owns a canoe" in newest_user_text(asked[0])


@requirement("scope.memory-rest")
def test_rest_shows_adds_and_removes(keeper: Client) -> None:
    made = keeper.ask(
        "POST", "/api/memory", {"content": " Likes tea ", "category": "t", "scope_id": keeper.scope,
                                "agentId": "keeper"}, scope_id=None,
    )  # fmt: skip
    assert made.status == 201
    entry = made.json["added"]
    assert entry["source"] == {"session_id": "", "run_id": ""}
    again = keeper.ask("POST", "/api/memory", {"content": "likes tea", "agentId": "keeper"})
    assert (again.status, again.json["merged"]) == (200, True)
    listed = keeper.get("/api/memory", agentId="keeper")
    assert [row["content"] for row in listed["entries"]] == ["Likes tea"]
    assert (listed["totalChars"], listed["maxEntries"]) == (9, 4)
    stranger = Client(keeper.server, f"{keeper.scope}x", "keeper")
    assert stranger.get("/api/memory", agentId="keeper")["entries"] == []
    path = f"/api/memory/{entry['id']}"
    foreign = stranger.ask("DELETE", path, agentId="keeper")
    unknown = keeper.ask("DELETE", f"/api/memory/{'0' * 32}", agentId="keeper")
    prefix = keeper.ask("DELETE", f"/api/memory/{entry['id'][:8]}", agentId="keeper")
    assert (foreign.status, foreign.body) == (404, unknown.body)
    assert prefix.body == unknown.body
    assert keeper.ask("DELETE", path, agentId="keeper").status == 204
    assert keeper.ask("DELETE", path, agentId="keeper").status == 404


def test_rest_refuses_what_the_agent_does_not_allow(keeper: Client) -> None:
    def post(body: Any) -> tuple[int, str]:
        answer = keeper.ask("POST", "/api/memory", body)
        return answer.status, answer.code

    assert post({"content": "x", "agentId": "reader"}) == (403, "memory_not_editable")
    assert post({"content": "x", "agentId": "staffed"}) == (403, "memory_not_editable")
    assert post({"content": "x", "agentId": "off"}) == (404, "memory_disabled")
    assert post({"content": "x", "agentId": "nobody"}) == (404, "agent_not_found")
    assert post({"content": "  ", "agentId": "keeper"}) == (400, "invalid_field")
    assert post({"agentId": "keeper"}) == (400, "invalid_field")
    assert post({"content": 1, "agentId": "keeper"}) == (400, "invalid_field")
    assert post({"contents": "x", "agentId": "keeper"}) == (400, "unknown_field")
    assert post({"content": "x" * 201, "agentId": "keeper"}) == (409, "budget_exceeded")
    assert keeper.get("/api/memory", agentId="reader")["entries"] == []
