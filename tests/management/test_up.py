"""`manage.py up` from its first line to the last process."""

from __future__ import annotations

import re
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import psutil
import pytest

from tests.management.conftest import Up
from tests.processes import all_gone, within

Start = Callable[..., Up]
READY = "Ctrl-C stops it."


def ask(browser: OpenerDirector, address: str) -> tuple[int, str]:
    """Status and final address of a page."""
    try:
        with browser.open(address, timeout=30) as answer:
            return answer.status, answer.url
    except HTTPError as refused:
        with refused:
            return refused.code, address


def commands(running: Up) -> set[str]:
    """The commands that its children run."""
    children = psutil.Process(running.process.pid).children()
    return {word for child in children for word in child.cmdline()}


def test_first_start_ends_in_the_admin_and_ctrl_c_ends_all(up: Start, tmp_path: Path) -> None:
    running = up()
    said = running.wait_for(READY)
    link = re.search(r"http://\S+/accounts/once/\S+", said)
    assert link, said
    browser = build_opener(HTTPCookieProcessor())
    assert ask(browser, link[0]) == (200, f"{running.site}/admin/")
    assert ask(browser, f"{running.site}/static/admin/css/base.css")[0] == 200
    assert ask(build_opener(HTTPCookieProcessor()), link[0])[0] == 410
    keys = tmp_path / "data" / "secrets.json"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert within(30, lambda: {"worker", "beat"} <= commands(running))
    family = running.remember_family()
    assert len(family) >= 6
    assert running.interrupt() < 5
    assert all_gone(family, 0.5)
    again = up()
    assert "/accounts/once/" not in again.wait_for(READY)
    assert ask(browser, f"{again.site}/admin/") == (200, f"{again.site}/admin/")


def test_kill_of_the_parent_leaves_no_process_and_no_damage(up: Start) -> None:
    running = up()
    running.wait_for(READY)
    assert within(30, lambda: {"worker", "beat"} <= commands(running))
    family = running.remember_family()
    running.process.send_signal(signal.SIGKILL)
    assert all_gone(family, 15)
    up().wait_for(READY)


def test_crashed_web_process_is_started_again(up: Start) -> None:
    running = up()
    running.wait_for(READY)
    web = next(
        child
        for child in psutil.Process(running.process.pid).children()
        if "serve" in child.cmdline()
    )
    web.kill()
    running.wait_for("The web process ended (-9)")
    # The socket stays open in the parent: a caller waits for the new process and is served.
    assert ask(build_opener(), f"{running.site}/admin/login/")[0] == 200


def test_used_port_is_said(up: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        refused = up("--port", str(other.getsockname()[1]))
        assert "is already used on 127.0.0.1" in refused.wait_for("--port 3848")
        assert refused.process.wait(20) == 1


@pytest.mark.parametrize(
    ("environment", "sentences"),
    [
        ({"HOST": "0.0.0.0"}, ["AGENT_AUTH=none lets anybody in"]),
        ({"HOST": "0.0.0.0", "AGENT_AUTH": "key,none"}, ["AGENT_AUTH=key,none lets anybody in"]),
        ({"AGENT_AUTH": "keys"}, ["AGENT_AUTH names keys"]),
        ({"AGENT_SECRET_KEYS": "short"}, ["key 1 is no Fernet key"]),
        ({"AGENT_AUTH": "jwt"}, ["needs AGENT_JWT_SECRET"]),
        (
            {"DB_POOL_SIZE": "many", "DEBUG": "maybe"},
            ["DB_POOL_SIZE must be a whole", "DEBUG must"],
        ),
        ({"DATABASE_URL": "mysql://localhost/x"}, ["only PostgreSQL is served"]),
        (
            {"AGENT_ENV": "production"},
            ["SECRET_KEY is not set", "AGENT_SECRET_KEYS is not set", "ALLOWED_HOSTS is not set"],
        ),
    ],
)
def test_bad_settings_are_refused_together(
    up: Start, environment: dict[str, str], sentences: list[str]
) -> None:
    refused = up(**environment)
    said = refused.wait_for(sentences[-1])
    assert all(sentence in said for sentence in sentences)
    assert "Traceback" not in said
    assert refused.process.wait(20) == 1


def test_broken_agent_is_told_whole(up: Start, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.mkdir()
    (agent / "amodal.json").write_text('{"name": 7, "verzion": "1.0.0"}')
    refused = up(AGENT_DIR=str(agent))
    said = refused.wait_for("amodal.json")
    assert refused.process.wait(20) == 1
    assert refused.process.stdout is not None
    said += refused.process.stdout.read().decode()
    assert "verzion" in said
    assert "Traceback" not in said


def test_production_takes_its_secrets_from_the_environment(up: Start, tmp_path: Path) -> None:
    running = up(
        "--production", "--no-input",
        SECRET_KEY="s" * 50, AGENT_SECRET_KEYS="k" * 43 + "=", ALLOWED_HOSTS="127.0.0.1",
        ANTHROPIC_API_KEY="not-a-key",
    )  # fmt: skip
    assert "/accounts/once/" not in running.wait_for(READY)
    assert not (tmp_path / "data" / "secrets.json").exists()


def test_database_that_refuses_is_said(up: Start) -> None:
    refused = up(DATABASE_URL="postgresql://nobody:secret-word@127.0.0.1:1/none")
    said = refused.wait_for("The database does not let us in")
    assert refused.process.wait(30) == 1
    assert "secret-word" not in said + refused.output
