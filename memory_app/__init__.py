"""What an agent remembers about a scope, as rows."""
