"""The page behind a sign-in link."""

from __future__ import annotations

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from agentsite.signin.models import SignInLink

SPENT = (
    "This sign-in link was used already or is older than an hour. "
    "Make another on the server: python3 manage.py signinlink"
)


@never_cache
@require_GET
def sign_in_once(request: HttpRequest, token: str) -> HttpResponse:
    """Sign the link's user in and go to the admin; 410 when the link is spent."""
    user = SignInLink.objects.spend(token)
    if user is None or not user.is_active:
        return HttpResponse(SPENT, status=410, content_type="text/plain")
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponseRedirect("/admin/")
