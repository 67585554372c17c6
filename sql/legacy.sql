-- Legacy progress: what an earlier system showed of people's courses, imported from files. It is a floor under what is
-- shown here, and no more: no event and no completion of a block is made up for it. Undone, it is as if it had not been.

-- A file is a batch in each of the communities that it tells of.
create table public.legacy_batches (
    community_id uuid not null,
    id uuid not null,
    file_name text not null,
    file_digest text not null,
    imported_at timestamptz not null default now(),
    undone_at timestamptz,
    constraint legacy_batches_pkey primary key (community_id, id),
    constraint legacy_batches_file_name_length check (char_length(file_name) between 1 and 255),
    constraint legacy_batches_file_digest_sha256 check (file_digest ~ '^[0-9a-f]{64}$'),
    constraint legacy_batches_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade
);
alter table public.legacy_batches enable row level security;
alter table public.legacy_batches alter column community_id set (n_distinct = 20);
comment on table public.legacy_batches is 'Files of legacy progress that were imported.';
comment on column public.legacy_batches.id is 'The same in each of the communities that the file tells of.';
comment on column public.legacy_batches.file_digest is 'SHA-256 of the file: the same file again goes on with its batch.';

create unique index legacy_batches_one_a_file on public.legacy_batches (community_id, file_digest) where undone_at is null;

-- A line of a file.
create table public.legacy_progress (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null,
    batch_id uuid not null,
    line integer not null,
    user_id uuid not null,
    course_id uuid not null,
    attempt integer not null,
    version integer not null,
    percent numeric(6, 3) not null,
    completed_at timestamptz,
    data jsonb,
    percent_before integer not null default 0,
    percent_after integer not null default 0,
    imported_at timestamptz not null default now(),
    constraint legacy_progress_pkey primary key (community_id, batch_id, line),
    constraint legacy_progress_batch_exists foreign key (community_id, batch_id)
    references public.legacy_batches (community_id, id) on delete cascade,
    constraint legacy_progress_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint legacy_progress_course_exists foreign key (community_id, course_id)
    references public.courses (community_id, id) on delete cascade,
    constraint legacy_progress_line_positive check (line >= 1),
    constraint legacy_progress_attempt_positive check (attempt >= 1),
    constraint legacy_progress_percent_range check (percent between 0 and 100)
);
alter table public.legacy_progress enable row level security;
alter table public.legacy_progress alter column community_id set (n_distinct = 20);
comment on table public.legacy_progress is 'What an earlier system showed of somebody''s course.';
comment on column public.legacy_progress.attempt is 'The attempt that was current when it was imported: the only one it counts for.';
comment on column public.legacy_progress.version is
'The newest published version when it was imported: up to that one, complete is complete.';
comment on column public.legacy_progress.percent is '0 to 100, floored to three decimals; a floor in every version.';
comment on column public.legacy_progress.completed_at is 'As the earlier system had it; 100 percent without a date is complete since the import.';
comment on column public.legacy_progress.percent_before is 'What was shown of the course before it was imported.';
comment on column public.legacy_progress.percent_after is 'What was shown when it was.';
comment on column public.legacy_progress.data is 'What else the line said, by the names of its columns.';

create index legacy_progress_batch_idx on public.legacy_progress (community_id, batch_id, imported_at, id);
create index legacy_progress_person_idx on public.legacy_progress (community_id, user_id, course_id);
-- With the person: one course of one person is looked up as well by this index as by the other.
create index legacy_progress_course_idx on public.legacy_progress (community_id, course_id, user_id);
create index legacy_progress_list_idx on public.legacy_progress (community_id, imported_at, id);

-- The floor under an attempt at a course in one of its versions: the highest percent, null without any; and since when
-- it is complete, if it is in this version.
create function private.legacy_floor(
    community uuid, person uuid, course uuid, in_version integer, in_attempt integer,
    out percent numeric, out completed_at timestamptz
)
stable
set search_path = ''
language plpgsql
as $$
begin
    select
        max(case when l.completed_at is not null then 100 else l.percent end),
        min(coalesce(l.completed_at, l.imported_at)) filter (
            where (l.completed_at is not null or l.percent = 100) and l.version >= in_version
        )
    into percent, completed_at
    from public.legacy_progress as l
    where l.community_id = community and l.user_id = person and l.course_id = course and l.attempt = in_attempt;
end
$$;

create type private.legacy_entry as (
    line integer,
    user_id uuid,
    course_id uuid,
    version integer,
    percent numeric,
    completed_at timestamptz,
    data jsonb,
    -- Why it is refused.
    problem text
);

-- The lines of a file with the people and courses that they name: by id, or else by e-mail address and by title.
create function private.legacy_entries_in(community uuid, lines jsonb) returns private.legacy_entry[]
stable
set search_path = ''
language plpgsql
as $$
declare
    uuid_form constant text := '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$';
begin
    return array(
        with given as (
            select g.*, pg_catalog.lower(g.learner) as address
            from pg_catalog.jsonb_to_recordset(lines) as g (
                line integer, learner text, course text, percent numeric, completed_at timestamptz, data jsonb
            )
        ),
        people as (
            select p.learner, count(m.user_id) as found, min(m.user_id::text)::uuid as user_id, min(m.status) as status
            from (select distinct g.learner, g.address from given as g) as p
            left join lateral (
                select p.address::uuid as id where p.address ~ uuid_form
                union all
                -- The columns of Supabase's index; people who sign in at an organisation may share an address with others.
                select u.id
                from auth.users as u
                where p.address !~ uuid_form and u.instance_id = '00000000-0000-0000-0000-000000000000'
                    and pg_catalog.lower(u.email) = p.address
            ) as u on true
            left join public.memberships as m on m.community_id = community and m.user_id = u.id
            group by p.learner
        ),
        courses as (
            select
                w.course,
                -- Of several of a title, those that are archived are not meant.
                coalesce(nullif(count(c.id) filter (where c.status <> 'archived'), 0), count(c.id)) as found,
                (pg_catalog.array_agg(c.id order by c.status = 'archived'))[1] as course_id
            from (select distinct g.course from given as g) as w
            left join public.courses as c
                on c.community_id = community and case
                    when pg_catalog.lower(w.course) ~ uuid_form then c.id = w.course::uuid
                    else c.title = w.course
                end
            group by w.course
        )
        select row(
            g.line, p.user_id, c.course_id, o.version, pg_catalog.trunc(g.percent, 3), g.completed_at, g.data,
            r.problem
        )::private.legacy_entry
        from given as g
        join people as p on p.learner = g.learner
        join courses as c on c.course = g.course
        left join public.courses as o on o.community_id = community and o.id = c.course_id
        cross join lateral (
            select case
                when p.found = 0 then 'There is no member with this id or e-mail address in the community. Invite them first.'
                when p.found > 1 then 'Several members have this e-mail address. Name the person by id.'
                when p.status = 'suspended' then 'This person is suspended. Reinstate them first.'
                when p.status <> 'active' then 'This person has left the community. Invite them again first.'
                when c.found = 0 then 'There is no course with this id or title in the community. Import the course first.'
                when c.found > 1 then 'Several courses have this title. Name the course by id.'
                when not o.published then 'The course is a draft. Publish it first.'
                when g.completed_at > pg_catalog.now() then 'completed_at lies in the future.'
            end as problem
        ) as r
        order by g.line
    );
end
$$;

-- Puts what is imported under the sums of people's courses, whichever versions they are kept in. A completion that is
-- there stays as it is.
create function private.lay_legacy_floors(community uuid, touched private.learner_course[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    update public.course_progress as p
    set
        legacy_percent = f.percent, completed_at = coalesce(p.completed_at, f.completed_at), updated_at = pg_catalog.now()
    from pg_catalog.unnest(touched) as t
    -- For itself, so that it is looked up.
    cross join lateral (
        select o.version, o.attempt
        from public.course_progress as o
        where o.community_id = community and o.user_id = t.user_id and o.course_id = t.course_id
        offset 0
    ) as o
    cross join lateral private.legacy_floor(community, t.user_id, t.course_id, o.version, o.attempt) as f
    where p.community_id = community and p.user_id = t.user_id and p.course_id = t.course_id
        and p.version = o.version and p.attempt = o.attempt
        and (
            p.legacy_percent is distinct from f.percent
            or p.completed_at is null and f.completed_at is not null
        );
end
$$;

-- Where people stand with courses, for what an import says of each line.
create function private.percents_shown(community uuid, asked private.learner_course[])
returns table (user_id uuid, course_id uuid, percent integer)
stable
rows 100
set search_path = ''
language plpgsql
as $$
begin
    return query
    select a.user_id, a.course_id, s.percent
    from (select distinct t.user_id, t.course_id from pg_catalog.unnest(asked) as t) as a
    cross join lateral private.course_state(
        community, a.user_id, a.course_id, private.version_shown(community, a.user_id, a.course_id)
    ) as s;
end
$$;

-- The sums that legacy progress lies under, made in the versions that count for people where there are none yet.
create function private.begin_legacy_courses(community uuid, new_courses private.learner_course[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    entries private.progress_entry[] := array(
        select pg_catalog.jsonb_populate_record(null::private.progress_entry, pg_catalog.jsonb_build_object(
            'user_id', c.user_id, 'course_id', c.course_id,
            'attempt', private.current_attempt(community, c.user_id, c.course_id), 'versions', s.versions
        ))
        from pg_catalog.unnest(new_courses) as c
        cross join lateral private.course_standing(community, c.user_id, c.course_id) as s
        where exists (
            select from public.legacy_progress as l
            where l.community_id = community and l.user_id = c.user_id and l.course_id = c.course_id
                and (l.percent > 0 or l.completed_at is not null)
        )
    );
begin
    perform private.begin_courses(community, entries);
end
$$;

-- Writes down how far enrolments are with what was imported; gives how many that completed.
create function private.raise_enrollments(community uuid, touched private.learner_course[]) returns integer
volatile
set search_path = ''
language plpgsql
as $$
declare
    enrollments public.program_enrollments[] := array(
        select e from private.enrollments_with_courses(community, touched) as e
    );
begin
    if enrollments = '{}' then
        return 0;
    end if;
    perform private.begin_course_progress(enrollments);
    perform private.evaluate_enrollments(enrollments);
    return (
        select count(*)
        from pg_catalog.unnest(enrollments) as e
        join public.program_progress as p on p.community_id = community and p.enrollment_id = e.id
        where e.status <> 'completed' and p.status = 'completed'
    );
end
$$;

-- Takes lines of a file, those of one person all at once. Says how many enrolments that completed, and of each line what
-- became of it: 'raised', 'kept' (it is written down, and the person is as far already), 'refused' with the reason.
create function private.take_legacy_progress(community uuid, batch uuid, lines jsonb) returns jsonb
volatile
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
language plpgsql
as $$
declare
    entries private.legacy_entry[] := private.legacy_entries_in(community, lines);
    learners uuid[];
    touched private.learner_course[];
    completed integer := 0;
begin
    learners := private.lock_learners(community, array(
        select distinct e.user_id from pg_catalog.unnest(entries) as e where e.problem is null
    ));
    touched := array(
        select distinct row(e.user_id, e.course_id)::private.learner_course
        from pg_catalog.unnest(entries) as e
        where e.problem is null and e.user_id = any (learners)
    );
    if touched <> '{}' then
        insert into public.legacy_progress (
            community_id, batch_id, line, user_id, course_id, attempt, version, percent, completed_at, data, percent_before
        )
        select
            community, batch, e.line, e.user_id, e.course_id,
            private.current_attempt(community, e.user_id, e.course_id), e.version, e.percent, e.completed_at, e.data,
            s.percent
        from pg_catalog.unnest(entries) as e
        join private.percents_shown(community, touched) as s on s.user_id = e.user_id and s.course_id = e.course_id
        where e.problem is null
        order by e.line;
        perform private.begin_legacy_courses(community, touched);
        perform private.lay_legacy_floors(community, touched);
        completed := private.raise_enrollments(community, touched);
        update public.legacy_progress as l
        set percent_after = s.percent
        from pg_catalog.unnest(entries) as e
        join private.percents_shown(community, touched) as s on s.user_id = e.user_id and s.course_id = e.course_id
        where l.community_id = community and l.batch_id = batch and l.line = e.line;
    end if;
    return pg_catalog.jsonb_build_object('completed', completed, 'lines', (
        select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
            e.line,
            case when l.line is null then 'refused' when l.percent_after > l.percent_before then 'raised' else 'kept' end,
            case when l.line is null then coalesce(e.problem, 'The membership of this person has just ended.') end,
            l.percent_before, l.percent_after
        ))
        from pg_catalog.unnest(entries) as e
        left join public.legacy_progress as l
            on l.community_id = community and l.batch_id = batch and l.line = e.line
    ));
end
$$;

-- Takes the floors away again that lines were which are gone. A completion that one of them had set goes with it, unless
-- other lines or the blocks say the same; so do sums that nobody had before.
create function private.lift_legacy_floors(community uuid, gone public.legacy_progress[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    update public.course_progress as p
    set
        legacy_percent = counted.legacy_percent,
        completed_at = case when p.completed_at = any (g.dates) then counted.completed_at else p.completed_at end,
        updated_at = pg_catalog.now()
    from (
        select g.user_id, g.course_id, g.attempt, pg_catalog.array_agg(coalesce(g.completed_at, g.imported_at)) as dates
        from pg_catalog.unnest(gone) as g
        group by g.user_id, g.course_id, g.attempt
    ) as g
    -- For itself, so that it is looked up.
    cross join lateral (
        select o.version
        from public.course_progress as o
        where o.community_id = community and o.user_id = g.user_id and o.course_id = g.course_id
            and o.attempt = g.attempt
        offset 0
    ) as o
    cross join lateral private.counted_course_progress(
        community, g.user_id, g.course_id, o.version, g.attempt
    ) as counted
    where p.community_id = community and p.user_id = g.user_id and p.course_id = g.course_id
        and p.version = o.version and p.attempt = g.attempt;
    -- A further attempt has its row from its beginning.
    delete from public.course_progress as p
    using pg_catalog.unnest(gone) as g
    where p.community_id = community and p.user_id = g.user_id and p.course_id = g.course_id
        and p.attempt = g.attempt and p.attempt = 1
        and not exists (
            select from public.block_completions as c
            where c.community_id = p.community_id and c.user_id = p.user_id and c.course_id = p.course_id
                and c.attempt = p.attempt
        )
        and not exists (
            select from public.legacy_progress as l
            where l.community_id = p.community_id and l.user_id = p.user_id and l.course_id = p.course_id
                and l.attempt = p.attempt
        );
end
$$;

-- Completed enrolments, among those that are people's latest in their programs, whose programs ask for nothing more.
create function private.met_enrollments(community uuid, touched private.learner_course[])
returns setof public.program_enrollments
stable
rows 10
set search_path = ''
language plpgsql
as $$
declare
    completed public.program_enrollments[] := array(
        select e
        from (
            select t.user_id, pg_catalog.array_agg(t.course_id) as courses
            from pg_catalog.unnest(touched) as t
            group by t.user_id
        ) as t
        join public.program_enrollments as e
            on e.community_id = community and e.user_id = t.user_id and e.status = 'completed'
        -- For itself, so that it begins with the person.
        cross join lateral (
            select
            from public.program_course_assignments as a
            where a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
                and a.course_id = any (t.courses)
            limit 1
        ) as a
        where not exists (
            select from public.program_enrollments as later
            where later.community_id = e.community_id and later.program_id = e.program_id
                and later.user_id = e.user_id and later.attempt > e.attempt
        )
        order by e.id
    );
begin
    return query
    select e.*
    from private.requirement_states(completed) as s
    join pg_catalog.unnest(completed) as e on e.id = s.enrollment_id
    where s.node = 0 and s.met;
end
$$;

-- Has enrolments go on that had been complete by what is taken back now, but for those that have lapsed meanwhile, and
-- those of people who are no active members any more; gives how many.
create function private.reopen_enrollments(community uuid, enrollments uuid[]) returns integer
volatile
set search_path = ''
language plpgsql
as $$
declare
    noted text := pg_catalog.current_setting('gym.reason', true);
    reopened uuid[];
begin
    perform private.note_reason('The legacy progress that it was complete by was taken back.');
    perform pg_catalog.set_config('gym.undoing', 'legacy', true);
    with active as (
        update public.program_enrollments as e
        set status = 'active', completed_at = null
        where e.community_id = community and e.id = any (enrollments) and (e.expires_at > pg_catalog.now()) is not false
            and exists (
                select from public.memberships as m
                where m.community_id = e.community_id and m.user_id = e.user_id and m.status = 'active'
            )
        returning e.id
    )
    select coalesce(pg_catalog.array_agg(a.id), '{}') into reopened from active as a;
    perform pg_catalog.set_config('gym.undoing', '', true);
    perform private.note_reason(noted);
    update public.program_progress as p
    set status = 'not_started', percent = 0, completed_at = null, updated_at = pg_catalog.now()
    where p.community_id = community and p.enrollment_id = any (reopened);
    return pg_catalog.cardinality(reopened);
end
$$;

-- Takes a batch back from the next people of it, in the order of their ids; no last_user when there are none left. Of
-- enrolments that were complete by it says how many go on, and how many are left as they are: those that have lapsed, and
-- those of people who have enrolled again or left.
create function private.undo_legacy_progress(
    community uuid, batch uuid, after_user uuid, at_most integer,
    out last_user uuid, out lines integer, out reopened integer, out left_completed integer
)
volatile
set search_path = ''
language plpgsql
as $$
declare
    people uuid[] := array(
        select distinct l.user_id
        from public.legacy_progress as l
        where l.community_id = community and l.batch_id = batch and (l.user_id > after_user) is not false
        order by l.user_id
        limit at_most
    );
    gone public.legacy_progress[];
    touched private.learner_course[];
    met uuid[];
    unmet uuid[];
    enrollments public.program_enrollments[];
begin
    -- As lock_learners does, whatever has become of their memberships.
    perform from public.memberships as m
    where m.community_id = community and m.user_id = any (people)
    order by m.user_id
    for no key update;
    touched := array(
        select distinct row(l.user_id, l.course_id)::private.learner_course
        from public.legacy_progress as l
        where l.community_id = community and l.batch_id = batch and l.user_id = any (people)
    );
    met := array(select e.id from private.met_enrollments(community, touched) as e);
    with deleted as (
        delete from public.legacy_progress as l
        where l.community_id = community and l.batch_id = batch and l.user_id = any (people)
        returning l.*
    )
    select coalesce(pg_catalog.array_agg(d::public.legacy_progress), '{}') into gone from deleted as d;
    last_user := people[pg_catalog.cardinality(people)];
    lines := pg_catalog.cardinality(gone);
    perform private.lift_legacy_floors(community, gone);
    unmet := array(
        select m from pg_catalog.unnest(met) as m except select e.id from private.met_enrollments(community, touched) as e
    );
    reopened := private.reopen_enrollments(community, unmet);
    left_completed := pg_catalog.cardinality(unmet) - reopened + private.enrollments_followed(community, gone);
    enrollments := array(select e from private.enrollments_with_courses(community, touched) as e);
    if enrollments <> '{}' then
        -- What was completed here, and carried over with the date of a line, is carried over anew.
        perform private.carry_over_completions(e) from pg_catalog.unnest(enrollments) as e;
        perform private.evaluate_enrollments(enrollments);
    end if;
end
$$;

-- How many completed enrolments have been followed by others, in programs with courses that lines which are gone said to
-- be complete.
create function private.enrollments_followed(community uuid, gone public.legacy_progress[]) returns integer
stable
set search_path = ''
language plpgsql
as $$
begin
    return (
        select count(*)
        from (
            select g.user_id, pg_catalog.array_agg(g.course_id) as courses
            from pg_catalog.unnest(gone) as g
            where g.completed_at is not null or g.percent = 100
            group by g.user_id
        ) as g
        join public.program_enrollments as e
            on e.community_id = community and e.user_id = g.user_id and e.status = 'completed'
        where exists (
            select from public.program_course_assignments as a
            where a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
                and a.course_id = any (g.courses)
        ) and exists (
            select from public.program_enrollments as later
            where later.community_id = e.community_id and later.program_id = e.program_id
                and later.user_id = e.user_id and later.attempt > e.attempt
        )
    );
end
$$;
