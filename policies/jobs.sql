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
