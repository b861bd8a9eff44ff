"""Migration operations that put a table under row-level security.

Law: the tenant role sees and writes the rows of the scope that its transaction names, and none
without one; the owner has all rows by a policy of its own, so nothing needs BYPASSRLS. Every
model with a `scope_id` has one `RowSecurity` (a house test looks).
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db.migrations.operations.base import Operation
from django.db.utils import ProgrammingError

SCOPE = "(SELECT agentsite_scope())"
"""Once per statement, not once per row."""
OWN = f"scope_id = {SCOPE}"
IN_A_SCOPE = f"{SCOPE} IS NOT NULL"

SCOPE_FUNCTION = """
CREATE OR REPLACE FUNCTION agentsite_scope() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN starts_with(current_setting('agentsite.scope', true), 's:')
    THEN substr(current_setting('agentsite.scope', true), 3) END
"""


def tenant_role() -> str:
    """The role's name, from the settings."""
    return str(settings.DATABASE_TENANT_ROLE)


class _Sql(Operation):
    """What is written in SQL and changes no model."""

    reversible = True

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Nothing."""


class TenantRole(_Sql):
    """Make the role that requests and runs work as, and `agentsite_scope()`.

    A role made beforehand is taken as it is. Raises `CommandError` where it can neither be found
    nor made, or is no role to keep tenants apart by.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Create what is missing."""
        role = tenant_role()
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(SCOPE_FUNCTION)
            if _is_missing(cursor, role):
                _create(cursor, role)
            _check(cursor, role)
            _join(cursor, role)
            cursor.execute("SELECT has_schema_privilege(%s, current_schema(), 'USAGE')", [role])
            if not cursor.fetchone()[0]:
                cursor.execute("SELECT quote_ident(current_schema())")
                schema = cursor.fetchone()[0]
                cursor.execute(f"GRANT USAGE ON SCHEMA {schema} TO {_quote(cursor, role)}")

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """The role stays: other databases of the server may use it."""
        schema_editor.execute("DROP FUNCTION agentsite_scope()")

    def describe(self) -> str:
        return "Create the role that tenants' rows are touched as"


class RowSecurity(_Sql):
    """Let the tenant role have a table's rows of its scope, and the owner all of them.

    `readable` is a condition under which any scope may read a row that is not its own;
    `own` replaces the condition for reading those that are.
    """

    def __init__(self, model_name: str, readable: str = "", own: str = OWN) -> None:
        self.model_name = model_name
        self.readable = readable
        self.own = own

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Grants, policies, and force."""
        table = schema_editor.quote_name(
            to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        )
        with schema_editor.connection.cursor() as cursor:
            role = _quote(cursor, tenant_role())
            for words in (
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {role}",
                f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
                f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
                f"CREATE POLICY owner ON {table} TO CURRENT_USER USING (true) WITH CHECK (true)",
                *self._policies(table, role),
            ):
                cursor.execute(words)

    def _policies(self, table: str, role: str) -> list[str]:
        if self.own == OWN and not self.readable:
            return [f"CREATE POLICY tenant ON {table} TO {role} USING ({OWN}) WITH CHECK ({OWN})"]
        reads = f"{self.own} OR ({IN_A_SCOPE} AND {self.readable})" if self.readable else self.own
        return [
            f"CREATE POLICY tenant ON {table} FOR SELECT TO {role} USING ({reads})",
            f"CREATE POLICY tenant_insert ON {table} FOR INSERT TO {role} WITH CHECK ({OWN})",
            f"CREATE POLICY tenant_update ON {table} FOR UPDATE TO {role}"
            f" USING ({self.own}) WITH CHECK ({OWN})",
            f"CREATE POLICY tenant_delete ON {table} FOR DELETE TO {role} USING ({self.own})",
        ]

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """All of it away."""
        table = schema_editor.quote_name(
            from_state.apps.get_model(app_label, self.model_name)._meta.db_table
        )
        for name in ("owner", "tenant", "tenant_insert", "tenant_update", "tenant_delete"):
            schema_editor.execute(f"DROP POLICY IF EXISTS {name} ON {table}")
        schema_editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(f"REVOKE ALL ON {table} FROM {_quote(cursor, tenant_role())}")

    def describe(self) -> str:
        return f"Put {self.model_name} under row-level security"


class TenantFunction(_Sql):
    """Let nobody but the tenant role (and the owner) call a function that runs as its owner.

    Names inside it are looked up where nobody else can create any.
    """

    def __init__(self, signature: str) -> None:
        self.signature = signature

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Revoke, grant, fix the path."""
        with schema_editor.connection.cursor() as cursor:
            role = _quote(cursor, tenant_role())
            cursor.execute("SELECT quote_ident(current_schema())")
            schema = cursor.fetchone()[0]
            for words in (
                f"REVOKE EXECUTE ON FUNCTION {self.signature} FROM PUBLIC",
                f"GRANT EXECUTE ON FUNCTION {self.signature} TO {role}",
                f"ALTER FUNCTION {self.signature} SET search_path = pg_catalog, {schema}, pg_temp",
            ):
                cursor.execute(words)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Everybody may call it again, as functions are made."""
        schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {self.signature} TO PUBLIC")

    def describe(self) -> str:
        return f"Let tenants alone call {self.signature}"


def _quote(cursor: Any, name: str) -> str:
    cursor.execute("SELECT quote_ident(%s)", [name])
    return str(cursor.fetchone()[0])


def _is_missing(cursor: Any, role: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
    return cursor.fetchone() is None


def _try(cursor: Any, words: str, harmless: str) -> None:
    """Execute unless another database of the server is doing the same at this moment."""
    cursor.execute(f"DO $do$ BEGIN {words}; EXCEPTION WHEN {harmless} THEN NULL; END $do$")


def _create(cursor: Any, role: str) -> None:
    cursor.execute("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
    if not cursor.fetchone()[0]:
        raise CommandError(_advice(cursor, role, "does not exist, and this user may not create it"))
    _try(
        cursor,
        f"CREATE ROLE {_quote(cursor, role)} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE",
        "duplicate_object OR unique_violation",
    )


def _check(cursor: Any, role: str) -> None:
    """A role that row-level security does not bind keeps nobody apart."""
    cursor.execute(
        "SELECT rolsuper OR rolbypassrls OR rolname = current_user"
        " OR pg_has_role(oid, current_user::regrole::oid, 'MEMBER') FROM pg_roles"
        " WHERE rolname = %s",
        [role],
    )
    if cursor.fetchone()[0]:
        raise CommandError(
            f'The database role "{role}" is no role to keep tenants apart by: it is a superuser, '
            "has BYPASSRLS, or has the rights of the user that owns the tables. Name another in "
            "DATABASE_TENANT_ROLE."
        )


def _join(cursor: Any, role: str) -> None:
    """See to it that this user may work as the role (superusers may anyway)."""
    recent = cursor.connection.info.server_version >= 160000
    may = "SET" if recent else "MEMBER"
    cursor.execute("SELECT pg_has_role(current_user, %s, %s)", [role, may])
    if cursor.fetchone()[0]:
        return
    # Its rights are used by SET ROLE only, never beside the owner's own.
    options = " WITH SET TRUE, INHERIT FALSE" if recent else ""
    words = f"GRANT {_quote(cursor, role)} TO CURRENT_USER{options}"
    try:
        _try(cursor, words, "unique_violation")
    except ProgrammingError as error:
        raise CommandError(_advice(cursor, role, "may not be used by this user")) from error


def _advice(cursor: Any, role: str, problem: str) -> str:
    user, quoted = cursor.connection.info.user, role.replace('"', '""')
    return (
        f'The database role "{role}", as which the requests of tenants work, {problem}. Let a '
        "user with CREATEROLE execute this once, then migrate again:\n"
        f'    CREATE ROLE "{quoted}" NOLOGIN;\n'
        f'    GRANT "{quoted}" TO "{user}";\n'
        "Another role can be named in the setting DATABASE_TENANT_ROLE."
    )
