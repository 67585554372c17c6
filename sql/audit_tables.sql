-- Which tables are recorded, and which of their columns are a key or personal.

-- A deletion is recorded row by row; this would pass by that.
create function private.refuse_truncate() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.refuse('403', pg_catalog.format(
        '%s is not truncated: the audit log would not show it. Delete its rows.', tg_table_name
    ));
    return null;
end
$$;

-- Begins to record the changes of a table; again, after its key or its personal columns have changed. Personal is what
-- the comment on a column begins with saying so, and what has one of the usual names for it.
create function private.record_changes_of(relation regclass) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    table_name text;
    key_columns text[];
    personal text[];
    event text;
begin
    select c.relname into table_name from pg_catalog.pg_class as c where c.oid = relation;
    select
        coalesce(pg_catalog.array_agg(
            a.attname order by a.attname <> 'id', a.atttypid <> 'uuid'::pg_catalog.regtype, k.place
        ), '{community_id}')
    into key_columns
    from pg_catalog.pg_index as i
    cross join lateral pg_catalog.unnest(i.indkey::smallint[]) with ordinality as k (number, place)
    join pg_catalog.pg_attribute as a on a.attrelid = relation and a.attnum = k.number
    where i.indrelid = relation and i.indisprimary and a.attname <> 'community_id';
    select coalesce(pg_catalog.array_agg(a.attname order by a.attname), '{}') into personal
    from pg_catalog.pg_attribute as a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and (
        pg_catalog.col_description(relation, a.attnum) like 'Personal data%'
        or a.attname ~ '(^|_)(e_?mail|phone|display_name|full_name|first_name|last_name)$'
    );

    if pg_catalog.cardinality(key_columns) > 4 then
        raise exception 'the key of % has more columns than the audit log tells rows apart by', relation;
    end if;

    foreach event in array '{insert,update,delete}'::text[] loop
        execute pg_catalog.format('drop trigger if exists %I on %s', table_name || '_audit_' || event, relation);
        execute pg_catalog.format(
            'create trigger %I after %s on %s referencing %s for each statement '
            'execute function private.record_changes(%L, %L, %L)',
            table_name || '_audit_' || event, event, relation,
            case event
                when 'insert' then 'new table as new_rows'
                when 'delete' then 'old table as old_rows'
                else 'old table as old_rows new table as new_rows'
            end,
            pg_catalog.regexp_replace(pg_catalog.regexp_replace(table_name, 'ies$', 'y'), '((?<=ch)e)?s$', ''),
            key_columns, personal
        );
    end loop;
    execute pg_catalog.format('drop trigger if exists %I on %s', table_name || '_audit_truncate', relation);
    execute pg_catalog.format(
        'create trigger %I before truncate on %s for each statement execute function private.refuse_truncate()',
        table_name || '_audit_truncate', relation
    );
end
$$;

-- All tables; a migration that adds one says: select private.record_changes_of('public.its_name'). Left out are logs
-- of their own, which nobody changes, and what follows from them.
do $$
declare
    relation regclass;
begin
    for relation in
        select c.oid
        from pg_catalog.pg_class as c
        where c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
            and c.relkind in ('r', 'p')
            and not c.relispartition
            and c.relname not in (
                'audit_entries', 'audit_salts', 'audit_seals', 'audit_heads', 'progress_events', 'block_completions',
                'course_progress', 'program_progress', 'program_requirements', 'progress_queue',
                'job_runs', 'learning_sessions', 'xapi_statements', 'legacy_progress'
            )
        order by c.relname
    loop
        perform private.record_changes_of(relation);
    end loop;
end
$$;
