"""What the database keeps and guards by itself: typed values, search columns, references.

Plain SQL functions bind their names when they are made (`BEGIN ATOMIC`), so no search path
can lead them elsewhere. Those that run as their owner read the scope from the transaction.
"""

from django.db import migrations

PLAIN = r"""
CREATE FUNCTION stores_slot(agent text, store text, path text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(agent || chr(31) || store || chr(31) || path, 0);

CREATE FUNCTION stores_token(agent text, scope text, store text, path text, value jsonb)
    RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(
        agent || chr(31) || scope || chr(31) || store || chr(31) || path || chr(31)
        || CASE jsonb_typeof(value)
            WHEN 'number' THEN trim_scale((value #>> '{}')::numeric)::text
            ELSE value::text END, 0);

CREATE FUNCTION stores_place(agent text, scope text, store text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '@' || hashtextextended(agent || chr(31) || scope || chr(31) || store, 0)::text;

-- Every string, number and boolean of a document with its dotted path. Positions in lists are
-- no part of a path; `listed` tells what stands in a list.
CREATE FUNCTION stores_leaves(payload jsonb)
    RETURNS TABLE (path text, value jsonb, listed boolean)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH RECURSIVE walk(path, value, listed) AS (
        SELECT e.key, e.value, false FROM jsonb_each(payload) AS e
        UNION ALL
        SELECT child.path, child.value, child.listed FROM walk CROSS JOIN LATERAL (
            SELECT walk.path || '.' || e.key, e.value, walk.listed FROM jsonb_each(
                CASE jsonb_typeof(walk.value) WHEN 'object' THEN walk.value ELSE '{}' END) AS e
            UNION ALL
            SELECT walk.path, e.value, true FROM jsonb_array_elements(
                CASE jsonb_typeof(walk.value) WHEN 'array' THEN walk.value ELSE '[]' END) AS e
        ) AS child(path, value, listed)
        WHERE jsonb_typeof(walk.value) IN ('object', 'array')
    )
    SELECT w.path, w.value, w.listed FROM walk AS w
    WHERE jsonb_typeof(w.value) IN ('string', 'number', 'boolean');
END;

CREATE FUNCTION stores_number(value jsonb) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE jsonb_typeof(value) WHEN 'number' THEN (value #>> '{}')::double precision END;

-- A string that is an ISO date or time, as a moment; without an offset it is UTC.
CREATE FUNCTION stores_time(given text) RETURNS timestamptz
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET timezone = 'UTC' AS $$
BEGIN
    IF given !~ '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?$' THEN
        RETURN NULL;
    END IF;
    RETURN given::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

-- What `$contains` finds: one number for each scalar in a list, with its partition in it.
CREATE FUNCTION stores_tokens(agent text, scope text, store text, payload jsonb)
    RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(array_agg(DISTINCT stores_token(agent, scope, store, l.path, l.value)), '{}')
    FROM stores_leaves(payload) AS l WHERE l.listed;
END;

-- What full text search finds: the words of all strings, and the partition as a word of its own.
CREATE FUNCTION stores_words(agent text, scope text, store text, payload jsonb)
    RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT to_tsvector('simple'::regconfig,
            left(coalesce(string_agg(l.value #>> '{}', ' '), ''), 100000))
        || array_to_tsvector(ARRAY[stores_place(agent, scope, store)])
    FROM stores_leaves(payload) AS l WHERE jsonb_typeof(l.value) = 'string';
END;
"""
PLAIN_AWAY = """
DROP FUNCTION stores_words(text, text, text, jsonb);
DROP FUNCTION stores_tokens(text, text, text, jsonb);
DROP FUNCTION stores_time(text);
DROP FUNCTION stores_number(jsonb);
DROP FUNCTION stores_leaves(jsonb);
DROP FUNCTION stores_place(text, text, text);
DROP FUNCTION stores_token(text, text, text, text, jsonb);
DROP FUNCTION stores_slot(text, text, text);
"""

COLUMNS = """
ALTER TABLE stores_app_document
    ADD COLUMN tokens bigint[]
        GENERATED ALWAYS AS (stores_tokens(agent, scope_id, store, payload)) STORED,
    ADD COLUMN words tsvector
        GENERATED ALWAYS AS (stores_words(agent, scope_id, store, payload)) STORED;
CREATE INDEX document_tokens ON stores_app_document USING gin (tokens);
CREATE INDEX document_words ON stores_app_document USING gin (words);
"""
COLUMNS_AWAY = "ALTER TABLE stores_app_document DROP COLUMN words, DROP COLUMN tokens;"

# Both ways of asking are answered from an index alone: which documents have a value, and which
# value a document has. Rows that stay the same are left alone.
VALUES = """
ALTER TABLE stores_app_documentvalue
    DROP CONSTRAINT stores_app_documentvalue_pkey,
    ADD CONSTRAINT stores_app_documentvalue_pkey PRIMARY KEY (slot, document_id)
        INCLUDE (scope_id, shared, text_value, number_value, time_value);

CREATE FUNCTION stores_index() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM stores_app_documentvalue AS v
        USING gone AS g CROSS JOIN LATERAL stores_leaves(g.payload) AS l
        WHERE v.slot = stores_slot(g.agent, g.store, l.path) AND v.document_id = g.id;
        RETURN NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM stores_app_documentvalue AS v USING (
            SELECT g.id, stores_slot(g.agent, g.store, l.path) AS slot
            FROM gone AS g CROSS JOIN LATERAL stores_leaves(g.payload) AS l WHERE NOT l.listed
            EXCEPT
            SELECT c.id, stores_slot(c.agent, c.store, l.path)
            FROM changed AS c CROSS JOIN LATERAL stores_leaves(c.payload) AS l WHERE NOT l.listed
        ) AS lost WHERE v.slot = lost.slot AND v.document_id = lost.id;
    END IF;
    INSERT INTO stores_app_documentvalue AS v
        (document_id, slot, scope_id, text_value, number_value, time_value, expires_at, shared)
    SELECT c.id, stores_slot(c.agent, c.store, l.path), c.scope_id,
        CASE WHEN jsonb_typeof(l.value) <> 'number' THEN left(l.value #>> '{}', 250) END,
        stores_number(l.value),
        CASE WHEN jsonb_typeof(l.value) = 'string' AND l.value #>> '{}' LIKE '____-__-__%'
            THEN stores_time(l.value #>> '{}') END,
        c.expires_at, c.shared
    FROM changed AS c CROSS JOIN LATERAL stores_leaves(c.payload) AS l
    WHERE NOT l.listed
    ON CONFLICT (slot, document_id) DO UPDATE SET
        scope_id = excluded.scope_id, text_value = excluded.text_value,
        number_value = excluded.number_value, time_value = excluded.time_value,
        expires_at = excluded.expires_at, shared = excluded.shared
    WHERE (v.scope_id, v.text_value, v.number_value, v.time_value, v.expires_at, v.shared)
        IS DISTINCT FROM (excluded.scope_id, excluded.text_value, excluded.number_value,
            excluded.time_value, excluded.expires_at, excluded.shared);
    RETURN NULL;
END $$;
CREATE TRIGGER stores_index_new AFTER INSERT ON stores_app_document
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION stores_index();
CREATE TRIGGER stores_index_changed AFTER UPDATE ON stores_app_document
    REFERENCING NEW TABLE AS changed OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION stores_index();
CREATE TRIGGER stores_index_gone AFTER DELETE ON stores_app_document
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stores_index();
"""
VALUES_AWAY = """
DROP FUNCTION stores_index() CASCADE;
ALTER TABLE stores_app_documentvalue
    DROP CONSTRAINT stores_app_documentvalue_pkey,
    ADD CONSTRAINT stores_app_documentvalue_pkey PRIMARY KEY (slot, document_id);
"""

# Checked at once, not at the end of the transaction, so that the verb in hand hears of it.
# What hangs on a document goes before the check of what points at it: the order matters.
KEYS = """
ALTER TABLE stores_app_reference ADD CONSTRAINT reference_source
    FOREIGN KEY (source_id) REFERENCES stores_app_document ON DELETE CASCADE;
ALTER TABLE stores_app_reference ADD CONSTRAINT reference_target
    FOREIGN KEY (target_id) REFERENCES stores_app_document ON DELETE NO ACTION;
"""
KEYS_AWAY = """
ALTER TABLE stores_app_reference DROP CONSTRAINT reference_target;
ALTER TABLE stores_app_reference DROP CONSTRAINT reference_source;
"""

# Neither GIN index can serve under row-level security, so these run as the tables' owner. They
# take the scope from the transaction; `of_all` asks for what is shared, and finds nothing else.
GUARDED = """
CREATE FUNCTION stores_scope(of_all boolean) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN of_all THEN '' ELSE current_setting('agentsite.scope', true) END;

CREATE FUNCTION stores_containing(
    agent_id text, store_name text, of_all boolean, at text, needle jsonb, most integer)
    RETURNS SETOF bigint LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000
BEGIN ATOMIC
    SELECT d.id FROM stores_app_document AS d
    WHERE d.tokens @> (
            SELECT array_agg(stores_token(agent_id, stores_scope(of_all), store_name,
                concat_ws('.', at, nullif(substr(l.path, 3), '')), l.value))
            FROM stores_leaves(jsonb_build_object('n', needle)) AS l)
        AND d.scope_id = stores_scope(of_all) AND (d.shared OR NOT of_all)
        AND d.agent = agent_id AND d.store = store_name
        AND d.payload #> string_to_array(at, '.') @> jsonb_build_array(needle)
        AND (d.expires_at IS NULL OR d.expires_at > now())
    LIMIT most;
END;

CREATE FUNCTION stores_matching(
    agent_id text, store_name text, of_all boolean, query text, most integer)
    RETURNS SETOF bigint LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000
BEGIN ATOMIC
    SELECT d.id FROM stores_app_document AS d
    WHERE d.words @@ (websearch_to_tsquery('simple'::regconfig, query)
            && quote_literal(stores_place(agent_id, stores_scope(of_all), store_name))::tsquery)
        AND numnode(websearch_to_tsquery('simple'::regconfig, query)) > 0
        AND d.scope_id = stores_scope(of_all) AND (d.shared OR NOT of_all)
        AND d.agent = agent_id AND d.store = store_name
        AND (d.expires_at IS NULL OR d.expires_at > now())
    LIMIT most;
END;
"""
GUARDED_AWAY = """
DROP FUNCTION stores_matching(text, text, boolean, text, integer);
DROP FUNCTION stores_containing(text, text, boolean, text, jsonb, integer);
DROP FUNCTION stores_scope(boolean);
"""


class Migration(migrations.Migration):
    dependencies = [("stores_app", "0001_initial")]

    operations = [
        migrations.RunSQL(PLAIN, PLAIN_AWAY),
        migrations.RunSQL(COLUMNS, COLUMNS_AWAY),
        migrations.RunSQL(VALUES, VALUES_AWAY),
        migrations.RunSQL(KEYS, KEYS_AWAY),
        migrations.RunSQL(GUARDED, GUARDED_AWAY),
    ]
