"""What Django itself refuses: JSON for callers of the API, Django's pages for staff."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from agentsite.host.errors import error_response
from agentsite.middleware import is_staff_path


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: a host name that is not served, a path that cannot be read."""
    if is_staff_path(request.path_info):
        return defaults.bad_request(request, exception)
    return error_response(400, "bad_request", "The request cannot be understood.")


def no_such_page(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404: no route."""
    if is_staff_path(request.path_info):
        return defaults.page_not_found(request, exception)
    return error_response(404, "not_found", "There is no such address. See /api/docs.")


def server_error(request: HttpRequest) -> HttpResponse:
    """500: what no edge caught."""
    if is_staff_path(request.path_info):
        return defaults.server_error(request)
    return error_response(500, "internal", "Something went wrong on our side.")
