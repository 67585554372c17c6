-- Statements of the Experience API (xAPI): what other programs say that somebody did, kept as they said it. What they
-- say about a block becomes an event, by the way that all events take. docs/xapi.md says it for people.

create table public.xapi_statements (
    community_id uuid not null,
    user_id uuid not null,
    id uuid not null,
    verb text not null,
    activity text,
    voids uuid,
    sent_by uuid not null,
    sent_by_admin boolean not null,
    content jsonb not null,
    stored_at timestamptz not null,
    event_status text,
    reason text,
    voided_at timestamptz,
    voided_by uuid,
    -- Ids are the client's. Within one person, as those of events: nobody can take an id away from somebody else, or
    -- learn that it is taken.
    constraint xapi_statements_pkey primary key (community_id, id, user_id),
    constraint xapi_statements_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint xapi_statements_content_length check (octet_length(content::text) <= 65536),
    constraint xapi_statements_event_status_known check (event_status in ('accepted', 'duplicate', 'conflict', 'rejected')),
    constraint xapi_statements_voided_whole check ((voided_at is null) = (voided_by is null)),
    constraint xapi_statements_voiding_stays check (voids is null or voided_at is null)
);
alter table public.xapi_statements enable row level security;
alter table public.xapi_statements alter column community_id set (n_distinct = 20);
comment on table public.xapi_statements is 'What other programs said that a member did: append-only, but for being voided.';
comment on column public.xapi_statements.user_id is 'The actor, whose progress it is.';
comment on column public.xapi_statements.voids is 'The id that a voiding statement voids, whether there is such a statement or not.';
comment on column public.xapi_statements.sent_by is 'Who sent it: its authority. Stays written when they have gone.';
comment on column public.xapi_statements.sent_by_admin is 'Whether they were an admin: what an admin voids may be anybody''s.';
comment on column public.xapi_statements.content is 'Personal data: as it was sent, without id, stored and authority, which stand beside it.';
comment on column public.xapi_statements.stored_at is 'Rises within one list, so that lists keep their order.';
comment on column public.xapi_statements.event_status is 'What became of the event that it was mapped to; null when it was mapped to none.';
comment on column public.xapi_statements.reason is 'Why it does not count, where it does not and might have.';

create index xapi_statements_member_idx on public.xapi_statements (community_id, user_id, stored_at, id);
create index xapi_statements_stored_at_idx on public.xapi_statements (community_id, stored_at, id, user_id);
create index xapi_statements_activity_idx on public.xapi_statements (community_id, activity, stored_at, id, user_id);
create index xapi_statements_voids_idx on public.xapi_statements (community_id, voids) where voids is not null;

create function private.keep_statements() returns trigger
volatile
security definer -- asks whether the member is there, whoever asks
set search_path = ''
language plpgsql
as $$
begin
    -- A member who is deleted takes what was said about them along.
    if tg_op = 'DELETE' and not exists (
        select from public.memberships as m where m.community_id = old.community_id and m.user_id = old.user_id
    ) then
        return old;
    end if;
    if tg_op = 'UPDATE' and old.voided_at is null
        and pg_catalog.to_jsonb(new) - '{voided_at,voided_by}'::text[]
        = pg_catalog.to_jsonb(old) - '{voided_at,voided_by}'::text[] then
        return new;
    end if;
    perform private.refuse('403', 'A statement stays as it was sent: nobody changes or removes it. Void it instead.');
    return null;
end
$$;

create trigger xapi_statements_keep before update or delete on public.xapi_statements
for each row execute function private.keep_statements();
create trigger xapi_statements_keep_all before truncate on public.xapi_statements
for each statement execute function private.keep_statements();

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

create function private.xapi_time(moment timestamptz) returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    return pg_catalog.to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
end
$$;

-- Until when everything that is stored can be seen: what is being stored now ends within the time of a statement.
create function private.consistent_through() returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    return private.xapi_time(
        pg_catalog.now() - pg_catalog.current_setting('statement_timeout')::interval - interval '1 second'
    );
end
$$;

-- Two statements are the same by what they mean (xAPI 1.0.3, part 2, 2.3.1): these leave out what is not part of a
-- statement, and put in order what has none.

create function private.agent_meaning(agent jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    mbox text := agent ->> 'mbox';
begin
    if mbox is not null then
        agent := pg_catalog.jsonb_set(agent, '{mbox}', pg_catalog.to_jsonb(
            pg_catalog.left(mbox, pg_catalog.strpos(mbox, '@'))
            || pg_catalog.lower(pg_catalog.substr(mbox, pg_catalog.strpos(mbox, '@') + 1))
        ));
    end if;
    if agent ? 'member' then
        agent := pg_catalog.jsonb_set(agent, '{member}', (
            select coalesce(pg_catalog.jsonb_agg(m.meaning order by m.meaning), '[]')
            from (
                select private.agent_meaning(a) as meaning from pg_catalog.jsonb_array_elements(agent -> 'member') as a
            ) as m
        ));
    end if;
    return agent;
end
$$;

create function private.object_meaning(object jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return case coalesce(object ->> 'objectType', 'Activity')
        when 'Activity' then object - 'definition'
        when 'StatementRef' then pg_catalog.jsonb_set(object, '{id}', pg_catalog.to_jsonb(pg_catalog.lower(object ->> 'id')))
        when 'SubStatement' then private.statement_meaning(object)
        else private.agent_meaning(object)
    end;
end
$$;

create function private.context_meaning(context jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return context || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'registration', pg_catalog.lower(context ->> 'registration'),
        'instructor', private.agent_meaning(context -> 'instructor'),
        'team', private.agent_meaning(context -> 'team'),
        'statement', private.object_meaning(context -> 'statement'),
        'contextActivities', (
            select pg_catalog.jsonb_object_agg(c.key, (
                select pg_catalog.jsonb_agg(a - 'definition' order by a - 'definition')
                from pg_catalog.jsonb_array_elements(
                    -- One may stand without its list.
                    case pg_catalog.jsonb_typeof(c.value) when 'array' then c.value else pg_catalog.jsonb_build_array(c.value) end
                ) as a
            ))
            from pg_catalog.jsonb_each(context -> 'contextActivities') as c
        )
    ));
end
$$;

create function private.statement_meaning(statement jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return (statement - '{id,stored,authority,version}'::text[]) || pg_catalog.jsonb_strip_nulls(
        pg_catalog.jsonb_build_object('timestamp', (statement ->> 'timestamp')::timestamptz)
    ) || pg_catalog.jsonb_build_object(
        'actor', private.agent_meaning(statement -> 'actor'),
        'verb', (statement -> 'verb') - 'display',
        'object', private.object_meaning(statement -> 'object')
    ) || case
        when statement ? 'context'
            then pg_catalog.jsonb_build_object('context', private.context_meaning(statement -> 'context'))
        else '{}'
    end;
end
$$;

-- Without a timestamp, a statement has the one of its storing, which a repetition cannot know.
create function private.is_same_statement(one jsonb, other jsonb) returns boolean
stable
set search_path = ''
language plpgsql
as $$
declare
    both_timed boolean := one ? 'timestamp' and other ? 'timestamp';
begin
    one := private.statement_meaning(one);
    other := private.statement_meaning(other);
    return case when both_timed then one = other else one - 'timestamp' = other - 'timestamp' end;
end
$$;

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

-- Those that are not stored yet, each with what has voided it already. Refuses all of them when one is another statement
-- than the one that has its id.
create function private.new_statements(community uuid, entries private.xapi_entry[], as_admin boolean)
returns private.xapi_entry[]
stable
set search_path = ''
language plpgsql
as $$
declare
    wrong private.xapi_entry;
begin
    select e.* into wrong
    from pg_catalog.unnest(entries) as e
    join public.xapi_statements as s on s.community_id = community and s.id = e.id and s.user_id = e.user_id
    where not private.is_same_statement(s.content, e.content)
    order by e.place
    limit 1;
    if found then
        perform private.refuse('409', pg_catalog.concat(
            wrong.shown_place || ': ', 'Another statement has the id ', wrong.id, ' already. Give this one an id of its own.'
        ), pg_catalog.concat_ws('.', wrong.shown_place, 'id'));
    end if;
    return array(
        select row(
            e.place, e.shown_place, e.user_id, e.id, e.verb, e.activity, e.voids, e.content, e.stored_at,
            case when e.voids is null then coalesce(
                (
                    select v.id
                    from public.xapi_statements as v
                    where v.community_id = community and v.voids = e.id and (v.sent_by_admin or v.user_id = e.user_id)
                    order by v.stored_at, v.id
                    limit 1
                ),
                (
                    select v.id
                    from pg_catalog.unnest(entries) as v
                    where v.voids = e.id and (as_admin or v.user_id = e.user_id)
                    order by v.place
                    limit 1
                )
            ) end
        )::private.xapi_entry
        from pg_catalog.unnest(entries) as e
        where not exists (
            select from public.xapi_statements as s
            where s.community_id = community and s.id = e.id and s.user_id = e.user_id
        )
        order by e.place
    );
end
$$;

-- What was scored, 0 to 100; null when that cannot be told.
create function private.score_of_result(score jsonb) returns numeric
stable
set search_path = ''
language plpgsql
as $$
declare
    scaled numeric := score ->> 'scaled';
    points numeric := score ->> 'raw';
    least_points numeric := coalesce((score ->> 'min')::numeric, 0);
    most_points numeric := score ->> 'max';
begin
    if scaled is null and most_points > least_points then
        scaled := (points - least_points) / (most_points - least_points);
    end if;
    -- Of nothing and nought, greatest would take the nought.
    return case when scaled is not null then least(100, greatest(0, 100 * scaled)) end;
end
$$;

-- What a statement comes to as an event, or why it comes to none though it might have; null when it is about something
-- else. The table of docs/xapi.md.
create function private.event_of_statement(entry private.xapi_entry, as_admin boolean)
returns table (event jsonb, reason text)
stable
rows 1
set search_path = ''
language plpgsql
as $$
declare
    -- xAPI's identifiers, of ADL's vocabulary, cmi5 and the video profile.
    adl constant text := 'http://adlnet.gov/expapi/verbs/';
    cmi5 constant text := 'https://w3id.org/xapi/adl/verbs/';
    result jsonb := coalesce(entry.content -> 'result', '{}');
    extensions jsonb := coalesce(entry.content -> 'result' -> 'extensions', '{}');
    block text := pg_catalog.substring(
        entry.activity, '(?i)^(?:urn:uuid:|.*/blocks/)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$'
    );
    finished boolean := (result -> 'completion') is not distinct from 'true';
    progress numeric := coalesce(
        case when pg_catalog.jsonb_typeof(extensions -> 'https://w3id.org/xapi/cmi5/result/extensions/progress') = 'number'
            then (extensions ->> 'https://w3id.org/xapi/cmi5/result/extensions/progress')::numeric / 100
        end,
        case when pg_catalog.jsonb_typeof(extensions -> 'https://w3id.org/xapi/video/extensions/progress') = 'number'
            then (extensions ->> 'https://w3id.org/xapi/video/extensions/progress')::numeric
        end
    );
    value numeric;
    correct boolean;
begin
    if block is null then
        return;
    end if;
    case entry.verb
        when adl || 'completed' then
            value := ((result -> 'completion') is distinct from 'false')::integer;
        when adl || 'passed' then
            value := ((result -> 'success') is distinct from 'false')::integer;
        when cmi5 || 'satisfied' then
            value := 1;
        when cmi5 || 'waived' then
            if not as_admin then
                reason := 'Only admins waive.';
            elsif coalesce(extensions ->> 'https://w3id.org/xapi/cmi5/result/extensions/reason', '') !~ '\S' then
                reason := 'It waives without a reason. Give one in result.extensions, as cmi5 says.';
            end if;
            value := 1;
        when adl || 'failed' then
            value := 0;
        when adl || 'progressed' then
            if progress is null then
                reason := 'It does not say how far the progress went. Give it in result.extensions.';
            end if;
            value := progress;
        when adl || 'answered', adl || 'scored' then
            value := finished::integer;
            if entry.verb = adl || 'answered' then
                correct := (result ->> 'success')::boolean;
            end if;
        when adl || 'launched', adl || 'initialized', adl || 'attempted', adl || 'experienced' then
            value := coalesce(progress, 0);
        else
            return;
    end case;
    if entry.voided_by is not null then
        reason := 'It was voided before it came.';
    end if;
    if reason is null then
        event := pg_catalog.jsonb_build_object(
            'user_id', entry.user_id,
            'event_id', entry.id,
            'block_id', block,
            'value', value,
            'score', private.score_of_result(result -> 'score'),
            'correct', correct,
            'occurred_at', coalesce(entry.content ->> 'timestamp', private.xapi_time(entry.stored_at))
        );
    end if;
    return next;
end
$$;

-- Writes new statements, and what follows from them: their events first, so that what became of these stands beside.
create function private.write_statements(community uuid, entries private.xapi_entry[], as_admin boolean) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    -- By place, what became of each that was mapped.
    mapped jsonb := (
        select coalesce(pg_catalog.jsonb_object_agg(e.place, pg_catalog.to_jsonb(m)), '{}')
        from pg_catalog.unnest(entries) as e
        cross join lateral private.event_of_statement(e, as_admin) as m
    );
    events jsonb := (
        select pg_catalog.jsonb_agg(m.value -> 'event' order by m.key::integer)
        from pg_catalog.jsonb_each(mapped) as m
        where m.value ->> 'reason' is null
    );
begin
    if events is not null then
        mapped := mapped || (
            select pg_catalog.jsonb_object_agg(m.key, r.result)
            from (
                select m.key, pg_catalog.row_number() over (order by m.key::integer) as nth
                from pg_catalog.jsonb_each(mapped) as m
                where m.value ->> 'reason' is null
            ) as m
            join pg_catalog.jsonb_array_elements(private.record_events(community, events) -> 'results')
                with ordinality as r (result, nth) using (nth)
        );
    end if;
    insert into public.xapi_statements (
        community_id, user_id, id, verb, activity, voids, sent_by, sent_by_admin, content, stored_at, event_status, reason,
        voided_at, voided_by
    )
    select
        community, e.user_id, e.id, e.verb, e.activity, e.voids, auth.uid(), as_admin, e.content, e.stored_at,
        mapped -> e.place::text ->> 'status', mapped -> e.place::text ->> 'reason',
        case when e.voided_by is not null then e.stored_at end, e.voided_by
    from pg_catalog.unnest(entries) as e
    order by e.place;

    update public.xapi_statements as s
    set voided_at = v.stored_at, voided_by = v.id
    from (
        select distinct on (v.voids, v.user_id) v.voids, v.user_id, v.id, v.stored_at
        from pg_catalog.unnest(entries) as v
        where v.voids is not null
        order by v.voids, v.user_id, v.place
    ) as v
    where s.community_id = community and s.id = v.voids and (as_admin or s.user_id = v.user_id)
        and s.voids is null and s.voided_at is null;
end
$$;

-- Stores statements of the caller or, from an admin, of members: all of them or, when one cannot be, none. Gives until
-- when storing is consistent and, in the next line, their ids as JSON.
create function private.store_statements(given jsonb, given_id uuid default null) returns text
volatile
security definer -- writes statements and progress, which clients may not; the caller's own, or for admins, in their community only
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    as_admin boolean := private.is_community_admin();
    entries private.xapi_entry[];
    new_entries private.xapi_entry[];
begin
    if community is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    end if;
    if pg_catalog.jsonb_typeof(given) = 'array' and pg_catalog.jsonb_array_length(given) > 500 then
        perform private.refuse('400', 'Send up to 500 statements at once.');
    end if;
    entries := private.xapi_entries_in(community, given, given_id);
    perform private.check_statements(entries, as_admin);
    -- A person's statements are stored one after the other, as their progress is. What an admin voids may be of somebody
    -- else, and just being stored: such a request is alone in its community.
    if as_admin and exists (select from pg_catalog.unnest(entries) as e where e.voids is not null) then
        perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('xapi ' || community::text, 0));
    else
        perform pg_catalog.pg_advisory_xact_lock_shared(pg_catalog.hashtextextended('xapi ' || community::text, 0));
    end if;
    perform private.lock_learners(community, array(select e.user_id from pg_catalog.unnest(entries) as e));
    new_entries := private.new_statements(community, entries, as_admin);
    if pg_catalog.cardinality(new_entries) > 0 then
        perform private.write_statements(community, new_entries, as_admin);
    end if;
    return private.consistent_through() || e'\n' || (
        select coalesce(pg_catalog.jsonb_agg(e.id order by e.place), '[]')::text from pg_catalog.unnest(entries) as e
    );
end
$$;

-- A statement as it is read: with what the server knows of it.
create function private.statement_shown(statement public.xapi_statements) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    stored text := private.xapi_time(statement.stored_at);
begin
    return pg_catalog.jsonb_build_object('timestamp', stored, 'version', '1.0.0')
        || statement.content
        || pg_catalog.jsonb_build_object(
            'id', statement.id,
            'stored', stored,
            'authority', pg_catalog.jsonb_build_object(
                'objectType', 'Agent',
                'account', pg_catalog.jsonb_build_object(
                    -- All tokens here are of the one issuer.
                    'homePage', coalesce(auth.jwt() ->> 'iss', 'http://localhost'), 'name', statement.sent_by
                )
            )
        );
end
$$;

-- One statement by its id, as the policies show it to the caller: until when storing is consistent, when it was stored, and
-- the statement, a line each; only the first line when there is none. Of several people's with one id, the one that came first.
create function private.read_statement(statement_id uuid, is_voided boolean) returns text
stable
set search_path = ''
language plpgsql
as $$
declare
    found_statement public.xapi_statements;
begin
    if private.get_community_id() is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    end if;
    select s.* into found_statement
    from public.xapi_statements as s
    where s.community_id = private.get_community_id() and s.id = statement_id
        and (s.voided_at is not null) = is_voided
    order by s.stored_at, s.user_id
    limit 1;
    return pg_catalog.concat_ws(e'\n',
        private.consistent_through(), private.xapi_time(found_statement.stored_at),
        case when found_statement.id is not null then private.statement_shown(found_statement)::text end
    );
end
$$;

-- A page of statements as the policies show them to the caller: until when storing is consistent, the keys of the last one
-- if there are more, or null, and the statements, a line each.
create function private.read_statements(asked jsonb) returns text
stable
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    direction text := case when (asked ->> 'ascending')::boolean then 'asc' else 'desc' end;
    most integer := asked ->> 'limit';
    page public.xapi_statements[];
begin
    if community is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    end if;
    -- Only with the conditions that there are, so that each finds its index; none of them is a client's text.
    execute pg_catalog.concat(
        'select array(select s from public.xapi_statements as s where s.community_id = $1 and s.voided_at is null',
        case when not private.is_community_admin() then ' and s.user_id = auth.uid()' end,
        case when asked ? 'verb' then ' and s.verb = $2 ->> ''verb''' end,
        case when asked ? 'activity' then ' and s.activity = $2 ->> ''activity''' end,
        case when asked ? 'since' then ' and s.stored_at > ($2 ->> ''since'')::timestamptz' end,
        case when asked ? 'until' then ' and s.stored_at <= ($2 ->> ''until'')::timestamptz' end,
        case
            when asked ? 'after' then pg_catalog.format(
                ' and (s.stored_at, s.id, s.user_id) %s '
                '(($2 -> ''after'' ->> 0)::timestamptz, ($2 -> ''after'' ->> 1)::uuid, ($2 -> ''after'' ->> 2)::uuid)',
                case direction when 'asc' then '>' else '<' end
            )
        end,
        pg_catalog.format(' order by s.stored_at %1$s, s.id %1$s, s.user_id %1$s limit $3 + 1)', direction)
    )
    into page
    using community, asked, most;
    return pg_catalog.concat_ws(e'\n',
        private.consistent_through(),
        case
            when pg_catalog.cardinality(page) > most then pg_catalog.jsonb_build_array(
                private.xapi_time(page[most].stored_at), page[most].id, page[most].user_id
            )::text
            else 'null'
        end,
        (
            select coalesce(pg_catalog.jsonb_agg(private.statement_shown(page[place]) order by place), '[]')::text
            from pg_catalog.generate_series(1, least(most, pg_catalog.cardinality(page))) as place
        )
    );
end
$$;
