-- Learners see what is known of their own earlier progress, admins everybody's in the community; only admins from which
-- files. The platform imports, and nobody else. A file may be about several communities: what it holds, and where in it
-- somebody stands, would tell each of the others.

alter table public.legacy_batches enable row level security;
alter table public.legacy_batches force row level security;
revoke all on public.legacy_batches from public, anon, authenticated, service_role;
grant select (community_id, id, file_name, imported_at, undone_at) on public.legacy_batches to authenticated;
grant select on public.legacy_batches to service_role;

drop policy if exists admins_see_legacy_batches on public.legacy_batches;
create policy admins_see_legacy_batches on public.legacy_batches
for select to authenticated
using ((select private.is_community_admin()));

alter table public.legacy_progress enable row level security;
alter table public.legacy_progress force row level security;
revoke all on public.legacy_progress from public, anon, authenticated, service_role;
grant select (
    id, community_id, batch_id, user_id, course_id, attempt, version, percent, completed_at, data, percent_before,
    percent_after, imported_at
) on public.legacy_progress to authenticated;
grant select on public.legacy_progress to service_role;

drop policy if exists learners_see_their_legacy_progress_admins_all on public.legacy_progress;
create policy learners_see_their_legacy_progress_admins_all on public.legacy_progress
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

revoke all on function
private.legacy_floor(uuid, uuid, uuid, integer, integer),
private.legacy_entries_in(uuid, jsonb),
private.lay_legacy_floors(uuid, private.learner_course[]),
private.percents_shown(uuid, private.learner_course[]),
private.begin_legacy_courses(uuid, private.learner_course[]),
private.raise_enrollments(uuid, private.learner_course[]),
private.take_legacy_progress(uuid, uuid, jsonb),
private.lift_legacy_floors(uuid, public.legacy_progress[]),
private.met_enrollments(uuid, private.learner_course[]),
private.reopen_enrollments(uuid, uuid[]),
private.enrollments_followed(uuid, public.legacy_progress[]),
private.undo_legacy_progress(uuid, uuid, uuid, integer)
from public, anon, authenticated, service_role;
