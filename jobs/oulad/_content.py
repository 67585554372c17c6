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

# Published when its blocks are there.
COURSE_VERSIONS = Table(
    "course_versions",
    _rows.course_versions,
    ("community_id", "course_id", "published_at"),
    """
    insert into public.course_versions (community_id, course_id, version)
    select community_id, course_id, 1 from staged_course_versions
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

# Programs that are new wait for their courses with this until the end of the transaction. Who enrols in them comes
# before that, and what they have done: both ask what the program asks for.
_CLOSE_VERSIONS = Step("set constraints public.programs_close_imported_version immediate")

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
    after=(_MAKE_VERSIONS_CURRENT, _CLOSE_VERSIONS),
)

# A block that somebody has taken out of a course since stays out, and nothing goes into a section that did.
_FIND_NEW_BLOCKS = Step(
    """
    create temporary table new_blocks on commit drop as
    select s.*
    from staged_blocks as s
    join public.courses as c on c.community_id = s.community_id and c.id = s.course_id
    where not exists (
        select from public.block_identities as i where i.community_id = s.community_id and i.id = s.id
    ) and (
        not exists (
            select from public.block_identities as i where i.community_id = s.community_id and i.id = s.parent_id
        ) or exists (
            select from public.blocks as b
            where b.community_id = s.community_id and b.course_id = s.course_id
                and b.version = c.version and b.id = s.parent_id
        )
    )
    """
)

# A published version does not change: a course that has grown gets a new one, which begins as a copy. So does one that
# asks for other blocks than an import would have it now, as long as it is in its first version, which an import wrote:
# what later ones ask for may be somebody's decision. Only courses that are new have no published version by now.
_FIND_VERSIONS_TO_WRITE = Step(
    """
    create temporary table written_versions on commit drop as
    select c.community_id, c.id as course_id, 1 as version, null::integer as copied_version, 0 as last_position
    from public.courses as c
    join public.course_versions as v on v.community_id = c.community_id and v.course_id = c.id
    where c.status = 'published' and v.version = c.version and not v.published
    union all
    select
        c.community_id, c.id, (
            select max(v.version) + 1
            from public.course_versions as v
            where v.community_id = c.community_id and v.course_id = c.id
        ), c.version, (
            select coalesce(max(b.position), 0)
            from public.blocks as b
            where b.community_id = c.community_id and b.course_id = c.id and b.version = c.version
        )
    from public.courses as c
    where c.status = 'published'
        and (
            (c.community_id, c.id) in (select n.community_id, n.course_id from new_blocks as n)
            or c.version = 1 and exists (
                select from staged_blocks as s
                join public.blocks as b
                    on b.community_id = s.community_id and b.course_id = s.course_id and b.version = 1 and b.id = s.id
                where s.community_id = c.community_id and s.course_id = c.id and b.required <> s.required
            )
        )
        and not exists (
            select from public.course_versions as v
            where v.community_id = c.community_id and v.course_id = c.id and not v.published
        )
    """
)

_LEAVE_OUT_BLOCKS = Step(
    """
    delete from new_blocks as n
    where not exists (
        select from written_versions as w where w.community_id = n.community_id and w.course_id = n.course_id
    )
    """,
    "blocks left out, for somebody has archived their course or is writing its next version",
)

_TAKE_IDS = Step(
    """
    insert into public.block_identities (community_id, course_id, id)
    select community_id, course_id, id from new_blocks
    """
)

_MAKE_NEXT_VERSIONS = Step(
    """
    insert into public.course_versions (community_id, course_id, version)
    select community_id, course_id, version from written_versions where copied_version is not null
    """,
    "courses that have a new version, for they have grown or ask for other blocks",
)

_COPY_BLOCKS = Step(
    """
    insert into public.blocks (
        community_id, course_id, version, id, parent_id, kind, title, weight, required, completion_mode, position
    )
    select
        b.community_id, b.course_id, w.version, b.id, b.parent_id, b.kind, b.title, b.weight,
        coalesce(s.required, b.required), b.completion_mode, b.position
    from written_versions as w
    join public.blocks as b
        on b.community_id = w.community_id and b.course_id = w.course_id and b.version = w.copied_version
    left join staged_blocks as s
        on s.community_id = b.community_id and s.course_id = b.course_id and s.id = b.id and w.copied_version = 1
    """
)

# What these files do not know stays in its section, at the end of it.
_PUT_IN_READING_ORDER = Step(
    """
    with places as (
        select
            b.community_id, b.course_id, b.version, b.id,
            row_number() over (
                partition by b.community_id, b.course_id
                order by
                    coalesce(p.title, b.title) <> 'Assessments', coalesce(p.title, b.title) collate "C",
                    b.parent_id is not null, s.position, b.position
            ) as position
        from written_versions as w
        join public.blocks as b
            on b.community_id = w.community_id and b.course_id = w.course_id and b.version = w.version
        left join public.blocks as p
            on p.community_id = b.community_id and p.course_id = b.course_id and p.version = b.version
            and p.id = b.parent_id
        left join staged_blocks as s
            on s.community_id = b.community_id and s.course_id = b.course_id and s.id = b.id
        where w.copied_version is not null
    )
    update public.blocks as b
    set position = places.position
    from places
    where b.community_id = places.community_id and b.course_id = places.course_id and b.version = places.version
        and b.id = places.id and b.position <> places.position
    """
)

_PUBLISH = Step(
    """
    update public.course_versions as v
    set published = true, published_at = case when w.copied_version is null then s.published_at else now() end
    from written_versions as w
    join staged_course_versions as s on s.community_id = w.community_id and s.course_id = w.course_id
    where v.community_id = w.community_id and v.course_id = w.course_id and v.version = w.version
    """
)

_MAKE_CURRENT = Step(
    """
    update public.courses as c
    set version = w.version
    from written_versions as w
    where c.community_id = w.community_id and c.id = w.course_id and c.version <> w.version
    """
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
        community_id, course_id, version, id, parent_id, kind, title, weight, required, completion_mode, position
    )
    select
        n.community_id, n.course_id, w.version, n.id, n.parent_id, n.kind, n.title, n.weight, n.required,
        n.completion_mode, n.position + w.last_position
    from new_blocks as n
    join written_versions as w using (community_id, course_id)
    """,
    before=(
        *(_FIND_NEW_BLOCKS, _FIND_VERSIONS_TO_WRITE, _LEAVE_OUT_BLOCKS),
        *(_TAKE_IDS, _MAKE_NEXT_VERSIONS, _COPY_BLOCKS),
    ),
    after=(_PUT_IN_READING_ORDER, _PUBLISH, _MAKE_CURRENT),
)
