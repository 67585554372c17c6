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
