-- Learners see their own enrolments, enrol themselves and withdraw; admins do so for everybody in the community.

alter table public.program_enrollments enable row level security;
alter table public.program_enrollments force row level security;
revoke all on public.program_enrollments from public, anon, authenticated, service_role;
grant select on public.program_enrollments to authenticated;
grant insert (program_id, user_id, due_at, cohort_id, starts_at, expires_at)
on public.program_enrollments to authenticated;
grant update (status, due_at, cohort_id, starts_at, expires_at) on public.program_enrollments to authenticated;
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
    or (
        user_id = (select auth.uid()) and status = 'active'
        and cohort_id is null and starts_at is null and due_at is null and expires_at is null
    )
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
public.enroll_people(jsonb),
public.update_enrollment(jsonb),
public.withdraw_enrollment(jsonb),
private.enroll_listed(jsonb),
private.try_to_enroll(uuid, jsonb),
private.already_enrolled(uuid),
private.enroll_results(jsonb),
private.refuse_unpublished(text),
private.note_reason(text),
private.has_reason(),
private.is_overdue(public.program_enrollments),
private.viewer_program_ids(),
private.program_stats(public.programs),
private.dates_among(timestamptz, timestamptz, timestamptz),
private.refuse_disorder(timestamptz, timestamptz, timestamptz, text[], text, boolean),
private.advance_enrollments(uuid, integer),
private.begin_enrollment(),
private.hold_enrollment_dates(),
private.hold_enrollment_states()
from public, anon, authenticated, service_role;
grant execute on function
public.enroll(jsonb),
public.enroll_people(jsonb),
public.update_enrollment(jsonb),
public.withdraw_enrollment(jsonb),
private.enroll_listed(jsonb),
private.try_to_enroll(uuid, jsonb),
private.already_enrolled(uuid),
private.enroll_results(jsonb),
private.refuse_unpublished(text),
private.note_reason(text),
private.has_reason(),
private.is_overdue(public.program_enrollments),
private.viewer_program_ids(),
private.program_stats(public.programs)
to authenticated;

revoke all on function private.pin_program_version() from public, anon, authenticated, service_role;
-- The trigger that holds the states asks it, whoever writes.
grant execute on function private.has_reason() to service_role;
-- And those that hold the dates, these.
grant execute on function
private.dates_among(timestamptz, timestamptz, timestamptz),
private.refuse_disorder(timestamptz, timestamptz, timestamptz, text[], text, boolean)
to authenticated, service_role;

-- The clock is the worker's.
grant execute on function private.advance_enrollments(uuid, integer) to gym_worker;
