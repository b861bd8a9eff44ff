"""What the vendors refuse about a request: one check per wire, a list of problems each.

The rules are those of the vendors' public references and of the 400s that users report.
Where a vendor is lenient on one road and not on another (Bedrock, Vertex), the strict one counts.
"""

from __future__ import annotations

from agentsite.fakemodel.strict_anthropic import check_anthropic
from agentsite.fakemodel.strict_google import check_google
from agentsite.fakemodel.strict_openai import check_openai_chat, check_openai_responses

__all__ = ["check_anthropic", "check_google", "check_openai_chat", "check_openai_responses"]
