"""What operators' machines read of this process: log lines, metrics, traces.

Law: facts and ids, never what people or models said. Nothing here knows Django or a database.
"""
