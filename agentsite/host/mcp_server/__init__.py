"""Every agent as an MCP server: the same runs, sessions and documents, by another protocol."""
