-- Guards: admins are asked for before anything is locked or looked at, locks are taken in one order, imports of the same
-- write nothing, and what is refused says which field and why.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- Words for messages: a state as it stands behind "is", and a number of things.
create function private.in_state(state text) returns text
stable
set search_path = ''
language sql
as $$ select case state when 'draft' then 'a draft' else state end $$;

create function private.counted(number bigint, one text, many text) returns text
stable
set search_path = ''
language sql
as $$ select pg_catalog.concat(number, ' ', case number when 1 then one else many end) $$;

-- Keeps updated_at true whoever writes; an update that changes nothing leaves it. Arguments of the trigger: the
-- generated columns, which are not there yet when it is asked what is different.
create or replace function private.touch_updated_at() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if tg_nargs = 0 and new is distinct from old
        or tg_nargs > 0 and pg_catalog.to_jsonb(new) - tg_argv <> pg_catalog.to_jsonb(old) - tg_argv then
        new.updated_at := pg_catalog.now();
    end if;
    return new;
end
$$;

-- For whoever is signed in, wherever their token says that they act, and if it says nothing.
create or replace function public.switch_community(input jsonb) returns uuid
volatile
security definer -- the choice stands where clients have no rights; looks past the wall, at the caller's own rows only
set search_path = ''
language plpgsql
as $$
declare
    wanted uuid := (input ->> 'community_id')::uuid;
    me uuid := private.signed_in_user_id();
begin
    if not exists (
        select from public.memberships as m
        where m.community_id = wanted and m.user_id = me and m.status = 'active'
    ) and not (
        private.is_super_admin() and exists (select from public.communities as c where c.id = wanted)
    ) then
        perform private.refuse('404', case
            when private.is_super_admin() then 'There is no community with this id.'
            else 'There is no community with this id in which you are an active member.'
        end);
    end if;
    insert into private.active_communities as a (user_id, community_id)
    values (me, wanted)
    on conflict (user_id) do update set community_id = excluded.community_id, chosen_at = pg_catalog.now();
    return wanted;
end
$$;

-- Enrolments stay as they are, whatever becomes of a membership: who is not active sees none of them, and who comes
-- back goes on where they were.
create or replace function private.set_member_status(input jsonb, verb text, from_statuses text[], to_status text) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    member public.memberships := private.member_for_change(input);
begin
    if member.status <> all (from_statuses) then
        perform private.refuse('412', pg_catalog.format(
            'This membership is %s; only one that is %s can be %s.',
            member.status, pg_catalog.array_to_string(from_statuses, ' or '), verb
        ));
    end if;
    -- Whether it is too long, the column says, in its own words.
    perform private.note_reason(pg_catalog.left(input ->> 'reason', 1000));
    update public.memberships as m
    set status = to_status, suspension_reason = input ->> 'reason'
    where m.id = member.id;
    perform private.note_reason(null);
    return member.id;
end
$$;

-- For what changes the version or the state of a course, and so of programs: their lock comes before any row's.
create function private.course_for_move(course_id uuid, even_archived boolean default false) returns public.courses
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.require_community_admin();
    perform private.lock_program_structures(private.get_community_id());
    return private.course_for_change(course_id, even_archived);
end
$$;

create or replace function private.set_course_status(course_id uuid, from_status text, to_status text) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_move(course_id, even_archived => true);
begin
    if course.status <> from_status then
        perform private.refuse('412', pg_catalog.format(
            'The course is in state %s; only from %s can it become %s.', course.status, from_status, to_status
        ));
    end if;
    update public.courses as c set status = to_status where c.community_id = course.community_id and c.id = course.id;
    return course.id;
end
$$;

-- Blocks as course/1 has them; what is as by default is left out. Written by hand, for the format's order of keys and
-- with jsonb's blanks: one text for the same blocks, whether they are stored or to be imported.
create function private.blocks_text(blocks public.blocks[]) returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    return (
        select pg_catalog.concat('[', pg_catalog.string_agg(pg_catalog.concat(
            '{"id": "', b.id, '"',
            ', "parentId": "' || b.parent_id || '"',
            ', "kind": ', pg_catalog.to_json(b.kind),
            ', "title": ', pg_catalog.to_json(b.title),
            ', "weight": ' || nullif(pg_catalog.trim_scale(b.weight), 1),
            case when not b.required then ', "required": false' end,
            ', "completionMode": "' || nullif(b.completion_mode, 'completable') || '"',
            '}'
        ), ', ' order by b.position), ']')
        from pg_catalog.unnest(blocks) as b
    );
end
$$;

create or replace function private.blocks_of(version public.course_versions) returns json
stable
set search_path = ''
language plpgsql
as $$
begin
    return private.blocks_text(array(
        select b
        from public.blocks as b
        where b.community_id = version.community_id
            and b.course_id = version.course_id
            and b.version = version.version
    ))::json;
end
$$;

-- The blocks of a course in the format course/1, which were checked, as they will stand in a version.
create function private.blocks_in(version public.course_versions, blocks jsonb) returns setof public.blocks
stable
set search_path = ''
language plpgsql
as $$
begin
    -- All columns, in the order of the table.
    return query
    select
        (b.block ->> 'id')::uuid, version.community_id, version.course_id, version.version, version.published,
        (b.block ->> 'parentId')::uuid, b.block ->> 'kind', b.block ->> 'title', b.place::integer,
        coalesce((b.block -> 'weight')::numeric, 1)::numeric(9, 3),
        coalesce((b.block -> 'required')::boolean, true), coalesce(b.block ->> 'completionMode', 'completable')
    from pg_catalog.jsonb_array_elements(blocks) with ordinality as b (block, place);
end
$$;

-- The version that is not published, with these blocks and no others; gives its id.
create or replace function private.write_next_version(course public.courses, blocks jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    next public.course_versions;
    place integer;
begin
    delete from public.course_versions as v
    where v.community_id = course.community_id and v.course_id = course.id and not v.published;
    insert into public.course_versions as v (community_id, course_id, version)
    select course.community_id, course.id, 1 + coalesce(max(v.version), 0)
    from public.course_versions as v
    where v.community_id = course.community_id and v.course_id = course.id
    returning v.* into next;

    -- Taken first and asked about afterwards: of two courses that take one id at the same moment, one waits here.
    -- In order of the ids, so that they never wait for each other.
    insert into public.block_identities (community_id, course_id, id)
    select course.community_id, course.id, (b ->> 'id')::uuid
    from pg_catalog.jsonb_array_elements(blocks) as b
    order by 3
    on conflict on constraint block_identities_pkey do nothing;
    select b.place - 1 into place
    from pg_catalog.jsonb_array_elements(blocks) with ordinality as b (block, place)
    join public.block_identities as i
        on i.community_id = course.community_id and i.id = (b.block ->> 'id')::uuid and i.course_id <> course.id
    order by b.place
    limit 1;
    if found then
        perform private.refuse_block(
            blocks -> place, place, 'id', 'a block of another course has this id. Give this one a new id.', '409'
        );
    end if;

    insert into public.blocks select b.* from private.blocks_in(next, blocks) as b;
    return next.id;
end
$$;

-- The version of a course that has these blocks already: the current one, or else the unpublished one. None other, for
-- what was earlier is not what learners get.
create function private.version_with_blocks(course public.courses, blocks jsonb) returns public.course_versions
stable
set search_path = ''
language plpgsql
as $$
declare
    wanted text := private.blocks_text(array(select b from private.blocks_in(null, blocks) as b));
    wanted_hash text := pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(wanted, 'UTF8')), 'hex');
    same public.course_versions;
begin
    select v.* into same
    from public.course_versions as v
    where v.community_id = course.community_id and v.course_id = course.id
        and (v.version = course.version or not v.published)
        and coalesce(v.tree_hash, private.tree_hash(v)) = wanted_hash
    order by v.published desc
    limit 1;
    return same;
end
$$;

-- What has the blocks of the current or of the unpublished version brings no new one: whoever imports a file again
-- writes nothing, but for a title or a description that is new.
create or replace function public.import_course(input jsonb) returns jsonb
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    content jsonb := input -> 'course';
    publishes boolean := coalesce((input ->> 'publish')::boolean, false);
    course public.courses;
    same public.course_versions;
    version_id uuid;
begin
    perform private.require_community_admin();
    if publishes then
        perform private.lock_program_structures(private.get_community_id());
    end if;
    if (input ->> 'course_id') is not null then
        course := private.course_for_change((input ->> 'course_id')::uuid);
    end if;
    perform private.check_course(content);
    if course.id is null then
        insert into public.courses as c (title, description)
        values (content ->> 'title', content ->> 'description')
        returning c.* into course;
    else
        update public.courses as c
        set title = content ->> 'title', description = content ->> 'description'
        where c.community_id = course.community_id and c.id = course.id
            and (c.title, c.description) is distinct from (content ->> 'title', content ->> 'description');
        same := private.version_with_blocks(course, content -> 'blocks');
    end if;
    if same.published then
        -- What was to come after it is what the import is instead of.
        delete from public.course_versions as v
        where v.community_id = course.community_id and v.course_id = course.id and not v.published;
        version_id := same.id;
    else
        version_id := coalesce(same.id, private.write_next_version(course, content -> 'blocks'));
        if publishes then
            version_id := private.publish_next_version(course);
        end if;
    end if;
    return pg_catalog.jsonb_build_object('course_id', course.id, 'version_id', version_id);
end
$$;

create or replace function public.publish_course(input jsonb) returns jsonb
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_move((input ->> 'id')::uuid);
begin
    return pg_catalog.jsonb_build_object('course_id', course.id, 'version_id', private.publish_next_version(course));
end
$$;

-- What is wrong with the form of criteria: the first place and why; no row when nothing is.
create or replace function private.criteria_form_problem(criteria jsonb) returns table (field text, message text)
stable
rows 1
set search_path = ''
language plpgsql
as $$
begin
    -- Before anything looks into them: 200 courses take a third of it.
    if pg_catalog.octet_length(criteria::text) > 32768 then
        return query select
            'completionCriteria',
            'The criteria are longer than 32 KiB. Ask for fewer courses and groups, or put courses into groups.';
        return;
    end if;
    return query
    select problem.field, problem.message
    from (
        select n.place,
            pg_catalog.concat_ws('.', n.field, case
                when n.level > 5 then null
                when n.kind = 'atLeast' and pg_catalog.jsonb_typeof(n.parts) = 'array'
                    and pg_catalog.jsonb_array_length(n.parts) between 1 and 200 then 'atLeast'
                when n.kind = 'atLeast' then 'of'
                else n.kind
            end) as field,
            case
                when n.level > 5 then 'Criteria are at most 5 levels deep.'
                when n.kind is null then
                    'Give an object: {"all": […]}, {"any": […]}, {"atLeast": n, "of": […]}, {"course": id}, '
                    '{"group": name} or {"milestone": id}.'
                when n.kind in ('all', 'any', 'atLeast') and (
                    pg_catalog.jsonb_typeof(n.parts) <> 'array'
                    or pg_catalog.jsonb_array_length(n.parts) not between 1 and 200
                ) then 'Give a list of 1 to 200 criteria.'
                when n.kind = 'atLeast' and not private.is_count(n.node -> 'atLeast')
                    then 'Give a whole number from 1 to 200.'
                when n.kind in ('course', 'milestone') and (
                    pg_catalog.jsonb_typeof(n.node -> n.kind) <> 'string'
                    or (n.node ->> n.kind) !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
                ) then 'Give an id.'
                when n.kind = 'group' and (
                    pg_catalog.jsonb_typeof(n.node -> 'group') <> 'string'
                    or pg_catalog.char_length(n.node ->> 'group') not between 1 and 100
                ) then 'Give the name of a group, 1 to 100 characters.'
            end as message
        from private.criteria_nodes(criteria) as n
    ) as problem
    where problem.message is not null
    order by problem.place
    limit 1;
end
$$;

-- Only the next version of a published program can be begun, and what was current stays as it is.
create or replace function private.keep_program_versions() returns trigger
volatile
security definer -- locks the program for as long as its next version is built; looks at that program only
set search_path = ''
language plpgsql
as $$
declare
    program public.programs;
    problem record;
begin
    -- Comes before the policies, so it must take no lock for others, and tell them nothing. Rows that are there already
    -- are changed and removed behind the policies.
    if tg_op = 'INSERT' and auth.uid() is not null then
        perform private.require_community_admin();
    end if;
    if tg_op = 'DELETE' then
        if old.published_at is not null and exists (
            select from public.programs as p where p.community_id = old.community_id and p.id = old.program_id
        ) and exists (select from public.communities as c where c.id = old.community_id) then
            perform private.refuse('412', 'A version that was current stays: learners may be in it.');
        end if;
        return old;
    end if;
    if tg_op = 'INSERT' then
        select p.* into program
        from public.programs as p
        where p.community_id = new.community_id and p.id = new.program_id
        for share;
        if new.version <> program.version and (
            program.status <> 'published' or new.version <> program.version + 1
        ) then
            perform private.refuse('412', pg_catalog.format(
                'The program is %s and at version %s. Only the next version of a published program can be begun.',
                private.in_state(program.status), program.version
            ));
        end if;
    elsif old.published_at is not null and (pg_catalog.to_jsonb(new) - 'created_by')
        is distinct from (pg_catalog.to_jsonb(old) - 'created_by') then
        perform private.refuse('412', 'A version that was current does not change. assignCourses makes a new one.');
    end if;
    if new.completion_criteria is not null then
        select f.* into problem from private.criteria_form_problem(new.completion_criteria) as f;
        if found then
            perform private.refuse('400', problem.message, problem.field);
        end if;
    end if;
    return new;
end
$$;

-- Courses, groups and prerequisites change in versions that are open, and stay in their version.
create or replace function private.keep_closed_versions() returns trigger
volatile
security definer -- locks the program for as long as its courses change; looks at that program only
set search_path = ''
language plpgsql
as $$
declare
    program_status text;
    is_closed boolean;
begin
    -- Comes before the policies too.
    if tg_op = 'INSERT' and auth.uid() is not null and not private.is_community_admin() then
        perform private.require_community_admin();
    end if;
    if tg_op = 'UPDATE' and (new.program_id, new.version) is distinct from (old.program_id, old.version) then
        perform private.refuse('412', 'What is in a program stays in its program and its version.');
    end if;
    -- The lock makes an archiving at the same moment wait, or this one see it.
    select p.status, v.published_at is not null into program_status, is_closed
    from public.programs as p
    left join public.program_versions as v
        on v.community_id = p.community_id and v.program_id = p.id and v.version = coalesce(new.version, old.version)
    where p.community_id = coalesce(new.community_id, old.community_id)
        and p.id = coalesce(new.program_id, old.program_id)
    for share of p;
    if is_closed and exists (
        select from public.communities as c where c.id = coalesce(new.community_id, old.community_id)
    ) then
        if program_status = 'archived' then
            perform private.refuse('412', 'The program is archived. Restore it before you change its courses.');
        end if;
        perform private.refuse('412', pg_catalog.format(
            'Version %s of the program does not change any more: learners may be in it. assignCourses makes a new one.',
            coalesce(new.version, old.version)
        ));
    end if;
    return coalesce(new, old);
end
$$;

-- A version becomes current: its courses are pinned to the versions that they have now, and it is closed.
create or replace function private.close_program_version(community uuid, program uuid, closing integer) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    problem record;
begin
    select c.title, c.status into problem
    from public.program_course_assignments as a
    join public.courses as c on c.community_id = a.community_id and c.id = a.course_id
    where a.community_id = community and a.program_id = program and a.version = closing
        and a.course_version is null and c.status <> 'published'
    order by a.sequence_order
    limit 1;
    if found then
        perform private.refuse('412', pg_catalog.format(
            'The course "%s" is %s. Publish it first, or take it out of the program.', problem.title,
            private.in_state(problem.status)
        ));
    end if;

    insert into public.program_course_groups (community_id, program_id, version, name)
    select distinct a.community_id, a.program_id, a.version, a.group_name
    from public.program_course_assignments as a
    where a.community_id = community and a.program_id = program and a.version = closing and a.group_name is not null
    on conflict do nothing;
    select g.name, g.at_least, count(a.id) as courses into problem
    from public.program_course_groups as g
    left join public.program_course_assignments as a
        on a.community_id = g.community_id and a.program_id = g.program_id and a.version = g.version
        and a.group_name = g.name
    where g.community_id = community and g.program_id = program and g.version = closing
    group by g.name, g.at_least
    having count(a.id) < g.at_least
    order by g.name
    limit 1;
    if found then
        perform private.refuse('412', pg_catalog.format(
            'Group "%s" has %s and cannot ask for at least %s. Ask for fewer, or put more courses into it.',
            problem.name, private.counted(problem.courses, 'course', 'courses'), problem.at_least
        ));
    end if;
    select p.* into problem
    from public.program_versions as v
    cross join private.criteria_problem(
        v.completion_criteria,
        array(
            select a.course_id from public.program_course_assignments as a
            where a.community_id = community and a.program_id = program and a.version = closing
        ),
        array(
            select g.name from public.program_course_groups as g
            where g.community_id = community and g.program_id = program and g.version = closing
        )
    ) as p
    where v.community_id = community and v.program_id = program and v.version = closing
        and v.completion_criteria is not null;
    if found then
        perform private.refuse('412', problem.message, problem.field);
    end if;

    update public.program_course_assignments as a
    set course_version = c.version
    from public.courses as c
    where a.community_id = community and a.program_id = program and a.version = closing and a.course_version is null
        and c.community_id = a.community_id and c.id = a.course_id;
    update public.program_versions as v
    set published_at = case
        when v.version > 1 then pg_catalog.now()
        else (select p.published_at from public.programs as p where p.community_id = community and p.id = program)
    end
    where v.community_id = community and v.program_id = program and v.version = closing and v.published_at is null;
    if not found then
        perform private.refuse('412', pg_catalog.format(
            'There is no version %s of the program that could become current. Insert it first.', closing
        ));
    end if;
end
$$;

-- The courses of the input in the form of a structure; refuses the first one that cannot be.
create or replace function private.courses_in(input jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    wanted jsonb := input -> 'courses';
    courses jsonb;
    wrong text;
    nameless record;
begin
    if pg_catalog.jsonb_typeof(wanted) is distinct from 'array' then
        perform private.refuse('400', 'Give the whole list of courses; an empty one removes them all.', 'courses');
    end if;
    if pg_catalog.jsonb_array_length(wanted) > 200 then
        perform private.refuse('400', 'A program has at most 200 courses.', 'courses');
    end if;
    select w.place - 1 into wrong
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place)
    where not exists (select from public.courses as c where c.id = (w.course ->> 'course_id')::uuid)
    order by w.place
    limit 1;
    if found then
        perform private.refuse(
            '404', 'There is no course with this id in your community.', pg_catalog.format('courses.%s.courseId', wrong)
        );
    end if;
    select w.place - 1 into wrong
    from (
        select w.place,
            pg_catalog.row_number() over (partition by (w.course ->> 'course_id')::uuid order by w.place) as nth
        from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place)
    ) as w
    where w.nth > 1
    order by w.place
    limit 1;
    if found then
        perform private.refuse(
            '400', 'A course can be in a program only once. Take this place out, or the one before.',
            pg_catalog.format('courses.%s.courseId', wrong)
        );
    end if;
    select w.place - 1 as place, t.problem into nameless
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place)
    cross join lateral private.text_problem(w.course -> 'group', 100) as t (problem)
    where w.course ->> 'group' is not null and t.problem is not null
    order by w.place
    limit 1;
    if found then
        perform private.refuse('400', pg_catalog.format(
            'The name of the group %s. Give it up to 100 characters, or leave the group out.', nameless.problem
        ), pg_catalog.format('courses.%s.group', nameless.place));
    end if;
    select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'course_id', (w.course ->> 'course_id')::uuid,
        'required', coalesce((w.course ->> 'required')::boolean, true),
        'group', w.course ->> 'group',
        'prerequisites', array(
            select distinct p.id::uuid
            from pg_catalog.jsonb_array_elements_text(
                private.list_in(w.course -> 'prerequisites', pg_catalog.format('courses.%s.prerequisites', w.place - 1))
            ) as p (id)
            order by p.id::uuid
        )
    ) order by w.place), '[]') into courses
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place);
    select pg_catalog.format('courses.%s.prerequisites.%s', w.place - 1, p.place - 1) into wrong
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place)
    cross join pg_catalog.jsonb_array_elements_text(
        private.list_in(w.course -> 'prerequisites', '')
    ) with ordinality as p (id, place)
    where p.id::uuid not in (
        select (c ->> 'course_id')::uuid from pg_catalog.jsonb_array_elements(courses) as c
    )
    order by w.place, p.place
    limit 1;
    if found then
        perform private.refuse('400', 'A prerequisite must be in the same list. Add the course, or take it out.', wrong);
    end if;
    return courses;
end
$$;

-- The groups of the input, and those that its courses name, each with how many courses it asks for.
create or replace function private.groups_in(input jsonb, courses jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    wanted jsonb := private.list_in(input -> 'groups', 'groups');
    problem record;
begin
    select g.*, (select count(*) from pg_catalog.jsonb_array_elements(courses) as c where c ->> 'group' = g.name) as courses
    into problem
    from (
        select w.place - 1 as place, w.asked ->> 'name' as name,
            coalesce((w.asked ->> 'at_least')::integer, 1) as at_least,
            pg_catalog.row_number() over (partition by w.asked ->> 'name' order by w.place) as nth
        from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (asked, place)
    ) as g
    where g.name is null or g.nth > 1 or g.at_least < 1 or g.at_least > (
        select count(*) from pg_catalog.jsonb_array_elements(courses) as c where c ->> 'group' = g.name
    )
    order by g.place
    limit 1;
    if found then
        if problem.name is null or problem.nth > 1 or problem.courses = 0 then
            perform private.refuse('400', case
                when problem.name is null then 'A group has no name. Give it one.'
                when problem.nth > 1 then pg_catalog.format('Group "%s" stands in the list twice.', problem.name)
                else pg_catalog.format('No course is in group "%s". Name it in a course, or leave it out.', problem.name)
            end, pg_catalog.format('groups.%s.name', problem.place));
        end if;
        perform private.refuse('400', pg_catalog.format(
            'Group "%s" has %s and cannot ask for at least %s. Ask for %s.',
            problem.name, private.counted(problem.courses, 'course', 'courses'), problem.at_least,
            case problem.courses when 1 then '1' else pg_catalog.concat('1 to ', problem.courses) end
        ), pg_catalog.format('groups.%s.atLeast', problem.place));
    end if;
    return (
        select coalesce(pg_catalog.jsonb_object_agg(c ->> 'group', 1), '{}')
        from pg_catalog.jsonb_array_elements(courses) as c
        where c ->> 'group' is not null
    ) || (
        select coalesce(pg_catalog.jsonb_object_agg(w ->> 'name', coalesce((w ->> 'at_least')::integer, 1)), '{}')
        from pg_catalog.jsonb_array_elements(wanted) as w
    );
end
$$;

-- A draft has changed whose own columns are as they were.
create function private.touch_program(program uuid) returns void
volatile
security definer -- clients write no times; for admins, in their community
set search_path = ''
language plpgsql
as $$
begin
    perform private.require_community_admin();
    update public.programs as p
    set updated_at = pg_catalog.now()
    where p.community_id = private.get_community_id() and p.id = program;
end
$$;

-- The whole list at once, in its order: a draft is changed in place, a published program gets a new version.
create or replace function public.assign_courses(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    program public.programs;
    structure_now jsonb;
    wanted jsonb;
    next_version integer;
begin
    perform private.require_community_admin();
    perform private.lock_program_structures(private.get_community_id());
    program := private.program_for_change((input ->> 'program_id')::uuid);
    if program.status = 'archived' then
        perform private.refuse('412', 'The program is archived. Restore it before you change its courses.');
    end if;
    perform private.require_as_expected(program, input);
    structure_now := private.program_structure(program.id, program.version);
    wanted := private.structure_in(input, structure_now -> 'completion_criteria');
    if wanted is distinct from structure_now then
        next_version := program.version + (program.status = 'published')::integer;
        if next_version > program.version then
            insert into public.program_versions (program_id, version) values (program.id, next_version);
        end if;
        perform private.write_structure(program.id, next_version, wanted);
        if next_version > program.version then
            update public.programs as p set version = next_version where p.id = program.id;
        else
            perform private.touch_program(program.id);
        end if;
    end if;
    return program.id;
end
$$;

-- Holds the rules of making cohorts, and the order of their dates, whoever writes.
create function private.hold_cohorts() returns trigger
volatile
security definer -- locks the program, which clients may not; looks at that program only
set search_path = ''
language plpgsql
as $$
declare
    program_status text;
begin
    -- Comes before the policies, so it must say nothing to others.
    if auth.uid() is not null then
        perform private.require_community_admin();
    end if;
    if tg_op = 'INSERT' then
        -- The lock makes an archiving at the same moment wait, or this one see it.
        select p.status into program_status
        from public.programs as p
        where p.community_id = new.community_id and p.id = new.program_id
        for share;
        if program_status = 'archived' then
            perform private.refuse('412', 'The program is archived. Restore it before you add a cohort.');
        end if;
    end if;
    -- Of a new one, all that it has is different.
    perform private.refuse_disorder(
        new.starts_at, new.due_at, new.expires_at,
        private.dates_among(
            case when new.starts_at is distinct from old.starts_at then new.starts_at end,
            case when new.due_at is distinct from old.due_at then new.due_at end,
            case when new.expires_at is distinct from old.expires_at then new.expires_at end
        ),
        'cohorts_dates_in_order', false
    );
    return new;
end
$$;

-- The names that clients know three dates by, of those that there are.
create function private.dates_among(starts_at timestamptz, due_at timestamptz, expires_at timestamptz) returns text[]
stable
set search_path = ''
language plpgsql
as $$
begin
    return pg_catalog.array_remove(array[
        case when starts_at is not null then 'startsAt' end,
        case when due_at is not null then 'dueAt' end,
        case when expires_at is not null then 'expiresAt' end
    ], null);
end
$$;

-- Refuses dates that are not in order in the name of the constraint that would, and with the first one that is wrong of
-- those that were given. Where a cohort has its part in it, the message says so.
create function private.refuse_disorder(
    starts_at timestamptz, due_at timestamptz, expires_at timestamptz, given text[], in_name_of text, with_cohort boolean
) returns void
stable
set search_path = ''
language plpgsql
as $$
declare
    wrong text[] := private.dates_among(
        case when starts_at > least(due_at, expires_at) then starts_at end,
        case when due_at < starts_at or due_at > expires_at then due_at end,
        case when expires_at < greatest(starts_at, due_at) then expires_at end
    );
    field text;
begin
    if wrong = '{}' then
        return;
    end if;
    select w.name into field
    from pg_catalog.unnest(wrong) with ordinality as w (name, place)
    order by w.name = any (given) desc, w.place
    limit 1;
    if with_cohort and not wrong <@ given then
        perform private.refuse('400',
            'Together with the dates of the cohort, which hold where none is given, startsAt, dueAt and expiresAt are '
            'not in this order. Give others, or change those of the cohort.', field
        );
    end if;
    raise exception using errcode = 'check_violation', constraint = in_name_of, column = field,
        message = 'Of startsAt, dueAt and expiresAt, none can be before the one named before it.';
end
$$;

-- Numbers the attempt and holds the rules of enrolling, whoever inserts and by which way.
create or replace function private.begin_enrollment() returns trigger
volatile
security definer -- locks the program, which a learner may not; looks at rows of new.community_id only
set search_path = ''
language plpgsql
as $$
declare
    is_learner boolean := auth.uid() is not null and not private.is_community_admin();
    program_status text;
    member_status text;
    latest public.program_enrollments;
    latest_has_lapsed boolean;
    given text[];
begin
    -- Nothing below may tell learners about colleagues and cohorts, or about programs that they do not see.
    if is_learner and (new.user_id is distinct from auth.uid() or new.cohort_id is not null) then
        perform private.require_community_admin();
    end if;
    -- The lock makes an archiving at the same moment wait, or this one see it.
    select p.status into program_status
    from public.programs as p
    where p.community_id = new.community_id and p.id = new.program_id
    for share;
    select m.status into member_status
    from public.memberships as m
    where m.community_id = new.community_id and m.user_id = new.user_id;

    if program_status is null or (
        is_learner and program_status <> 'published'
        and new.program_id not in (select private.viewer_program_ids())
    ) then
        perform private.refuse('404', 'There is no program with this id in your community.');
    elsif program_status <> 'published' then
        perform private.refuse_unpublished(program_status);
    elsif member_status is null then
        perform private.refuse('404', 'This person is not a member of your community. Invite them first.');
    elsif member_status <> 'active' then
        perform private.refuse('412', pg_catalog.format(
            'This membership is %s; only active members can be enrolled.', member_status
        ));
    end if;

    select e.* into latest
    from public.program_enrollments as e
    where e.community_id = new.community_id and e.program_id = new.program_id and e.user_id = new.user_id
    order by e.attempt desc
    limit 1;
    new.attempt := coalesce(latest.attempt, 0) + 1;
    latest_has_lapsed := latest.status in ('pending', 'active', 'paused') and latest.expires_at <= pg_catalog.now();
    -- Else nobody would be held to a date: whoever left and came back would be without it.
    if is_learner and (latest_has_lapsed or latest.status in ('completed', 'withdrawn', 'expired')) and (
        latest.status = 'expired'
        or pg_catalog.num_nonnulls(latest.cohort_id, latest.starts_at, latest.due_at, latest.expires_at) > 0
    ) then
        perform private.refuse('412',
            'Your last enrolment in this program expired, or an admin had set its dates. Ask an admin to enrol you again.'
        );
    end if;
    if latest_has_lapsed then
        update public.program_enrollments as e
        set status = 'expired'
        where e.community_id = latest.community_id and e.id = latest.id;
    end if;

    given := private.dates_among(new.starts_at, new.due_at, new.expires_at);
    if new.cohort_id is not null then
        -- The lock makes a change of the dates at the same moment wait, or this one see it.
        select coalesce(new.starts_at, c.starts_at), coalesce(new.due_at, c.due_at), coalesce(new.expires_at, c.expires_at)
        into new.starts_at, new.due_at, new.expires_at
        from public.cohorts as c
        where c.community_id = new.community_id and c.program_id = new.program_id and c.id = new.cohort_id
        for share;
    end if;
    if new.expires_at <= pg_catalog.now() and auth.uid() is not null then
        perform private.refuse('400', 'This expiry has passed already. Give a later one.', 'expiresAt');
    end if;
    if new.status = 'active' and new.starts_at > pg_catalog.now() then
        new.status := 'pending';
    end if;
    perform private.refuse_disorder(
        new.starts_at, new.due_at, new.expires_at, given, 'program_enrollments_dates_in_order', new.cohort_id is not null
    );
    return new;
end
$$;

create or replace function private.refuse_unpublished(program_status text) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.refuse('412', pg_catalog.format(
        'The program is %s; people can be enrolled in published programs only.', private.in_state(program_status)
    ));
end
$$;

-- The state machine: pending -> active <-> paused -> completed | withdrawn | expired, and no way back.
create or replace function private.hold_enrollment_states() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if (new.program_id, new.user_id, new.attempt) is distinct from (old.program_id, old.user_id, old.attempt) then
        perform private.refuse('412', 'An enrolment keeps its program, its person and its attempt.');
    end if;
    if old.completed_at is not null and new.completed_at is distinct from old.completed_at then
        perform private.refuse('412', 'completedAt never moves once it is set.');
    end if;
    if new.status = old.status then
        return new;
    end if;
    if not (old.status, new.status) in (
        ('pending', 'active'), ('pending', 'withdrawn'), ('pending', 'expired'),
        ('active', 'paused'), ('active', 'completed'), ('active', 'withdrawn'), ('active', 'expired'),
        ('paused', 'active'), ('paused', 'completed'), ('paused', 'withdrawn'), ('paused', 'expired')
    ) then
        perform private.refuse('412', pg_catalog.format('An enrolment cannot go from %s to %s.', old.status, new.status));
    end if;
    -- Also before the clock has written down that it has expired.
    if new.status in ('active', 'paused', 'completed') and new.expires_at <= pg_catalog.now() then
        perform private.refuse('412', 'The expiry of this enrolment has passed. Give it a later expiresAt first.');
    end if;
    if new.status = 'active' then
        -- Begun early, it begins now.
        if new.starts_at > pg_catalog.now() then
            new.starts_at := pg_catalog.now();
        end if;
    elsif new.status = 'completed' then
        -- Until progress completes by itself, it is an admin's word, and that has a reason.
        if not private.has_reason() and private.is_community_admin() then
            perform private.refuse('400', 'Say why the enrolment is completed: give a reason.', 'reason');
        end if;
        new.completed_at := coalesce(new.completed_at, pg_catalog.now());
    elsif new.status = 'withdrawn' then
        new.withdrawn_at := pg_catalog.now();
    end if;
    return new;
end
$$;

-- Enrols the caller, or, asked by an admin, another member.
create or replace function public.enroll(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    person uuid := coalesce((input ->> 'user_id')::uuid, auth.uid());
    given text[] := private.dates_among(
        (input ->> 'starts_at')::timestamptz, (input ->> 'due_at')::timestamptz, (input ->> 'expires_at')::timestamptz
    ) || case when input ->> 'cohort_id' is not null then array['cohortId'] end;
    enrollment_id uuid;
begin
    if person is distinct from auth.uid() then
        perform private.require_community_admin();
    elsif given <> '{}' and not private.is_community_admin() then
        perform private.refuse('403', pg_catalog.format(
            '%s is for admins of the community to set. Leave it out, or ask one of them.', given[1]
        ), given[1]);
    end if;
    perform from public.programs as p where p.id = (input ->> 'program_id')::uuid;
    if not found then
        perform private.refuse('404', 'There is no program with this id in your community.');
    end if;
    insert into public.program_enrollments (program_id, user_id, cohort_id, starts_at, due_at, expires_at)
    values (
        (input ->> 'program_id')::uuid, person, (input ->> 'cohort_id')::uuid, (input ->> 'starts_at')::timestamptz,
        (input ->> 'due_at')::timestamptz, (input ->> 'expires_at')::timestamptz
    )
    returning id into enrollment_id;
    return enrollment_id;
end
$$;

-- Dates and the cohort are set by admins, while an enrolment is open.
create or replace function private.hold_enrollment_dates() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
declare
    left_cohort public.cohorts;
    joined_cohort public.cohorts;
    given text[];
begin
    if auth.uid() is not null then
        perform private.require_community_admin();
    end if;
    if old.status in ('completed', 'withdrawn', 'expired') then
        perform private.refuse('412', pg_catalog.format(
            'The enrolment has ended: it is %s, and keeps its dates and its cohort. Enrol the person again.', old.status
        ));
    end if;

    given := private.dates_among(
        case when new.starts_at is distinct from old.starts_at then new.starts_at end,
        case when new.due_at is distinct from old.due_at then new.due_at end,
        case when new.expires_at is distinct from old.expires_at then new.expires_at end
    );
    -- Who changes to another cohort takes over its dates, but for the ones of their own.
    if new.cohort_id is distinct from old.cohort_id and new.cohort_id is not null then
        select c.* into left_cohort
        from public.cohorts as c
        where c.community_id = old.community_id and c.id = old.cohort_id;
        select c.* into joined_cohort
        from public.cohorts as c
        where c.community_id = new.community_id and c.id = new.cohort_id
        for share;
        if old.status = 'pending' and old.starts_at is not distinct from left_cohort.starts_at
            and new.starts_at is not distinct from old.starts_at then
            new.starts_at := joined_cohort.starts_at;
        end if;
        if old.due_at is not distinct from left_cohort.due_at and new.due_at is not distinct from old.due_at then
            new.due_at := joined_cohort.due_at;
        end if;
        if old.expires_at is not distinct from left_cohort.expires_at
            and new.expires_at is not distinct from old.expires_at then
            new.expires_at := joined_cohort.expires_at;
        end if;
    end if;

    new.original_due_at := old.original_due_at;
    if new.due_at is distinct from old.due_at then
        new.original_due_at := coalesce(old.original_due_at, old.due_at);
    end if;
    -- A mistyped year must not end for good what an extension was meant for.
    if new.expires_at is distinct from old.expires_at and new.expires_at <= pg_catalog.now()
        and auth.uid() is not null then
        perform private.refuse('400',
            'This expiry has passed already. To end the enrolment now, set its status to EXPIRED.', 'expiresAt'
        );
    end if;
    if new.starts_at is distinct from old.starts_at then
        if old.status <> 'pending' then
            perform private.refuse('412', 'The enrolment has begun: its start can no longer be moved.');
        elsif new.status = 'pending' and coalesce(new.starts_at, pg_catalog.now()) <= pg_catalog.now() then
            new.status := 'active';
        end if;
    end if;
    perform private.refuse_disorder(
        new.starts_at, new.due_at, new.expires_at, given, 'program_enrollments_dates_in_order',
        new.cohort_id is distinct from old.cohort_id
    );
    return new;
end
$$;

-- Between which versions the input asks to move; refuses what cannot be.
create or replace function private.versions_of_move(input jsonb) returns table (
    program_id uuid, from_version integer, to_version integer
)
stable
rows 1
set search_path = ''
language plpgsql
as $$
declare
    now_at integer;
begin
    perform private.require_community_admin();
    select p.version into now_at from public.programs as p where p.id = (input ->> 'program_id')::uuid;
    program_id := (input ->> 'program_id')::uuid;
    from_version := (input ->> 'from_version')::integer;
    to_version := coalesce((input ->> 'to_version')::integer, now_at);
    if now_at is null then
        perform private.refuse('404', 'There is no program with this id in your community.', 'programId');
    elsif from_version is null or from_version < 1 or from_version >= now_at then
        perform private.refuse('400', pg_catalog.format(
            'The program is at version %s; enrolments can be moved from an earlier one.', now_at
        ), 'fromVersion');
    elsif to_version <= from_version or to_version > now_at then
        perform private.refuse('400', pg_catalog.format(
            'Enrolments go forward only, from version %s to version %s.', from_version,
            pg_catalog.concat_ws(' to ', nullif(from_version + 1, now_at), now_at)
        ), 'toVersion');
    end if;
    return next;
end
$$;

-- Decides about the open enrolments in a version, or about some of them; 5,000 at the most, so that it ends in time.
create or replace function public.move_enrollments(input jsonb) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    move record;
    wanted uuid[];
    decided bigint;
    remaining bigint;
begin
    select v.* into move from private.versions_of_move(input) as v;
    wanted := private.enrollments_of_move(input);
    perform private.note_reason(input ->> 'reason');
    insert into public.enrollment_moves (community_id, enrollment_id, from_version, to_version, mode, reason)
    select e.community_id, e.id, move.from_version, move.to_version, input ->> 'mode', input ->> 'reason'
    from public.program_enrollments as e
    where e.program_id = move.program_id and e.program_version = move.from_version
        and e.status in ('pending', 'active', 'paused') and e.id in (
            select u.id
            from private.undecided_enrollments(
                move.program_id, move.from_version, move.to_version, input ->> 'mode', wanted
            ) as u
            order by u.enrolled_at, u.id
            limit 5000
        )
    -- One who leaves at the same moment is waited for, and not moved.
    for update of e;
    get diagnostics decided = row_count;
    perform private.note_reason(null);
    select count(*) into remaining
    from private.undecided_enrollments(
        move.program_id, move.from_version, move.to_version, input ->> 'mode', wanted
    );
    return pg_catalog.to_jsonb(move) || pg_catalog.jsonb_build_object(
        'mode', input ->> 'mode', 'decided', decided, 'remaining', remaining,
        'moved', case when input ->> 'mode' = 'keep' then 0 else decided end
    );
end
$$;

create or replace trigger courses_touch_updated_at before update on public.courses
for each row execute function private.touch_updated_at('published');

create trigger cohorts_hold before insert or update of starts_at, due_at, expires_at on public.cohorts
for each row execute function private.hold_cohorts();

-- Who may call what is new.

revoke all on function
private.in_state(text),
private.counted(bigint, text, text),
private.blocks_text(public.blocks[]),
private.blocks_in(public.course_versions, jsonb),
private.version_with_blocks(public.courses, jsonb),
private.course_for_move(uuid, boolean),
private.touch_program(uuid),
private.hold_cohorts(),
private.dates_among(timestamptz, timestamptz, timestamptz),
private.refuse_disorder(timestamptz, timestamptz, timestamptz, text[], text, boolean)
from public, anon, authenticated, service_role;
grant execute on function
private.in_state(text),
private.counted(bigint, text, text),
private.blocks_text(public.blocks[]),
private.dates_among(timestamptz, timestamptz, timestamptz),
private.refuse_disorder(timestamptz, timestamptz, timestamptz, text[], text, boolean)
to authenticated, service_role;
grant execute on function
private.text_problem(jsonb, integer),
private.touch_program(uuid)
to authenticated;
