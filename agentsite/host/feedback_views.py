"""`/api/feedback`: a thumb under an answer, and those that were given.

Law: what was asked and answered is read from the rows, not taken from the caller. Foreign and
unknown sessions and messages get the same 404.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from agentsite.host import feedback_fields as fields
from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.rest import ApiView, encode_json, json_answer
from agentsite.operations import feedback
from agentsite.operations.feedback import Rated
from agentsite.rows.units import unit
from agentsite.tools.base import clean
from sessions_app import lookups


class FeedbackView(ApiView):
    """`/api/feedback`"""

    http_method_names = ["get", "post", "head"]
    scope_in_body = True

    @extend_schema(**fields.LIST)
    async def get(self, request: Request) -> HttpResponse:
        """The thumbs of a session, by message."""
        session_id = self.read_query(fields.FeedbackQuery)["sessionId"]
        await self._check(session_id)
        return json_answer(encode_json({"feedback": await unit(feedback.list_of, session_id)}))

    @extend_schema(**fields.RATE)
    async def post(self, request: Request) -> HttpResponse:
        """Keep a thumb; another one under the same answer takes its place."""
        body = self.read_body(fields.NewFeedback)
        for name in ("sessionId", "messageId", "rating"):
            if name not in body:
                raise ValidationError({name: ["It is required."]})
        await self._check(body["sessionId"])
        key = await unit(_rate, self.scope_id, body)
        return json_answer(encode_json({"ok": True, "id": key}))

    async def _check(self, session_id: str) -> None:
        """Refuse a session that is not the caller's."""
        agent = await unit(lookups.agent_of, session_id, self.scope_id)
        if agent is None or not self.caller.may_use(agent):
            raise session_not_found()


def _rate(scope_id: str, body: dict[str, Any]) -> int:
    found = lookups.find_answer(body["sessionId"], scope_id, body["messageId"])
    if found is None:
        raise Refusal(404, "message_not_found", "There is no such answer in this session.")
    return feedback.rate(
        Rated(
            agent=found.agent,
            scope_id=scope_id,
            session_id=body["sessionId"],
            run_id=found.run_id,
            message_id=body["messageId"],
            rating=body["rating"],
            comment=clean(body.get("comment", "")),
            query=found.query,
            response=found.response,
            tool_calls=found.tool_calls,
            model=found.model,
        )
    )
