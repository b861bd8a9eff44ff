"""Secrets of scopes: typed in by people, sealed, rotated, and never seen again."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet

from tests.gatehouse import SEAL, Gate, wait_for
from tests.requirements import requirement
from tests.server import Answer

VALUE = "hunter2/and + more"


def save(gate: Gate, key: str, session: str, scope: str, **body: Any) -> Answer:
    known = {"sessionId": session, "action": "credential_saved", "scope_id": scope}
    return gate.ask("POST", "/widget-actions", {**known, **body}, key)


def sealed(gate: Gate, scope: str) -> dict[str, bytes]:
    rows = gate.query(
        "SELECT name, value FROM sessions_app_scopecredential WHERE scope_id = %s"
        " AND agent = 'free'", scope,
    )  # fmt: skip
    return {name: bytes(value) for name, value in rows}


@requirement("http.credential-saved", "scope.credentials")
def test_a_credential_is_sealed_and_redacted_and_told(gate: Gate) -> None:
    key = gate.key(scopes=["bank"])
    session = gate.chat(key, scope_id="bank").json["sessionId"]
    answer = save(
        gate, key, session, "bank",
        connection_name="ledger", app_id="x", values={"LEDGER_KEY": VALUE, "OTHER": ""},
    )  # fmt: skip
    assert (answer.status, answer.json["ok"]) == (200, True), answer.body
    stored = sealed(gate, "bank")
    assert list(stored) == ["LEDGER_KEY"]
    assert Fernet(SEAL).decrypt(stored["LEDGER_KEY"]).decode() == VALUE
    said = gate.chat(key, scope_id="bank", sessionId=session, message=f"It is {VALUE}, isn't it?")
    assert said.status == 200
    whole = gate.ask("GET", f"/sessions/{session}?scope_id=bank", bearer=key)
    assert "[REDACTED]" in whole.json["messages"][2]["text"]
    state = gate.ask("GET", f"/sessions/{session}/state?scope_id=bank", bearer=key)
    events = [e["data"] for e in state.json["events"] if e["event"] == "credential_saved"]
    assert [event["connection_name"] for event in events] == ["ledger"]
    for text in (whole.body.decode(), state.body.decode(), gate.server.log):
        assert "hunter2" not in text
    elsewhere = gate.chat(gate.key(), scope_id="other", message=f"It is {VALUE}")
    assert elsewhere.status == 200
    rows = gate.query("SELECT parts::text FROM sessions_app_message WHERE scope_id = 'other'")
    assert any("hunter2" in str(parts) for (parts,) in rows), "another scope has its own secrets"


@requirement("http.credential-saved")
def test_what_is_wrong_with_a_credential_is_said_without_it(gate: Gate) -> None:
    key = gate.key(scopes=["wrong", "right"])
    session = gate.chat(key, scope_id="wrong").json["sessionId"]
    long = "x" * 4_097
    for values in ({}, {"A": ""}, {"A": 7}, {"a b": "secret-one"}, {"A": long}, None, "secret-one"):
        answer = save(gate, key, session, "wrong", values=values)
        assert (answer.status, answer.code) == (400, "invalid_field"), values
        assert "secret-one" not in answer.body.decode()
    foreign = save(gate, key, session, "right", values={"A": "secret-two"})
    unknown = save(gate, key, "sess_" + "a" * 20, "right", values={"A": "secret-two"})
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body)
    assert foreign.code == "session_not_found"
    assert sealed(gate, "wrong") == sealed(gate, "right") == {}


def test_a_scope_has_a_hundred_credentials_at_most(gate: Gate) -> None:
    key = gate.key(scopes=["many"])
    session = gate.chat(key, scope_id="many").json["sessionId"]
    names = [f"K{number}" for number in range(101)]
    for part in (names[:32], names[32:64], names[64:96], names[96:100]):
        answer = save(gate, key, session, "many", values=dict.fromkeys(part, VALUE))
        assert answer.status == 200, answer.body
    full = save(gate, key, session, "many", values={"K1": "anew and anew", "K100": VALUE})
    assert (full.status, full.code) == (400, "too_many_credentials")
    assert "100 credentials" in full.json["error"]["message"]
    assert save(gate, key, session, "many", values={"K1": "anew and anew"}).status == 200
    stored = sealed(gate, "many")
    assert sorted(stored) == sorted(names[:100])
    assert Fernet(SEAL).decrypt(stored["K1"]) == b"anew and anew"


def test_what_one_scope_saves_changes_nothing_of_another(gate: Gate) -> None:
    """Neither its data nor its errors: else any tenant could ask for another's secrets."""
    key, other = gate.key(scopes=["spoiler"]), gate.key(scopes=["spoilt"])
    session = gate.chat(key, scope_id="spoiler").json["sessionId"]
    saved = {"X": "message", "Y": "a-guess-of-tenants"}
    assert save(gate, key, session, "spoiler", values=saved).status == 200
    theirs = gate.chat(other, scope_id="spoilt").json["sessionId"]
    at = f"/sessions/{theirs}?scope_id=spoilt"
    told = {"title": "It is a-guess-of-tenants", "metadata": {"message": "a-guess-of-tenants"}}
    assert gate.ask("PATCH", at, told, other).status == 200
    read = gate.ask("GET", at, bearer=other).json
    assert (read["title"], read["metadata"]) == (told["title"], told["metadata"])
    wrong = gate.ask("PATCH", at, {"a-guess-of-tenants": 1}, other)
    assert wrong.json["error"]["message"].startswith('"a-guess-of-tenants" is not a known field')
    own = gate.ask("PATCH", f"/sessions/{session}?scope_id=spoiler", {"a-guess-of-tenants": 1}, key)
    assert own.json["error"]["message"].startswith('"[REDACTED]" is not a known field')


def test_rest_knows_what_a_scope_saved_before_the_server_started(gate: Gate) -> None:
    key = gate.key(scopes=["early"])
    session = gate.chat(key, scope_id="early").json["sessionId"]
    row = "SELECT 1 FROM sessions_app_scope WHERE (agent, scope_id) = ('free', 'early')"
    wait_for(lambda: gate.query(row))
    token = Fernet(SEAL).encrypt(b"saved-before-the-start")
    gate.change(
        "INSERT INTO sessions_app_scopecredential (agent, scope_id, name, connection, value)"
        " VALUES ('free', 'early', 'K', '', %s)", token,
    )  # fmt: skip
    at = f"/sessions/{session}?scope_id=early"
    told = {"title": "x saved-before-the-start", "metadata": {"k": ["saved-before-the-start"]}}
    assert gate.ask("PATCH", at, told, key).status == 200
    read = gate.ask("GET", at, bearer=key).json
    assert (read["title"], read["metadata"]) == ("x [REDACTED]", {"k": ["[REDACTED]"]})


@requirement("scope.credentials-file")
def test_the_file_of_a_development_agent_is_imported(gate: Gate) -> None:
    stored = sealed(gate, "filed")
    assert Fernet(SEAL).decrypt(stored["FILED_KEY"]) == b"a-value-from-the-file"
