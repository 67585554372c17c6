-- Who sees a program sees its versions; admins begin the next one, in the same transaction in which it becomes current.

alter table public.program_versions enable row level security;
alter table public.program_versions force row level security;
revoke all on public.program_versions from public, anon, authenticated, service_role;
grant select on public.program_versions to authenticated;
grant insert (program_id, version, completion_criteria) on public.program_versions to authenticated;
grant update (completion_criteria) on public.program_versions to authenticated;
grant select, insert, update, delete on public.program_versions to service_role;

drop policy if exists who_sees_the_program_sees_its_versions on public.program_versions;
create policy who_sees_the_program_sees_its_versions on public.program_versions
for select to authenticated
using (
    (select private.is_community_admin())
    or exists (
        select from public.programs as p
        where p.community_id = program_versions.community_id
            and p.id = program_versions.program_id
            and p.version >= program_versions.version
    )
);

drop policy if exists admins_begin_versions on public.program_versions;
create policy admins_begin_versions on public.program_versions
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_open_versions on public.program_versions;
create policy admins_change_open_versions on public.program_versions
for update to authenticated
using (published_at is null and (select private.is_community_admin()))
with check ((select private.is_community_admin()));

revoke all on function
private.begin_first_version(),
private.keep_program_versions(),
private.finish_program_versions(),
private.keep_closed_versions(),
private.close_program_version(uuid, uuid, integer),
private.copy_current_versions(uuid, uuid[]),
private.renew_program_versions(uuid, uuid[]),
private.outdated_programs(uuid, uuid[]),
private.close_current_version(),
private.follow_course_versions()
from public, anon, authenticated, service_role;
