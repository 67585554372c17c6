-- Learners see their own progress, admins everybody's in the community. Nobody writes it but the functions that record it.

alter table public.progress_events enable row level security;
alter table public.progress_events force row level security;
revoke all on public.progress_events from public, anon, authenticated, service_role;
grant select on public.progress_events to authenticated, service_role;

drop policy if exists learners_see_their_events_admins_all on public.progress_events;
create policy learners_see_their_events_admins_all on public.progress_events
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

alter table public.block_completions enable row level security;
alter table public.block_completions force row level security;
revoke all on public.block_completions from public, anon, authenticated, service_role;
grant select on public.block_completions to authenticated, service_role;

drop policy if exists learners_see_their_completions_admins_all on public.block_completions;
create policy learners_see_their_completions_admins_all on public.block_completions
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

alter table public.completion_overrides enable row level security;
alter table public.completion_overrides force row level security;
revoke all on public.completion_overrides from public, anon, authenticated, service_role;
grant select on public.completion_overrides to authenticated, service_role;

drop policy if exists learners_see_their_overrides_admins_all on public.completion_overrides;
create policy learners_see_their_overrides_admins_all on public.completion_overrides
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

alter table public.course_attempts enable row level security;
alter table public.course_attempts force row level security;
revoke all on public.course_attempts from public, anon, authenticated, service_role;
grant select on public.course_attempts to authenticated, service_role;

drop policy if exists learners_see_their_attempts_admins_all on public.course_attempts;
create policy learners_see_their_attempts_admins_all on public.course_attempts
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

alter table public.course_progress enable row level security;
alter table public.course_progress force row level security;
revoke all on public.course_progress from public, anon, authenticated, service_role;
grant select on public.course_progress to authenticated, service_role;

drop policy if exists learners_see_their_courses_admins_all on public.course_progress;
create policy learners_see_their_courses_admins_all on public.course_progress
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

alter table public.program_progress enable row level security;
alter table public.program_progress force row level security;
revoke all on public.program_progress from public, anon, authenticated, service_role;
grant select on public.program_progress to authenticated, service_role;

drop policy if exists learners_see_their_programs_admins_all on public.program_progress;
create policy learners_see_their_programs_admins_all on public.program_progress
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

-- Whoever sees the version sees what it asks for.

alter table public.program_requirements enable row level security;
alter table public.program_requirements force row level security;
revoke all on public.program_requirements from public, anon, authenticated, service_role;
grant select on public.program_requirements to authenticated, service_role;

drop policy if exists who_sees_the_program_sees_its_requirements on public.program_requirements;
create policy who_sees_the_program_sees_its_requirements on public.program_requirements
for select to authenticated
using (
    (select private.is_community_admin())
    or exists (
        select from public.programs as p
        where p.community_id = program_requirements.community_id
            and p.id = program_requirements.program_id
            and p.version >= program_requirements.version
    )
);

-- The queue of the worker.

alter table private.progress_queue enable row level security;
alter table private.progress_queue force row level security;
revoke all on private.progress_queue from public, anon, authenticated, service_role;

revoke all on function
public.record_progress(jsonb),
public.override_completion(jsonb),
public.reset_progress(jsonb),
private.keep_progress_events(),
private.current_attempt(uuid, uuid, uuid),
private.course_standing(uuid, uuid, uuid),
private.version_shown(uuid, uuid, uuid),
private.counted_course_progress(uuid, uuid, uuid, integer, integer),
private.requirement_nodes(public.program_versions),
private.write_requirements(public.program_versions),
private.hold_requirements(),
private.requirement_states(public.program_enrollments[]),
private.begin_course_progress(public.program_enrollments[]),
private.carry_over_completions(public.program_enrollments),
private.begin_program_progress(public.program_enrollments),
private.evaluate_enrollments(public.program_enrollments[]),
private.queue_progress(uuid, uuid[]),
private.queue_moved_enrollments(),
private.advance_progress(uuid),
private.complete_enrollments(public.program_enrollments[], private.requirement_state[]),
private.enrollments_with_courses(uuid, private.learner_course[]),
private.follow_enrollment(),
private.follow_completion(),
private.open_attempts(uuid, uuid, uuid[], text),
private.lock_learners(uuid, uuid[]),
private.progress_entries_in(jsonb),
private.record_events(uuid, jsonb),
private.located_entries(uuid, uuid[], private.progress_entry[]),
private.told_apart(uuid, private.progress_entry[]),
private.begin_courses(uuid, private.progress_entry[]),
private.write_entries(uuid, private.progress_entry[]),
private.follow_progress(uuid, private.learner_course[]),
private.learner_for_change(uuid, uuid, text),
private.recount_course(uuid, uuid, uuid, integer),
private.recompute_progress(uuid, uuid),
private.course_state_of(public.course_progress),
private.course_state(uuid, uuid, uuid, integer),
private.may_see_progress(uuid, uuid),
private.course_progress(jsonb),
private.program_progress(jsonb),
private.courses_of_progress(public.program_progress),
private.courses_told(jsonb),
private.progress_results(jsonb),
private.next_block(private.course_progress_state),
private.blocks_of_progress(private.course_progress_state),
private.missing_requirements(public.program_progress)
from public, anon, authenticated, service_role;
grant execute on function
public.record_progress(jsonb),
public.override_completion(jsonb),
public.reset_progress(jsonb),
private.course_progress(jsonb),
private.program_progress(jsonb),
private.courses_of_progress(public.program_progress),
private.courses_told(jsonb),
private.progress_results(jsonb),
private.next_block(private.course_progress_state),
private.blocks_of_progress(private.course_progress_state),
private.missing_requirements(public.program_progress)
to authenticated;

-- The queue, and counting anew, are the worker's.
grant execute on function private.advance_progress(uuid), private.recompute_progress(uuid, uuid) to gym_worker;
