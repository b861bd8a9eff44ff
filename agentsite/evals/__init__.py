"""Evals: questions to an agent, tried on its models and judged; a client of the host."""
