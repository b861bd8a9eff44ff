"""The one table of what is parsed and validated, but has no behaviour yet.

Law: nothing accepted is silently ignored. An issue that brings a behaviour deletes
its row here, and nothing else in the manifest changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentsite.manifest.packages import REFUSED_FOLDERS
from agentsite.manifest.reader import Reader

UNSUPPORTED: frozenset[str] = frozenset(
    {
        "channels/",
        "intents/",
        "pages/",
    }
)


def refuse_folders(reader: Reader, unsupported: Iterable[str]) -> None:
    """Refuse the content of folders that have no behaviour yet."""
    rows = set(unsupported)
    for name in sorted(rows):
        if not name.endswith("/"):
            continue
        folder = name.split("/")[0]
        for entry in reader.entries(folder):
            if "<" not in name or entry.path.is_dir():
                refuse(reader, entry.file, f'"{folder}/"')
    for folder in REFUSED_FOLDERS:
        if f"{folder}/" not in rows and reader.entries(folder):
            raise AssertionError(f"{folder}/ has no parser, so its row must stay")


def refuse(reader: Reader, file: str, what: str, *path: str) -> None:
    reader.report(file, f"{what} is not supported yet by this version; take it out", *path)
