"""What row-level security adds to the time to the first delta: the same newcomers with and without.

Law: the tables' security is switched while one server runs, in alternating rounds, so that what
else changes on the machine meets both. It is on again afterwards, whatever happens.
"""

from __future__ import annotations

import asyncio

from psycopg import sql

from agentsite.management.bench.figures import Figures, quantile, quantiles
from agentsite.management.bench.report import COSTS, SECURITY
from agentsite.management.bench.stack import Stack
from agentsite.management.bench.streams import probe, warm_up

SETTLED = 5
"""Newcomers that are not counted after a switch: statements are planned anew."""
ROUND = 1.0
"""Seconds, at the most, of each state in a round."""


class Security:
    """Row-level security of all tables that have it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        with stack.connect() as connection:
            rows = connection.execute(
                "SELECT relname FROM pg_class WHERE relrowsecurity AND pg_table_is_visible(oid)"
            ).fetchall()
        self.tables = sorted(str(name) for (name,) in rows)

    def switch(self, *, on: bool) -> None:
        """One table after the other: taken together they could lock each other out."""
        words = sql.SQL("ENABLE" if on else "DISABLE")
        with self._stack.connect() as connection:
            for table in self.tables:
                connection.execute(
                    sql.SQL("ALTER TABLE {} {} ROW LEVEL SECURITY").format(
                        sql.Identifier(table), words
                    )
                )


async def measure_security(stack: Stack, figures: Figures, seconds: float) -> None:
    """Newcomers with nobody beside them; each state goes first in every other round."""
    await warm_up(stack)
    security = await asyncio.to_thread(Security, stack)
    through: dict[bool, list[float]] = {True: [], False: []}
    direct: list[float] = []
    try:
        for number in range(max(1, round(seconds / ROUND))):
            for on in (True, False) if number % 2 == 0 else (False, True):
                await asyncio.to_thread(security.switch, on=on)
                await probe(stack, seconds=0, least=SETTLED)
                waits, straight = await probe(stack, min(seconds, ROUND))
                through[on] += waits
                direct += straight
    finally:
        await asyncio.to_thread(security.switch, on=True)
    note(figures, through, direct)


def note(figures: Figures, through: dict[bool, list[float]], direct: list[float]) -> None:
    """Both added times, and the difference of their medians in percent."""
    usual = quantile(direct, 0.5)
    added = {on: [wait - usual for wait in waits] for on, waits in through.items()}
    for on, waits in added.items():
        row = "on" if on else "off"
        figures.add(SECURITY, row, **quantiles(waits, "added "), newcomers=len(waits))
    with_it, without = (quantile(added[on], 0.5) for on in (True, False))
    figures.add(SECURITY, COSTS, **{"percent": (with_it / without - 1) * 100})
