"""The tests of the MCP server talk to real servers: shared one, laboratory, gatehouse."""

from tests.gatehouse import gate
from tests.host.conftest import gates, lab
from tests.server import client, pytest_collection_modifyitems, server

__all__ = ["client", "gate", "gates", "lab", "pytest_collection_modifyitems", "server"]
