"""Killing what serves, again and again, and proving afterwards that nothing was lost.

Law: it talks to the servers over HTTP alone, kills real processes, and judges from the rows,
from what the clients recorded, and from what the counting server counted. Bounded in everything.
"""
