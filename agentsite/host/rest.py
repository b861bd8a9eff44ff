"""DRF views on the event loop: its validation and schema around our units of row work.

Law: handlers are coroutines, touch rows in `unit` only, and answer JSON whatever
the caller accepts. Errors have the one shape that all routes share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions, serializers
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agentsite.host.bodies import parse_json
from agentsite.host.caller import resolve_caller
from agentsite.host.edges import explain, read_json_body
from agentsite.host.errors import error_response, unknown_field
from agentsite.host.identity import Caller
from agentsite.host.naming import ALL_NAMES, Named
from agentsite.host.redaction import LOGS, redactor_of
from agentsite.host.site import site
from agentsite.rows.secrets import Sealed

CODES = {405: "method_not_allowed", 415: "unsupported_media_type"}

encode_json = msgspec.json.Encoder().encode
"""A JSON value as bytes; in a unit where it may be large."""


class StrictJson(BaseParser):
    """JSON objects with the limits of every other body."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """The object. Raises `Refusal` 400."""
        return parse_json(stream.read())


class ApiView(APIView):
    """A DRF view whose handlers are coroutines and return plain responses."""

    http_method_names = ["get", "put", "patch", "delete", "head"]
    parser_classes = (StrictJson,)
    scope_in_body = False
    """Whether a POST's body may name the scope; a document's fields, for one, do not."""
    of_one_agent = False
    """Whether it is about the agent that is named by `agentId`, or else the default one."""
    agent_id: str | None = None
    """That agent."""
    caller: Caller

    async def dispatch(  # type: ignore[override]  # Django awaits a view that is a coroutine
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """DRF's own steps, with the handler awaited."""
        self.args, self.kwargs = args, kwargs
        self.headers = self.default_response_headers
        self.request = self.initialize_request(request, *args, **kwargs)
        response: HttpResponseBase
        try:
            self.initial(self.request, *args, **kwargs)
            name = (request.method or "").lower()
            handler = getattr(self, name, None) if name in self.http_method_names else None
            if handler is None:
                raise exceptions.MethodNotAllowed(request.method or "")
            named, self.agent_id = self._read_named()
            self.caller = await resolve_caller(
                request, named, agent=self.agent_id, session=kwargs.get("session_id")
            )
            response = await handler(self.request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - an edge; `explain` logs it
            response = explain_rest(error)
        # DRF adds its headers to any response, though its annotation names its own only.
        final: HttpResponseBase = self.finalize_response(
            self.request, cast("Response", response), *args, **kwargs
        )
        return final

    def perform_content_negotiation(
        self, request: Request, force: bool = False
    ) -> tuple[BaseRenderer, str]:
        """There is nothing to negotiate."""
        return JSONRenderer(), "application/json"

    @property
    def scope_id(self) -> str:
        """The partition of the caller."""
        return self.caller.scope_id

    def _read_named(self) -> tuple[Named, str | None]:
        """Whom the body names, and the agent that the handler will take."""
        said: Mapping[str, Any] = {}
        if self.scope_in_body and self.request.method == "POST":
            read_json_body(self.request._request)
            said = self.request.data
        if not self.of_one_agent:
            return Named.by(said), None
        agent = said.get("agentId") or self.request.query_params.get("agentId")
        return Named.by(said), str(agent or site().agents.sources.default)

    def read_query(self, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The checked query. Raises an error that names the parameter."""
        return check_fields(kind(data=self.request.query_params))

    def read_body(self, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The checked body; fields that are absent or null are not in it."""
        read_json_body(self.request._request)
        known = kind().fields
        said = {
            key: value
            for key, value in self.request.data.items()
            if not (self.scope_in_body and key in ALL_NAMES)
        }
        for key in said:
            if key not in known:
                raise unknown_field(key, known)
        given = {key: value for key, value in said.items() if value is not None}
        checked = check_fields(kind(data=given, partial=True))
        return cast("dict[str, Any]", redact_for(self.caller.sealed(self.agent_id), checked))


def check_fields(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    """Checked values. Raises DRF's `ValidationError`."""
    serializer.is_valid(raise_exception=True)
    return cast("dict[str, Any]", serializer.validated_data)


def redact_for(sealed: Iterable[Sealed], value: Any) -> Any:
    """What a caller sends to be kept, without secrets of this server and of its own scope."""
    return redactor_of(sealed).value(LOGS.redactor.value(value))


def json_answer(body: bytes) -> HttpResponse:
    """A response of encoded JSON."""
    return HttpResponse(body, content_type="application/json")


def explain_rest(error: Exception) -> JsonResponse:
    """DRF's errors in our shape, all others as everywhere."""
    if isinstance(error, exceptions.ValidationError):
        problems = list(_flatten(error.detail, ""))
        first = problems[0]
        return error_response(
            400, "invalid_field", f'"{first["field"]}": {first["problem"]}', problems
        )
    if isinstance(error, exceptions.APIException):
        code = CODES.get(error.status_code, "bad_request")
        return error_response(error.status_code, code, str(error.detail))
    return explain(error)


def explain_in_drf(error: Exception, context: Any) -> JsonResponse:
    """`EXCEPTION_HANDLER`, for DRF views that are not ours (the schema)."""
    return explain_rest(error)


def _flatten(detail: Any, path: str) -> Iterator[dict[str, str]]:
    """`{"field", "problem"}` for each leaf of DRF's nested errors."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            yield from _flatten(value, f"{path}.{key}" if path else str(key))
    else:
        for item in detail if isinstance(detail, list) else [detail]:
            yield {"field": path, "problem": str(item)}
