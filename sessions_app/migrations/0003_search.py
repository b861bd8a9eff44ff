"""Full text over what users and assistants said, and the one function that may search it."""

from django.db import migrations

# Text beyond the cut is not found; it keeps any message far below what a tsvector can hold.
TEXT = r"""
CREATE FUNCTION agentsite_spoken(parts json) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT left(string_agg(part->>'text', E'\n'), 100000)
    FROM json_array_elements(parts) part WHERE part->>'kind' = 'text'
$$;
"""
# The scope stands among the words, so that one index answers "these words, in this scope".
# No text can contain that mark: the parser takes the control character for a space.
# A short pending list, because every search reads it whole.
COLUMN = """
ALTER TABLE sessions_app_message ADD COLUMN words tsvector GENERATED ALWAYS AS (
    CASE WHEN role IN ('user', 'assistant')
    THEN to_tsvector('pg_catalog.english'::regconfig, agentsite_spoken(parts))
        || array_to_tsvector(ARRAY[chr(1) || hashtextextended(scope_id, 0)::text])
    END
) STORED;
CREATE INDEX message_words ON sessions_app_message USING gin (words)
    WITH (gin_pending_list_limit = 256);
"""
# Full-text operators are not leakproof: under row-level security no index would serve them.
# Hence this function runs as its owner and filters by itself, by the transaction's scope alone.
#
# Words that many messages contain are found by walking back from the newest session, all others
# through the index; a sample of the newest messages tells them apart. Both have a bound.
SEARCH = r"""
CREATE FUNCTION agentsite_search_sessions(
    in_agent text, but_session text, query text, at_most int)
RETURNS TABLE (session_id text, title text, said_at timestamptz, role text, snippet text)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
    scope text := current_setting('agentsite.scope', true);
    mark tsquery := (chr(39) || chr(1) || hashtextextended(scope, 0)::text || chr(39))::tsquery;
    every tsquery := websearch_to_tsquery('pg_catalog.english', left(query, 500));
    lexemes text[] := (tsvector_to_array(to_tsvector('pg_catalog.english', left(query, 500))))[:16];
    quoted text[];
    whichever tsquery;
    rare tsquery;
    sampled tsvector[];
    found text[];
BEGIN
    IF scope IS NULL THEN
        RAISE EXCEPTION 'no scope is set' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF cardinality(lexemes) = 0 OR numnode(every) = 0 THEN
        RETURN;
    END IF;
    quoted := ARRAY(
        SELECT chr(39) || replace(replace(word, chr(92), repeat(chr(92), 2)),
                                  chr(39), repeat(chr(39), 2)) || chr(39)
        FROM unnest(lexemes) word);
    whichever := array_to_string(quoted, ' | ')::tsquery;
    sampled := ARRAY(
        SELECT m.words FROM (
            SELECT s.id FROM sessions_app_session s
            WHERE s.agent = in_agent AND s.scope_id = scope
            ORDER BY s.updated_at DESC, s.id DESC LIMIT 100) newest
        JOIN sessions_app_message m ON m.session_id = newest.id
        WHERE m.words IS NOT NULL LIMIT 1000);
    rare := (SELECT string_agg(word, ' | ') FROM unnest(quoted) word
        WHERE (SELECT count(*) FROM unnest(sampled) v WHERE v @@ word::tsquery) <= 20)::tsquery;
    IF (SELECT count(*) FROM unnest(sampled) v WHERE v @@ every) > 20 THEN
        found := ARRAY(
            SELECT back.id FROM (
                SELECT m.id, m.words, m.scope_id
                FROM sessions_app_session s JOIN sessions_app_message m ON m.session_id = s.id
                WHERE s.agent = in_agent AND s.scope_id = scope
                    AND s.status <> 'expired' AND s.id <> but_session
                ORDER BY s.updated_at DESC, s.id DESC LIMIT 10000) back
            WHERE back.words @@ every AND back.scope_id = scope LIMIT 400);
    ELSE
        found := ARRAY(
            SELECT m.id FROM sessions_app_message m
            JOIN sessions_app_session s ON s.id = m.session_id
            WHERE m.words @@ (mark && every) AND m.scope_id = scope AND s.scope_id = scope
                AND s.agent = in_agent AND s.status <> 'expired' AND s.id <> but_session
            LIMIT 3000);
    END IF;
    -- Too few have all words: those with some of them follow, unless words were ruled out.
    IF rare IS NOT NULL AND cardinality(lexemes) > 1 AND cardinality(found) < 200
        AND strpos(every::text, '!') = 0 THEN
        found := found || ARRAY(
            SELECT m.id FROM sessions_app_message m
            JOIN sessions_app_session s ON s.id = m.session_id
            WHERE m.words @@ (mark && rare) AND m.scope_id = scope AND s.scope_id = scope
                AND s.agent = in_agent AND s.status <> 'expired' AND s.id <> but_session
            LIMIT 3000);
    END IF;
    RETURN QUERY
    WITH ranked AS (
        SELECT m.id, m.session_id, m.created_at, m.words @@ every AS whole,
            ts_rank(m.words, whichever) AS rank
        FROM sessions_app_message m WHERE m.id = ANY (found)
    ), best AS (
        SELECT DISTINCT ON (r.session_id) r.* FROM ranked r
        ORDER BY r.session_id, r.whole DESC, r.rank DESC, r.created_at DESC
    ), top AS (
        SELECT * FROM best b ORDER BY b.whole DESC, b.rank DESC, b.created_at DESC LIMIT at_most
    )
    SELECT s.id::text, s.title::text, m.created_at, m.role::text,
        ts_headline('pg_catalog.english', left(agentsite_spoken(m.parts), 10000), whichever,
            'StartSel="", StopSel="", MaxFragments=2, MaxWords=30, MinWords=12')
    FROM top JOIN sessions_app_message m ON m.id = top.id
        JOIN sessions_app_session s ON s.id = m.session_id
    ORDER BY top.whole DESC, top.rank DESC, top.created_at DESC;
END $$;
"""
# Names inside it must not be looked up where somebody else can create tables.
FIXED_PATH = """
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION agentsite_search_sessions(text, text, text, int)'
        ' SET search_path = pg_catalog, %I, pg_temp', current_schema());
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0002_fences")]
    operations = [
        migrations.RunSQL(TEXT, "DROP FUNCTION agentsite_spoken(json)"),
        migrations.RunSQL(COLUMN, "ALTER TABLE sessions_app_message DROP COLUMN words"),
        migrations.RunSQL(
            SEARCH, "DROP FUNCTION agentsite_search_sessions(text, text, text, int)"
        ),
        migrations.RunSQL(FIXED_PATH, migrations.RunSQL.noop),
    ]
