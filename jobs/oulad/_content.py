"""How communities, programs and courses enter their tables.

Rows that are there stay as they are, whoever has changed them since: people's work outlives an import.
"""

from jobs.oulad import _rows
from jobs.oulad._table import Step, Table

COMMUNITIES = Table(
    "communities",
    _rows.communities,
    ("id", "slug", "name", "time_zone"),
    """
    insert into public.communities (id, slug, name, time_zone)
    select id, slug, name, time_zone from staged_communities
    on conflict (id) do nothing
    """,
)

PROGRAMS = Table(
    "programs",
    _rows.programs,
    ("community_id", "id", "title", "description", "duration_weeks", "published_at"),
    """
    insert into public.programs
        (community_id, id, title, description, duration_weeks, status, published_at)
    select community_id, id, title, description, duration_weeks, 'published', published_at
    from staged_programs
    on conflict (community_id, id) do nothing
    """,
)

COURSES = Table(
    "courses",
    _rows.courses,
    ("community_id", "id", "title", "description"),
    """
    insert into public.courses (community_id, id, title, description, status, version)
    select community_id, id, title, description, 'published', 1 from staged_courses
    on conflict (community_id, id) do nothing
    """,
)

COURSE_VERSIONS = Table(
    "course_versions",
    _rows.course_versions,
    ("community_id", "course_id", "published_at"),
    """
    insert into public.course_versions (community_id, course_id, version, published, published_at)
    select community_id, course_id, 1, true, published_at from staged_course_versions
    on conflict (community_id, course_id, version) do nothing
    """,
)

# What learners are in does not change: a program that is published gets a new version when it gets a new course.
_FIND_GROWING_PROGRAMS = Step(
    """
    create temporary table growing_programs on commit drop as
    select p.community_id, p.id as program_id
    from public.programs as p
    join public.program_versions as v
        on v.community_id = p.community_id and v.program_id = p.id and v.version = p.version
    where v.published_at is not null and exists (
        select from staged_program_course_assignments as s
        where s.community_id = p.community_id and s.program_id = p.id and not exists (
            select from public.program_course_assignments as a
            where a.community_id = s.community_id and a.program_id = s.program_id and a.course_id = s.course_id
        )
    )
    """
)

_BEGIN_VERSIONS = Step(
    """
    select private.copy_current_versions(community_id, array_agg(program_id))
    from growing_programs
    group by community_id
    """
)

_MAKE_VERSIONS_CURRENT = Step(
    """
    update public.programs as p
    set version = p.version + 1
    from growing_programs as g
    where p.community_id = g.community_id and p.id = g.program_id
    """,
    "programs got a new version, with courses that are new",
)

# A course that comes later goes last: the order of the others may be somebody's choice by now.
# No "on conflict": in an archived program, a trigger before the insert would refuse even what is there.
ASSIGNMENTS = Table(
    "program_course_assignments",
    _rows.assignments,
    ("community_id", "id", "program_id", "course_id", "sequence_order"),
    """
    insert into public.program_course_assignments
        (community_id, id, program_id, version, course_id, sequence_order, required, group_name)
    select
        s.community_id, s.id, s.program_id, p.version + (g.program_id is not null)::integer, s.course_id,
        row_number() over (partition by s.community_id order by s.sequence_order) + (
            select coalesce(max(a.sequence_order), 0)
            from public.program_course_assignments as a
            where a.community_id = s.community_id and a.program_id = s.program_id and a.version = p.version
        ),
        false, 'presentation'
    from staged_program_course_assignments as s
    join public.programs as p on p.community_id = s.community_id and p.id = s.program_id
    left join growing_programs as g on g.community_id = s.community_id and g.program_id = s.program_id
    where not exists (
        select from public.program_course_assignments as a
        where a.community_id = s.community_id and a.program_id = s.program_id and a.course_id = s.course_id
    )
    """,
    before=(_FIND_GROWING_PROGRAMS, _BEGIN_VERSIONS),
    after=(_MAKE_VERSIONS_CURRENT,),
)

_FIND_GROWING_COURSES = Step(
    """
    create temporary table growing_courses on commit drop as
    select b.community_id, b.course_id, max(b.position) as last_position
    from public.blocks as b
    where b.version = 1 and (b.community_id, b.course_id) in (
        select s.community_id, s.course_id
        from staged_blocks as s
        where not exists (
            select from public.blocks as known
            where known.community_id = s.community_id and known.course_id = s.course_id
                and known.version = 1 and known.id = s.id
        )
    )
    group by b.community_id, b.course_id
    """
)

# What these files do not know stays in its section, at the end of it.
_PUT_IN_READING_ORDER = Step(
    """
    with places as (
        select
            b.community_id, b.course_id, b.id,
            row_number() over (
                partition by b.community_id, b.course_id
                order by
                    coalesce(p.title, b.title) <> 'Assessments', coalesce(p.title, b.title) collate "C",
                    b.parent_id is not null, s.position, b.position
            ) as position
        from growing_courses as g
        join public.blocks as b
            on b.community_id = g.community_id and b.course_id = g.course_id and b.version = 1
        left join public.blocks as p
            on p.community_id = b.community_id and p.course_id = b.course_id and p.version = 1
            and p.id = b.parent_id
        left join staged_blocks as s
            on s.community_id = b.community_id and s.course_id = b.course_id and s.id = b.id
    )
    update public.blocks as b
    set position = places.position
    from places
    where b.community_id = places.community_id and b.course_id = places.course_id and b.version = 1
        and b.id = places.id and b.position <> places.position
    """,
    "blocks given their place in courses that have grown",
)

# In a course that has blocks already, new ones go behind them first.
BLOCKS = Table(
    "blocks",
    _rows.blocks,
    (
        *("community_id", "course_id", "id", "parent_id", "kind", "title", "weight", "required"),
        *("completion_mode", "position"),
    ),
    """
    insert into public.blocks (
        community_id, course_id, version, published, id, parent_id, kind, title, weight, required,
        completion_mode, position
    )
    select
        s.community_id, s.course_id, 1, true, s.id, s.parent_id, s.kind, s.title, s.weight, s.required,
        s.completion_mode, s.position + coalesce(g.last_position, 0)
    from staged_blocks as s
    left join growing_courses as g using (community_id, course_id)
    on conflict (community_id, course_id, version, id) do nothing
    """,
    before=(_FIND_GROWING_COURSES,),
    after=(_PUT_IN_READING_ORDER,),
)
