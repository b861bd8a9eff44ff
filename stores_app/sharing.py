"""Whether a store is shared stands on its rows, for the database decides by them who may read.

Law: only rows of the empty scope are ever shared; those of a tenant stay its own whatever the
store says later.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

from agentsite.manifest.stores import StoreSpec
from agentsite.rows.tenancy import acting_for_all

TABLES = ("stores_app_document", "stores_app_documentversion", "stores_app_documentvector")


def follow_shared(agent: str, specs: Iterable[StoreSpec]) -> int:
    """Give rows that were written before what their store says now; how many had to change.

    Values follow their documents by themselves (`stores_index`). In a unit, for all scopes.
    """
    changed = 0
    with (
        acting_for_all("what a store shares is its manifest's word"),
        connection.cursor() as cursor,
    ):
        for spec in specs:
            for table in TABLES:
                cursor.execute(
                    f"UPDATE {table} SET shared = %s WHERE scope_id = '' AND agent = %s"  # noqa: S608 - constant
                    " AND store = %s AND shared <> %s",
                    [spec.shared, agent, spec.name, spec.shared],
                )
                changed += cursor.rowcount
    return changed
