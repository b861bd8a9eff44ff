"""A chat in the terminal, over the HTTP API like any other client; no Django in here."""
