"""The server's event bus: what has changed, as rows that every process reads in one order."""
