"""`.amodal/scopes.json` of an agent: credentials of scopes for development.

Law: read when the server starts in development, never in production. What is wrong with it is
a warning that names the place, not a value.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
from django.db import DatabaseError

from agentsite.host.redaction import LOGS
from sessions_app import scopes

logger = logging.getLogger(__name__)

FILE = ".amodal/scopes.json"
MAX_BYTES = 1024 * 1024


def import_scopes(agent_id: str, root: Path) -> None:
    """Store what the file says, if there is one. Synchronous: for `unit`."""
    path = root / FILE
    if not path.is_file():
        return
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("it is larger than 1 MB")
        said = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
        for scope_id, values in said.items():
            LOGS.learn_of_scope(values.values())
            scopes.save_credentials(agent_id, scope_id, values)
    except (OSError, ValueError, msgspec.DecodeError, DatabaseError) as error:
        wanted = '{"<scope id>": {"<KEY>": "<value>"}}'
        logger.warning(
            "%s of %s was not imported; it must read %s: %s", FILE, agent_id, wanted, error
        )
    else:
        logger.info("%s of %s: credentials of %d scopes", FILE, agent_id, len(said))
