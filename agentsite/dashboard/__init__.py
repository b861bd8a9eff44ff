"""The admin's first page: how the server does, and what it costs."""
