"""Reads the files of one load, keeps their fingerprints and collects every problem.

A reader knows the agent's root and, after `packages` is resolved, further folders
that are merged under it: a local entry wins over one of a package.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agentsite.manifest.env import Resolver
from agentsite.manifest.markdown import Page, parse_page
from agentsite.manifest.problems import Code, Location, Problem, join_path, translate

M = TypeVar("M", bound=BaseModel)
IGNORED = {"__pycache__", "node_modules", "README.md"}
MAX_FILE = 4_000_000
"""Bytes; a larger file of an agent repository is a mistake."""


@dataclass(frozen=True)
class Layer:
    """A folder that carries sub-folders of an agent: the root itself or a package."""

    path: Path
    label: str = ""
    """Name of the package; empty for the root."""
    use: tuple[str, ...] | None = None
    """`<folder>.<name>` of the entries taken; None takes all."""

    def takes(self, kind: str, name: str) -> bool:
        return self.use is None or f"{kind}.{name}" in self.use


@dataclass(frozen=True)
class Entry:
    """One thing in a folder such as `skills/`: its name, its place."""

    name: str
    """Folder name, or file name without its ending."""
    path: Path
    file: str
    """The path as problems show it."""


@dataclass
class Reader:
    """State of one load."""

    root: Path
    resolver: Resolver
    layers: list[Layer] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layers.insert(0, Layer(self.root))

    def report(
        self, file: str, message: str, *path: int | str, code: Code = "CONFIG_VALIDATION_FAILED"
    ) -> None:
        self.problems.append(Problem(code, file, join_path(path), message))

    def warn(
        self, file: str, message: str, *path: int | str, code: Code = "CONFIG_VALIDATION_FAILED"
    ) -> None:
        self.warnings.append(Problem(code, file, join_path(path), message))

    def show(self, path: Path) -> str:
        """Return a path as problems name it: relative, packages with their name before it."""
        for layer in self.layers:
            if path.is_relative_to(layer.path):
                inner = path.relative_to(layer.path).as_posix()
                return f"{layer.label}:{inner}" if layer.label else inner
        return path.name

    def entries(self, kind: str) -> list[Entry]:
        """Return what a folder holds over all layers, sorted by name; the first layer wins."""
        found: dict[tuple[str, bool], Entry] = {}
        for layer in self.layers:
            for path in self.list_folder(layer.path / kind):
                name = path.name if path.is_dir() else path.stem
                if layer.takes(kind, name):
                    found.setdefault((name, path.is_dir()), Entry(name, path, self.show(path)))
        return sorted(found.values(), key=lambda entry: (entry.name, entry.file))

    def list_folder(self, folder: Path) -> list[Path]:
        """Return a folder's visible content, sorted; a missing folder is empty."""
        try:
            inside = sorted(folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            self.report(self.show(folder), describe(error), code="READ_FAILED")
            return []
        return [
            path for path in inside if path.name not in IGNORED and not path.name.startswith(".")
        ]

    def read_bytes(self, path: Path) -> bytes | None:
        """Return a file's bytes and take its fingerprint; None, with a problem, on failure."""
        file = self.show(path)
        try:
            if path.stat().st_size > MAX_FILE:
                self.report(file, f"is larger than {MAX_FILE:,} bytes", code="READ_FAILED")
                return None
            content = path.read_bytes()
        except OSError as error:
            self.report(file, describe(error), code="READ_FAILED")
            return None
        self.digests[file] = hashlib.sha256(content).hexdigest()
        return content

    def read_text(self, path: Path) -> str | None:
        """Return a UTF-8 file's text with LF line ends; None, with a problem, on failure."""
        content = self.read_bytes(path)
        if content is None:
            return None
        try:
            return content.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            message = f"is not UTF-8: byte {error.start} cannot be read"
            self.report(self.show(path), message, code="CONFIG_PARSE_FAILED")
            return None

    def read_page(self, path: Path) -> Page | None:
        """Return a Markdown file with its front matter; None, with a problem, on failure."""
        text = self.read_text(path)
        if text is None:
            return None
        try:
            return parse_page(text)
        except ValueError as error:
            self.report(self.show(path), str(error), code="CONFIG_PARSE_FAILED")
            return None

    def read_json(self, path: Path) -> dict[str, Any] | None:
        """Return a JSON file's object; None, with a problem, when there is none to be had."""
        text = self.read_text(path)
        if text is None:
            return None
        try:
            data = json.loads(text, object_pairs_hook=refuse_doubles, parse_constant=refuse_name)
            if isinstance(data, dict):
                return data
            message = "must hold one JSON object"
        except json.JSONDecodeError as error:
            message = f"is not JSON: {error.msg}, line {error.lineno}, column {error.colno}"
        except (ValueError, RecursionError) as error:
            message = f"is not JSON as we take it: {error}"
        self.report(self.show(path), message, code="CONFIG_PARSE_FAILED")
        return None

    def read_model(self, path: Path, model: type[M], *, resolve: bool = False) -> M | None:
        """Read and validate one JSON file; None when it has problems, which are noted."""
        data = self.read_json(path)
        if data is None:
            return None
        file = self.show(path)
        if resolve:
            data = self.resolver.resolve(data, file)
        return self.validate(data, model, file)

    def validate(self, data: Any, model: type[M], file: str, *, within: Location = ()) -> M | None:
        """Validate data that came from `file`, by the keys that files use."""
        try:
            return model.model_validate(data, by_alias=True, by_name=False)
        except ValidationError as error:
            for problem in translate(error, model, file, within):
                if (file, problem.path) not in self.resolver.unresolved:
                    self.problems.append(problem)
            return None

    def fingerprint(self) -> str:
        """Return a hash over all files read so far, whatever their order."""
        lines = "\n".join(f"{file}\0{digest}" for file, digest in sorted(self.digests.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise ValueError(f'the key "{key}" stands twice in one object')
        seen[key] = value
    return seen


def refuse_name(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def describe(error: OSError) -> str:
    """Say what an operating system error means, without the absolute path."""
    return f"cannot be read: {error.strerror or os.strerror(error.errno or 0)}"
