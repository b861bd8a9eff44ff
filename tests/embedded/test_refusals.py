"""What keeps the server from starting is said in a sentence that helps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentsite.embedded import EmbeddedError, attach, binaries
from agentsite.embedded.cluster import Cluster, check_version
from agentsite.embedded.identity import Identity, choose_identity, prepare_folder
from agentsite.embedded.layout import LONGEST_SOCKET_PATH, socket_directory
from tests.embedded.conftest import HOLDER, Holder

Hold = Callable[..., Holder]
INSIDE_A_NAMESPACE = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]


def test_path_too_long_for_a_socket_gets_a_short_one(hold: Hold, tmp_path: Path, face: str) -> None:
    deep = tmp_path / ("long-" * 12) / ("path-" * 12)
    holder = hold(deep / "postgres", face)
    assert holder.ask("SELECT 1") == 1
    host = Path(holder.answer()["host"])
    assert len(str(host)) < LONGEST_SOCKET_PATH
    assert host.stat().st_mode & 0o077 == 0


def test_each_folder_has_its_own_socket() -> None:
    paths = [Path("/srv/one/postgres"), Path("/srv/two/postgres"), Path("/srv" + "/deep" * 30)]
    assert len({socket_directory(path, uid) for path in paths for uid in (0, 1000)}) == 6
    assert socket_directory(paths[0], 1000) == paths[0]


def run_on_a_disk_of_its_own(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount on `folder`: its $1 is that, its $2 $3 run the holder."""
    command = ["unshare", *INSIDE_A_NAMESPACE, "sh", "-c", script, "sh", str(folder)]
    return subprocess.run(
        [*command, sys.executable, str(HOLDER)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip


def test_full_disk(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=12m none "$1" && exec "$2" "$3" "$1/postgres" "{}"'
    ran = run_on_a_disk_of_its_own(script, tmp_path)
    said = json.loads(ran.stdout)["error"]
    assert "disk" in said and "is full" in said and "Free some space" in said


def test_disk_that_fills_up_later(tmp_path: Path) -> None:
    script = (
        'mount -t tmpfs -o size=200m none "$1" && "$2" "$3" "$1/postgres" "{}" </dev/null && '
        '(cat /dev/zero >"$1/filler" 2>/dev/null; exec "$2" "$3" "$1/postgres" "{}")'
    )
    ran = run_on_a_disk_of_its_own(script, tmp_path)
    first, second = (json.loads(line) for line in ran.stdout.splitlines())
    assert "host" in first
    assert "is full" in second["error"]


def test_older_major_version(hold: Hold, base: Path, any_face: str) -> None:
    hold(base, any_face).release()
    made = json.loads((base / "cluster.json").read_text())
    version = Path(made["data"]) / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(EmbeddedError, match=r"written by PostgreSQL 16; installed is 18.*pg_dump"):
        attach(base, namespaces=made["mode"] != "nobody")


def test_unreadable_version(tmp_path: Path) -> None:
    cluster = Cluster("self", str(tmp_path))
    with pytest.raises(EmbeddedError, match="damaged or was partly removed"):
        check_version(cluster, binaries.Binaries(tmp_path, "18.4"))


def test_damaged_record_of_the_cluster(base: Path) -> None:
    base.mkdir()
    (base / "cluster.json").write_text("{")
    with pytest.raises(EmbeddedError, match="damaged"):
        attach(base)


def test_foreign_owner(base: Path) -> None:
    """For root the folder is another user's; an ordinary user is shown one of root's."""
    base.mkdir()
    if os.geteuid() == 0:
        os.chown(base, 12345, 12345)
        with pytest.raises(EmbeddedError, match=r"belongs to user 12345, and you are user 0"):
            attach(base)
    else:
        with pytest.raises(EmbeddedError, match="belongs to user 0"):
            attach(Path("/usr/lib"))


def test_socket_folder_of_somebody_else(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/root")
    (tmp_path / "real").mkdir()
    with pytest.raises((EmbeddedError, FileExistsError), match=r"another user|exists"):
        prepare_folder(link, Identity("self"))
    prepare_folder(tmp_path / "real", Identity("self"))


def test_folder_that_cannot_be_written() -> None:
    with pytest.raises(EmbeddedError, match="AGENTSITE_DATA_DIR"):
        attach(Path("/proc/1/postgres"))


def test_busy_start_is_not_waited_for_without_end(base: Path) -> None:
    base.mkdir()
    script = (
        "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.flock(f,2); print(1,flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, base / "start.lock"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(EmbeddedError, match="Another process has been starting"):
            attach(base, patience=0.2)
        other.kill()


def test_root_without_namespaces_cannot_take_over_a_namespaces_data() -> None:
    with pytest.raises(EmbeddedError, match="user namespaces are forbidden here"):
        choose_identity(0, namespaces=False, made_by="namespace")


def test_nobodys_data_stay_nobodys() -> None:
    assert choose_identity(0, namespaces=True, made_by="nobody").mode == "nobody"
    assert choose_identity(1000, namespaces=False, made_by=None).mode == "self"


def test_nothing_to_start(tmp_path: Path) -> None:
    assert binaries.inspect_folder(tmp_path) is None
    found = binaries.find_binaries()
    assert found.major >= binaries.OLDEST_MAJOR


def test_server_that_ends_at_once_is_quoted(hold: Hold, base: Path, any_face: str) -> None:
    hold(base, any_face).release()
    made = json.loads((base / "cluster.json").read_text())
    with (Path(made["data"]) / "postgresql.conf").open("a") as conf:
        conf.write("\nno_such_setting = 1\n")
    said = hold(base, any_face).answer()
    assert "no_such_setting" in said["error"]
    assert "postgres.log" in said["error"]
