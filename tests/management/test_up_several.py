"""`manage.py up --web N`: several web processes that are one server."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

import psutil

from tests.management.conftest import Up
from tests.processes import all_gone, within

Start = Callable[..., Up]
READY = "Ctrl-C stops it."
BACKGROUND = {"worker", "beat"}


def commands(running: Up, named: set[str]) -> set[int]:
    """Numbers of the processes that run one of these commands."""
    children = psutil.Process(running.process.pid).children()
    return {child.pid for child in children if named & set(child.cmdline())}


def web_processes(running: Up) -> set[int]:
    """Numbers of the processes that serve."""
    return commands(running, {"serve"})


def talk(running: Up) -> str:
    """One conversation of one message; why it ended, or the words of a refusal.

    A process that is about to stop may refuse what reaches it last, and asks to send it again.
    """
    body = json.dumps({"message": "hello"})
    line = HTTPConnection("127.0.0.1", running.port, timeout=60)
    try:
        line.request("POST", "/chat/sync", body, {"Content-Type": "application/json"})
        answer = json.load(line.getresponse())
        if "error" in answer:
            return str(answer["error"]["code"])
        return str(answer["reason"])
    finally:
        line.close()


class Crowd:
    """Callers that talk until they are told to stop; each connection is a new one."""

    def __init__(self, running: Up, size: int) -> None:
        self._running = running
        self._stop = threading.Event()
        self.served = 0
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._talk_on) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def _talk_on(self) -> None:
        while not self._stop.is_set():
            try:
                reason = talk(self._running)
            except (OSError, HTTPException) as error:
                self.failed.append(repr(error))
            else:
                self.served += reason == "model_stop"
                if reason not in {"model_stop", "shutting_down"}:
                    self.failed.append(reason)

    def leave(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def test_several_processes_serve_survive_a_crash_and_stop_as_one(up: Start) -> None:
    running = up("--web", "3")
    running.wait_for(READY)
    family = running.remember_family()
    first = web_processes(running)
    assert len(first) == 3
    assert talk(running) == "model_stop"
    psutil.Process(min(first)).kill()
    running.wait_for("ended (-9)")
    assert talk(running) == "model_stop"
    assert within(30, lambda: len(web_processes(running)) == 3)
    family |= running.remember_family()
    assert running.interrupt() < 5
    assert all_gone(family, 1)


def test_rolling_restart_renews_everybody_and_loses_no_request(up: Start) -> None:
    running = up("--web", "2")
    running.wait_for(READY)
    assert within(30, lambda: len(commands(running, BACKGROUND)) == 2)
    first = commands(running, {"serve"} | BACKGROUND)
    assert len(first) == 4
    crowd = Crowd(running, 2)
    try:
        assert within(30, lambda: crowd.served > 4)
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("All processes are new.")
        before = crowd.served
        assert within(30, lambda: crowd.served > before + 4)
    finally:
        crowd.leave()
    assert crowd.failed == []
    assert len(web_processes(running)) == 2
    assert len(commands(running, BACKGROUND)) == 2
    assert not commands(running, {"serve"} | BACKGROUND) & first
    running.interrupt()


def test_too_many_processes_are_refused(up: Start) -> None:
    refused = up("--web", "40")
    assert "at most 29," in refused.wait_for("server of your own.")
    assert refused.process.wait(20) == 1
    alone = up("--web", "40", "--no-worker")
    assert "at most 32," in alone.wait_for("server of your own.")
    assert alone.process.wait(20) == 1
