"""What callers send about stores, and what the OpenAPI document says of their routes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from agentsite.host.session_schema import SCOPE, ref
from stores_app.listing import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET
from stores_app.vectors import MAX_TEXT

AGENT = OpenApiParameter("agentId", str, description="The agent; the default one if left out.")
MAX_FILTER = 20_000


class StoreQuery(serializers.Serializer[Any]):
    """Whose stores."""

    agentId = serializers.CharField(max_length=200, required=False)


class WriteQuery(StoreQuery):
    """A write that may depend on what is there."""

    ifVersion = serializers.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        required=False,
        help_text="Only if this is the newest version; 0: only if there is no document yet.",
    )


class ListQuery(StoreQuery):
    """The query of the list."""

    filter = serializers.CharField(
        max_length=MAX_FILTER,
        required=False,
        help_text='JSON: `{"state": "open", "total": {"$gte": 10}, "tags": {"$contains": "x"}}`. '
        "Paths have dots; $eq, $in, $gt, $gte, $lt, $lte, $contains, $exists.",
    )
    sort = serializers.CharField(
        max_length=300,
        required=False,
        help_text="A path, `$updatedAt` or `$key`; `-` before it for descending.",
    )
    search = serializers.CharField(
        max_length=1_000, required=False, help_text="Words that the string fields must have."
    )
    similar = serializers.CharField(
        max_length=MAX_TEXT,
        required=False,
        help_text="The documents nearest to this text in meaning, with `meta.similarity`; of "
        "stores with `embed`. A filter may narrow them; `limit` is at most 100.",
    )
    limit = serializers.IntegerField(
        min_value=1, max_value=MAX_LIMIT, required=False, default=DEFAULT_LIMIT
    )
    offset = serializers.IntegerField(min_value=0, max_value=MAX_OFFSET, required=False, default=0)
    cursor = serializers.CharField(
        max_length=2_000, required=False, help_text="`cursor` of the page before."
    )


STRING = {"type": "string"}
COUNT = {"type": "integer"}
FLAG = {"type": "boolean"}
TIME = {"type": "string", "format": "date-time"}
ANY = {"type": "object", "additionalProperties": True}


def _shape(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


DOCUMENT = _shape(
    {
        "key": STRING,
        "appId": STRING,
        "store": STRING,
        "version": COUNT,
        "payload": ANY,
        "meta": _shape(
            {
                "computedAt": TIME,
                "createdAt": TIME,
                "stale": {**FLAG, "description": "It has expired, and lists leave it out."},
                "ttl": COUNT,
                "expiresAt": TIME,
                "trace": {**ANY, "description": "Who wrote it, where the store keeps that."},
            },
            "computedAt",
            "stale",
        ),
    },
    "key",
    "appId",
    "store",
    "version",
    "payload",
    "meta",
)
DOCUMENTS = {"type": "array", "items": DOCUMENT}
STORES = _shape(
    {
        "stores": {
            "type": "array",
            "items": _shape(
                {
                    "name": STRING,
                    "description": STRING,
                    "entity": ANY,
                    "ttl": {},
                    "trace": FLAG,
                    "history": ANY,
                    "shared": FLAG,
                    "documentCount": COUNT,
                },
                "name",
                "entity",
                "documentCount",
            ),
        }
    },
    "stores",
)
PAGE = _shape(
    {
        "documents": DOCUMENTS,
        "total": {**COUNT, "description": "With `totalExact: false` there are at least so many."},
        "totalExact": FLAG,
        "hasMore": FLAG,
        "cursor": {"type": ["string", "null"]},
        "notes": {
            "type": "array",
            "items": STRING,
            "description": "Paths that have no index, and why.",
        },
    },
    "documents",
    "total",
    "totalExact",
    "hasMore",
    "cursor",
)
ONE = _shape({"document": DOCUMENT, "history": DOCUMENTS}, "document", "history")
STORED = _shape(
    {"stored": {"const": True}, "key": STRING, "version": COUNT, "previousVersion": COUNT},
    "stored",
    "key",
    "version",
)


def _error(description: str) -> OpenApiResponse:
    return OpenApiResponse(response=ref("Error"), description=description)


def _answer(shape: dict[str, Any], description: str) -> OpenApiResponse:
    return OpenApiResponse(response=shape, description=description)


def _describe(operation: str, *parameters: Any, **more: Any) -> dict[str, Any]:
    return {
        "operation_id": operation,
        "tags": ["stores"],
        "parameters": [SCOPE, *parameters],
        **more,
    }


NO_STORE = _error("There is no such agent or store.")
NO_DOCUMENT = _error("There is no such agent, store or document in this scope.")
READ_ONLY = _error("A scope may read a shared store, not write to it.")
CONFLICT = _error("Another version is the newest, or other documents refer to this one.")
INVALID = _error("The document does not fit the schema; the details name every field.")
BUSY = _error("The database did not take it now; try again.")
WRITTEN = {400: INVALID, 403: READ_ONLY, 404: NO_STORE, 409: CONFLICT, 503: BUSY}

STORE_LIST = _describe(
    "listStores", StoreQuery, responses={200: _answer(STORES, "By name."), 404: NO_STORE}
)
LIST = _describe(
    "listDocuments",
    ListQuery,
    responses={
        200: _answer(PAGE, "A page; the newest first without `sort`."),
        400: _error("A filter, order or cursor that means nothing, or a query that is too slow."),
        404: NO_STORE,
    },
)
ADD = _describe(
    "storeDocument",
    WriteQuery,
    request={"application/json": ANY},
    responses={201: _answer(STORED, "It is stored under the key its fields make."), **WRITTEN},
)
READ = _describe(
    "readDocument",
    StoreQuery,
    responses={200: _answer(ONE, "Expired ones are marked as stale."), 404: NO_DOCUMENT},
)
PUT = _describe(
    "putDocument",
    WriteQuery,
    request={"application/json": ANY},
    responses={
        200: _answer(STORED, "It replaced another version."),
        201: _answer(STORED, "It is new."),
        **WRITTEN,
    },
)
DELETE = _describe(
    "deleteDocument",
    WriteQuery,
    responses={
        204: OpenApiResponse(description="It is gone."),
        403: READ_ONLY,
        404: NO_DOCUMENT,
        409: CONFLICT,
    },
)
