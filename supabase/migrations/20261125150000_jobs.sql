-- Jobs: which are due, how they went, and what the worker needs to seal the audit log.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- squawk-ignore ban-drop-function
drop function private.advance_enrollments(integer);

-- What the clock does to the enrolments of a community: those whose expiry has come end, those whose start has come
-- begin. At most so many at a time, and how many it were; harmless at any moment, and beside another one.
create function private.advance_enrollments(community uuid, most integer) returns integer
volatile
security definer -- for all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
declare
    ended integer;
    begun integer;
begin
    -- Chosen once: as a condition, the limit might be applied anew for each row.
    with lapsed as materialized (
        select l.id
        from public.program_enrollments as l
        where l.community_id = community
            and l.status in ('pending', 'active', 'paused') and l.expires_at <= pg_catalog.now()
        order by l.expires_at
        limit most
        for update skip locked
    )
    update public.program_enrollments as e
    set status = 'expired'
    from lapsed as l
    where e.community_id = community and e.id = l.id;
    get diagnostics ended = row_count;
    with due as materialized (
        select d.id
        from public.program_enrollments as d
        where d.community_id = community and d.status = 'pending' and d.starts_at <= pg_catalog.now()
            and (d.expires_at > pg_catalog.now()) is not false
        order by d.starts_at
        limit most - ended
        for update skip locked
    )
    update public.program_enrollments as e
    set status = 'active'
    from due as d
    where e.community_id = community and e.id = d.id;
    get diagnostics begun = row_count;
    return ended + begun;
end
$$;

-- What sealing reads and writes: it runs as the worker, who has no rights on the log and its chain but by these.

-- Those with anything in the log or in a chain; each by one look-up, however many entries it has.
create function private.audited_communities() returns setof uuid
stable
rows 100
security definer -- for all communities; called by the worker and the platform, never by a client
set search_path = ''
language plpgsql
as $$
begin
    return query
    with recursive found (community_id) as (
        (select e.community_id from public.audit_entries as e order by e.community_id limit 1)
        union all
        select (
            select e.community_id from public.audit_entries as e
            where e.community_id > f.community_id order by e.community_id limit 1
        )
        from found as f
        where f.community_id is not null
    )
    select f.community_id from found as f where f.community_id is not null
    union
    select h.community_id from private.audit_heads as h
    order by 1;
end
$$;

-- The entries behind a place that have no seal, in the order in which they are sealed; `below` and `most` may be null.
create function private.entries_to_seal(
    community uuid, behind_xid xid8, behind_id uuid, below xid8, most integer
) returns setof public.audit_entries
volatile -- else it would not see what the transaction has sealed
security definer -- for all communities; called by the worker and the platform, never by a client
set search_path = ''
language plpgsql
as $$
begin
    return query
    select e.*
    from public.audit_entries as e
    where e.community_id = community and (e.xid, e.id) > (behind_xid, behind_id) and (e.xid < below) is not false
        and (
            select s.sequence from private.audit_seals as s
            where s.community_id = e.community_id and s.entry_id = e.id and s.entry_xid = e.xid
        ) is null
    order by e.xid, e.id
    limit most;
end
$$;

create function private.last_audit_head(community uuid) returns setof private.audit_heads
volatile -- as above
rows 1
security definer -- for all communities; called by the worker and the platform, never by a client
set search_path = ''
language plpgsql
as $$
begin
    return query
    select h.* from private.audit_heads as h where h.community_id = community order by h.number desc limit 1;
end
$$;

-- Appends a batch and its head; who holds no right key makes a chain that does not verify.
create function private.append_audit_seals(
    head private.audit_heads, xids xid8[], entry_ids uuid[], hashes bytea[]
) returns void
volatile
security definer -- for all communities; called by the worker and the platform, never by a client
set search_path = ''
language plpgsql
as $$
begin
    insert into private.audit_seals (community_id, sequence, entry_xid, entry_id, hash)
    select head.community_id, head.sequence - pg_catalog.cardinality(hashes) + s.place, s.xid, s.entry_id, s.hash
    from unnest(xids, entry_ids, hashes) with ordinality as s (xid, entry_id, hash, place);
    insert into private.audit_heads select head.*;
end
$$;

-- What happens when nobody is asking: which jobs are due, and how their runs went, as admins see them. The queue itself
-- is procrastinate's and stands in a schema of its own; nothing here depends on it.

-- Not a reference to the community: what ran is told even while that one is being deleted, and goes after 30 days.
create table public.job_runs (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null,
    task text not null,
    job_id bigint not null,
    attempt integer not null,
    status text not null default 'running',
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    did integer,
    error text,
    constraint job_runs_pkey primary key (community_id, id),
    constraint job_runs_status_known check (status in ('running', 'succeeded', 'failed', 'dead')),
    constraint job_runs_finished_at_known check ((status = 'running') = (finished_at is null)),
    constraint job_runs_attempt_positive check (attempt >= 1)
);
alter table public.job_runs enable row level security;
alter table public.job_runs alter column community_id set (n_distinct = 20);
comment on table public.job_runs is 'One try of a job about one community.';
comment on column public.job_runs.job_id is 'The job in the queue; its tries have it in common.';
comment on column public.job_runs.status is
'failed: will be tried again; dead: was tried often enough, and rests for an hour.';
comment on column public.job_runs.did is 'How many things it did.';
comment on column public.job_runs.error is 'What kind of error ended it; never with data in it.';

create index job_runs_started_at_idx on public.job_runs (community_id, started_at, id);
create index job_runs_dead_idx on public.job_runs (community_id, task, finished_at) where status = 'dead';
create index job_runs_running_idx on public.job_runs (community_id, job_id) where status = 'running';

-- Which jobs have something to do, each for one community. Found by what is due and not by the hour, so that nothing is
-- missed that fell due while no worker was there. What has just been given up rests for an hour.
create function private.due_jobs() returns table (task text, community_id uuid)
stable
rows 100
security definer -- looks at all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
begin
    return query
    select d.task, d.community_id
    from (
        select 'advance_enrollments' as task, c.id as community_id
        from public.communities as c
        where exists (
            select from public.program_enrollments as e
            where e.community_id = c.id and e.status in ('pending', 'active', 'paused')
                and e.expires_at <= pg_catalog.now()
        ) or exists (
            select from public.program_enrollments as e
            where e.community_id = c.id and e.status = 'pending' and e.starts_at <= pg_catalog.now()
        )
        union all
        select 'advance_progress', c.id
        from public.communities as c
        where exists (select from private.progress_queue as q where q.community_id = c.id)
        union all
        select 'end_idle_sessions', c.id
        from public.communities as c
        where exists (
            select from public.learning_sessions as s
            where s.community_id = c.id and s.ended_at is null
                and s.last_seen_at <= pg_catalog.now() - interval '30 minutes'
        )
        union all
        select 'seal_audit_log', a.id
        from private.audited_communities() as a (id)
        left join lateral (
            select h.upto_xid, h.upto_id, h.sealed_at
            from private.audit_heads as h
            where h.community_id = a.id
            order by h.number desc
            limit 1
        ) as h on true
        where (h.sealed_at < pg_catalog.now() - interval '1 minute') is not false and exists (
            select from public.audit_entries as e
            where e.community_id = a.id
                and (h.upto_xid is null or (e.xid, e.id) > (h.upto_xid, h.upto_id))
        )
    ) as d
    where not exists (
        select from public.job_runs as r
        where r.community_id = d.community_id and r.task = d.task and r.status = 'dead'
            and r.finished_at > pg_catalog.now() - interval '1 hour'
    );
end
$$;

-- Tries of the same job that are still running belong to a worker that is gone.
create function private.begin_job_run(community uuid, task text, job_id bigint, attempt integer) returns uuid
volatile
security definer -- for all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
declare
    run_id uuid;
begin
    update public.job_runs as r
    set status = 'failed', finished_at = pg_catalog.now(), error = 'The worker ended in the middle of it.'
    where r.community_id = community and r.job_id = begin_job_run.job_id and r.status = 'running';
    insert into public.job_runs (community_id, task, job_id, attempt)
    values (community, begin_job_run.task, begin_job_run.job_id, begin_job_run.attempt)
    returning id into run_id;
    return run_id;
end
$$;

create function private.end_job_run(community uuid, run_id uuid, status text, did integer, error text) returns void
volatile
security definer -- for all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
begin
    update public.job_runs as r
    set status = end_job_run.status, finished_at = pg_catalog.clock_timestamp(), did = end_job_run.did,
        error = pg_catalog.left(end_job_run.error, 200)
    where r.community_id = community and r.id = run_id and r.status = 'running';
end
$$;

create function private.forget_old_job_runs() returns integer
volatile
security definer -- for all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
declare
    forgotten integer;
begin
    delete from public.job_runs as r
    using (select distinct o.community_id from public.job_runs as o) as c
    where r.community_id = c.community_id and r.started_at < pg_catalog.now() - interval '30 days';
    get diagnostics forgotten = row_count;
    return forgotten;
end
$$;
