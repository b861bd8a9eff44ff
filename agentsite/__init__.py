"""A self-hosted AI agent runtime on Django."""

__version__ = "0.1.0"
