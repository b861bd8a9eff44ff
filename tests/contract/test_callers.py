"""Who may call: keys, tokens, their scopes and roles, and what is said to everybody else."""

from __future__ import annotations

import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import jwt
import pytest

from agentsite.host.callers import REMEMBERED, remember
from agentsite.host.tokens import IssuerUnavailable, KeySet, TokenRefused, Tokens
from tests.gatehouse import Gate, wait_for
from tests.issuer import AUDIENCE, ISSUER, SECRET, Issuer, standard, token
from tests.requirements import requirement
from tests.server import Client
from tests.servers import Server, fresh_database


@requirement("scope.unauthorized")
def test_who_names_nobody_is_told_how_to_call(gate: Gate) -> None:
    for bearer in (None, "ak_wrong", "nonsense", "a.b.c"):
        for method, path in (("GET", "/sessions"), ("POST", "/chat"), ("GET", "/api/stores")):
            answer = gate.ask(method, path, {"message": "x"} if method == "POST" else None, bearer)
            assert (answer.status, answer.code) == (401, "unauthorized"), (path, answer.body)
            assert answer.headers["www-authenticate"].startswith("Bearer realm=")
            assert "createkey" in answer.json["error"]["message"]
    for path in ("/health", "/ready", "/api/schema"):
        assert gate.ask("GET", path).status == 200
    answer = gate.ask("GET", "/sessions", Authorization="Basic YTpi")
    assert answer.status == 401


@requirement("scope.key", "scope.key-scopes")
def test_a_key_acts_for_the_scopes_it_is_allowed(gate: Gate) -> None:
    key = gate.key(scopes=["acme", "acme:*"])
    for named in ({"header": "acme"}, {"scope_id": "acme"}, {"userId": "acme:ann"}):
        assert gate.chat(key, **named).status == 200, named
    for named in ({}, {"scope_id": "acmes"}, {"header": "other"}, {"scopeId": "ACME"}):
        answer = gate.chat(key, **named)
        assert (answer.status, answer.code) == (403, "scope_forbidden"), named
        assert '"acme:*"' in answer.json["error"]["message"]
    answer = gate.chat(key, header="acme", scope_id="acme:ann")
    assert (answer.status, answer.code) == (400, "scope_contradiction")
    answer = gate.ask("GET", "/sessions?scope_id=acme&scopeId=acme:ann", bearer=key)
    assert (answer.status, answer.code) == (400, "scope_contradiction")


@requirement("scope.key")
def test_revoked_expired_and_foreign_keys_are_refused(gate: Gate) -> None:
    key, old = gate.key(), gate.key(expires_at="2020-01-01T00:00:00Z")
    assert gate.ask("GET", "/sessions", bearer=key).status == 200
    assert gate.ask("GET", "/sessions", bearer=old).status == 401
    gate.change("UPDATE sessions_app_apikey SET revoked_at = now() WHERE prefix = %s", key[:10])
    assert gate.ask("GET", "/sessions", bearer=key).status == 401
    bound = gate.key(agents=["strict"])
    answer = gate.chat(bound)
    assert (answer.status, answer.code) == (403, "agent_forbidden")
    session = gate.chat(gate.key(), scope_id="s").json["sessionId"]
    mine = gate.chat(bound, agentId="strict", scope_id="s").json["sessionId"]
    for path, shown in (("/sessions", "sessions"), ("/sessions/history", None)):
        listed = gate.ask("GET", f"{path}?scope_id=s", bearer=bound).json
        assert [row["id"] for row in (listed[shown] if shown else listed)] == [mine]
    for method, path, body in (
        ("GET", "/api/stores?scope_id=s", None),
        ("GET", "/api/stores/x/y?scope_id=s&agentId=free&agent=strict", None),
        ("GET", "/api/memory?scope_id=s", None),
        ("POST", "/api/memory?agentId=strict", {"content": "x", "agentId": "free", "userId": "s"}),
    ):
        answer = gate.ask(method, path, body, bound)
        assert (answer.status, answer.code) == (403, "agent_forbidden"), path
    for method, path in (
        ("GET", f"/sessions/{session}?scope_id=s"),
        ("GET", f"/sessions/{session}/events?scope_id=s"),
        ("POST", f"/sessions/{session}/interrupt?scope_id=s"),
    ):
        answer = gate.ask(method, path, {} if method == "POST" else None, bound)
        assert (answer.status, answer.code) == (404, "session_not_found")


@requirement("scope.rate-limit")
def test_a_key_has_a_rate(gate: Gate) -> None:
    key = gate.key(rate_limit=6, tokens=3)
    said = [gate.ask("GET", "/sessions", bearer=key) for _ in range(4)]
    assert [answer.status for answer in said] == [200, 200, 200, 429]
    assert said[-1].code == "rate_limited"
    assert 1 <= int(said[-1].headers["retry-after"]) <= 10
    gate.change(
        "UPDATE sessions_app_apikey SET refilled_at = now() - interval '10 s' WHERE prefix = %s"
        " AND rate_limit = 6", key[:10],
    )  # fmt: skip
    assert gate.ask("GET", "/sessions", bearer=key).status == 200


@requirement("scope.jwt", "scope.claims-win")
def test_a_tokens_claims_win(gate: Gate) -> None:
    mine = token(scope_id="mine", scopeContext={"team": "blue"}, role="user")
    answer = gate.chat(mine, scope_id="theirs", header="others", context={"team": "red", "a": "b"})
    assert answer.status == 200
    session = answer.json["sessionId"]
    rows = gate.query(
        "SELECT scope_id, request -> 'context' FROM sessions_app_run WHERE session_id = %s", session
    )
    assert rows == [("mine", {"team": "blue", "a": "b"})]
    for path in (f"/sessions/{session}", f"/sessions/{session}?scope_id=theirs"):
        assert gate.ask("GET", path, bearer=mine).status == 200
    assert gate.ask("GET", f"/sessions/{session}", bearer=token(scope_id="x")).status == 404
    assert "wins over the request's" in gate.server.log


@requirement("scope.jwt")
@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "exp"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
        ({"aud": "others"}, "another server"),
        ({"iss": "https://other.example"}, "another server"),
        ({"role": "king"}, "role"),
        ({"scope_id": 7}, "scope_id"),
    ],
)
def test_tokens_that_do_not_count_say_why(gate: Gate, claims: dict[str, Any], told: str) -> None:
    answer = gate.chat(token(**claims))
    assert answer.status == 401
    assert told in answer.json["error"]["message"]


@requirement("scope.jwt")
def test_algorithms_are_pinned(gate: Gate) -> None:
    public = gate.issuer.describe("first")
    head = {"kid": "first"}
    forged = [
        jwt.encode(standard(), None, algorithm="none"),
        jwt.encode(standard(), SECRET * 2, algorithm="HS512"),
        jwt.encode(standard(), public["n"], algorithm="HS256", headers=head),
        jwt.encode(standard(), "another" * 10, algorithm="HS256"),
        jwt.encode(standard(), gate.issuer.keys["first"], algorithm="RS512", headers=head),
    ]
    assert [gate.chat(each).status for each in forged] == [401] * len(forged)


@requirement("scope.jwks-rotation")
def test_new_keys_of_the_issuer_are_fetched_and_strangers_fetch_nothing(gate: Gate) -> None:
    assert gate.chat(gate.issuer.sign("first", scope_id="a")).status == 200
    asked = gate.issuer.asked
    stranger = Issuer()
    stranger.add("unknown")
    assert [gate.chat(stranger.sign("unknown")).status for _ in range(3)] == [401] * 3
    stranger.close()
    assert gate.issuer.asked <= asked + 1


@requirement("scope.jwks-rotation")
async def test_a_new_key_is_found_once_the_pause_is_over() -> None:
    issuer = Issuer()
    issuer.add("old")
    keys, hasty = KeySet(issuer.url, pause=3600), KeySet(issuer.url, pause=0)
    try:
        assert await keys.find("old") is not None
        assert await hasty.find("old") is not None
        issuer.keys.clear()
        issuer.add("new")
        assert await keys.find("new") is None  # it has looked only a moment ago
        assert await keys.find("old") is not None
        assert await hasty.find("new") is not None
        assert await hasty.find("old") is None
    finally:
        issuer.close()
    asked = issuer.asked
    assert await hasty.find("new") is not None, "an issuer that is away does no harm"
    assert issuer.asked == asked
    await keys.close()
    await hasty.close()


@requirement("scope.jwks-rotation")
async def test_keys_that_cannot_be_fetched_are_no_refusal_and_count_for_a_time() -> None:
    issuer = Issuer()
    issuer.add("old")
    keys, aged = KeySet(issuer.url, pause=0), KeySet(issuer.url, pause=0, hard_age=0)
    assert await keys.find("old") is not None
    assert await aged.find("old") is not None
    issuer.keys.clear()
    issuer.add("new")
    assert await aged.find("old") is None, "it was withdrawn"
    issuer.close()
    assert await keys.find("old") is not None
    for each, kid in ((keys, "new"), (aged, "new"), (aged, "old")):
        with pytest.raises(IssuerUnavailable):
            await each.find(kid)
    await keys.close()
    await aged.close()


@requirement("scope.jwks-rotation")
async def test_a_signature_without_the_name_of_its_key_is_worth_one_look(settings: Any) -> None:
    issuer = Issuer()
    issuer.add("only")
    settings.AGENT_JWT_JWKS_URL = issuer.url
    settings.AGENT_JWT_ISSUER, settings.AGENT_JWT_AUDIENCE = ISSUER, AUDIENCE
    tokens = Tokens()
    tokens._keys = KeySet(issuer.url, pause=0)

    def sign() -> str:
        return jwt.encode(standard(scope_id="a"), issuer.keys["only"], algorithm="RS256")

    old = sign()
    assert (await tokens.verify(old)).scope_id == "a"
    issuer.add("only")  # another key by the same name
    assert (await tokens.verify(sign())).scope_id == "a"
    asked = issuer.asked
    with pytest.raises(TokenRefused, match="does not hold"):
        await tokens.verify(old)
    assert issuer.asked == asked + 1
    issuer.close()
    with pytest.raises(IssuerUnavailable):
        await tokens.verify(old)
    await tokens.close()


@requirement("scope.jwks-rotation")
def test_who_cannot_be_judged_is_told_to_come_again(
    gate: Gate, postgres: str, tmp_path: Path
) -> None:
    with fresh_database(postgres) as url:
        server = Server(
            url,
            tmp_path,
            AGENT_AUTH="jwt",
            AGENT_JWT_JWKS_URL="http://127.0.0.1:9/keys",
            AGENT_JWT_ISSUER=ISSUER,
            AGENT_JWT_AUDIENCE=AUDIENCE,
        )
        try:
            sent = {"Authorization": f"Bearer {gate.issuer.sign('first')}"}
            client = Client(server.wait_ready(), "", "desk")
            answer = client.ask("GET", "/sessions", headers=sent)
        finally:
            server.close()
    assert (answer.status, answer.code) == (503, "issuer_unavailable")
    assert answer.headers["retry-after"] == "10"


@requirement("http.tenant")
def test_tenants_of_tokens_and_bodies(gate: Gate) -> None:
    key = gate.key()

    def scope_of(bearer: str, **body: Any) -> str:
        answer = gate.chat(bearer, **body)
        assert answer.status == 200, answer.body
        rows = gate.query(
            "SELECT scope_id FROM sessions_app_session WHERE id = %s", answer.json["sessionId"]
        )
        return str(rows[0][0])

    assert scope_of(key, tenantId="t") == "t"
    assert scope_of(key, tenantId="t", userId="u") == "t:u"
    assert scope_of(key, tenantId="t", scope_id="s", userId="u") == "s"
    tenant = token(tenantId="t")
    assert scope_of(tenant) == "t"
    assert scope_of(tenant, userId="u") == "t:u"
    assert scope_of(tenant, tenantId="t", scope_id="t:u") == "t:u"
    assert gate.chat(tenant, tenantId="other").code == "tenant_forbidden"
    assert gate.chat(tenant, scope_id="tt").code == "scope_forbidden"
    assert gate.chat(key, tenantId="a:b").code == "invalid_field"
    assert scope_of(token(tenantId="t", scope_id="s"), tenantId="t") == "s"


@requirement("scope.admin-sessions")
def test_admin_sessions_need_the_role(gate: Gate) -> None:
    for bearer in (gate.key(), token(), token(role="user")):
        answer = gate.chat(bearer, session_type="admin")
        assert (answer.status, answer.code) == (403, "forbidden")
    for bearer in (gate.key(role="admin"), gate.key(role="ops"), token(role="admin")):
        assert gate.chat(bearer, session_type="admin").status == 200


@requirement("http.scope-required")
def test_an_agent_may_require_a_scope(gate: Gate) -> None:
    key = gate.key()
    answer = gate.chat(key, agentId="strict")
    assert (answer.status, answer.json) == (
        400,
        {"error": {"code": "scope_required", "message": "This agent requires a scope_id."}},
    )
    stream = gate.ask("POST", "/chat/stream", {"message": "x", "agentId": "strict"}, key)
    assert (stream.status, stream.headers["content-type"]) == (400, "application/json")
    assert gate.ask("GET", "/api/memory?agentId=strict", bearer=key).code == "scope_required"
    assert gate.chat(key, agentId="strict", scope_id="s").status == 200


@requirement("scope.rows")
def test_scopes_appear_and_can_be_blocked(gate: Gate) -> None:
    key = gate.key()
    client = Client(gate.server, "", "free")
    body = {"message": "x", "agentId": "free", "scope_id": "newcomer"}
    bearer = {"Authorization": f"Bearer {key}"}
    with client.open("POST", "/chat/stream", body, bearer, scope_id=None) as response:
        assert response.status == 200
        response.read()
    wait_for(lambda: gate.query("SELECT 1 FROM sessions_app_scope WHERE scope_id = 'newcomer'"))
    gate.change(
        'UPDATE sessions_app_scope SET context = \'{"team": "green", "x": "y"}\''
        " WHERE scope_id = 'newcomer'"
    )
    session = gate.chat(key, scope_id="newcomer", context={"x": "mine"}).json["sessionId"]
    rows = gate.query(
        "SELECT request -> 'context' FROM sessions_app_run WHERE session_id = %s", session
    )
    assert rows == [({"team": "green", "x": "mine"},)]
    gate.change("UPDATE sessions_app_scope SET blocked_at = now() WHERE scope_id = 'newcomer'")
    for answer in (
        gate.chat(key, scope_id="newcomer"),
        gate.ask("GET", "/sessions?scope_id=newcomer", bearer=key),
        gate.ask("GET", f"/sessions/{session}/events?scope_id=newcomer", bearer=key),
    ):
        assert (answer.status, answer.code) == (403, "scope_blocked")


@requirement("scope.key")
@requirement("scope.memory-editable")
def test_memory_for_admins_is_changed_by_admins(gate: Gate) -> None:
    told = {"content": "Likes tea", "agentId": "strict"}
    at = "/api/memory?scope_id=tea"
    refused = gate.ask("POST", at, told, gate.key())
    assert (refused.status, refused.code) == (403, "memory_not_editable")
    assert "role admin" in refused.json["error"]["message"]
    for role in ("admin", "ops"):
        made = gate.ask("POST", at, {**told, "content": f"{role} likes tea"}, gate.key(role=role))
        assert made.status == 201, made.body
        where = f"/api/memory/{made.json['added']['id']}?scope_id=tea&agentId=strict"
        assert gate.ask("DELETE", where, bearer=gate.key()).status == 403
        assert gate.ask("DELETE", where, bearer=gate.key(role=role)).status == 204


@pytest.mark.parametrize("path", ["/api/stores?agentId=free", "/sessions?agentId=strict"])
def test_a_scope_appears_with_its_first_use_whatever_that_is(gate: Gate, path: str) -> None:
    scope = f"looking-{path[5:8].strip('/')}"
    assert gate.ask("GET", f"{path}&scope_id={scope}", bearer=gate.key()).status == 200
    sql = "SELECT agent FROM sessions_app_scope WHERE scope_id = %s"
    wait_for(lambda: gate.query(sql, scope) == [(path.split("=")[1],)])


def test_what_a_process_remembers_of_callers_is_bounded() -> None:
    known: OrderedDict[int, int] = OrderedDict()
    for number in range(REMEMBERED + 2):
        remember(known, number % (REMEMBERED + 1) or -1, number)
        remember(known, -2, number)
    assert len(known) == REMEMBERED
    assert -2 in known, "what is used stays"
    assert 1 not in known


def test_last_use_is_written(gate: Gate) -> None:
    key = gate.key(name="used")
    assert gate.ask("GET", "/sessions", bearer=key).status == 200
    wait_for(
        lambda: gate.query(
            "SELECT 1 FROM sessions_app_apikey WHERE name = 'used' AND last_used_at IS NOT NULL"
        )
    )
