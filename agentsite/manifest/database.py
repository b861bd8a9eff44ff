"""Where the database is, as amodal.json says it: asked before anything else is loaded.

Law: never raises over a broken manifest; `load` reports that, with everything else. A server
has one database: agents that share it may not name several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentsite.manifest.env import Resolver
from agentsite.manifest.loader import MANIFEST, find_folders, read_config, read_environment
from agentsite.manifest.reader import Reader


@dataclass(frozen=True)
class Database:
    """An external server's address, or the folder of the embedded one; both may be None."""

    address: str | None = field(repr=False)
    data_dir: Path | None
    embedded: bool = False
    """`backend` asks for the embedded server."""


def find_site_database(
    agent_dir: Path,
    agents_dir: Path | None,
    env: Mapping[str, str],
    production: bool,
    problems: list[str],
) -> Database:
    """Return where the agents of this server keep their data; one that says nothing goes along.

    Agents that name different places become a problem. `DATABASE_URL` in `env` ends all dispute.
    """
    if env.get("DATABASE_URL"):
        return Database(env["DATABASE_URL"], None)
    folders = [agent_dir] if agents_dir is None else find_folders(agents_dir)
    named = {folder.name: find_database(folder, env, production=production) for folder in folders}
    named = {name: each for name, each in named.items() if each != Database(None, None)}
    addresses = {each.address for each in named.values()}
    places = {each.data_dir for each in named.values() if each.data_dir is not None}
    if len(addresses) > 1 or len(places) > 1:
        problems.append(
            f"The agents {', '.join(named)} name different databases (`stores` in {MANIFEST}, or"
            " DATABASE_URL in .env), and a server has one: set DATABASE_URL, or let them agree."
        )
        return Database(None, None)
    return Database(next(iter(addresses), None), next(iter(places), None))


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
    named = stores.data_dir if not address else None
    folder = _resolve(root / named) if named else None
    return Database(address, folder, stores.backend == "pglite" and not address)


def _resolve(folder: Path) -> Path:
    """One place in one spelling; as it stands where it cannot be one, for its user to refuse."""
    try:
        return folder.resolve()
    except (OSError, RuntimeError, ValueError):  # no right to look, links in a ring, a NUL
        return folder
