-- The structure of a program as a whole: read, written, compared, and how admins change it, all of it at once.

-- All that a version consists of, in one form: what two versions are compared by, and new ones made from.
create function private.program_structure(program uuid, in_version integer) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return (
        select pg_catalog.jsonb_build_object(
            'courses', (
                select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                    'course_id', a.course_id, 'required', a.required, 'group', a.group_name,
                    'prerequisites', array(
                        select q.prerequisite_id
                        from public.program_course_prerequisites as q
                        where q.program_id = program and q.version = in_version and q.course_id = a.course_id
                        order by q.prerequisite_id
                    )
                ) order by a.sequence_order), '[]')
                from public.program_course_assignments as a
                where a.program_id = program and a.version = in_version
            ),
            'groups', (
                select coalesce(pg_catalog.jsonb_object_agg(a.group_name, 1), '{}')
                from public.program_course_assignments as a
                where a.program_id = program and a.version = in_version and a.group_name is not null
            ) || (
                select coalesce(pg_catalog.jsonb_object_agg(g.name, g.at_least), '{}')
                from public.program_course_groups as g
                where g.program_id = program and g.version = in_version
            ),
            'completion_criteria', v.completion_criteria
        )
        from public.program_versions as v
        where v.program_id = program and v.version = in_version
    );
end
$$;

-- Makes an open version consist of a structure. Courses that it does not name leave; those that stay keep their id.
create function private.write_structure(program uuid, in_version integer, structure jsonb) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    set constraints public.program_course_assignments_place_once deferred;
    delete from public.program_course_assignments as a
    where a.program_id = program and a.version = in_version and a.course_id not in (
        select (c ->> 'course_id')::uuid from pg_catalog.jsonb_array_elements(structure -> 'courses') as c
    );
    insert into public.program_course_assignments as a
        (program_id, version, course_id, sequence_order, required, group_name)
    select program, in_version, (c.course ->> 'course_id')::uuid, c.place, (c.course ->> 'required')::boolean,
        c.course ->> 'group'
    from pg_catalog.jsonb_array_elements(structure -> 'courses') with ordinality as c (course, place)
    on conflict on constraint program_course_assignments_course_once do update
    set sequence_order = excluded.sequence_order, required = excluded.required, group_name = excluded.group_name;
    set constraints public.program_course_assignments_place_once immediate;

    delete from public.program_course_groups as g
    where g.program_id = program and g.version = in_version and not (structure -> 'groups') ? g.name;
    insert into public.program_course_groups (program_id, version, name, at_least)
    select program, in_version, g.key, g.value::integer
    from pg_catalog.jsonb_each_text(structure -> 'groups') as g
    on conflict on constraint program_course_groups_pkey do update set at_least = excluded.at_least;

    delete from public.program_course_prerequisites as q where q.program_id = program and q.version = in_version;
    insert into public.program_course_prerequisites (program_id, version, course_id, prerequisite_id)
    select program, in_version, (c ->> 'course_id')::uuid, q.id::uuid
    from pg_catalog.jsonb_array_elements(structure -> 'courses') as c
    cross join pg_catalog.jsonb_array_elements_text(c -> 'prerequisites') as q (id);

    update public.program_versions as v
    set completion_criteria = nullif(structure -> 'completion_criteria', 'null')
    where v.program_id = program and v.version = in_version
        and v.completion_criteria is distinct from nullif(structure -> 'completion_criteria', 'null');
end
$$;

-- The members of a list in the input; of one that is left out, none.
create function private.list_in(value jsonb, field text) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    if coalesce(pg_catalog.jsonb_typeof(value), 'null') not in ('null', 'array') then
        perform private.refuse('400', 'Give a list.', field);
    end if;
    return coalesce(nullif(value, 'null'), '[]');
end
$$;

-- The courses of the input in the form of a structure; refuses the first one that cannot be.
create function private.courses_in(input jsonb) returns jsonb
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
create function private.groups_in(input jsonb, courses jsonb) returns jsonb
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

-- The structure that the input asks for; the completion criteria stay as they are where it does not name them.
create function private.structure_in(input jsonb, criteria_now jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    courses jsonb := private.courses_in(input);
    groups jsonb := private.groups_in(input, courses);
    criteria jsonb := nullif(
        case when input ? 'completion_criteria' then input -> 'completion_criteria' else criteria_now end, 'null'
    );
    problem record;
begin
    if criteria is not null then
        select p.* into problem
        from private.criteria_problem(
            criteria,
            array(select (c ->> 'course_id')::uuid from pg_catalog.jsonb_array_elements(courses) as c),
            array(select g.name from pg_catalog.jsonb_object_keys(groups) as g (name))
        ) as p;
        if found then
            perform private.refuse('400', problem.message, problem.field);
        end if;
    end if;
    return pg_catalog.jsonb_build_object('courses', courses, 'groups', groups, 'completion_criteria', criteria);
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
create function public.assign_courses(input jsonb) returns uuid
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

-- A draft that consists of what new learners of another program get.
create function public.clone_program(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    original public.programs := private.program_for_change((input ->> 'id')::uuid);
    clone uuid;
begin
    insert into public.programs (title, description, duration_weeks)
    values (coalesce(input ->> 'title', original.title), original.description, original.duration_weeks)
    returning id into clone;
    perform private.write_structure(clone, 1, private.program_structure(original.id, original.version));
    return clone;
end
$$;
