-- Engagement: an index of how somebody went through a session, with what it is made of. An estimate, and explained as one
-- in docs/sessions.md. It is counted from what is stored whenever it is asked for, and nothing depends on it.

-- What engagement counts by: events of one person in a span of time.
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
