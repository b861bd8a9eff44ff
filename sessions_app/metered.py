"""Tokens as columns, in the classes that `engine.deltas.Usage` keeps apart."""

from __future__ import annotations

from django.db import models

from agentsite.engine.deltas import Usage


class Metered(models.Model):
    """Tokens in the disjoint classes of `engine.deltas.Usage`."""

    input = models.BigIntegerField(default=0)
    cache_read = models.BigIntegerField(default=0)
    cache_write = models.BigIntegerField(default=0)
    cache_write_1h = models.BigIntegerField(default=0)
    output = models.BigIntegerField(default=0)
    reasoning = models.BigIntegerField(default=0)

    class Meta:
        abstract = True

    @property
    def metered(self) -> Usage:
        return Usage(
            self.input,
            self.cache_read,
            self.cache_write,
            self.cache_write_1h,
            self.output,
            self.reasoning,
        )
