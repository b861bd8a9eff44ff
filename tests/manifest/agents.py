"""Agents written for a test: a mapping of paths to text or JSON values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsite.manifest.bundle import Bundle
from agentsite.manifest.loader import load
from agentsite.manifest.problems import ManifestError, Problem

BASE = {"name": "probe", "version": "0.1.0"}
NOTHING: frozenset[str] = frozenset()


def write_agent(root: Path, files: Mapping[str, Any] | None = None, /, **manifest: Any) -> Path:
    """Write amodal.json with the given keys, and further files; returns the root."""
    write_files(root, {"amodal.json": {**BASE, **manifest}, **(files or {})})
    return root


def write_files(root: Path, files: Mapping[str, Any]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")


def load_all(root: Path, env: Mapping[str, str] | None = None) -> Bundle:
    """Load with an empty table of what is not supported."""
    return load(root, env or {}, unsupported=NOTHING)


def find_problems(root: Path, env: Mapping[str, str] | None = None) -> list[Problem]:
    """Return the problems of an agent that cannot be loaded, whatever is supported."""
    try:
        load_all(root, env)
    except ManifestError as error:
        return list(error.problems)
    return []


def find_messages(root: Path, env: Mapping[str, str] | None = None) -> list[str]:
    """Return `file path: message` of each problem."""
    return [f"{p.file} {p.path}: {p.message}" for p in find_problems(root, env)]
