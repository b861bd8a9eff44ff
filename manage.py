#!/usr/bin/env python3
"""The one command: it makes its own environment where there is none, then runs Django's."""

import sys
from pathlib import Path

from agentsite import bootstrap

if __name__ == "__main__":
    bootstrap.run(Path(__file__).resolve().parent, sys.argv)
