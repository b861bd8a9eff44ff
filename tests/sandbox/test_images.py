"""Images become root folders: in all their layers, once, and with nothing outside of them."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agentsite.sandbox.base import Job, SandboxUnavailable
from agentsite.sandbox.bwrap import Bubblewrap
from agentsite.sandbox.images import find_inside, unpack
from agentsite.sandbox.process import run
from tests.requirements import requirement
from tests.sandbox.test_process import lay_out_root

Entry = tuple[str, Any]
"""A name, and bytes of a file, a text that a link leads to, None for a folder, or a TarInfo."""


def pack(entries: list[Entry]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in entries:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            match content:
                case bytes():
                    info.size, info.mode = len(content), 0o4755
                case str():
                    info.type, info.linkname = tarfile.SYMTYPE, content
                case None:
                    info.type = tarfile.DIRTYPE
                case _:
                    pass  # it says itself what it is
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return raw.getvalue()


def special(name: str, kind: bytes, target: str = "") -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return name, info


LAYERS = [
    pack([("etc", None), ("etc/a", b"1"), ("etc/b", b"1"), ("old", None), ("old/x", b"1")]),
    pack([("etc/.wh.a", b""), ("etc/b", b"2"), ("old/.wh..wh..opq", b""), ("old/y", b"2")]),
]
REGULAR = (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK)
WHOLE = {"etc/b": b"2", "old/y": b"2"}


def save_docker() -> bytes:
    manifest = json.dumps([{"Layers": ["0/layer.tar", "1/layer.tar"]}]).encode()
    layers: list[Entry] = [(f"{n}/layer.tar", raw) for n, raw in enumerate(LAYERS)]
    return pack([*layers, ("manifest.json", manifest)])


def save_oci() -> bytes:
    layers = [{"digest": f"sha256:{n}"} for n in range(2)]
    blobs: list[Entry] = [(f"blobs/sha256/{n}", raw) for n, raw in enumerate(LAYERS)]
    manifest, index = {"layers": layers}, {"manifests": [{"digest": "sha256:m"}]}
    told: list[Entry] = [
        ("blobs/sha256/m", json.dumps(manifest).encode()),
        ("index.json", json.dumps(index).encode()),
        ("oci-layout", b"{}"),
    ]
    return pack(blobs + told)


def files_of(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


@requirement("agent.sandbox-image")
@pytest.mark.parametrize("save", [save_docker, save_oci])
def test_layers_lie_over_each_other(save: Any, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(save())
    root = unpack(tmp_path / "image.tar", tmp_path / "cache")
    assert files_of(root) == WHOLE
    assert (root / "etc" / "b").stat().st_mode & 0o7777 == 0o555, "it runs, and as nobody else"


@requirement("agent.sandbox-image")
def test_an_image_is_unpacked_once_and_anew_when_it_changes(tmp_path: Path) -> None:
    image, cache = tmp_path / "image.tar", tmp_path / "cache"
    image.write_bytes(pack([("a", b"1")]))
    with ThreadPoolExecutor(4) as threads:
        roots = set(threads.map(lambda _: unpack(image, cache), range(4)))
    assert len(roots) == 1
    image.write_bytes(pack([("a", b"22")]))
    assert files_of(unpack(image, cache)) == {"a": b"22"}
    assert files_of(roots.pop()) == {"a": b"1"}, "what runs keeps its files"
    image.write_bytes(b"no image")
    with pytest.raises(SandboxUnavailable, match=r"image\.tar cannot be unpacked"):
        unpack(image, cache)
    assert sorted(each.name[:6] for each in cache.iterdir()) == ["image.", "image.", "lock"]


@requirement("agent.sandbox-image")
def test_what_nobody_uses_is_deleted_when_something_new_comes(tmp_path: Path) -> None:
    cache, long_ago = tmp_path / "cache", time.time() - 8 * 86_400
    images = [tmp_path / f"{name}.tar" for name in "abc"]
    for image in images:
        image.write_bytes(pack([(image.name, b"1")]))
    unused, used = unpack(images[0], cache), unpack(images[1], cache)
    for root in (unused, used):
        os.utime(root, (long_ago, long_ago))
    (cache / "new-killed").mkdir()
    assert unpack(images[1], cache) == used, "asking for it is using it"
    assert unused.is_dir()
    root = unpack(images[2], cache)
    assert {path for path in cache.iterdir() if path.is_dir()} == {used, root}
    assert files_of(unpack(images[0], cache)) == {"a.tar": b"1"}


HOSTILE: list[list[Entry]] = [
    [("../evil", b"x")],
    [("a/../../evil", b"x")],
    [("/{outside}/evil", b"x")],
    [("out", "{outside}"), ("out/evil", b"x")],
    [("out", "../../.."), ("out{outside}/evil", b"x")],
    [("out", "{outside}"), ("out", None), ("out/evil", b"x")],
    [("out", "{outside}/evil"), ("out", b"x")],
    [("out", "{outside}"), ("out/.wh.secret", b"")],
    [("out", "{outside}"), ("out/.wh..wh..opq", b"")],
    [("a", "b"), ("b", "a"), ("a/evil", b"x")],
    [(".wh...", b"")],
    [("a/.wh...", b"")],
    [("a/.wh..", b""), (".wh..", b"")],
    [("a/.wh.", b""), (".wh.", b"")],
    [("..", None)],
    [("a/../..", None), ("a/../../.wh.other", b"")],
    [("up", ".."), ("up/.wh...", b"")],
    [special("evil", tarfile.LNKTYPE, "../../{outside}/secret")],
    [("out", "{outside}"), special("evil", tarfile.LNKTYPE, "out/secret")],
    [special("evil", tarfile.CHRTYPE), special("pipe", tarfile.FIFOTYPE)],
]


def fill(entry: Entry, outside: str) -> Entry:
    name, content = entry
    if isinstance(content, tarfile.TarInfo):
        content.linkname = content.linkname.replace("{outside}", outside)
    if isinstance(content, str):
        content = content.replace("{outside}", outside)
    return name.replace("{outside}", outside), content


@requirement("agent.sandbox-image")
@pytest.mark.parametrize("entries", HOSTILE)
def test_nothing_of_an_image_reaches_out(entries: list[Entry], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("kept")
    (tmp_path / "cache" / "other").mkdir(parents=True)
    image = tmp_path / "image.tar"
    image.write_bytes(pack([fill(entry, str(outside)) for entry in entries]))
    try:
        root = unpack(image, tmp_path / "cache")
    except SandboxUnavailable:
        root = tmp_path / "cache"
    assert {path.name for path in outside.iterdir()} == {"secret"}
    assert (outside / "secret").read_text() == "kept"
    assert (outside / "secret").stat().st_nlink == 1
    assert not (tmp_path / "evil").exists()
    assert (tmp_path / "cache" / "other").is_dir()
    assert (tmp_path / "cache" / "lock").is_file()
    kinds = [path.lstat().st_mode for path in root.rglob("*")]
    assert all(stat.S_IFMT(kind) in REGULAR for kind in kinds)


def test_links_lead_where_they_would_inside(tmp_path: Path) -> None:
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("/usr/lib")
    assert find_inside(tmp_path, "/lib/x/../y") == tmp_path / "usr" / "lib" / "y"
    assert find_inside(tmp_path, "../../lib") == tmp_path / "usr" / "lib"


@pytest.fixture
def shelf(open_folder: Path) -> Iterator[Path]:
    """An image of a shell and a word, as `docker export` would write it."""
    root = open_folder / "laid-out"
    root.mkdir()
    lay_out_root(root)
    with tarfile.open(open_folder / "small.tar.gz", "w:gz") as archive:
        archive.add(root, arcname=".")
    yield open_folder


@requirement("agent.sandbox-image")
async def test_a_program_runs_in_an_image(shelf: Path) -> None:
    template = unpack(shelf / "small.tar.gz", shelf / ".unpacked")
    program = 'read word < /opt/word; echo "$word"; test -e /usr || echo nothing else'
    outcome = await run(Bubblewrap(), Job(["/bin/sh", "-c", program], template=template))
    assert outcome.stdout == b"from the template\nnothing else\n", outcome
