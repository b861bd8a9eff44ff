"""The tests of the wire talk to a real server."""

from tests.server import client, pytest_collection_modifyitems, server

__all__ = ["client", "pytest_collection_modifyitems", "server"]
