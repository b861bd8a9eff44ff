"""JSON that keeps its keys in order."""

from __future__ import annotations

import pytest

from sessions_app.models import Interaction, ToolCall


@pytest.mark.parametrize("field", ["arguments", "result", "widgets"])
def test_a_verbatim_column_is_plain_json(field: str) -> None:
    assert ToolCall._meta.get_field(field).db_type(None) == "json"  # type: ignore[arg-type]


@pytest.mark.django_db(transaction=True)
def test_keys_come_back_in_the_order_they_had() -> None:
    from sessions_app.models import Run, Session

    session = Session.objects.create(id="sess_order", agent="a")
    run = Run.objects.create(id="run_order", session=session, agent="a")
    message = session.messages.create(
        id="msg_order", run=run, attempt=1, position=1, role="assistant", created_at=run.created_at,
        parts=[{"kind": "text", "text": "x", "aa": 1}],
    )  # fmt: skip
    given = {"zeta": 1, "alpha": {"y": [1, 2], "b": None}}
    call = ToolCall.objects.create(
        id="tc_order", session=session, run=run, attempt=1, message=message, position=0,
        name="t", arguments=given,
    )  # fmt: skip
    call.refresh_from_db()
    message.refresh_from_db()
    assert list(call.arguments) == ["zeta", "alpha"]
    assert list(call.arguments["alpha"]) == ["y", "b"]
    assert list(message.parts[0]) == ["kind", "text", "aa"]
    assert call.result is None
    assert not Interaction.objects.filter(run=run).exists()
    session.delete()
