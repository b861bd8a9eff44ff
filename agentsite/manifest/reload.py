"""Keeps agents up to date in development: a changed file is in the next run's bundle.

Law: a broken edit never takes a working agent away; the last good version stays
and `problem` says what is wrong. In production the manifest is read once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from agentsite.manifest.bundle import Bundle
from agentsite.manifest.loader import MANIFEST, find_folders, load
from agentsite.manifest.packages import FOLDERS, REFUSED_FOLDERS
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reader import IGNORED

EnvReader = Callable[[], Mapping[str, str]]
Stamp = tuple[tuple[str, int, int], ...]
KNOWN = frozenset((MANIFEST, ".env", *FOLDERS, *REFUSED_FOLDERS))
PAUSE = 1.0
"""Seconds between two looks at the tree."""


class BundleSource:
    """One agent's current bundle. Safe to use from several threads."""

    def __init__(
        self,
        root: Path,
        env_reader: EnvReader,
        production: bool = False,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self.production = production
        self.problem: str | None = None
        """What is wrong with the newest edit; None while the newest version serves."""
        self._read_env = env_reader
        self._clock = clock
        self._lock = threading.Lock()
        self._bundle: Bundle | None = None
        self._stamp: Stamp = ()
        self._looked = 0.0

    def current(self) -> Bundle:
        """Return the version new runs start with; `ManifestError` if there never was one."""
        with self._lock:
            if self._bundle is None:
                return self._load_first()
            if not self.production and self._clock() - self._looked >= PAUSE:
                self._refresh(self._bundle)
            return self._bundle

    def _load_first(self) -> Bundle:
        self._stamp = take_stamp((self.root,))
        bundle = load(self.root, self._read_env(), production=self.production)
        if len(bundle.watched) > 1:
            self._stamp = take_stamp(bundle.watched)
        self._looked = self._clock()
        self._bundle = bundle
        return bundle

    def _refresh(self, old: Bundle) -> None:
        self._looked = self._clock()
        stamp = take_stamp(old.watched)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._bundle = load(self.root, self._read_env())
        except ManifestError as error:
            self.problem = f"the last good version ({old.version}) serves on:\n{error}"
            return
        self.problem = None
        if self._bundle.watched != old.watched:
            self._stamp = take_stamp(self._bundle.watched)


class UnknownAgent(LookupError):
    """No agent of that name is served here."""


class Agents:
    """All agents of this server by `agentId`; the first one is the default."""

    def __init__(self, sources: Mapping[str, BundleSource]) -> None:
        if not sources:
            raise ValueError("no agent to serve")
        self.sources = dict(sources)
        self.default = next(iter(self.sources))

    @classmethod
    def discover(
        cls,
        env_reader: EnvReader,
        *,
        agent_dir: Path | None = None,
        agents_dir: Path | None = None,
        production: bool = False,
    ) -> Agents:
        """Find the agents of a folder of agents, or take the one of `agent_dir`.

        In a folder of agents `agentId` is the folder's name, a single agent is known by the
        name in its manifest. Raises `ManifestError` when nothing can be served.
        """
        if agents_dir is not None:
            folders = find_folders(agents_dir)
            if folders != [agents_dir]:
                return cls({p.name: BundleSource(p, env_reader, production) for p in folders})
            agent_dir = agents_dir
        if agent_dir is None:
            raise ValueError("neither agent_dir nor agents_dir is given")
        source = BundleSource(agent_dir, env_reader, production)
        return cls({source.current().name: source})

    def source(self, agent_id: str | None = None) -> BundleSource:
        """Return an agent's source; `UnknownAgent` for an id nobody has."""
        try:
            return self.sources[agent_id or self.default]
        except KeyError:
            raise UnknownAgent(agent_id or "") from None

    def get(self, agent_id: str | None = None) -> Bundle:
        """Return an agent's current bundle; None means the default agent."""
        return self.source(agent_id).current()

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with the newest edits, by agent."""
        return {name: s.problem for name, s in self.sources.items() if s.problem}


def take_stamp(folders: tuple[Path, ...]) -> Stamp:
    """Return path, time and size of every file an agent is made of, and of no others."""
    return tuple(sorted(line for folder in folders for line in walk(os.fspath(folder), KNOWN)))


def walk(folder: str, only: frozenset[str] | None = None) -> Iterator[tuple[str, int, int]]:
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        return
    for entry in entries:
        hidden = entry.name in IGNORED or entry.name.startswith(".")
        if entry.name not in only if only else hidden:
            continue
        try:
            if entry.is_dir():
                yield from walk(entry.path)
            else:
                state = entry.stat()
                yield entry.path, state.st_mtime_ns, state.st_size
        except OSError:
            continue
