"""What leaves the server by itself, after a run: one file for each kind of target."""
