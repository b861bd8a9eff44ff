"""What a request passes on its way in: headers for all, sessions for staff pages alone."""

from __future__ import annotations

import threading

import pytest
from django.test import AsyncClient

from agentsite.middleware import is_staff_path

FOREIGN = "https://example.net"


@pytest.fixture
def client() -> AsyncClient:
    """A caller that is checked for forged forms like a browser."""
    return AsyncClient(enforce_csrf_checks=True)


async def test_other_paths_get_headers_and_no_session(client: AsyncClient) -> None:
    answer = await client.get("/there-is-no-such-page")
    assert answer.status_code == 404
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not answer.cookies
    assert not hasattr(answer.asgi_request, "session")


@pytest.mark.django_db
async def test_staff_pages_have_sessions_and_refuse_forged_forms(client: AsyncClient) -> None:
    page = await client.get("/admin/login/")
    assert page.status_code == 200
    assert "'unsafe-eval'" in page.headers["Content-Security-Policy"]
    assert "csrftoken" in page.cookies
    forged = await client.post("/admin/login/", {"username": "admin", "password": "x"})
    assert forged.status_code == 403


def test_staff_paths() -> None:
    assert is_staff_path("/admin/")
    assert is_staff_path("/accounts/once/x")
    assert not is_staff_path("/administer")
    assert not is_staff_path("/chat/stream")


async def test_pages_of_this_machine_may_call_and_others_may_not(client: AsyncClient) -> None:
    for origin in ("http://localhost:5173", "http://127.0.0.1:8080", "http://[::1]:1"):
        answer = await client.get("/x", headers={"origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
    for origin in (FOREIGN, "http://localhost.example.net", "http://localhost:1.example.net"):
        answer = await client.get("/x", headers={"origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_preflight_allows_the_headers_of_our_api(client: AsyncClient) -> None:
    answer = await client.options(
        "/chat/stream",
        headers={
            "origin": "http://localhost:5173",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,last-event-id,idempotency-key",
        },
    )
    assert answer.status_code == 200
    assert "last-event-id" in answer.headers["Access-Control-Allow-Headers"]


async def test_request_for_another_host_is_refused(client: AsyncClient) -> None:
    for path in ("/admin/", "/chat/stream", "/there-is-no-such-page"):
        answer = await client.get(path, headers={"host": "evil.example.net"})
        assert answer.status_code == 400


async def test_an_api_request_stays_on_the_event_loop(client: AsyncClient) -> None:
    """No hook of ours may start or use a thread; Django's own two signals may."""
    from agentsite.middleware import ContentSecurityPolicy, Security, StaffCsrf, StaffSession

    seen: list[int] = []

    async def view(request: object) -> object:
        from django.http import HttpResponse

        seen.append(threading.get_ident())
        return HttpResponse("x")

    chain: object = view
    for layer in (StaffCsrf, StaffSession, ContentSecurityPolicy, Security):
        chain = layer(chain)  # type: ignore[arg-type]  # coroutine functions are accepted
    from django.test import AsyncRequestFactory

    before = threading.active_count()
    answer = await chain(AsyncRequestFactory().get("/chat"))  # type: ignore[operator]
    assert answer.status_code == 200
    assert seen == [threading.get_ident()]
    assert threading.active_count() == before
