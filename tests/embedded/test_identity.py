"""Root's server may have to run as another user, who cannot read root's environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

from agentsite.embedded.binaries import ENVIRONMENT, find_binaries
from agentsite.embedded.identity import copy_binaries


def test_copied_programs_start_without_the_folder_they_came_from(tmp_path: Path) -> None:
    copied = copy_binaries(find_binaries(), tmp_path)
    for program in ("postgres", "initdb"):
        command = [copied.folder / program, "--version"]
        ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        linked = subprocess.run(["ldd", command[0]], capture_output=True, text=True, check=True)
        assert "not found" not in linked.stdout
    assert copy_binaries(find_binaries(), tmp_path) == copied
