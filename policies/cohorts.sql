-- Learners see the cohorts that they are or were in, but not who else is; admins see all, write and delete them.

alter table public.cohorts enable row level security;
alter table public.cohorts force row level security;
revoke all on public.cohorts from public, anon, authenticated, service_role;
grant select on public.cohorts to authenticated;
grant insert (program_id, name, starts_at, due_at, expires_at) on public.cohorts to authenticated;
grant update (name, starts_at, due_at, expires_at) on public.cohorts to authenticated;
grant delete on public.cohorts to authenticated;
grant select, insert, update, delete on public.cohorts to service_role;

drop policy if exists learners_see_their_cohorts_admins_all on public.cohorts;
create policy learners_see_their_cohorts_admins_all on public.cohorts
for select to authenticated
using (
    (select private.is_community_admin())
    or id = any (array(select private.viewer_cohort_ids()))
);

drop policy if exists admins_create_cohorts on public.cohorts;
create policy admins_create_cohorts on public.cohorts
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_cohorts on public.cohorts;
create policy admins_change_cohorts on public.cohorts
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_delete_cohorts on public.cohorts;
create policy admins_delete_cohorts on public.cohorts
for delete to authenticated
using ((select private.is_community_admin()));

-- Callable: mutations, which run under the policies above.

revoke all on function
public.create_cohort(jsonb),
public.update_cohort(jsonb),
public.delete_cohort(jsonb),
private.viewer_cohort_ids(),
private.hold_cohorts(),
private.move_cohort_dates(),
private.keep_cohorts_with_enrollments()
from public, anon, authenticated, service_role;
grant execute on function
public.create_cohort(jsonb),
public.update_cohort(jsonb),
public.delete_cohort(jsonb),
private.viewer_cohort_ids()
to authenticated;
