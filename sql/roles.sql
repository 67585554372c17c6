-- The login roles of the server and of the jobs, and the schema that no client reaches over REST.

create schema if not exists private;
comment on schema private is 'Functions and tables behind the policies. Never listed among the exposed schemas.';

-- noinherit: until a request has put on one of its two roles, the connection may do nothing.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'gym_api') then
        create role gym_api login noinherit;
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = 'gym_worker') then
        create role gym_worker login noinherit;
    end if;
end
$$;

grant anon, authenticated to gym_api;

-- Its statements look up pages and rows by index, nearly always in memory. With the default of 4, made for disks, the
-- planner takes look-ups for so costly that it would rather read all that a community has, and sort it.
alter role gym_api set random_page_cost = 1.1;

-- Temporary objects come first in every search path, '' too: a temporary type called uuid would run its checks
-- inside the definer functions below, as their owner. So nobody but the owner of the database makes any.
do $$
begin
    execute pg_catalog.format('revoke temporary on database %I from public', pg_catalog.current_database());
end
$$;

-- What a database function refuses, it says with PostgREST's convention for SQLSTATEs, 'PT' and the HTTP status,
-- so that clients of Supabase's REST interface get the same answer as those of GraphQL.
create function private.refuse(code text, message text, field text default null) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    raise exception using errcode = 'PT' || code, message = message, column = coalesce(field, '');
end
$$;

-- Words for messages: a state as it stands behind "is", and a number of things.
create function private.in_state(state text) returns text
stable
set search_path = ''
language sql
as $$ select case state when 'draft' then 'a draft' else state end $$;

create function private.counted(number bigint, one text, many text) returns text
stable
set search_path = ''
language sql
as $$ select pg_catalog.concat(number, ' ', case number when 1 then one else many end) $$;

-- Keeps updated_at true whoever writes; an update that changes nothing leaves it. Arguments of the trigger: the
-- generated columns, which are not there yet when it is asked what is different.
create function private.touch_updated_at() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if tg_nargs = 0 and new is distinct from old
        or tg_nargs > 0 and pg_catalog.to_jsonb(new) - tg_argv <> pg_catalog.to_jsonb(old) - tg_argv then
        new.updated_at := pg_catalog.now();
    end if;
    return new;
end
$$;
