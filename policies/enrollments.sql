-- Learners see their own enrolments, enrol themselves and withdraw; admins do so for everybody in the community.

alter table public.program_enrollments enable row level security;
alter table public.program_enrollments force row level security;
revoke all on public.program_enrollments from public, anon, authenticated, service_role;
grant select on public.program_enrollments to authenticated;
grant insert (program_id, user_id, due_at) on public.program_enrollments to authenticated;
grant update (status, due_at) on public.program_enrollments to authenticated;
grant select, insert, update, delete on public.program_enrollments to service_role;

drop policy if exists learners_see_their_enrollments_admins_all on public.program_enrollments;
create policy learners_see_their_enrollments_admins_all on public.program_enrollments
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

drop policy if exists learners_enroll_themselves_admins_anybody on public.program_enrollments;
create policy learners_enroll_themselves_admins_anybody on public.program_enrollments
for insert to authenticated
with check (
    (select private.is_community_admin())
    or (user_id = (select auth.uid()) and status = 'active' and due_at is null)
);

drop policy if exists learners_withdraw_admins_change on public.program_enrollments;
create policy learners_withdraw_admins_change on public.program_enrollments
for update to authenticated
using ((select private.is_community_admin()) or user_id = (select auth.uid()))
with check (
    (select private.is_community_admin())
    or (user_id = (select auth.uid()) and status = 'withdrawn')
);

revoke all on function
public.enroll(jsonb),
public.withdraw_enrollment(jsonb),
private.viewer_program_ids(),
private.program_stats(public.programs),
private.begin_enrollment(),
private.hold_enrollment_states()
from public, anon, authenticated, service_role;
grant execute on function
public.enroll(jsonb),
public.withdraw_enrollment(jsonb),
private.viewer_program_ids(),
private.program_stats(public.programs)
to authenticated;

revoke all on function private.pin_program_version() from public, anon, authenticated, service_role;
