"""A fake model server: the wire formats of three vendors, over real HTTP on loopback.

Tests, `manage.py bench` and `chaos` point the real SDKs at it; a request scripts its own
answer (see `plan.py`), and a history the vendor would refuse is refused here too.
"""

from agentsite.fakemodel.server import FakeModel, Recorded

__all__ = ["FakeModel", "Recorded"]
