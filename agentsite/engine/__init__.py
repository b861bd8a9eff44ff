"""The agent loop as pure values: no Django, no SDK, no clock, no randomness, no I/O."""
