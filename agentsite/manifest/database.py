"""Where the database is, as amodal.json says it: asked before anything else is loaded.

Law: never raises over a broken manifest; `load` reports that, with everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentsite.manifest.env import Resolver
from agentsite.manifest.loader import read_config, read_environment
from agentsite.manifest.reader import Reader


@dataclass(frozen=True)
class Database:
    """An external server's address, or the folder of the embedded one; both may be None."""

    address: str | None = field(repr=False)
    data_dir: Path | None


def find_database(root: Path, env: Mapping[str, str], *, production: bool = False) -> Database:
    """Return where the agent in `root` keeps its data.

    `DATABASE_URL` (in development also from `.env`) wins over amodal.json; a relative
    `dataDir` is seen from the agent's root.
    """
    root = root.resolve()
    reader = Reader(root, Resolver(env))
    env = reader.resolver.env = read_environment(reader, env, production=production)
    address = env.get("DATABASE_URL") or None
    _, config = read_config(reader)
    if config is None:
        return Database(address, None)
    stores = config.stores
    if not address and not reader.resolver.problems:
        address = stores.address
    folder = root / stores.data_dir if stores.data_dir and not address else None
    return Database(address, folder)
