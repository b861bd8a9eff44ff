"""Secrets of scopes: typed in by people, sealed, rotated, and never seen again."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet

from tests.gatehouse import SEAL, Gate
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
    long = "x" * 20_001
    for values in ({}, {"A": ""}, {"A": 7}, {"a b": "secret-one"}, {"A": long}, None, "secret-one"):
        answer = save(gate, key, session, "wrong", values=values)
        assert (answer.status, answer.code) == (400, "invalid_field"), values
        assert "secret-one" not in answer.body.decode()
    foreign = save(gate, key, session, "right", values={"A": "secret-two"})
    unknown = save(gate, key, "sess_" + "a" * 20, "right", values={"A": "secret-two"})
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body)
    assert foreign.code == "session_not_found"
    assert sealed(gate, "wrong") == sealed(gate, "right") == {}


@requirement("scope.credentials-file")
def test_the_file_of_a_development_agent_is_imported(gate: Gate) -> None:
    stored = sealed(gate, "filed")
    assert Fernet(SEAL).decrypt(stored["FILED_KEY"]) == b"a-value-from-the-file"
