-- The wall: whatever the rules of a domain allow, nobody reaches past the community that they are acting in.

-- Restrictive policies are joined with "and" to every other one, for every role that does not bypass RLS. Bound to
-- auth.get_community_id() where the platform has it; hosted Supabase keeps schema auth closed.
do $$
declare
    walled text;
    question text := case
        when pg_catalog.to_regprocedure('auth.get_community_id()') is not null then 'auth' else 'private'
    end || '.get_community_id()';
begin
    for walled in
        select c.table_name
        from information_schema.columns as c
        join information_schema.tables as t using (table_schema, table_name)
        where c.table_schema = 'public' and c.column_name = 'community_id' and t.table_type = 'BASE TABLE'
        order by c.table_name
    loop
        execute pg_catalog.format('drop policy if exists client_isolation_%1$s on public.%1$I', walled);
        execute pg_catalog.format(
            'create policy client_isolation_%1$s on public.%1$I as restrictive for all to public '
            'using (community_id = (select %2$s)) with check (community_id = (select %2$s))',
            walled, question
        );
    end loop;
end
$$;
