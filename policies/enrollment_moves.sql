-- Admins decide about enrolments and see what was decided; nobody changes it.

alter table public.enrollment_moves enable row level security;
alter table public.enrollment_moves force row level security;
revoke all on public.enrollment_moves from public, anon, authenticated, service_role;
grant select on public.enrollment_moves to authenticated;
-- With community_id, which the wall holds to the caller's: its default would be asked for each of 200,000 rows.
grant insert (community_id, enrollment_id, from_version, to_version, mode, reason) on public.enrollment_moves to authenticated;
grant select, insert, update, delete on public.enrollment_moves to service_role;

drop policy if exists admins_see_enrollment_moves on public.enrollment_moves;
create policy admins_see_enrollment_moves on public.enrollment_moves
for select to authenticated
using ((select private.is_community_admin()));

drop policy if exists admins_move_enrollments on public.enrollment_moves;
create policy admins_move_enrollments on public.enrollment_moves
for insert to authenticated
with check ((select private.is_community_admin()));

revoke all on function
public.move_enrollments(jsonb),
private.versions_of_move(jsonb),
private.enrollments_of_move(jsonb),
private.undecided_enrollments(uuid, integer, integer, text, uuid[]),
private.preview_move(jsonb),
private.version_differences(uuid, integer, integer),
private.preview_differences(private.move_preview),
private.move_differences(jsonb),
private.keep_enrollment_moves(),
private.carry_out_enrollment_moves()
from public, anon, authenticated, service_role;
grant execute on function
public.move_enrollments(jsonb),
private.versions_of_move(jsonb),
private.enrollments_of_move(jsonb),
private.undecided_enrollments(uuid, integer, integer, text, uuid[]),
private.preview_move(jsonb),
private.version_differences(uuid, integer, integer),
private.preview_differences(private.move_preview),
private.move_differences(jsonb)
to authenticated;
