"""Who takes whose runs over."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from agentsite.engine.events import CredentialSaved
from sessions_app import leases
from sessions_app.models import Run
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db


@requirement("runs.take-over")
def test_a_process_too_busy_to_renew_its_leases_takes_no_run_from_itself() -> None:
    past = timezone.now() - dt.timedelta(seconds=1)
    mine, lost = (
        make_run(make_session(), status="running", owner=owner, lease_until=past)
        for owner in ("host_me", "host_gone")
    )
    assert leases.take_over("host_me", 0, [mine.pk]) == [lost.pk]
    mine.refresh_from_db()
    assert (mine.attempt, mine.losses) == (1, 0)
    assert mine.pk in leases.take_over("host_me", 0, [])  # its task broke off: it is nobody's


@requirement("runs.take-over")
def test_a_full_process_takes_only_what_others_have_left() -> None:
    now = timezone.now()
    ages = (1, 60)
    fresh, old = (
        make_run(
            make_session(), status="running", owner="host_gone",
            lease_until=now - dt.timedelta(seconds=age),
        )
        for age in ages
    )  # fmt: skip
    assert leases.take_over("host_me", 0, [], 5, overdue=30) == [old.pk]
    assert leases.take_over("host_me", 0, [old.pk], 0) == []
    assert leases.take_over("host_me", 0, [old.pk], 5) == [fresh.pk]


@requirement("runs.run-timeout")
def test_time_without_an_owner_counts_as_parked_and_what_is_left_of_a_lease_does_not() -> None:
    now = timezone.now()
    away = [
        make_run(make_session(), status="running", owner="", lease_until=now - ago)
        for ago in (dt.timedelta(hours=1), dt.timedelta(0))
    ]
    for run in away:
        assert leases.claim_run(run.pk, "host_me", 15)
        run.refresh_from_db()
    assert 3_600 <= away[0].parked_seconds < 3_660
    assert 0 <= away[1].parked_seconds < 60


@requirement("runs.take-over", "runs.interrupt-text")
def test_who_has_lost_a_run_takes_no_word_of_it_and_the_owner_hears_of_a_stop_again() -> None:
    run = make_run(make_session(), status="running", owner="host_new", lease_until=timezone.now())
    leases.request_interrupt(run.session_id, rollback=True)
    assert leases.take_signals("host_old", [run.pk]) == []
    assert [kind for _, _, kind, _ in leases.take_signals("host_new", [run.pk])] == ["rollback"]
    assert leases.renew_leases("host_old", [run.pk], 15) == []
    assert leases.renew_leases("host_new", [run.pk], 15) == [leases.Held(run.pk, True, True)]


@requirement("runs.busy-rollback", "runs.interrupt-text")
def test_a_rollback_may_be_asked_for_after_a_stop_and_stays_asked_for() -> None:
    run = make_run(make_session(), status="running", owner="host_me", lease_until=timezone.now())
    told = []
    for rollback in (False, True, False):
        leases.request_interrupt(run.session_id, rollback=rollback)
        (held,) = leases.renew_leases("host_me", [run.pk], 15)
        run.refresh_from_db()
        told.append((held.rollback, run.cancel_requested_at))
    assert [rollback for rollback, _ in told] == [False, True, True]
    assert len({at for _, at in told}) == 1


@requirement("http.fold")
def test_a_credential_told_to_a_run_that_ends_is_logged_behind_it() -> None:
    session = make_session()
    run = make_run(session, status="running")
    assert leases.tell_of_credential(session.pk, "desk", 5) is None
    Run.objects.filter(pk=run.pk).update(status="done")
    (entry,) = leases.announce_late(run.pk, session.pk, 7)
    assert entry.event == CredentialSaved("desk")
    assert leases.announce_late(run.pk, session.pk, 8) == []
