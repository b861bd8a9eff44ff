"""A root folder from an image: an archive as `docker export`, `docker save` or OCI tools write it.

Law: unpacked once for each content, whole or not at all, and deleted when it was not used for
long. Whatever an archive says, nothing is written, linked or removed outside of its own folder;
devices are left out, no set-uid bit is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from agentsite.sandbox.base import SandboxUnavailable

MOST_LINKS = 40
NEW, OLD = "new-", "old-"
"""Folders that are being filled, and that are being deleted."""
DAY = 86_400
GONE, ALL_GONE = ".wh.", ".wh..wh..opq"
"""How a layer says that it removes a file, or all that lay in a folder before."""


def unpack(image: Path, cache: Path, *, keep_days: float = 7) -> Path:
    """The root folder of an image, below `cache`; blocks while it is unpacked for the first time.

    What was not asked for in `keep_days` is deleted when something new is unpacked.
    Raises `SandboxUnavailable` for a file that is no image.
    """
    facts = image.stat()
    told = f"{image}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()
    root = cache / f"{image.name}-{hashlib.sha256(told).hexdigest()[:16]}"
    if _note_use(root):
        return root
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (cache / "lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if _note_use(root):  # another process was faster
            return root
        _sweep(cache, time.time() - keep_days * DAY)
        started = Path(tempfile.mkdtemp(dir=cache, prefix=NEW))
        try:
            _unpack_into(started, image)
            started.chmod(0o755)
            os.utime(started)
            started.rename(root)
        except (tarfile.TarError, OSError, ValueError, KeyError, EOFError) as error:
            raise SandboxUnavailable(f"{image.name} cannot be unpacked: {error}") from error
        finally:
            shutil.rmtree(started, ignore_errors=True)
    return root


def _note_use(root: Path) -> bool:
    """Write down on a root folder that it is used now; False when there is none (any more)."""
    try:
        place = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(place, fcntl.LOCK_SH)
        os.utime(place)
        return root.is_dir() and os.path.samestat(os.fstat(place), root.stat())
    finally:
        os.close(place)


def _sweep(cache: Path, before: float) -> None:
    """Delete root folders that nobody asked for since; whoever holds the cache's lock may."""
    for path in cache.iterdir():
        if path.name.startswith((NEW, OLD)):  # left behind by a process that was killed
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_dir() and (gone := _set_aside(path, before)) is not None:
            shutil.rmtree(gone, ignore_errors=True)


def _set_aside(root: Path, before: float) -> Path | None:
    """Rename a folder that was not used since, so that nobody begins to use it meanwhile."""
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        if os.fstat(place).st_mtime >= before:
            return None
        return root.rename(root.with_name(f"{OLD}{root.name}"))
    finally:
        os.close(place)


def _unpack_into(root: Path, image: Path) -> None:
    with tarfile.open(image) as archive:
        names = set(archive.getnames())
        if "manifest.json" in names:
            layers = _read_json(archive, "manifest.json")[0]["Layers"]
        elif {"index.json", "oci-layout"} <= names:
            layers = _find_oci_layers(archive)
        else:
            _apply(archive, root)
            return
        for name in layers:
            with _open_member(archive, name) as file, tarfile.open(fileobj=file) as layer:
                _apply(layer, root)


def _find_oci_layers(archive: tarfile.TarFile) -> list[str]:
    index = _read_json(archive, "index.json")
    manifest = _read_json(archive, _name_blob(index["manifests"][0]))
    return [_name_blob(layer) for layer in manifest["layers"]]


def _name_blob(described: dict[str, Any]) -> str:
    digest: str = described["digest"]
    return f"blobs/{digest.replace(':', '/', 1)}"


def _read_json(archive: tarfile.TarFile, name: str) -> Any:
    with _open_member(archive, name) as file:
        return json.load(file)


@contextmanager
def _open_member(archive: tarfile.TarFile, name: str) -> Iterator[IO[bytes]]:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} in it is no file")
    with file:
        yield file


def _apply(layer: tarfile.TarFile, root: Path) -> None:
    """Put one layer over what is there."""
    for member in layer:
        parts = PurePosixPath(member.name.lstrip("/")).parts
        if not parts:
            continue  # the root itself
        if ".." in parts:
            raise ValueError(f"{member.name} in it leads upwards")
        folder = find_inside(root, "/".join(parts[:-1]))
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = folder / parts[-1]
        if path.name == ALL_GONE:
            for each in folder.iterdir():
                _remove(each)
        elif path.name.startswith(GONE):
            rest = path.name.removeprefix(GONE)
            if rest in ("", ".", ".."):
                raise ValueError(f"{member.name} in it removes no file")
            _remove(folder / rest)
        else:
            _put(layer, member, path, root)


def _put(layer: tarfile.TarFile, member: tarfile.TarInfo, path: Path, root: Path) -> None:
    if member.isdir():
        if path.is_symlink() or not path.is_dir():
            _remove(path)
            path.mkdir()
        path.chmod(0o755)
        return
    _remove(path)
    if member.issym():
        path.symlink_to(member.linkname)  # followed inside of the sandbox alone
    elif member.islnk():
        parts = PurePosixPath(member.linkname.lstrip("/")).parts
        source = find_inside(root, "/".join(parts[:-1])) / parts[-1]
        os.link(source, path, follow_symlinks=False)
    elif (content := layer.extractfile(member)) is not None:
        with content, path.open("xb") as out:
            shutil.copyfileobj(content, out)
        path.chmod(0o555 if member.mode & 0o111 else 0o444)


def find_inside(root: Path, path: str) -> Path:
    """Where a path leads when `root` is the root, its links followed as they are meant there."""
    here: list[str] = []
    ahead = path.split("/")
    followed = 0
    while ahead:
        part = ahead.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            here = here[:-1]
            continue
        place = root.joinpath(*here, part)
        if not place.is_symlink():
            here.append(part)
            continue
        followed += 1
        if followed > MOST_LINKS:
            raise ValueError(f"its links lead in a circle at {path}")
        target = str(place.readlink())
        here = [] if target.startswith("/") else here
        ahead = [*target.split("/"), *ahead]
    return root.joinpath(*here)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
