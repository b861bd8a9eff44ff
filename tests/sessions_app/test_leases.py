"""Who takes whose runs over."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from sessions_app import leases
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
