"""What the sender of a webhook is answered, now and when it sends the same delivery again.

Law: an answer is read off the runs' rows, so it is the same in every process and after every
crash; the first that is final is kept on the delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agentsite.host.errors import error_body
from agentsite.rows.together import fetch
from automations_app.models import AutomationRun, InboundDelivery

ACCEPTED = 202
STATUS = AutomationRun.Status
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Answer(msgspec.Struct, frozen=True):
    """Status and JSON."""

    status: int
    body: dict[str, Any]


def accept(name: str, runs: Sequence[str]) -> Answer:
    """The delivery is stored, and its runs begin."""
    said: dict[str, Any] = {"status": "accepted", "automation": name}
    if len(runs) == 1:
        return Answer(ACCEPTED, {**said, "automationRunId": runs[0]})
    return Answer(ACCEPTED, {**said, "automationRunIds": list(runs)})


KNOWN = f"""
SELECT d.automation_id, d.sender_id, a.name, d.answer_status, d.answer::text,
    ARRAY(SELECT r.id::text FROM automations_app_automationrun r
        WHERE r.inbound_id = d.id AND r.cause <> '{AutomationRun.Cause.RETRY.value}'
        ORDER BY r.created_at, r.id)
FROM unnest(%s::bigint[], %s::text[]) AS k(automation_id, sender_id)
JOIN automations_app_inbounddelivery d USING (automation_id, sender_id)
JOIN automations_app_automation a ON a.id = d.automation_id
WHERE d.answer IS NOT NULL OR d.answer_status = {ACCEPTED}
"""  # noqa: S608 - names of our own


def find_given(known: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Answer]:
    """Answers that deliveries have had, by automation and sender's id: one round trip for all.

    Without those whose answer depends on how their runs stand (`settle`).
    """
    if not known:
        return {}
    found: dict[tuple[int, str], Answer] = {}
    columns = [list(column) for column in zip(*known, strict=True)]
    for automation_id, sender_id, name, status, told, runs in fetch(KNOWN, columns):
        given = accept(name, runs) if told is None else Answer(status or 200, _decode(told))
        found[automation_id, sender_id] = given
    return found


def settle(inbound_id: int) -> Answer:
    """The answer to a stored delivery as its runs stand now; a final one is kept."""
    row = InboundDelivery.objects.select_related("automation").get(pk=inbound_id)
    if row.answer is not None:
        return Answer(row.answer_status or 200, row.answer)
    name, runs = row.automation.name, row.runs.order_by("created_at", "pk")
    if row.answer_status == ACCEPTED:
        first = runs.exclude(cause=AutomationRun.Cause.RETRY)
        return accept(name, list(first.values_list("pk", flat=True)))
    answer = compose(name, list(runs.filter(retried_by=None)))  # the last try of each
    if answer.status != ACCEPTED:
        mine = InboundDelivery.objects.filter(pk=inbound_id, answer_status=None)
        mine.update(answer_status=answer.status, answer=answer.body)
    return answer


def compose(name: str, runs: Sequence[AutomationRun]) -> Answer:
    """200 when all runs succeeded, 500 when one failed or none is left, 202 while one is open."""
    said = {"automation": name, **_tell_ids(runs)}
    if any(run.status in AutomationRun.OPEN for run in runs):  # be it that one waits for a person
        return Answer(ACCEPTED, {"status": "running", **said})
    failed = [run.error for run in runs if run.status != STATUS.SUCCESS]
    if failed or not runs:
        text = failed[0] if failed else "Its runs were deleted."
        return Answer(500, {**error_body("run_failed", text), "matched": True, **said})
    return Answer(200, {"status": "completed", **said})


def _tell_ids(runs: Sequence[AutomationRun]) -> dict[str, Any]:
    told: list[dict[str, Any]] = [
        {"automationRunId": run.pk, "runId": run.run_id, "sessionId": run.session_id}
        for run in runs
    ]
    return told[0] if len(told) == 1 else {"runs": told}
