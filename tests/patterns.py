"""Every route of the server, read off its URL patterns."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

OPEN = {"health", "ready", "api/schema", "api/docs", "favicon.ico"}
"""Routes without a word of any tenant."""
OPERATORS = {"metrics"}
"""Of no tenant, and for operators alone where callers are known."""
STAFF = ("admin", "accounts/")
SIGNED = {"webhooks", "webhooks/<str:name>"}
"""Routes that believe a signature and no caller: a scope is nothing they could be asked for."""
STAFF_OF_AUTOMATIONS = "automations/"
"""The staff's pages below it end with a slash, routes of the API do not."""
PAGE = ""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def routes(resolver: URLResolver, before: str = "") -> list[str]:
    """The patterns below a resolver, as they are written."""
    found = []
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLPattern):
            found.append(route)
        else:
            found += routes(entry, route)
    return found


def is_staff_route(route: str) -> bool:
    """Whether a route is a page behind the sign-in."""
    return route.startswith(STAFF) or (
        route.startswith(STAFF_OF_AUTOMATIONS) and route.endswith("/")
    )
