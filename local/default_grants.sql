-- Supabase's old default privileges: whatever a migration makes in public is open to the API roles. New projects
-- have none since 2026, old ones keep these; they are the harder test, for what a migration forgets to revoke shows.

do $$
declare
    maker text;
    kind text;
begin
    foreach maker in array array['postgres', 'supabase_admin'] loop
        foreach kind in array array['tables', 'functions', 'sequences'] loop
            execute format(
                'alter default privileges for role %I in schema public '
                'grant all on %s to postgres, anon, authenticated, service_role',
                maker, kind
            );
        end loop;
    end loop;
end
$$;
