"""Vectors of documents, and the one function that searches them."""

import django.db.models.deletion
from django.db import migrations, models

from agentsite.rows.policies import RowSecurity, TenantFunction

COLUMNS = """
ALTER TABLE stores_app_documentvector ADD COLUMN vector float4[], ADD COLUMN bits varbit,
    ADD CONSTRAINT vector_document FOREIGN KEY (document_id)
        REFERENCES stores_app_document ON DELETE CASCADE;
CREATE INDEX vector_waiting ON stores_app_documentvector (agent, store, next_try_at)
    WHERE vector IS NULL AND text_hash <> '';
"""
COLUMNS_AWAY = """
ALTER TABLE stores_app_documentvector DROP CONSTRAINT vector_document, DROP COLUMN bits,
    DROP COLUMN vector;
"""

# No vector extension is required. Which numbers of a vector are above its mean tells nearly as well what is
# near, and comparing them costs a hundredth: they choose, the numbers themselves decide.
NEAREST = """
CREATE FUNCTION stores_bits(vector float4[]) RETURNS varbit LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT string_agg(CASE WHEN x > mean THEN '1' ELSE '0' END, '' ORDER BY place)::varbit
    FROM unnest(vector) WITH ORDINALITY AS t(x, place),
        (SELECT avg(y) FROM unnest(vector) AS y) AS m(mean);
END;

CREATE FUNCTION stores_nearest(agent_id text, store_name text, of_all boolean, query float4[],
    by_model text, most integer)
    RETURNS TABLE (document_id bigint, similarity double precision)
    LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
BEGIN ATOMIC
    WITH near AS MATERIALIZED (
        SELECT v.document_id, v.vector FROM stores_app_documentvector AS v
        WHERE v.scope_id = stores_scope(of_all) AND (v.shared OR NOT of_all)
            AND v.agent = agent_id AND v.store = store_name AND v.model = by_model
            AND v.vector IS NOT NULL AND cardinality(v.vector) = cardinality(query)
        ORDER BY bit_count(v.bits # (SELECT stores_bits(query)))
        LIMIT greatest(400, 4 * most)
    )
    SELECT n.document_id, (
        SELECT sum(a::double precision * b) FROM unnest(n.vector, query) AS t(a, b)) AS similarity
    FROM near AS n ORDER BY similarity DESC LIMIT most;
END;
"""
NEAREST_AWAY = """
DROP FUNCTION stores_nearest(text, text, boolean, float4[], text, integer);
DROP FUNCTION stores_bits(float4[]);
"""


class Migration(migrations.Migration):
    dependencies = [("stores_app", "0003_row_security")]

    operations = [
        migrations.CreateModel(
            name="DocumentVector",
            fields=[
                (
                    "document",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="vector",
                        serialize=False,
                        to="stores_app.document",
                    ),
                ),
                ("scope_id", models.CharField(blank=True, default="", max_length=200)),
                ("agent", models.CharField(max_length=200)),
                ("store", models.CharField(max_length=200)),
                ("shared", models.BooleanField(default=False)),
                ("text_hash", models.CharField(blank=True, max_length=64)),
                ("model", models.CharField(blank=True, default="", max_length=250)),
                ("attempts", models.IntegerField(default=0)),
                ("next_try_at", models.DateTimeField()),
                ("problem", models.CharField(blank=True, default="", max_length=500)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["scope_id", "agent", "store"], name="vector_partition")
                ],
            },
        ),
        migrations.RunSQL(COLUMNS, COLUMNS_AWAY),
        migrations.RunSQL(NEAREST, NEAREST_AWAY),
        TenantFunction("stores_nearest(text, text, boolean, float4[], text, integer)"),
        RowSecurity("documentvector", readable="shared"),
    ]
