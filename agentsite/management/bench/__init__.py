"""Measuring the server from outside: real processes, real wires, real disk writes.

Law: it measures and does not judge. Every figure through the server stands beside the same
figure taken directly from the fake model, by the same client, in the same run.
"""
