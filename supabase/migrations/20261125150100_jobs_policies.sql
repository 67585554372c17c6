-- Who sees how jobs went, and what the worker may call.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

revoke all on function private.advance_enrollments(uuid, integer) from public, anon, authenticated, service_role;
grant execute on function private.advance_enrollments(uuid, integer) to gym_worker;

revoke all on function
private.audited_communities(),
private.entries_to_seal(uuid, xid8, uuid, xid8, integer),
private.last_audit_head(uuid),
private.append_audit_seals(private.audit_heads, xid8[], uuid[], bytea[])
from public, anon, authenticated, service_role;

-- The worker seals.
grant execute on function
private.audited_communities(),
private.entries_to_seal(uuid, xid8, uuid, xid8, integer),
private.last_audit_head(uuid),
private.append_audit_seals(private.audit_heads, xid8[], uuid[], bytea[])
to gym_worker;

-- Admins see how the jobs of their community went. The worker writes it, by its functions.

alter table public.job_runs enable row level security;
alter table public.job_runs force row level security;
revoke all on public.job_runs from public, anon, authenticated, service_role;
grant select on public.job_runs to authenticated, service_role;

drop policy if exists admins_see_job_runs on public.job_runs;
create policy admins_see_job_runs on public.job_runs
for select to authenticated
using ((select private.is_community_admin()));

revoke all on function
private.due_jobs(),
private.begin_job_run(uuid, text, bigint, integer),
private.end_job_run(uuid, uuid, text, integer, text),
private.forget_old_job_runs()
from public, anon, authenticated, service_role;
grant execute on function
private.due_jobs(),
private.begin_job_run(uuid, text, bigint, integer),
private.end_job_run(uuid, uuid, text, integer, text),
private.forget_old_job_runs()
to gym_worker;

do $$
declare
    question text := case
        when pg_catalog.to_regprocedure('auth.get_community_id()') is not null then 'auth' else 'private'
    end || '.get_community_id()';
begin
    execute pg_catalog.format(
        'create policy client_isolation_job_runs on public.job_runs as restrictive for all to public '
        'using (community_id = (select %1$s)) with check (community_id = (select %1$s))',
        question
    );
end
$$;
