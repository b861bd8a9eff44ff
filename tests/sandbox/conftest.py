"""What tests of sandboxes share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that every user of this machine may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="agentsite-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
