"""The same sessions in the shapes of the reference system's client.

Law: bare arrays and `{"ok": true}`; nothing here that `session_views` does not do.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from agentsite.host import session_schema as schema
from agentsite.host.identity import Caller
from agentsite.host.rest import ApiView, encode_json, json_answer
from agentsite.host.session_fields import HistoryChange, HistoryQuery
from agentsite.host.session_json import detail_to_api, history_to_api
from agentsite.host.session_views import change, load, remove
from agentsite.rows.units import snapshot_unit, unit
from sessions_app import reading

OK = b'{"ok":true}'


class HistoryList(ApiView):
    """`/sessions/history`"""

    @extend_schema(**schema.HISTORY_LIST)
    async def get(self, request: Request) -> HttpResponse:
        """The newest 500 sessions as a bare array."""
        tags = self.read_query(HistoryQuery).get("tags", "")
        wanted = [tag.strip() for tag in tags.split(",") if tag.strip()]
        return json_answer(await unit(_list, self.caller, wanted))


def _list(caller: Caller, tags: list[str]) -> bytes:
    found = reading.list_history(caller.scope_id, tags, caller.identity.agents)
    return encode_json([history_to_api(row, words) for row, words in found])


class HistoryDetail(ApiView):
    """`/sessions/history/{id}`"""

    @extend_schema(**schema.HISTORY_READ)
    async def get(self, request: Request, session_id: str) -> HttpResponse:
        """One session with its messages, without the summaries, which that client does not know."""
        return json_answer(await snapshot_unit(_read, session_id, self.scope_id))

    @extend_schema(**schema.HISTORY_CHANGE)
    async def patch(self, request: Request, session_id: str) -> HttpResponse:
        """Change title and tags."""
        await change(session_id, self.scope_id, self.read_body(HistoryChange))
        return json_answer(OK)

    @extend_schema(**schema.HISTORY_DELETE)
    async def delete(self, request: Request, session_id: str) -> HttpResponse:
        """Delete the conversation."""
        await remove(session_id, self.scope_id)
        return json_answer(OK)


def _read(session_id: str, scope_id: str) -> bytes:
    row, conversation = load(session_id, scope_id)
    detail: dict[str, Any] = detail_to_api(row, conversation)
    messages = [message for message in detail["messages"] if message["type"] != "summary"]
    words = next((message["text"] for message in messages if message["type"] == "user"), "")
    return encode_json({**detail, **history_to_api(row, words), "messages": messages})
