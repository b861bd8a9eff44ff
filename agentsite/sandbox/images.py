"""A root folder from an image: an archive as `docker export`, `docker save` or OCI tools write it.

Law: unpacked once for each content, whole or not at all. Whatever an archive says, nothing is
written or linked outside of its own folder; devices are left out, no set-uid bit is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from agentsite.sandbox.base import SandboxUnavailable

MOST_LINKS = 40
GONE, ALL_GONE = ".wh.", ".wh..wh..opq"
"""How a layer says that it removes a file, or all that lay in a folder before."""


def unpack(image: Path, cache: Path) -> Path:
    """The root folder of an image, below `cache`; blocks while it is unpacked for the first time.

    Raises `SandboxUnavailable` for a file that is no image.
    """
    facts = image.stat()
    told = f"{image}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()
    root = cache / f"{image.name}-{hashlib.sha256(told).hexdigest()[:16]}"
    if root.is_dir():
        return root
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (cache / "lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if root.is_dir():  # another process was faster
            return root
        started = Path(tempfile.mkdtemp(dir=cache, prefix="new-"))
        try:
            _unpack_into(started, image)
            started.chmod(0o755)
            started.rename(root)
        except (tarfile.TarError, OSError, ValueError, KeyError, EOFError) as error:
            raise SandboxUnavailable(f"{image.name} cannot be unpacked: {error}") from error
        finally:
            shutil.rmtree(started, ignore_errors=True)
    return root


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
        if not parts or parts[-1] == "..":
            continue  # the root itself
        folder = find_inside(root, "/".join(parts[:-1]))
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = folder / parts[-1]
        if path.name == ALL_GONE:
            for each in folder.iterdir():
                _remove(each)
        elif path.name.startswith(GONE):
            _remove(folder / path.name.removeprefix(GONE))
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
