-- Learning sessions, and engagement as an explained estimate.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- Learning sessions: when somebody was at it, and for how many seconds a page was in front of them. docs/sessions.md.
-- One person has one session at a time, whatever they have open: tabs and devices join it, and what they claim is kept as
-- a set of seconds. A second that is claimed twice is in it once, in whatever order the claims come.

create table public.learning_sessions (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null,
    user_id uuid not null,
    -- A block or a course. No reference: it stays written, whatever becomes of a draft.
    content_id uuid,
    started_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    ended_at timestamptz,
    tabs timestamptz[] not null default array[now()],
    heard int4multirange not null default '{}',
    active int4multirange not null default '{}',
    active_seconds integer not null default 0,
    heartbeats integer not null default 0,
    constraint learning_sessions_pkey primary key (community_id, id),
    constraint learning_sessions_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint learning_sessions_times_in_order check (started_at <= last_seen_at and last_seen_at <= ended_at),
    constraint learning_sessions_tabs_range check (cardinality(tabs) between 1 and 500),
    constraint learning_sessions_active_seconds_range check (active_seconds between 0 and 43200),
    constraint learning_sessions_heartbeats_positive check (heartbeats >= 0)
-- A heartbeat rewrites the row, and finds room on its page. None of the indexes has a column that it changes.
) with (fillfactor = 60);
alter table public.learning_sessions enable row level security;
alter table public.learning_sessions alter column community_id set (n_distinct = 20);
comment on table public.learning_sessions is 'When a person was learning, and for how many seconds of that a page was visible.';
comment on column public.learning_sessions.content_id is
'A block or a course: the smallest one that covers what every tab named; null where there is none.';
comment on column public.learning_sessions.last_seen_at is 'When a tab last joined or a new heartbeat came, by our clock.';
comment on column public.learning_sessions.ended_at is 'Null while it goes on, and until somebody notices that it does not.';
comment on column public.learning_sessions.tabs is 'When each of its tabs joined, by our clock: where their clocks begin.';
comment on column public.learning_sessions.heard is 'Heartbeats that came: 1048576 times the number of the tab, plus the counter.';
comment on column public.learning_sessions.active is 'The seconds, from started_at, in which a page was visible.';
comment on column public.learning_sessions.active_seconds is 'How many there are in active.';
comment on column public.learning_sessions.heartbeats is 'How many there are in heard.';

create unique index learning_sessions_one_open on public.learning_sessions (community_id, user_id) where ended_at is null;
create index learning_sessions_started_at_idx on public.learning_sessions (community_id, started_at, id);
create index learning_sessions_content_idx on public.learning_sessions (community_id, content_id, started_at, id);
-- After the one before, and so in a restored database: of two that seem equally good the planner takes the later one, and
-- fewer sessions are one person's than are about one content.
create index learning_sessions_user_idx on public.learning_sessions (community_id, user_id, started_at, id);

-- When a session ended, whether or not that has been written yet: after 30 minutes of silence it ended when they began.
create function private.session_ended_at(session public.learning_sessions) returns timestamptz
stable
set search_path = ''
language plpgsql
as $$
begin
    return coalesce(
        session.ended_at,
        case when session.last_seen_at <= pg_catalog.now() - interval '30 minutes' then session.last_seen_at end
    );
end
$$;

-- The course that an id is of, or of one of whose blocks it is; null when of neither.
create function private.course_of_content(community uuid, content uuid) returns uuid
stable
set search_path = ''
language plpgsql
as $$
begin
    return coalesce(
        (select c.id from public.courses as c where c.community_id = community and c.id = content),
        (select i.course_id from public.block_identities as i where i.community_id = community and i.id = content)
    );
end
$$;

-- Whether the caller sees this course, or this block in a version of its course, as the policies of those have it.
create function private.may_see_content(community uuid, content uuid) returns boolean
stable
set search_path = ''
language plpgsql
as $$
declare
    course uuid := private.course_of_content(community, content);
    admin boolean := private.is_community_admin();
begin
    if course = content then
        return exists (
            select from public.courses as c
            where c.community_id = community and c.id = course and (c.status <> 'draft' or admin)
        );
    end if;
    return exists (
        select from public.course_versions as v
        join public.blocks as b
            on b.community_id = v.community_id and b.course_id = v.course_id and b.version = v.version and b.id = content
        where v.community_id = community and v.course_id = course and (v.published or admin)
    );
end
$$;

-- Begins a session, or joins the caller's open one with a further tab. Gives the session and the number of the tab.
create function public.start_session(input jsonb) returns jsonb
volatile
security definer -- writes sessions, which clients may not; the caller's own only
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    me uuid := private.signed_in_user_id();
    content uuid := (input ->> 'content_id')::uuid;
    session public.learning_sessions;
begin
    -- A person's sessions begin one at a time.
    if community is null or pg_catalog.cardinality(private.lock_learners(community, array[me])) = 0 then
        perform private.refuse('403', 'Only active members of a community have learning sessions in it.');
    end if;
    if content is not null and not private.may_see_content(community, content) then
        perform private.refuse('404', 'There is no block or course with this id in your community.', 'contentId');
    end if;
    select s.* into session
    from public.learning_sessions as s
    where s.community_id = community and s.user_id = me and s.ended_at is null
    for no key update;
    if session.id is not null and private.session_ended_at(session) is null
        and session.started_at > pg_catalog.now() - interval '12 hours'
        and pg_catalog.cardinality(session.tabs) < 500 then
        update public.learning_sessions as s
        set
            tabs = s.tabs || greatest(pg_catalog.now(), s.started_at),
            last_seen_at = greatest(pg_catalog.now(), s.last_seen_at),
            content_id = case
                when s.content_id = content then content
                when private.course_of_content(community, s.content_id) = private.course_of_content(community, content)
                    then private.course_of_content(community, content)
            end
        where s.community_id = community and s.id = session.id
        returning s.* into session;
    else
        update public.learning_sessions as s
        set ended_at = s.last_seen_at
        where s.community_id = community and s.id = session.id;
        insert into public.learning_sessions (community_id, user_id, content_id)
        values (community, me, content)
        returning * into session;
    end if;
    return pg_catalog.jsonb_build_object('session_id', session.id, 'tab', pg_catalog.cardinality(session.tabs));
end
$$;

-- The seconds of a session, counted from its start, that a heartbeat of a tab claims. They end when it was made, by the
-- seconds that the tab has counted since it joined, and are 60 at the most; none is before the tab joined, none after now.
-- Both ends are floored, so that heartbeats which follow each other leave out nothing and take nothing twice.
create function private.claimed_seconds(
    session public.learning_sessions, tab integer, visible numeric, elapsed numeric
) returns int4range
stable
set search_path = ''
language plpgsql
as $$
declare
    joined numeric := extract(epoch from session.tabs[tab] - session.started_at);
    passed numeric := greatest(extract(epoch from pg_catalog.now() - session.started_at), joined);
    until numeric := least(joined + coalesce(elapsed, passed), passed);
begin
    return pg_catalog.int4range(
        pg_catalog.floor(greatest(until - least(visible, 60), joined))::integer, pg_catalog.floor(until)::integer
    );
end
$$;

-- Takes a heartbeat into the caller's session: one update of one row. The same one again changes nothing.
create function public.heartbeat_session(input jsonb) returns uuid
volatile
security definer -- writes sessions, which clients may not; the caller's own only
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    me uuid := private.signed_in_user_id();
    session_id uuid := (input ->> 'id')::uuid;
    tab integer := coalesce((input ->> 'tab')::integer, 1);
    counter integer := (input ->> 'counter')::integer;
    visible numeric := (input ->> 'visible_seconds')::numeric;
    elapsed numeric := (input ->> 'elapsed_seconds')::numeric;
    place integer;
    session public.learning_sessions;
begin
    if community is null then
        perform private.refuse('403', 'Only active members of a community have learning sessions in it.');
    elsif (counter between 1 and 1000000) is not true then
        perform private.refuse('400', 'counter can be 1 to 1,000,000.', 'counter');
    elsif (visible >= 0) is not true then
        perform private.refuse('400', 'visibleSeconds can be 0 or more.', 'visibleSeconds');
    elsif elapsed < 0 then
        perform private.refuse('400', 'elapsedSeconds can be 0 or more.', 'elapsedSeconds');
    elsif tab not between 1 and 500 then
        perform private.refuse('400', 'tab is the number that startSession gave, 1 to 500.', 'tab');
    end if;
    place := tab * 1048576 + counter;

    -- Whoever waited here for another tab goes on with what that one wrote.
    update public.learning_sessions as s
    set
        heard = s.heard + pg_catalog.int4multirange(pg_catalog.int4range(place, place + 1)),
        heartbeats = s.heartbeats + 1,
        last_seen_at = greatest(pg_catalog.now(), s.last_seen_at),
        (active, active_seconds) = (
            select a.active, (
                select coalesce(pg_catalog.sum(pg_catalog.upper(r) - pg_catalog.lower(r)), 0) from pg_catalog.unnest(a.active) as r
            )
            from (
                select s.active + pg_catalog.int4multirange(private.claimed_seconds(s, tab, visible, elapsed)) as active
                offset 0
            ) as a
        )
    where s.community_id = community and s.id = session_id and s.user_id = me and s.ended_at is null
        and s.last_seen_at > pg_catalog.now() - interval '30 minutes'
        and s.started_at > pg_catalog.now() - interval '12 hours'
        and pg_catalog.cardinality(s.tabs) >= tab
        and not s.heard @> place
        and s.heartbeats < 20 + extract(epoch from pg_catalog.now() - s.started_at) / 5;
    if found then
        return session_id;
    end if;

    select s.* into session
    from public.learning_sessions as s
    where s.community_id = community and s.id = session_id and s.user_id = me;
    if not found then
        perform private.refuse('404', 'You have no session with this id in your community.');
    elsif session.heard @> place then
        return session_id;
    elsif pg_catalog.cardinality(session.tabs) < tab then
        perform private.refuse('400', 'The session has no tab of this number. startSession gives one.', 'tab');
    elsif session.ended_at is null and private.session_ended_at(session) is null
        and session.started_at > pg_catalog.now() - interval '12 hours' then
        perform private.refuse(
            '412', 'There were more heartbeats than one in five seconds. Send one every 15 to 30 seconds.'
        );
    end if;
    perform private.refuse('412', case
        when session.ended_at > session.last_seen_at then 'This session has ended. Start a new one with startSession.'
        when private.session_ended_at(session) is not null
            then 'This session ended with its last heartbeat, for nothing followed. Start a new one with startSession.'
        else 'This session is 12 hours old, which is the longest. Start a new one with startSession.'
    end);
    return null;
end
$$;

-- Ends the caller's session now; one that is silent for 30 minutes ended when the silence began. Ended already, it stays.
create function public.end_session(input jsonb) returns uuid
volatile
security definer -- writes sessions, which clients may not; the caller's own only
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    me uuid := private.signed_in_user_id();
    session public.learning_sessions;
begin
    if community is null then
        perform private.refuse('403', 'Only active members of a community have learning sessions in it.');
    end if;
    select s.* into session
    from public.learning_sessions as s
    where s.community_id = community and s.id = (input ->> 'id')::uuid and s.user_id = me
    for no key update;
    if not found then
        perform private.refuse('404', 'You have no session with this id in your community.');
    end if;
    update public.learning_sessions as s
    set ended_at = coalesce(
        private.session_ended_at(session),
        greatest(least(pg_catalog.now(), s.started_at + interval '12 hours'), s.last_seen_at)
    )
    where s.community_id = community and s.id = session.id and s.ended_at is null;
    return session.id;
end
$$;

-- Ends sessions that have been silent for 30 minutes, at most so many, each when its silence began; gives how many.
-- Harmless at any moment, beside another one, and beside a heartbeat: whose row is locked now is not silent.
create function private.end_idle_sessions(community uuid, most integer) returns integer
volatile
security definer -- for all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
declare
    ended integer;
begin
    -- Chosen once: as a condition, the limit might be applied anew for each row.
    with idle as materialized (
        select i.id
        from public.learning_sessions as i
        where i.community_id = community and i.ended_at is null
            and i.last_seen_at <= pg_catalog.now() - interval '30 minutes'
        limit greatest(most, 0)
        for no key update skip locked
    )
    update public.learning_sessions as s
    set ended_at = s.last_seen_at
    from idle as i
    where s.community_id = community and s.id = i.id;
    get diagnostics ended = row_count;
    return ended;
end
$$;

-- Engagement: an index of how somebody went through a session, with what it is made of. An estimate, and explained as one
-- in docs/sessions.md. It is counted from what is stored whenever it is asked for, and nothing depends on it.

-- What engagement counts by: events of one person in a span of time.
-- squawk-ignore require-concurrent-index-creation
create index progress_events_counted_at_idx on public.progress_events (community_id, user_id, counted_at);

create type private.session_engagement as (
    score integer,
    evidence text,
    formula_version text,
    active_share numeric,
    steadiness numeric,
    recorded numeric
);

-- How many of these seconds lie in stretches of three minutes or more that no break of over a minute interrupts.
create function private.steady_seconds(active int4multirange) returns integer
stable
set search_path = ''
language plpgsql
as $$
begin
    return (
        select coalesce(pg_catalog.sum(t.seconds) filter (where t.until - t.since >= 180), 0)
        from (
            select pg_catalog.sum(p.until - p.since) as seconds, min(p.since) as since, max(p.until) as until
            from (
                select g.since, g.until, count(*) filter (where g.since - g.until_before > 60) over (order by g.since) as stretch
                from (
                    select pg_catalog.lower(r) as since, pg_catalog.upper(r) as until,
                        pg_catalog.lag(pg_catalog.upper(r)) over (order by pg_catalog.lower(r)) as until_before
                    from pg_catalog.unnest(active) as r
                ) as g
            ) as p
            group by p.stretch
        ) as t
    );
end
$$;

-- Version 1: half of it is active time among all time, a fifth steadiness, three tenths what was recorded meanwhile. The
-- parts have three decimals, so that whoever adds them up finds the same.
create function private.engagement(session public.learning_sessions) returns setof private.session_engagement
stable
rows 1
security definer -- counts events past the policies, of whom the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    until timestamptz := coalesce(session.ended_at, session.last_seen_at);
    enough integer := pg_catalog.ceil(session.active_seconds / 300.0);
    told private.session_engagement;
begin
    if not private.may_see_progress(session.community_id, session.user_id) then
        return;
    end if;
    told.formula_version := '1';
    told.evidence := 'not_enough';
    if session.active_seconds >= 180 and session.heartbeats >= 6 then
        told.evidence := 'enough';
        told.active_share := pg_catalog.round(least(
            session.active_seconds / greatest(extract(epoch from until - session.started_at), 1), 1
        ), 3);
        told.steadiness := pg_catalog.round(
            private.steady_seconds(session.active)::numeric / session.active_seconds, 3
        );
        -- No more of them are looked at than count.
        select pg_catalog.round(least(count(*) * 300.0 / session.active_seconds, 1), 3) into told.recorded
        from (
            select from public.progress_events as e
            where e.community_id = session.community_id and e.user_id = session.user_id
                and e.counted_at between session.started_at and until
            limit enough
        ) as e;
        told.score := pg_catalog.round(50 * told.active_share + 20 * told.steadiness + 30 * told.recorded);
    end if;
    return next told;
end
$$;

create function private.engagement_score(session public.learning_sessions) returns integer
stable
set search_path = ''
language plpgsql
as $$
begin
    return (select e.score from private.engagement(session) as e);
end
$$;

-- What a score is made of; nothing where there is none.
create function private.engagement_components(told private.session_engagement)
returns table (place integer, kind text, value numeric, weight numeric)
stable
rows 3
set search_path = ''
language plpgsql
as $$
begin
    return query
    select c.place, c.kind, c.value, c.weight
    from (
        values
            (1, 'active_share', told.active_share, 0.5),
            (2, 'steadiness', told.steadiness, 0.2),
            (3, 'recorded', told.recorded, 0.3)
    ) as c (place, kind, value, weight)
    where told.evidence = 'enough';
end
$$;
