-- What a request sends, before any of it is compared with what is there: whose the statements are, and whether they can be
-- stored at all.

create type private.xapi_entry as (
    place integer,
    -- As messages and the field of an error name it; null for a statement that came alone.
    shown_place text,
    user_id uuid,
    id uuid,
    verb text,
    activity text,
    voids uuid,
    content jsonb,
    stored_at timestamptz,
    voided_by uuid
);

-- The active member that an actor names by account, or by the address that they have confirmed; null for everybody else,
-- whether they exist or not.
create function private.member_of_actor(community uuid, actor jsonb) returns uuid
stable
set search_path = ''
language plpgsql
as $$
declare
    account_name text := actor -> 'account' ->> 'name';
    address text := pg_catalog.lower(pg_catalog.substr(actor ->> 'mbox', pg_catalog.length('mailto:') + 1));
    person uuid;
begin
    if coalesce(actor ->> 'objectType', 'Agent') <> 'Agent' then
        return null;
    elsif account_name ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        person := account_name::uuid;
    elsif address is not null then
        -- By the index that Supabase's sign-in finds its users with; their instance_id is always this one.
        select u.id into person
        from auth.users as u
        where u.instance_id = '00000000-0000-0000-0000-000000000000' and pg_catalog.lower(u.email) = address
            and u.email_confirmed_at is not null
        limit 1;
    end if;
    return (
        select m.user_id
        from public.memberships as m
        where m.community_id = community and m.user_id = person and m.status = 'active'
    );
end
$$;

-- The statements of a body, one or a list, with whose they are.
create function private.xapi_entries_in(community uuid, given jsonb, given_id uuid) returns private.xapi_entry[]
volatile
set search_path = ''
language plpgsql
as $$
declare
    is_list boolean := pg_catalog.jsonb_typeof(given) = 'array';
    began_at timestamptz := pg_catalog.clock_timestamp();
begin
    return array(
        with listed as (
            select s.statement, s.place::integer as place
            from pg_catalog.jsonb_array_elements(
                case when is_list then given else pg_catalog.jsonb_build_array(given) end
            ) with ordinality as s (statement, place)
        ),
        -- Most lists have one actor.
        actors as (
            select a.actor, private.member_of_actor(community, a.actor) as person
            from (select distinct l.statement -> 'actor' as actor from listed as l) as a
        )
        select row(
            l.place, case when is_list then (l.place - 1)::text end, a.person,
            coalesce((l.statement ->> 'id')::uuid, given_id, pg_catalog.gen_random_uuid()),
            l.statement -> 'verb' ->> 'id',
            case
                when coalesce(l.statement -> 'object' ->> 'objectType', 'Activity') = 'Activity'
                    then l.statement -> 'object' ->> 'id'
            end,
            case
                when l.statement -> 'verb' ->> 'id' = 'http://adlnet.gov/expapi/verbs/voided'
                    then (l.statement -> 'object' ->> 'id')::uuid
            end,
            l.statement - '{id,stored,authority}'::text[],
            began_at + (l.place - 1) * interval '1 microsecond',
            null
        )::private.xapi_entry
        from listed as l
        join actors as a on a.actor = l.statement -> 'actor'
        order by l.place
    );
end
$$;

-- Refuses all of them for the first that cannot be stored: no other statement with its id is asked for yet.
create function private.check_statements(entries private.xapi_entry[], as_admin boolean) returns void
stable
set search_path = ''
language plpgsql
as $$
declare
    entry private.xapi_entry;
    seen uuid[] := '{}';
begin
    foreach entry in array entries loop
        if not as_admin and entry.user_id is distinct from auth.uid() then
            perform private.refuse('403', pg_catalog.concat(
                entry.shown_place || ': ', 'The actor is not you. Name your user id as account.name, or your confirmed address as mbox.'
            ), pg_catalog.concat_ws('.', entry.shown_place, 'actor'));
        elsif entry.user_id is null then
            perform private.refuse('403', pg_catalog.concat(
                entry.shown_place || ': ', 'The actor is no active member of your community. Name one by account.name, '
                'their user id, or by mbox, their confirmed address.'
            ), pg_catalog.concat_ws('.', entry.shown_place, 'actor'));
        elsif pg_catalog.octet_length(entry.content::text) > 65536 then
            perform private.refuse('400', pg_catalog.concat(
                entry.shown_place || ': ', 'The statement is longer than 64 KiB. Shorten it.'
            ), entry.shown_place);
        elsif entry.id = any (seen) then
            perform private.refuse('400', pg_catalog.concat(
                entry.shown_place || ': ', 'Another statement of the list has the same id. Give each an id of its own.'
            ), pg_catalog.concat_ws('.', entry.shown_place, 'id'));
        end if;
        seen := seen || entry.id;
    end loop;
end
$$;
