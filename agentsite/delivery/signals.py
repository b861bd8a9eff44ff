"""The signal that a `callback` target without a name sends."""

from django.dispatch import Signal

automation_delivered = Signal()
"""`payload: dict`, `info: dict` of `name`, `id`, `attempt`, `scopeId`; sent on a thread."""
