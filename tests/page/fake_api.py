"""A stand-in for the server: the page's routes, with answers that a test scripts.

Law: the frames are those of the wire's specification; every request is kept for the
test to look at. Runs in a thread of its own, because the browser is driven synchronously.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.page.fake_log import NOW, FakeSession, Step

STATIC = Path(__file__).parents[2] / "sessions_app" / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'"
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


class FakeApi:
    """Start with `with FakeApi(html) as fake`; `fake.url` is the page's address."""

    def __init__(self, html: bytes) -> None:
        self.html = html
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.ready = threading.Event()
        self.url = ""
        self.reset()

    def reset(self) -> None:
        """Forget everything a test has made."""
        self.sessions: dict[str, FakeSession] = {}
        self.scripts: list[list[Step]] = []
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.refusals: dict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
        self.keys: dict[str, str] = {}
        self.ratings: dict[str, str] = {}
        self.streams: set[web.StreamResponse] = set()
        self.runs: set[asyncio.Task[None]] = set()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.news = asyncio.Condition()

    # -- what tests call, from their own thread --------------------------------------------

    def session(self, messages: list[dict[str, Any]] | None = None, **fields: Any) -> FakeSession:
        session = FakeSession(**fields)
        session.messages = messages or []
        self.sessions[session.id] = session
        return session

    def open_gate(self, name: str) -> None:
        self.loop.call_soon_threadsafe(self.gates[name].set)

    def emit(self, session: FakeSession, event: str, **data: Any) -> None:
        """Append to a session's log from outside of a run."""
        asyncio.run_coroutine_threadsafe(session.add(event, data), self.loop).result(5)

    def tell(self, event: str, **data: Any) -> None:
        """Put something on the event bus."""
        asyncio.run_coroutine_threadsafe(self._tell(event, **data), self.loop).result(5)

    def cut_streams(self) -> None:
        """Break every open stream as a failing network does."""
        asyncio.run_coroutine_threadsafe(self._cut(), self.loop).result(5)

    def refuse(self, method: str, path: str, status: int, code: str, message: str) -> None:
        """Answer the next such request with an error."""
        self.refusals[method, path].append((status, code, message))

    def sent(self, method: str, path: str) -> list[Any]:
        """Bodies of the requests to a path, oldest first."""
        return [body for verb, where, _, body in self.requests if (verb, where) == (method, path)]

    def headers(self, method: str, path: str) -> list[dict[str, str]]:
        return [head for verb, where, head, _ in self.requests if (verb, where) == (method, path)]

    # -- the server ------------------------------------------------------------------------

    def __enter__(self) -> FakeApi:
        self.thread.start()
        self.ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._start())
        self.ready.set()
        self.loop.run_forever()

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._record])
        app.router.add_static("/static", STATIC)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/sessions", self._list),
                web.get("/api/events", self._bus),
                web.get("/sessions/{id}", self._read),
                web.patch("/sessions/{id}", self._rename),
                web.delete("/sessions/{id}", self._delete),
                web.get("/sessions/{id}/state", self._state),
                web.get("/sessions/{id}/events", self._events),
                web.post("/sessions/{id}/interrupt", self._interrupt),
                web.post("/chat/stream", self._chat),
                web.post("/ask-user-response", self._answer),
                web.post("/widget-actions", self._act),
                web.get("/api/feedback", self._ratings),
                web.post("/api/feedback", self._rate),
            ]
        )
        self.runner = web.AppRunner(
            app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None
        )
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # aiohttp has no public way
        self.url = f"http://127.0.0.1:{port}/"

    async def _close(self) -> None:
        await self._cut()
        await self.runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.loop.shutdown_default_executor()

    async def _cut(self) -> None:
        for stream in list(self.streams):
            if stream._req is not None and stream._req.transport is not None:
                stream._req.transport.abort()

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/static"):
            answer = await handler(request)
            answer.headers["Cache-Control"] = "max-age=600"
            return answer
        body = await request.json() if request.body_exists else None
        self.requests.append((request.method, request.path, dict(request.headers), body))
        if refused := self.refusals[request.method, request.path]:
            return refusal(*refused.pop(0))
        found = request.match_info.get("id")
        if found is not None and found not in self.sessions:
            return refusal(404, "session_not_found", "There is no such session.")
        return await handler(request)

    async def _page(self, _: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": POLICY}
        return web.Response(body=self.html, content_type="text/html", headers=headers)

    async def _list(self, request: web.Request) -> web.Response:
        q = request.query.get("q", "").lower()
        found = [s.describe() for s in self.sessions.values() if q in s.fields["title"].lower()]
        start = int(request.query.get("cursor", 0))
        size = 3  # a small page, so that "Show more" has something to do
        cursor = str(start + size) if start + size < len(found) else None
        return web.json_response({"sessions": found[start : start + size], "nextCursor": cursor})

    async def _read(self, request: web.Request) -> web.Response:
        session = self.sessions[request.match_info["id"]]
        extra = {"messages": session.messages, "pendingInteractions": session.pending}
        return web.json_response({**session.describe(), **extra})

    async def _rename(self, request: web.Request) -> web.Response:
        session = self.sessions[request.match_info["id"]]
        session.fields.update(await request.json())
        return web.json_response(session.describe())

    async def _delete(self, request: web.Request) -> web.Response:
        del self.sessions[request.match_info["id"]]
        return web.Response(status=204)

    async def _state(self, request: web.Request) -> web.Response:
        session = self.sessions[request.match_info["id"]]
        since = int(request.query["since"])
        events = [
            {"seq": seq, "event": event, "data": data}
            for seq, event, data in session.log
            if seq > since
        ]
        return web.json_response({**session.describe(), "events": events})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        key = request.headers["Idempotency-Key"]
        session = self.sessions.get(self.keys.get(key) or body["sessionId"] or "")
        if session is None:
            session = self.session()
            await self._tell("session_created", sessionId=session.id)
        after = session.next_seq - 1
        if key in self.keys:
            after = session.first_seq - 1
        else:
            self.keys[key] = session.id
            steps = self.scripts.pop(0) if self.scripts else []
            run = asyncio.create_task(
                session.run(body["message"], len(body.get("images", [])), steps, self.gates)
            )
            self.runs.add(run)
            run.add_done_callback(self.runs.discard)
        return await self._stream(request, session, after, ends=True)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        after = int(request.headers.get("Last-Event-ID") or request.query["after"])
        session = self.sessions[request.match_info["id"]]
        return await self._stream(request, session, after, ends=False)

    async def _stream(
        self, request: web.Request, session: FakeSession, after: int, ends: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self.streams.add(response)
        try:
            await response.prepare(request)
            await response.write(b": keepalive\n\n")
            while True:
                async with session.changed:
                    while not session.log or session.log[-1][0] <= after:
                        await session.changed.wait()
                for seq, event, data in [frame for frame in session.log if frame[0] > after]:
                    text = f"id: {seq}\nevent: {event}\ndata: {json.dumps(data)}\n\n"
                    await response.write(text.encode())
                    after = seq
                    if ends and event == "done":
                        return response
        except ConnectionResetError:  # the reader left; the run goes on
            return response
        finally:
            self.streams.discard(response)

    async def _tell(self, event: str, **data: Any) -> None:
        self.told.append((event, data))
        async with self.news:
            self.news.notify_all()

    async def _bus(self, request: web.Request) -> web.StreamResponse:
        after = int(request.headers.get("Last-Event-ID") or len(self.told))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self.streams.add(response)
        try:
            await response.prepare(request)
            await response.write(b": keepalive\n\n")
            while True:
                async with self.news:
                    while len(self.told) <= after:
                        await self.news.wait()
                event, data = self.told[after]
                after += 1
                line = json.dumps({"type": event, "timestamp": NOW, **data})
                await response.write(f"id: {after}\nevent: {event}\ndata: {line}\n\n".encode())
        except ConnectionResetError:
            return response
        finally:
            self.streams.discard(response)

    async def _interrupt(self, request: web.Request) -> web.Response:
        self.sessions[request.match_info["id"]].interrupted.set()
        return web.json_response({"ok": True})

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        session = self.sessions[body["sessionId"]]
        if "approved" in body:
            event = "approved" if body["approved"] else "denied"
            told = {"action": "refund", "interactionId": body["interactionId"]}
            await session.add(event, told)
        session.pending.clear()
        self.gates["answer"].set()
        return web.json_response({"ok": True, "runId": session.run_id, "status": "running"})

    async def _ratings(self, _: web.Request) -> web.Response:
        return web.json_response({"feedback": self.ratings})

    async def _rate(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.ratings[body["messageId"]] = body["rating"]
        return web.json_response({"ok": True, "id": 1})

    async def _act(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True})
