"""The audit log: a chain that tells of every change, written by runs and by staff."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction

from agentsite.operations.audit import ORIGIN, Checked, check_chain, record
from agentsite.operations.models import AuditEntry
from agentsite.rows.tenancy import tenant
from tests.requirements import requirement

pytestmark = pytest.mark.django_db
ODD = 'quotes " and \\ and \t tabs\nlines, Grüße, \u2028, \x01, \x7f, 😀'


def fill(count: int = 5) -> None:
    for number in range(count):
        record(f"ann{number}", "tool.approved", f"tc_{number}", {"odd": ODD, "n": number})


def tamper(words: str) -> None:
    """Change entries as somebody with the whole database in hand would."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE operations_auditentry DISABLE TRIGGER audit_entries_stay")
        cursor.execute(words)
        cursor.execute("ALTER TABLE operations_auditentry ENABLE TRIGGER audit_entries_stay")


@requirement("agent.audit")
def test_a_whole_chain_is_found_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_chain() == Checked(0, ORIGIN, None)
    fill()
    record(ODD, ODD, ODD)
    checked = check_chain()
    assert (checked.count, checked.problem) == (6, None)
    call_command("verifyaudit", expect=checked.head)
    assert f"6 entries, the chain is whole; head {checked.head}" in capsys.readouterr().out


@requirement("agent.audit")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("UPDATE operations_auditentry SET actor = 'bob' WHERE number = 3", "entry 3 is not"),
        ("UPDATE operations_auditentry SET details = '{}' WHERE number = 2", "entry 2 is not"),
        ("UPDATE operations_auditentry SET at = at + interval '1 ms' WHERE number = 2", "entry 2"),
        ("DELETE FROM operations_auditentry WHERE number = 4", "entry 4 is missing"),
        ("DELETE FROM operations_auditentry WHERE number = 1", "entry 1 is missing"),
        (
            "UPDATE operations_auditentry SET actor = 'bob', hash = repeat('a', 64)"
            " WHERE number = 3",
            "entry 3 is not what it was",
        ),
    ],
)
def test_every_change_is_told(words: str, told: str) -> None:
    fill()
    tamper(words)
    with pytest.raises(CommandError, match=told):
        call_command("verifyaudit")


def test_an_end_that_was_cut_off_shows_against_a_kept_head() -> None:
    fill()
    head = check_chain().head
    tamper("DELETE FROM operations_auditentry WHERE number = 5")
    call_command("verifyaudit")
    with pytest.raises(CommandError, match="was cut"):
        call_command("verifyaudit", expect=head)


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_the_database_refuses_changes(verb: str) -> None:
    fill(1)
    rows = AuditEntry.objects.filter(number=1)
    with pytest.raises(ProgrammingError, match="never changed"), transaction.atomic():
        rows.update(actor="bob") if verb == "update" else rows.delete()


def test_tenants_add_entries_and_see_none() -> None:
    with tenant("acme"):
        record("acme", "tool.denied", "tc_1")
    assert check_chain().count == 1
    with pytest.raises(Exception, match="permission denied"), tenant("acme"):
        AuditEntry.objects.count()
