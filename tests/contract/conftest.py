"""The tests of the wire talk to a real server."""

from tests.gatehouse import gate
from tests.server import client, pytest_collection_modifyitems, server

__all__ = ["client", "gate", "pytest_collection_modifyitems", "server"]
