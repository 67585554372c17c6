-- What a Supabase project's database holds before the first migration. Run as supabase_admin, after roles.sql and
-- before auth.sql; safe to run again.

set client_min_messages = warning;

grant usage on schema public to anon, authenticated, service_role;

create schema if not exists extensions authorization postgres;
grant usage on schema extensions to anon, authenticated, service_role;

-- The embedded server has none of them: migrations must not need what is created here.
do $$
declare
    wanted text;
begin
    for wanted in
        select name from pg_catalog.pg_available_extensions where name in ('pgcrypto', 'uuid-ossp')
    loop
        execute format('create extension if not exists %I with schema extensions', wanted);
    end loop;
end
$$;

-- Closed to projects since April 2025: postgres may use it, and create nothing in it.
create schema if not exists auth authorization supabase_admin;
grant usage on schema auth to postgres, anon, authenticated, service_role;
grant all on schema auth to supabase_auth_admin;

do $$
begin
    if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
        create publication supabase_realtime;
    end if;
end
$$;
alter publication supabase_realtime owner to postgres;
