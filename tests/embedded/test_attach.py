"""Starting, sharing and stopping the server, as every kind of user."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.embedded.conftest import Holder
from tests.processes import all_gone, lives, within

Hold = Callable[..., Holder]


def test_data_survive_a_restart_and_nothing_runs_in_between(
    hold: Hold, base: Path, face: str
) -> None:
    first = hold(base, face)
    first.ask("CREATE TABLE kept AS SELECT 'ä' AS word")
    server = first.postmaster()
    first.release()
    assert not lives(server)
    again = hold(base, face)
    assert again.ask("SELECT upper(word) FROM kept") == "Ä"


def test_five_starts_at_once_share_one_server(hold: Hold, base: Path, face: str) -> None:
    holders = [hold(base, face) for _ in range(5)]
    assert len({holder.ask("SELECT pg_postmaster_start_time()") for holder in holders}) == 1
    server = holders[0].postmaster()
    for holder in holders[:4]:
        holder.release()
    assert lives(server)
    holders[4].release()
    assert not lives(server)


def test_killed_users_leave_no_process_and_no_damage(hold: Hold, base: Path, face: str) -> None:
    holders = [hold(base, face) for _ in range(3)]
    holders[0].ask("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    assert all("host" in holder.answer() for holder in holders)
    server = holders[0].postmaster()
    watchdog = server.parent()
    assert watchdog is not None
    for holder in holders:
        holder.process.send_signal(signal.SIGKILL)
    assert all_gone([server, watchdog], 20)
    assert hold(base, face).ask("SELECT count(*) FROM kept") == 1000


def test_server_outlives_one_killed_user(hold: Hold, base: Path, any_face: str) -> None:
    one, other = hold(base, any_face), hold(base, any_face)
    one.answer()
    other.answer()
    one.process.kill()
    one.process.wait()
    server = other.postmaster()
    with pytest.raises(psutil.TimeoutExpired):
        server.wait(1)
    assert other.ask("SELECT 1") == 1


def test_two_checkouts_do_not_meet(hold: Hold, tmp_path: Path, face: str) -> None:
    here, there = hold(tmp_path / "a" / "postgres", face), hold(tmp_path / "b" / "postgres", face)
    here.ask("CREATE TABLE only_here ()")
    assert there.ask("SELECT to_regclass('only_here')") is None
    assert here.answer()["host"] != there.answer()["host"]
    server = here.postmaster()
    there.release()
    assert lives(server)


def test_crashed_server_comes_back_with_its_rows(hold: Hold, base: Path, face: str) -> None:
    holder = hold(base, face)
    holder.ask("CREATE TABLE kept AS SELECT 7 AS n")
    crashed = holder.postmaster()
    crashed.kill()
    assert all_gone([crashed], 20)

    def is_back() -> bool:
        try:
            return holder.ask("SELECT n FROM kept") == 7
        except psycopg.Error:
            return False

    assert within(20, is_back)


def test_killed_watchdog_takes_the_server_along(hold: Hold, base: Path, face: str) -> None:
    holder = hold(base, face)
    holder.ask("CREATE TABLE kept AS SELECT 7 AS n")
    server = holder.postmaster()
    watchdog = server.parent()
    assert watchdog is not None
    watchdog.kill()
    assert all_gone([server], 20)
    assert hold(base, face).ask("SELECT n FROM kept") == 7


def test_leftovers_with_a_reused_number_do_not_matter(hold: Hold, base: Path, face: str) -> None:
    holder = hold(base, face)
    holder.ask("CREATE TABLE kept AS SELECT 7 AS n")
    server = holder.postmaster()
    stale = (
        Path(server.cmdline()[server.cmdline().index("-D") + 1]) / "postmaster.pid"
    ).read_text()
    host = Path(holder.answer()["host"])
    holder.release()
    host.mkdir(mode=0o700, exist_ok=True)
    ours = "\n".join([str(os.getpid()), *stale.splitlines()[1:]])
    (Path(stale.splitlines()[1]) / "postmaster.pid").write_text(ours + "\n")
    (host / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n")
    (host / ".s.PGSQL.5432").touch()
    assert hold(base, face).ask("SELECT n FROM kept") == 7


def test_killed_first_start_is_begun_anew(hold: Hold, base: Path, face: str) -> None:
    holder = hold(base, face)
    starting = psutil.Process(holder.process.pid)
    assert within(10, lambda: any(child.name() == "initdb" for child in starting.children()))
    holder.process.kill()
    holder.process.wait()
    assert not (base / "cluster.json").exists()
    assert hold(base, face).ask("SELECT 1") == 1


def test_what_is_committed_is_on_the_disk(hold: Hold, base: Path, any_face: str) -> None:
    holder = hold(base, any_face)
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert holder.ask(f"SHOW {name}") == "on"
    assert holder.ask("SHOW listen_addresses") == ""
