"""What the rows of every app share: short units of work, scoped querysets, encrypted fields."""
