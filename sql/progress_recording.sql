-- Recording what learners did: up to 500 events in one call, a result for each, and everything that follows from them in
-- the same transaction.

create type private.progress_entry as (
    place integer,
    user_id uuid,
    event_id uuid,
    course_id uuid,
    block_id uuid,
    attempt integer,
    value numeric,
    score numeric,
    correct boolean,
    data jsonb,
    occurred_at timestamptz,
    counted_at timestamptz,
    status text,
    reason text,
    -- Of the course: those that count for the person.
    versions integer[]
);

-- Whoever writes somebody's progress holds this until the end of the transaction: one at a time for each person, and in
-- one order of people, so that nobody waits in a circle. Gives those who are active members.
create function private.lock_learners(community uuid, people uuid[]) returns uuid[]
volatile
set search_path = ''
language plpgsql
as $$
begin
    return array(
        select m.user_id
        from public.memberships as m
        where m.community_id = community and m.user_id = any (people) and m.status = 'active'
        order by m.user_id
        for no key update
    );
end
$$;

-- The events of a list in a form, in their order, each with why it is refused, if it is for what it says alone.
create function private.progress_entries_in(events jsonb) returns private.progress_entry[]
stable
set search_path = ''
language plpgsql
as $$
begin
    return array(
        select row(
            g.place, g.user_id, g.event_id, null, g.block_id, g.attempt,
            case when g.value between 0 and 1 then pg_catalog.trunc(g.value, 6) end,
            case when g.score between 0 and 100 then pg_catalog.trunc(g.score, 3) end,
            g.correct, g.data, g.occurred_at, null,
            case when p.problem is null then 'accepted' else 'rejected' end, p.problem, null
        )::private.progress_entry
        from (
            select
                e.place,
                coalesce((e.event ->> 'user_id')::uuid, auth.uid()) as user_id,
                (e.event ->> 'event_id')::uuid as event_id,
                (e.event ->> 'block_id')::uuid as block_id,
                (e.event ->> 'attempt')::integer as attempt,
                coalesce((e.event ->> 'value')::numeric, 1) as value,
                (e.event ->> 'score')::numeric as score,
                (e.event ->> 'correct')::boolean as correct,
                nullif(e.event -> 'data', 'null') as data,
                (e.event ->> 'occurred_at')::timestamptz as occurred_at
            from pg_catalog.jsonb_array_elements(events) with ordinality as e (event, place)
        ) as g
        cross join lateral (
            select case
                when g.event_id is null then 'The event has no eventId. Make one on the client, once for each event.'
                when g.value not between 0 and 1 then 'value can be 0 to 1.'
                when g.score not between 0 and 100 then 'score can be 0 to 100.'
                when g.occurred_at is null then 'The event does not say when it happened. Give occurredAt.'
                when g.occurred_at not between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'
                    then 'occurredAt can be from 1970-01-01 to 9999-12-31.'
                when g.attempt < 1 then 'Attempts count from 1.'
                -- As it is stored: written out, one short number may have a hundred thousand digits.
                when pg_catalog.pg_column_size(g.data) > 8192 then 'data is longer than 8 KiB. Shorten it.'
                when pg_catalog.jsonb_path_exists(
                    g.data, 'strict $.** ? (@.type() == "number" && (
                        @ > 1e308 || @ < -1e308 || (@ < 1e-308 && @ > -1e-308 && @ != 0)
                    ))'
                ) then 'data holds a number that is too large or too small to be written down.'
            end as problem
        ) as p
        order by g.place
    );
end
$$;

-- Finds for each event its course, its attempt and when it counts as done; refuses those that lead nowhere. Events for
-- what does not count are kept all the same: it may count after a move.
create function private.located_entries(community uuid, members uuid[], entries private.progress_entry[])
returns private.progress_entry[]
stable
set search_path = ''
language plpgsql
as $$
begin
    return array(
        with given as (
            select e.*, i.course_id as course
            from pg_catalog.unnest(entries) as e
            left join public.block_identities as i on i.community_id = community and i.id = e.block_id
        ),
        standings as (
            select p.user_id, p.course, s.versions,
                coalesce(s.enrolled_at, (
                    select m.joined_at from public.memberships as m
                    where m.community_id = community and m.user_id = p.user_id
                )) - interval '1 day' as earliest
            from (select distinct g.user_id, g.course from given as g where g.course is not null) as p
            cross join lateral private.course_standing(community, p.user_id, p.course) as s
        ),
        timed as (
            select g.*, s.versions as counting, greatest(
                least(g.occurred_at, pg_catalog.now() + interval '5 minutes'), least(s.earliest, pg_catalog.now())
            ) as counts_at
            from given as g
            left join standings as s on s.user_id = g.user_id and s.course = g.course
        ),
        located as (
            select
                t.*, coalesce(b.completion_mode, n.completion_mode) as completion_mode, b.completion_mode is not null as in_version,
                1 + a.opened as current_attempt, 1 + a.opened_by_then as attempt_then
            from timed as t
            -- The block as it is in one of the versions that count, or else in the newest version that is published.
            left join lateral (
                select b.completion_mode
                from public.blocks as b
                where b.community_id = community and b.course_id = t.course and b.version = any (t.counting)
                    and b.id = t.block_id
                order by b.version desc
                limit 1
            ) as b on true
            left join lateral (
                select o.completion_mode
                from public.course_versions as v
                join public.blocks as o
                    on o.community_id = v.community_id and o.course_id = v.course_id and o.version = v.version
                    and o.id = t.block_id
                where v.community_id = community and v.course_id = t.course and v.published
                    and b.completion_mode is null
                order by v.version desc
                limit 1
            ) as n on true
            left join lateral (
                select count(*) as opened, count(*) filter (where o.began_at <= t.counts_at) as opened_by_then
                from public.course_attempts as o
                where o.community_id = community and o.user_id = t.user_id and o.course_id = t.course
            ) as a on true
        )
        select row(
            l.place, l.user_id, l.event_id, case when l.completion_mode is not null then l.course end, l.block_id,
            coalesce(l.attempt, l.attempt_then, 1), l.value, l.score, l.correct, l.data, l.occurred_at, l.counts_at,
            case when p.problem is null then 'accepted' else 'rejected' end,
            coalesce(p.problem, case
                when not l.in_version then 'Kept, and not counted: the block is not in the version of the course that counts for you.'
                when l.completion_mode = 'excluded' then 'Kept, and not counted: this block never counts.'
            end),
            l.counting
        )::private.progress_entry
        from located as l
        cross join lateral (
            select case
                when l.reason is not null then l.reason
                when l.user_id <> all (members) then 'There is no active member with this id in your community.'
                when l.completion_mode is null then 'There is no block with this id in your community.'
                when l.completion_mode = 'aggregator'
                    then 'This block is complete when what is in it is. Record the blocks in it.'
                when l.attempt > l.current_attempt then pg_catalog.format(
                    'Attempt %s at the course has not begun. The current one is %s.', l.attempt, l.current_attempt
                )
            end as problem
        ) as p
        order by l.place
    );
end
$$;

-- What became of each event, by its id: the same one again is a duplicate, another one with its id a conflict, whether
-- it came earlier or stands earlier in the same list.
create function private.told_apart(community uuid, entries private.progress_entry[]) returns private.progress_entry[]
stable
set search_path = ''
language plpgsql
as $$
begin
    return array(
        select row(
            e.place, e.user_id, e.event_id, e.course_id, e.block_id, e.attempt, e.value, e.score, e.correct, e.data,
            e.occurred_at, e.counted_at, coalesce(s.status, e.status), case
                when s.status = 'duplicate' then null
                when s.status = 'conflict'
                    then 'Another event has this eventId already. Give each event an id of its own.'
                else e.reason
            end, e.versions
        )::private.progress_entry
        from (
            select a.*, f.event_id is not null as is_stored, f.content as stored_content,
                first_value(a.content) over same_id as first_content,
                pg_catalog.row_number() over same_id as nth
            from (
                select a.*, row(a.block_id, a.value, a.score, a.correct, a.data, a.occurred_at) as content
                from pg_catalog.unnest(entries) as a
            ) as a
            left join (
                select p.user_id, p.event_id,
                    row(p.block_id, p.value, p.score, p.correct, p.data, p.occurred_at) as content
                from public.progress_events as p
                where p.community_id = community
                    and (p.user_id, p.event_id) in (select k.user_id, k.event_id from pg_catalog.unnest(entries) as k)
            ) as f on f.user_id = a.user_id and f.event_id = a.event_id
            window same_id as (partition by a.user_id, a.event_id, a.status = 'rejected' order by a.place)
        ) as e
        cross join lateral (
            select case
                -- What is stored is stored, whatever has become of its block since.
                when e.is_stored and e.stored_content is not distinct from e.content then 'duplicate'
                when e.status = 'rejected' then null
                when e.is_stored then 'conflict'
                when e.nth > 1 and e.first_content is distinct from e.content then 'conflict'
                when e.nth > 1 then 'duplicate'
            end as status
        ) as s
        order by e.place
    );
end
$$;

-- Makes the rows that sums are kept in, for who has none yet in a version that counts for them; tells whose.
create function private.begin_courses(community uuid, entries private.progress_entry[]) returns private.learner_course[]
volatile
set search_path = ''
language plpgsql
as $$
declare
    begun private.learner_course[];
begin
    with inserted as (
        insert into public.course_progress
        select counted.*
        from (
            select e.user_id, e.course_id, v.version, e.attempt
            from (
                select distinct e.user_id, e.course_id, e.attempt, e.versions from pg_catalog.unnest(entries) as e
            ) as e
            cross join lateral pg_catalog.unnest(e.versions) as v (version)
            where not exists (
                select from public.course_progress as p
                where p.community_id = community and p.user_id = e.user_id and p.course_id = e.course_id
                    and p.version = v.version and p.attempt = e.attempt
                offset 0
            )
            -- For itself, as the other: joined, each would be counted before it is asked whether it is there, and all of
            -- the community be read for that.
            offset 0
        ) as e
        cross join lateral private.counted_course_progress(
            community, e.user_id, e.course_id, e.version, e.attempt
        ) as counted
        order by e.user_id, e.course_id, e.version, e.attempt
        returning user_id, course_id
    )
    select pg_catalog.array_agg(row(i.user_id, i.course_id)::private.learner_course) into begun from inserted as i;
    return begun;
end
$$;

-- Writes new events, brings the completions of their blocks up to date, and moves the sums over them by what that
-- changed: in whatever order, the same. Tells whose it moved.
create function private.write_entries(community uuid, entries private.progress_entry[]) returns private.learner_course[]
volatile
set search_path = ''
language plpgsql
as $$
declare
    touched private.learner_course[];
begin
    insert into public.progress_events (
        community_id, user_id, event_id, course_id, block_id, attempt, value, score, correct, data,
        occurred_at, counted_at, recorded_by
    )
    select
        community, e.user_id, e.event_id, e.course_id, e.block_id, e.attempt, e.value, e.score, e.correct, e.data,
        e.occurred_at, e.counted_at, auth.uid()
    from pg_catalog.unnest(entries) as e
    order by e.user_id, e.event_id;

    with told as (
        select e.*, coalesce(before.value, 0) as value_before
        from (
            select
                e.user_id, e.course_id, e.attempt, e.block_id, max(e.value) as value,
                min(e.counted_at) filter (where e.value = 1) as earned_at, max(e.score) as score,
                pg_catalog.bool_or(e.correct) as correct, count(*) as event_count, min(e.counted_at) as started_at
            from pg_catalog.unnest(entries) as e
            group by e.user_id, e.course_id, e.attempt, e.block_id
        ) as e
        -- As it was: a statement does not see what it writes. This and what follows for itself, so that it is looked up.
        left join lateral (
            select c.value
            from public.block_completions as c
            where c.community_id = community and c.user_id = e.user_id and c.course_id = e.course_id
                and c.attempt = e.attempt and c.block_id = e.block_id
            offset 0
        ) as before on true
    ),
    written as (
        insert into public.block_completions as c (
            community_id, user_id, course_id, attempt, block_id, earned_value, earned_at, score, correct, event_count,
            started_at
        )
        select
            community, t.user_id, t.course_id, t.attempt, t.block_id, t.value, t.earned_at, t.score, t.correct,
            t.event_count, t.started_at
        from told as t
        order by t.user_id, t.course_id, t.attempt, t.block_id
        on conflict on constraint block_completions_pkey do update set
            earned_value = greatest(c.earned_value, excluded.earned_value),
            earned_at = least(c.earned_at, excluded.earned_at),
            score = greatest(c.score, excluded.score),
            correct = coalesce(c.correct or excluded.correct, c.correct, excluded.correct),
            event_count = c.event_count + excluded.event_count,
            started_at = least(c.started_at, excluded.started_at)
        returning c.user_id, c.course_id, c.attempt, c.block_id, c.value, c.started_at
    ),
    sums as (
        select
            w.user_id, w.course_id, p.version, w.attempt, min(w.started_at) as started_at,
            coalesce(pg_catalog.sum((w.value = 1)::integer - (t.value_before = 1)::integer) filter (where b.required), 0) as done,
            coalesce(pg_catalog.sum(b.weight * (w.value - t.value_before)) filter (where b.required), 0) as earned
        from written as w
        join told as t using (user_id, course_id, attempt, block_id)
        cross join lateral (
            select p.version
            from public.course_progress as p
            where p.community_id = community and p.user_id = w.user_id and p.course_id = w.course_id
                and p.attempt = w.attempt
            offset 0
        ) as p
        left join lateral (
            select b.weight, b.required
            from public.blocks as b
            where b.community_id = community and b.course_id = w.course_id and b.version = p.version
                and b.id = w.block_id and b.completion_mode = 'completable'
            offset 0
        ) as b on true
        group by w.user_id, w.course_id, p.version, w.attempt
    ),
    moved as (
        update public.course_progress as p
        set
            done_required = p.done_required + s.done,
            earned = p.earned + s.earned,
            started_at = least(p.started_at, s.started_at),
            updated_at = pg_catalog.now()
        from sums as s
        where p.community_id = community and p.user_id = s.user_id and p.course_id = s.course_id
            and p.version = s.version and p.attempt = s.attempt
            and (s.done <> 0 or s.earned <> 0 or p.started_at is null or s.started_at < p.started_at)
        returning p.user_id, p.course_id
    )
    select pg_catalog.array_agg(row(m.user_id, m.course_id)::private.learner_course) into touched from moved as m;
    return touched;
end
$$;

-- What follows for courses and enrolments once the sums have moved.
create function private.follow_progress(community uuid, touched private.learner_course[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    enrollments public.program_enrollments[];
begin
    update public.course_progress as p
    set completed_at = (
        select max(c.completed_at)
        from public.blocks as b
        join public.block_completions as c
            on c.community_id = b.community_id and c.user_id = p.user_id and c.course_id = b.course_id
            and c.attempt = p.attempt and c.block_id = b.id
        where b.community_id = p.community_id and b.course_id = p.course_id and b.version = p.version
            and b.required and b.completion_mode = 'completable'
    )
    from pg_catalog.unnest(touched) as t
    where p.community_id = community and p.user_id = t.user_id and p.course_id = t.course_id
        and p.completed_at is null and p.total_required > 0 and p.done_required = p.total_required;

    enrollments := array(select e from private.enrollments_with_courses(community, touched) as e);
    if enrollments <> '{}' then
        perform private.begin_course_progress(enrollments);
        perform private.evaluate_enrollments(enrollments);
    end if;
end
$$;

-- Records events in a community, whoever they are of: the way that all of them take. What is given is a list as the
-- GraphQL input has it, with its names in snake case; each names its person, or is the caller's.
create function private.record_events(community uuid, events jsonb) returns jsonb
volatile
set search_path = ''
-- One plan for lists of every length. The planner would make one anew for each call, as it takes short lists for cheaper
-- than they are: that costs more than to carry it out.
set plan_cache_mode = 'force_generic_plan'
language plpgsql
as $$
declare
    entries private.progress_entry[] := private.progress_entries_in(events);
    new_entries private.progress_entry[];
    members uuid[];
    touched private.learner_course[];
begin
    members := private.lock_learners(community, array(select e.user_id from pg_catalog.unnest(entries) as e));
    entries := private.told_apart(community, private.located_entries(community, members, entries));
    new_entries := array(select e from pg_catalog.unnest(entries) as e where e.status = 'accepted' order by e.place);
    if pg_catalog.cardinality(new_entries) > 0 then
        touched := private.begin_courses(community, new_entries);
        touched := touched || private.write_entries(community, new_entries);
        -- Whoever does again what is done moves nothing, and most events of some clients are like that.
        if touched is not null then
            perform private.follow_progress(community, touched);
        end if;
    end if;
    return pg_catalog.jsonb_build_object(
        'results', (
            select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'event_id', e.event_id, 'status', e.status, 'reason', e.reason
            ) order by e.place), '[]')
            from pg_catalog.unnest(entries) as e
        ),
        'courses', (
            select coalesce(pg_catalog.jsonb_agg(distinct pg_catalog.jsonb_build_object(
                'user_id', e.user_id, 'course_id', e.course_id
            )), '[]')
            from pg_catalog.unnest(entries) as e
            where e.status in ('accepted', 'duplicate')
        )
    );
end
$$;

-- Records events of the caller or, from an admin, of many.
create function public.record_progress(input jsonb) returns jsonb
volatile
security definer -- writes progress, which clients may not; the caller's own, or for admins, in their community only
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    events jsonb := input -> 'events';
begin
    if community is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    end if;
    if pg_catalog.jsonb_typeof(events) is distinct from 'array'
        or pg_catalog.jsonb_array_length(events) not between 1 and 500 then
        perform private.refuse('400', 'Give 1 to 500 events at once.', 'events');
    end if;
    if exists (
        select from pg_catalog.jsonb_array_elements(events) as e
        where coalesce((e ->> 'user_id')::uuid, auth.uid()) is distinct from auth.uid()
    ) then
        perform private.require_community_admin();
    end if;
    return private.record_events(community, events);
end
$$;
