"""The embedded Postgres: found, started, shared between processes, and stopped by file locks.

Law: no Django, no process lists, nothing of the machine is changed (no users, no chmod of
folders that are not ours), and the death of any process leaves neither a server nor damage.
"""

from agentsite.embedded.attach import Attachment, attach
from agentsite.embedded.problems import EmbeddedError

__all__ = ["Attachment", "EmbeddedError", "attach"]
