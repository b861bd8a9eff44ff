"""A process that attaches to the database of a folder, says how it went, and holds on.

Usage: holder.py BASE OPTIONS. It lets go in good order when its standard input ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from agentsite.embedded import EmbeddedError, attach

if __name__ == "__main__":
    try:
        attachment = attach(Path(sys.argv[1]), **json.loads(sys.argv[2]))
    except EmbeddedError as problem:
        print(json.dumps({"error": str(problem)}), flush=True)
        sys.exit(1)
    print(json.dumps({"host": str(attachment.host)}), flush=True)
    sys.stdin.read()
    attachment.release()
