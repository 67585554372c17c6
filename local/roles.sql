-- The roles of a Supabase project, with its attributes. Roles belong to the whole server: run once, as
-- supabase_admin, before any database is set up; safe to run again.

do $$
declare
    attributes constant text[] := array[
        -- no superuser, as on the hosted platform: a migration that needs one must fail here too
        ['postgres', 'login nosuperuser createdb createrole replication bypassrls'],
        ['anon', 'nologin'],
        ['authenticated', 'nologin'],
        ['service_role', 'nologin bypassrls'],
        ['authenticator', 'login noinherit'],
        ['supabase_auth_admin', 'login noinherit']
    ];
    role_name text;
    role_attributes text;
begin
    for i in 1 .. array_length(attributes, 1) loop
        role_name := attributes[i][1];
        role_attributes := attributes[i][2];
        if not exists (select from pg_catalog.pg_roles where rolname = role_name) then
            execute format('create role %I', role_name);
        end if;
        execute format('alter role %I %s', role_name, role_attributes);
    end loop;
end
$$;

grant anon, authenticated, service_role to authenticator;

-- From Postgres 16 on, createrole alone no longer suffices to grant these to the login roles of migrations.
do $$
begin
    if current_setting('server_version_num')::integer >= 160000 then
        grant anon, authenticated, service_role to postgres with admin option;
    else
        grant anon, authenticated, service_role to postgres;
    end if;
end
$$;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, auth, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout = '60s';
