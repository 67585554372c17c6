-- Who may see and change which rows. On its own and last: on Supabase, policy DDL can lock the platform's tables too
-- until it is committed.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- Who may call what stands behind the policies. No client may do more in schema private than is listed here.

revoke all on schema private from public, anon, authenticated, service_role, supabase_auth_admin;
grant usage on schema private to anon, authenticated, service_role, supabase_auth_admin;

revoke all on function
private.get_community_id(),
private.claimed_community_id(),
private.signed_in_user_id(),
private.is_super_admin(),
private.is_community_admin(),
private.viewer_community_ids(),
private.viewer(),
private.viewer_memberships(),
private.member_email(public.memberships),
private.require_community_admin(),
private.custom_access_token_hook(jsonb),
private.refuse(text, text, text),
private.touch_updated_at()
from public, anon, authenticated, service_role;

-- The questions of the policies, and what the functions below them ask in turn.
grant execute on function
private.get_community_id(),
private.claimed_community_id(),
private.signed_in_user_id(),
private.is_super_admin(),
private.is_community_admin(),
private.viewer_community_ids(),
private.refuse(text, text, text)
to anon, authenticated, service_role;

grant execute on function
private.viewer(),
private.viewer_memberships()
to anon, authenticated;

grant execute on function
private.member_email(public.memberships),
private.require_community_admin()
to authenticated, service_role;

grant execute on function private.custom_access_token_hook(jsonb) to supabase_auth_admin;

-- People see the communities they belong to; super admins see the list of all. Nobody but the platform makes them.

alter table public.communities enable row level security;
alter table public.communities force row level security;
revoke all on public.communities from public, anon, authenticated, service_role;
grant select on public.communities to authenticated;
grant select, insert, update, delete on public.communities to service_role;

drop policy if exists members_and_super_admins_see_communities on public.communities;
create policy members_and_super_admins_see_communities on public.communities
for select to authenticated
using (
    id = any (array(select private.viewer_community_ids()))
    or (select private.is_super_admin())
);

-- Members see themselves; admins see everybody in their community.

alter table public.memberships enable row level security;
alter table public.memberships force row level security;
revoke all on public.memberships from public, anon, authenticated, service_role;
grant select on public.memberships to authenticated;
grant select, insert, update, delete on public.memberships to service_role;

drop policy if exists members_see_themselves_admins_everybody on public.memberships;
create policy members_see_themselves_admins_everybody on public.memberships
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

-- Super admins are granted by the platform, with SQL; nobody reads the list.

alter table private.super_admins enable row level security;
alter table private.super_admins force row level security;
revoke all on private.super_admins from public, anon, authenticated, service_role;

-- Members see published and archived courses with their published versions; admins see drafts too.

alter table public.courses enable row level security;
alter table public.courses force row level security;
revoke all on public.courses from public, anon, authenticated, service_role;
grant select on public.courses to authenticated;
grant select, insert, update, delete on public.courses to service_role;

drop policy if exists members_see_courses_admins_drafts_too on public.courses;
create policy members_see_courses_admins_drafts_too on public.courses
for select to authenticated
using (status <> 'draft' or (select private.is_community_admin()));

alter table public.course_versions enable row level security;
alter table public.course_versions force row level security;
revoke all on public.course_versions from public, anon, authenticated, service_role;
grant select on public.course_versions to authenticated;
grant select, insert, update, delete on public.course_versions to service_role;

drop policy if exists members_see_published_versions_admins_all on public.course_versions;
create policy members_see_published_versions_admins_all on public.course_versions
for select to authenticated
using (published or (select private.is_community_admin()));

alter table public.blocks enable row level security;
alter table public.blocks force row level security;
revoke all on public.blocks from public, anon, authenticated, service_role;
grant select on public.blocks to authenticated;
grant select, insert, update, delete on public.blocks to service_role;

drop policy if exists members_see_published_blocks_admins_all on public.blocks;
create policy members_see_published_blocks_admins_all on public.blocks
for select to authenticated
using (published or (select private.is_community_admin()));

revoke all on function private.keep_published_versions() from public, anon, authenticated, service_role;

-- Members see published programs and those they are enrolled in; admins see all, write them, and delete drafts.

alter table public.programs enable row level security;
alter table public.programs force row level security;
revoke all on public.programs from public, anon, authenticated, service_role;
grant select on public.programs to authenticated;
grant insert (title, description, duration_weeks) on public.programs to authenticated;
grant update (title, description, duration_weeks, status) on public.programs to authenticated;
grant delete on public.programs to authenticated;
grant select, insert, update, delete on public.programs to service_role;

drop policy if exists members_see_programs_admins_all on public.programs;
create policy members_see_programs_admins_all on public.programs
for select to authenticated
using (
    status = 'published'
    or (select private.is_community_admin())
    or id = any (array(select private.viewer_program_ids()))
);

drop policy if exists admins_create_programs on public.programs;
create policy admins_create_programs on public.programs
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_programs on public.programs;
create policy admins_change_programs on public.programs
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_delete_drafts on public.programs;
create policy admins_delete_drafts on public.programs
for delete to authenticated
using (status = 'draft' and (select private.is_community_admin()));

-- Who sees a program sees its courses; admins change the list.

alter table public.program_course_assignments enable row level security;
alter table public.program_course_assignments force row level security;
revoke all on public.program_course_assignments from public, anon, authenticated, service_role;
grant select on public.program_course_assignments to authenticated;
grant insert (program_id, course_id, sequence_order, required, group_name)
on public.program_course_assignments to authenticated;
grant update (sequence_order, required, group_name) on public.program_course_assignments to authenticated;
grant delete on public.program_course_assignments to authenticated;
grant select, insert, update, delete on public.program_course_assignments to service_role;

drop policy if exists who_sees_the_program_sees_its_courses on public.program_course_assignments;
create policy who_sees_the_program_sees_its_courses on public.program_course_assignments
for select to authenticated
using (
    (select private.is_community_admin())
    or exists (
        select from public.programs as p
        where p.community_id = program_course_assignments.community_id
            and p.id = program_course_assignments.program_id
    )
);

drop policy if exists admins_assign_courses on public.program_course_assignments;
create policy admins_assign_courses on public.program_course_assignments
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_assignments on public.program_course_assignments;
create policy admins_change_assignments on public.program_course_assignments
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_remove_assignments on public.program_course_assignments;
create policy admins_remove_assignments on public.program_course_assignments
for delete to authenticated
using ((select private.is_community_admin()));

-- Callable: mutations, which run under the policies above.

revoke all on function
public.create_program(jsonb),
public.update_program(jsonb),
public.publish_program(jsonb),
public.archive_program(jsonb),
public.restore_program(jsonb),
public.delete_program(jsonb),
public.assign_courses(jsonb),
private.program_for_change(uuid),
private.set_program_status(uuid, text, text),
private.hold_program_states(),
private.keep_programs_with_history(),
private.keep_archived_assignments()
from public, anon, authenticated, service_role;
grant execute on function
public.create_program(jsonb),
public.update_program(jsonb),
public.publish_program(jsonb),
public.archive_program(jsonb),
public.restore_program(jsonb),
public.delete_program(jsonb),
public.assign_courses(jsonb),
private.program_for_change(uuid),
private.set_program_status(uuid, text, text)
to authenticated;

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

-- The wall: whatever the rules of a domain allow, nobody reaches past the community that they are acting in.

-- Restrictive policies are joined with "and" to every other one, for every role that does not bypass RLS. Bound to
-- auth.get_community_id() where the platform has it; hosted Supabase keeps schema auth closed.
do $$
declare
    walled text;
    question text := case
        when pg_catalog.to_regprocedure('auth.get_community_id()') is not null then 'auth' else 'private'
    end || '.get_community_id()';
begin
    for walled in
        select c.table_name
        from information_schema.columns as c
        join information_schema.tables as t using (table_schema, table_name)
        where c.table_schema = 'public' and c.column_name = 'community_id' and t.table_type = 'BASE TABLE'
        order by c.table_name
    loop
        execute pg_catalog.format('drop policy if exists client_isolation_%1$s on public.%1$I', walled);
        execute pg_catalog.format(
            'create policy client_isolation_%1$s on public.%1$I as restrictive for all to public '
            'using (community_id = (select %2$s)) with check (community_id = (select %2$s))',
            walled, question
        );
    end loop;
end
$$;
