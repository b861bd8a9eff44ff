"""Tests of connections to MCP servers."""
