"""Everything outbound that is not a model: the guarded client, and the rules of connections."""
