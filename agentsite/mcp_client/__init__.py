"""MCP servers as a client sees them: connections that are owned, pooled, listed and let go."""
