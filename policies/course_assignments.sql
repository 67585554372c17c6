-- Who sees a program sees its courses; admins change the list.

alter table public.program_course_assignments enable row level security;
alter table public.program_course_assignments force row level security;
revoke all on public.program_course_assignments from public, anon, authenticated, service_role;
grant select on public.program_course_assignments to authenticated;
grant insert (program_id, course_id, sequence_order, required, group_name, version)
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
            and p.version >= program_course_assignments.version
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

-- Groups and prerequisites go with the courses.

alter table public.program_course_groups enable row level security;
alter table public.program_course_groups force row level security;
revoke all on public.program_course_groups from public, anon, authenticated, service_role;
grant select on public.program_course_groups to authenticated;
grant insert (program_id, version, name, at_least)
on public.program_course_groups to authenticated;
grant update (at_least) on public.program_course_groups to authenticated;
grant delete on public.program_course_groups to authenticated;
grant select, insert, update, delete on public.program_course_groups to service_role;

drop policy if exists who_sees_the_program_sees_its_groups on public.program_course_groups;
create policy who_sees_the_program_sees_its_groups on public.program_course_groups
for select to authenticated
using (
    (select private.is_community_admin())
    or exists (
        select from public.programs as p
        where p.community_id = program_course_groups.community_id
            and p.id = program_course_groups.program_id
            and p.version >= program_course_groups.version
    )
);

drop policy if exists admins_make_groups on public.program_course_groups;
create policy admins_make_groups on public.program_course_groups
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_groups on public.program_course_groups;
create policy admins_change_groups on public.program_course_groups
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_remove_groups on public.program_course_groups;
create policy admins_remove_groups on public.program_course_groups
for delete to authenticated
using ((select private.is_community_admin()));

alter table public.program_course_prerequisites enable row level security;
alter table public.program_course_prerequisites force row level security;
revoke all on public.program_course_prerequisites from public, anon, authenticated, service_role;
grant select on public.program_course_prerequisites to authenticated;
grant insert (program_id, version, course_id, prerequisite_id)
on public.program_course_prerequisites to authenticated;
grant delete on public.program_course_prerequisites to authenticated;
grant select, insert, update, delete on public.program_course_prerequisites to service_role;

drop policy if exists who_sees_the_program_sees_its_prerequisites on public.program_course_prerequisites;
create policy who_sees_the_program_sees_its_prerequisites on public.program_course_prerequisites
for select to authenticated
using (
    (select private.is_community_admin())
    or exists (
        select from public.programs as p
        where p.community_id = program_course_prerequisites.community_id
            and p.id = program_course_prerequisites.program_id
            and p.version >= program_course_prerequisites.version
    )
);

drop policy if exists admins_set_prerequisites on public.program_course_prerequisites;
create policy admins_set_prerequisites on public.program_course_prerequisites
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_remove_prerequisites on public.program_course_prerequisites;
create policy admins_remove_prerequisites on public.program_course_prerequisites
for delete to authenticated
using ((select private.is_community_admin()));

revoke all on function
private.prerequisite_cycle(uuid, uuid, integer),
private.refuse_prerequisite_cycles()
from public, anon, authenticated, service_role;
grant execute on function private.prerequisite_cycle(uuid, uuid, integer) to authenticated, service_role;
