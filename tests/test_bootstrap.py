"""From a bare Python to a running Django, as far as it goes without a package index."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.fernet import Fernet

from agentsite import bootstrap
from agentsite.management.needs import Need, explain_missing, install_line

ROOT = Path(__file__).resolve().parent.parent


def test_first_starts_at_once_agree_on_the_keys(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secrets.json"
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(bootstrap.make_secrets, [file] * 8))
    assert any(made)
    keys = json.loads(file.read_text())
    assert len(keys["SECRET_KEY"]) >= 50
    assert Fernet(keys["AGENT_SECRET_KEYS"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secrets.json"]
    assert not bootstrap.make_secrets(file)
    assert json.loads(file.read_text()) == keys


def test_options_of_up_become_settings() -> None:
    assert bootstrap.settings_of_up(["--port=4000", "--host", "::1", "--production"]) == {
        "PORT": "4000",
        "HOST": "::1",
        "AGENT_ENV": "production",
    }
    assert bootstrap.settings_of_up(["--port", "1", "--port", "2"]) == {"PORT": "2"}
    assert bootstrap.settings_of_up(["--no-input", "--port"]) == {}


def test_changed_lock_is_installed_again_and_an_installed_one_is_not(tmp_path: Path) -> None:
    own = tmp_path / ".venv"
    own.mkdir()
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1\n")
    assert bootstrap.locks_to_install(tmp_path, own, for_tests=False) == [lock]
    bootstrap.stamp(own, lock).touch()
    assert bootstrap.locks_to_install(tmp_path, own, for_tests=False) == []
    lock.write_text("a==2\n")
    assert bootstrap.locks_to_install(tmp_path, own, for_tests=False) == [lock]


def test_another_environment_with_django_is_used_as_it_is(tmp_path: Path) -> None:
    """The tests run in one that is not `.venv` of this folder: nothing may be made there."""
    (tmp_path / "requirements.lock").write_text("a==1\n")
    bootstrap.enter_environment(tmp_path, [], for_tests=False)
    assert not (tmp_path / ".venv").exists()


def test_bootstrap_needs_nothing_but_the_standard_library() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import agentsite.bootstrap"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_missing_package_index_is_said(tmp_path: Path) -> None:
    """An installation that fails ends with a sentence, and the next start tries again."""
    lock = tmp_path / "requirements.lock"
    lock.write_text("no-such-package==1 --hash=sha256:" + "0" * 64 + "\n")
    script = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); from agentsite import bootstrap; "
        "bootstrap.call([sys.executable, '-c', 'raise SystemExit(3)'], 'It failed')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "It failed: the reason is above" in ran.stderr
    assert not bootstrap.stamp(tmp_path, lock).exists()


def test_missing_system_parts_are_named_with_the_command() -> None:
    needs = [
        Need("Chromium", "a page is tried", "chromium", lambda: False),
        Need("bubblewrap", "a sandbox is tried", "bubblewrap", lambda: False),
    ]
    text = explain_missing(needs)
    assert "Chromium is missing (a page is tried)" in text
    assert install_line(needs).endswith("apt-get install -y chromium bubblewrap")
