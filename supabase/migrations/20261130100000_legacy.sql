-- Legacy progress: what an earlier system showed, as a floor under people's progress. Enrolments complete in one
-- statement now, however many there are at once.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

alter table public.course_progress add column legacy_percent numeric(6, 3);
comment on column public.course_progress.legacy_percent is 'A floor from legacy_progress, 0 to 100; null without any.';

alter type private.course_progress_state add attribute legacy_percent numeric;

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

-- squawk-ignore ban-drop-function
drop function private.complete_enrollment(public.program_enrollments, timestamptz);

-- Completes those whose roots are met, of one community. The reason is for the audit log, in which whoever sent the last
-- event stands as the actor.
create function private.complete_enrollments(
    enrollments public.program_enrollments[], done private.requirement_state[]
) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    community constant uuid := enrollments[1].community_id;
    noted text := pg_catalog.current_setting('gym.reason', true);
    free uuid[];
begin
    -- Whoever changes an enrolment right now may be waiting for this learner: then it is left to the worker.
    free := array(
        select e.id
        from public.program_enrollments as e
        where e.community_id = community and e.id in (select d.enrollment_id from pg_catalog.unnest(done) as d)
        order by e.id
        for no key update skip locked
    );
    perform private.queue_progress(community, array(
        select d.enrollment_id from pg_catalog.unnest(done) as d where d.enrollment_id <> all (free)
    ));
    perform private.note_reason('What the program asks for is done.');
    update public.program_enrollments as e
    set status = 'completed', completed_at = greatest(d.completed_at, e.enrolled_at)
    from pg_catalog.unnest(done) as d
    join pg_catalog.unnest(enrollments) as seen on seen.id = d.enrollment_id
    where e.community_id = community and e.id = d.enrollment_id and e.id = any (free) and e.status = 'active'
        -- One that was moved meanwhile is looked at again, in its new version.
        and e.program_version = seen.program_version
        -- Of one that has lapsed only the clock has not spoken yet.
        and (e.expires_at > pg_catalog.now()) is not false;
    perform private.note_reason(noted);
end
$$;

-- The versions of a course that count for somebody: those of their open enrolments; without one those that they began,
-- or else the current one. And since when they are enrolled with it, whatever became of that.
create or replace function private.course_standing(community uuid, person uuid, course uuid)
returns table (versions integer[], enrolled_at timestamptz)
stable
rows 1
set search_path = ''
language plpgsql
as $$
begin
    select
        pg_catalog.array_agg(distinct a.course_version) filter (where e.status in ('pending', 'active', 'paused')),
        min(e.enrolled_at)
    into versions, enrolled_at
    from public.program_enrollments as e
    -- For itself, so that it begins with the person: the other way lead all enrolments in programs with the course.
    cross join lateral (
        select o.course_version
        from public.program_course_assignments as o
        where o.community_id = e.community_id and o.program_id = e.program_id and o.version = e.program_version
            and o.course_id = course
        offset 0
    ) as a
    where e.community_id = community and e.user_id = person;
    if versions is null then
        select pg_catalog.array_agg(distinct p.version) into versions
        from public.course_progress as p
        where p.community_id = community and p.user_id = person and p.course_id = course
            -- Not where legacy progress lies under it and nothing else: nobody has chosen that version.
            and (p.started_at is not null or p.completed_at is not null);
    end if;
    if versions is null then
        select array[c.version] into versions
        from public.courses as c
        where c.community_id = community and c.id = course and c.published;
    end if;
    return next;
end
$$;

-- What the blocks that somebody has done come to in a version of their course, over the floor of legacy progress: a row
-- of course_progress, counted anew.
create or replace function private.counted_course_progress(
    community uuid, person uuid, course uuid, in_version integer, in_attempt integer
) returns public.course_progress
stable
set search_path = ''
language plpgsql
as $$
declare
    counted public.course_progress;
    floor record;
begin
    select
        community, person, course, in_version, in_attempt,
        count(*) filter (where c.value = 1), count(*),
        coalesce(pg_catalog.sum(b.weight * c.value), 0), coalesce(pg_catalog.sum(b.weight), 0),
        null, max(c.completed_at), pg_catalog.now(), null
    into counted
    from public.blocks as b
    -- For itself, so that each block is looked up: joined, all completions would be gone through for each block.
    left join lateral (
        select o.value, o.completed_at
        from public.block_completions as o
        where o.community_id = community and o.user_id = person and o.course_id = course and o.attempt = in_attempt
            and o.block_id = b.id
        offset 0
    ) as c on true
    where b.community_id = community and b.course_id = course and b.version = in_version
        and b.required and b.completion_mode = 'completable';
    if counted.total_required = 0 or counted.done_required < counted.total_required then
        counted.completed_at := null;
    end if;
    floor := private.legacy_floor(community, person, course, in_version, in_attempt);
    counted.legacy_percent := floor.percent;
    counted.completed_at := least(counted.completed_at, floor.completed_at);
    select min(c.started_at) into counted.started_at
    from public.block_completions as c
    where c.community_id = community and c.user_id = person and c.course_id = course and c.attempt = in_attempt;
    return counted;
end
$$;

-- Each node of what the versions of enrolments ask for, and how much of it is done: of a course its share, of others the
-- mean of the best parts, as many as are needed. Of courses the current attempt counts, and no earlier one.
create or replace function private.requirement_states(enrollments public.program_enrollments[])
returns setof private.requirement_state
stable
rows 10
set search_path = ''
language plpgsql
as $$
declare
    states private.requirement_state[];
    inner_nodes private.requirement_state[];
begin
    states := array(
        select row(
            e.id, r.node, r.parent, r.kind, r.needed, r.course_id, r.group_name,
            p.completed_at is not null or r.needed = 0,
            case
                when p.completed_at is not null or r.needed = 0 then 1
                when p.possible > 0 then greatest(p.earned / p.possible, p.legacy_percent / 100)
                else 0
            end,
            p.started_at is not null or p.legacy_percent > 0, p.completed_at
        )::private.requirement_state
        from pg_catalog.unnest(enrollments) as e
        join public.program_requirements as r
            on r.community_id = e.community_id and r.program_id = e.program_id and r.version = e.program_version
            and r.kind = 'course'
        left join lateral (
            select s.*
            from public.course_progress as s
            where s.community_id = e.community_id and s.user_id = e.user_id and s.course_id = r.course_id
                and s.version = r.course_version and s.attempt = (
                    select coalesce(max(o.attempt), 1)
                    from public.course_attempts as o
                    where o.community_id = e.community_id and o.user_id = e.user_id and o.course_id = r.course_id
                )
            -- For itself, so that it is looked up: joined, all courses of the person would be gone through.
            offset 0
        ) as p on true
    );
    -- From the last to the first, of all enrolments at once: parts come before what they are parts of.
    for inner_nodes in
        select pg_catalog.array_agg(row(
            n.enrollment_id, n.node, n.parent, n.kind, n.needed, null, n.group_name, null, null, null, null
        )::private.requirement_state)
        from (
            select e.id as enrollment_id, r.*, pg_catalog.row_number() over (partition by e.id order by r.node desc) as nth
            from pg_catalog.unnest(enrollments) as e
            join public.program_requirements as r
                on r.community_id = e.community_id and r.program_id = e.program_id and r.version = e.program_version
                and r.kind <> 'course'
        ) as n
        group by n.nth
        order by n.nth
    loop
        states := states || array(
            select row(
                n.enrollment_id, n.node, n.parent, n.kind, n.needed, null, n.group_name,
                count(*) filter (where n.part_met and n.place <= n.needed) >= n.needed,
                coalesce(pg_catalog.sum(n.part_share) filter (where n.place <= n.needed), 0) / greatest(n.needed, 1),
                coalesce(pg_catalog.bool_or(n.part_started), false),
                max(n.part_completed_at) filter (where n.place <= n.needed)
            )::private.requirement_state
            from (
                select
                    i.*, s.met as part_met, s.share as part_share, s.started as part_started,
                    s.completed_at as part_completed_at,
                    pg_catalog.row_number() over (
                        partition by i.enrollment_id order by s.met desc nulls last, s.share desc, s.completed_at
                    ) as place
                from pg_catalog.unnest(inner_nodes) as i
                left join pg_catalog.unnest(states) as s
                    on s.enrollment_id = i.enrollment_id and s.parent = i.node and s.needed > 0
            ) as n
            group by n.enrollment_id, n.node, n.parent, n.kind, n.needed, n.group_name
        );
    end loop;
    return query select s.* from pg_catalog.unnest(states) as s;
end
$$;

-- The rows of course_progress that enrolments count by, made where somebody has done something in the course and none
-- is there yet.
create or replace function private.begin_course_progress(enrollments public.program_enrollments[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    insert into public.course_progress
    select counted.*
    -- For itself, so that only those courses are counted that have no row yet: most of them are done with by then.
    from (
        select distinct e.community_id, e.user_id, r.course_id, r.course_version, a.attempt
        from pg_catalog.unnest(enrollments) as e
        join public.program_requirements as r
            on r.community_id = e.community_id and r.program_id = e.program_id and r.version = e.program_version
            and r.kind = 'course'
        cross join lateral (
            select coalesce(max(o.attempt), 1) as attempt
            from public.course_attempts as o
            where o.community_id = e.community_id and o.user_id = e.user_id and o.course_id = r.course_id
        ) as a
        where not exists (
            select from public.course_progress as p
            where p.community_id = e.community_id and p.user_id = e.user_id and p.course_id = r.course_id
                and p.version = r.course_version and p.attempt = a.attempt
            offset 0
        ) and (
            exists (
                select from public.block_completions as c
                where c.community_id = e.community_id and c.user_id = e.user_id and c.course_id = r.course_id
                    and c.attempt = a.attempt
                offset 0
            ) or exists (
                select from public.legacy_progress as l
                where l.community_id = e.community_id and l.user_id = e.user_id and l.course_id = r.course_id
                    and l.attempt = a.attempt and (l.percent > 0 or l.completed_at is not null)
                offset 0
            )
        )
        -- For itself, as the others: joined, each would be counted before it is asked whether it is there, and all that
        -- the person has done be read for that.
        offset 0
    ) as e
    cross join lateral private.counted_course_progress(
        e.community_id, e.user_id, e.course_id, e.course_version, e.attempt
    ) as counted
    order by e.user_id, e.course_id, e.course_version
    on conflict on constraint course_progress_pkey do nothing;
end
$$;

-- Writes down how far enrolments are, and completes those that are active and whose version asks for nothing more.
create or replace function private.evaluate_enrollments(enrollments public.program_enrollments[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    roots private.requirement_state[] := array(
        select s from private.requirement_states(enrollments) as s where s.node = 0
    );
    done private.requirement_state[];
begin
    update public.program_progress as p
    set status = now_at.status, percent = now_at.percent, updated_at = pg_catalog.now()
    from (
        select
            e.community_id, e.id,
            case
                when r.needed is null or r.needed = 0 then 'not_applicable'
                when r.started then 'in_progress'
                else 'not_started'
            end as status,
            least(pg_catalog.floor(coalesce(r.share, 0) * 100), 99) as percent
        from pg_catalog.unnest(enrollments) as e
        left join pg_catalog.unnest(roots) as r on r.enrollment_id = e.id
    ) as now_at
    where p.community_id = now_at.community_id and p.enrollment_id = now_at.id and p.status <> 'completed'
        and (p.status, p.percent) is distinct from (now_at.status, now_at.percent);
    -- With no course completed there is nothing to complete: a program that asks for nothing stays open.
    done := array(
        select r
        from pg_catalog.unnest(roots) as r
        join pg_catalog.unnest(enrollments) as e on e.id = r.enrollment_id
        where r.met and r.completed_at is not null and e.status = 'active'
    );
    if done <> '{}' then
        perform private.complete_enrollments(enrollments, done);
    end if;
end
$$;

-- Who enrols may have done some of it already, and who resumes all of it. Whoever has completed the program before
-- begins anew: further attempts at its courses, but for those that another open enrolment asks for.
create or replace function private.follow_enrollment() returns trigger
volatile
security definer -- writes progress, which no client may; of this enrolment only
set search_path = ''
language plpgsql
as $$
begin
    -- What somebody records at the same moment is seen here, or this enrolment there.
    perform private.lock_learners(new.community_id, array[new.user_id]);
    if tg_op = 'INSERT' then
        perform private.begin_program_progress(new);
    end if;
    if tg_op = 'INSERT' and new.attempt > 1 and exists (
        select from public.program_enrollments as e
        where e.community_id = new.community_id and e.program_id = new.program_id and e.user_id = new.user_id
            and e.attempt = new.attempt - 1 and e.status = 'completed'
    ) then
        perform private.open_attempts(new.community_id, new.user_id, array(
            select a.course_id
            from public.program_course_assignments as a
            where a.community_id = new.community_id and a.program_id = new.program_id
                and a.version = new.program_version
                and not exists (
                    select
                    from private.enrollments_with_courses(
                        new.community_id, array[row(new.user_id, a.course_id)::private.learner_course]
                    ) as e
                    where e.id <> new.id
                )
        ), 'Enrolled again after completing the program.');
    end if;
    if exists (
        select from public.block_completions as c where c.community_id = new.community_id and c.user_id = new.user_id
    ) or exists (
        select from public.legacy_progress as l where l.community_id = new.community_id and l.user_id = new.user_id
    ) then
        perform private.begin_course_progress(array[new]);
        perform private.evaluate_enrollments(array[new]);
    end if;
    return null;
end
$$;

-- Opens the next attempt at courses in which somebody has done something, and says which. What they did before stays in
-- its attempt.
create or replace function private.open_attempts(community uuid, person uuid, courses uuid[], reason text) returns uuid[]
volatile
set search_path = ''
language plpgsql
as $$
declare
    opened uuid[];
begin
    with latest as (
        select c.course_id, c.attempt
        from (
            select distinct c as course_id, private.current_attempt(community, person, c) as attempt
            from pg_catalog.unnest(courses) as c
        ) as c
        where exists (
            select from public.block_completions as b
            where b.community_id = community and b.user_id = person and b.course_id = c.course_id
                and b.attempt = c.attempt
        ) or exists (
            select from public.legacy_progress as l
            where l.community_id = community and l.user_id = person and l.course_id = c.course_id
                and l.attempt = c.attempt and (l.percent > 0 or l.completed_at is not null)
        )
        order by c.course_id
    ),
    begun as (
        insert into public.course_attempts (community_id, user_id, course_id, attempt, reason)
        select community, person, l.course_id, l.attempt + 1, reason
        from latest as l
        returning course_id
    )
    select coalesce(pg_catalog.array_agg(b.course_id), '{}') into opened from begun as b;
    insert into public.course_progress
    select counted.*
    from (
        select distinct p.course_id, p.version
        from public.course_progress as p
        where p.community_id = community and p.user_id = person and p.course_id = any (opened)
    ) as p
    cross join lateral private.counted_course_progress(
        community, person, p.course_id, p.version, private.current_attempt(community, person, p.course_id)
    ) as counted
    order by p.course_id, p.version;
    return opened;
end
$$;

-- Counts the sums of an attempt at a course anew; gives how many were different.
create or replace function private.recount_course(community uuid, person uuid, course uuid, in_attempt integer) returns integer
volatile
set search_path = ''
language plpgsql
as $$
declare
    different integer;
begin
    update public.course_progress as p
    set
        done_required = counted.done_required, total_required = counted.total_required,
        earned = counted.earned, possible = counted.possible, started_at = counted.started_at,
        legacy_percent = counted.legacy_percent, updated_at = pg_catalog.now()
    from public.course_progress as o
    cross join lateral private.counted_course_progress(o.community_id, o.user_id, o.course_id, o.version, o.attempt) as counted
    where o.community_id = community and o.user_id = person and o.course_id = course and o.attempt = in_attempt
        and p.community_id = o.community_id and p.user_id = o.user_id and p.course_id = o.course_id
        and p.version = o.version and p.attempt = o.attempt
        and (p.done_required, p.total_required, p.earned, p.possible, p.started_at, p.legacy_percent)
            is distinct from (
                counted.done_required, counted.total_required, counted.earned, counted.possible, counted.started_at,
                counted.legacy_percent
            );
    get diagnostics different = row_count;
    return different;
end
$$;

-- Percent is floored, and 100 is shown for what is complete and nothing else. It is no less than what legacy progress says.
create or replace function private.course_state_of(progress public.course_progress) returns private.course_progress_state
stable
set search_path = ''
language plpgsql
as $$
begin
    return row(
        progress.user_id, progress.course_id, progress.version, progress.attempt,
        case
            when progress.completed_at is not null then 'completed'
            when progress.total_required = 0 then 'not_applicable'
            when progress.started_at is not null or progress.legacy_percent > 0 then 'in_progress'
            else 'not_started'
        end,
        progress.done_required, progress.total_required, progress.earned, progress.possible,
        case
            when progress.completed_at is not null then 100
            else least(pg_catalog.floor(greatest(
                100 * progress.earned / nullif(progress.possible, 0), progress.legacy_percent, 0
            )), 99)
        end,
        progress.started_at, progress.completed_at, null, progress.legacy_percent
    )::private.course_progress_state;
end
$$;

create or replace function private.courses_of_progress(progress public.program_progress)
returns setof private.course_progress_state
stable
rows 10
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
begin
    if not private.may_see_progress(progress.community_id, progress.user_id) then
        return;
    end if;
    return query
    select
        s.user_id, s.course_id, s.version, s.attempt, s.status, s.done_required, s.total_required, s.earned, s.possible,
        s.percent, s.started_at, s.completed_at, a.sequence_order, s.legacy_percent
    from public.program_enrollments as e
    join public.program_course_assignments as a
        on a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
    cross join lateral private.course_state(e.community_id, e.user_id, a.course_id, a.course_version) as s
    where e.community_id = progress.community_id and e.id = progress.enrollment_id
        and e.user_id = progress.user_id;
end
$$;

-- The courses that a mutation was about.
create or replace function private.courses_told(told jsonb) returns setof private.course_progress_state
stable
rows 5
set search_path = ''
language plpgsql
as $$
begin
    return query
    select
        s.user_id, s.course_id, s.version, s.attempt, s.status, s.done_required, s.total_required, s.earned, s.possible,
        s.percent, s.started_at, s.completed_at, c.place::integer, s.legacy_percent
    from pg_catalog.jsonb_array_elements(told -> 'courses') with ordinality as c (course, place)
    cross join lateral private.course_progress(c.course) as s;
end
$$;

-- Why a program is not complete: what of it is not met, in reading order. Of what is met, nothing; and no "all of these",
-- of which each part stands for itself.
create or replace function private.missing_requirements(progress public.program_progress) returns table (
    place integer, kind text, course_id uuid, group_name text, needed integer, done integer, percent integer,
    description text
)
stable
rows 5
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    enrollment public.program_enrollments;
begin
    if progress.status = 'completed' or not private.may_see_progress(progress.community_id, progress.user_id) then
        return;
    end if;
    select e.* into enrollment
    from public.program_enrollments as e
    where e.community_id = progress.community_id and e.id = progress.enrollment_id and e.user_id = progress.user_id;
    return query
    with states as (
        select s.* from private.requirement_states(array[enrollment]) as s
    )
    select
        s.node, s.kind, s.course_id, s.group_name, s.needed,
        case s.kind when 'course' then 0 else b.met end, least(pg_catalog.floor(s.share * 100), 99)::integer,
        case s.kind
            when 'course' then pg_catalog.format(
                'Complete the course "%s": %s of its %s required blocks are done.%s', c.title,
                (c.state).done_required, (c.state).total_required, case
                    when (c.state).legacy_percent > 0 then pg_catalog.format(
                        ' An earlier system had it at %s percent.', pg_catalog.trim_scale((c.state).legacy_percent)
                    )
                end
            )
            when 'group' then pg_catalog.format(
                'Complete at least %s of the courses in the group "%s": %s so far.', s.needed, s.group_name, b.met
            )
            else pg_catalog.format('Do at least %s of the following: %s so far.', s.needed, b.met)
        end
    from states as s
    cross join lateral (
        select count(*) filter (where o.met)::integer as met from states as o where o.parent = s.node and o.needed > 0
    ) as b
    -- For itself: what is met is not looked up.
    left join lateral (
        select
            o.title,
            private.course_state(enrollment.community_id, enrollment.user_id, o.id, r.course_version) as state
        from public.program_requirements as r
        join public.courses as o on o.community_id = r.community_id and o.id = r.course_id
        where r.community_id = enrollment.community_id and r.program_id = enrollment.program_id
            and r.version = enrollment.program_version and r.node = s.node and s.kind = 'course'
        offset 0
    ) as c on true
    where not s.met and s.kind <> 'all' and not exists (
        select from states as o where o.node = s.parent and o.met
    );
end
$$;

-- The state machine: pending -> active <-> paused -> completed | withdrawn | expired.
create or replace function private.hold_enrollment_states() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if (new.program_id, new.user_id, new.attempt) is distinct from (old.program_id, old.user_id, old.attempt) then
        perform private.refuse('412', 'An enrolment keeps its program, its person and its attempt.');
    end if;
    -- The one way back: what is complete by legacy progress alone goes on when the platform takes that back.
    if (old.status, new.status) = ('completed', 'active') and new.completed_at is null and auth.uid() is null
        and pg_catalog.current_setting('gym.undoing', true) = 'legacy' then
        return new;
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

-- Begins to record the changes of a table; again, after its key or its personal columns have changed. Personal is what
-- the comment on a column begins with saying so, and what has one of the usual names for it.
create or replace function private.record_changes_of(relation regclass) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    table_name text;
    key_columns text[];
    personal text[];
    event text;
begin
    select c.relname into table_name from pg_catalog.pg_class as c where c.oid = relation;
    select
        coalesce(pg_catalog.array_agg(
            a.attname order by a.attname <> 'id', a.atttypid <> 'uuid'::pg_catalog.regtype, k.place
        ), '{community_id}')
    into key_columns
    from pg_catalog.pg_index as i
    cross join lateral pg_catalog.unnest(i.indkey::smallint[]) with ordinality as k (number, place)
    join pg_catalog.pg_attribute as a on a.attrelid = relation and a.attnum = k.number
    where i.indrelid = relation and i.indisprimary and a.attname <> 'community_id';
    select coalesce(pg_catalog.array_agg(a.attname order by a.attname), '{}') into personal
    from pg_catalog.pg_attribute as a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and (
        pg_catalog.col_description(relation, a.attnum) like 'Personal data%'
        or a.attname ~ '(^|_)(e_?mail|phone|display_name|full_name|first_name|last_name)$'
    );

    if pg_catalog.cardinality(key_columns) > 4 then
        raise exception 'the key of % has more columns than the audit log tells rows apart by', relation;
    end if;

    foreach event in array '{insert,update,delete}'::text[] loop
        execute pg_catalog.format('drop trigger if exists %I on %s', table_name || '_audit_' || event, relation);
        execute pg_catalog.format(
            'create trigger %I after %s on %s referencing %s for each statement '
            'execute function private.record_changes(%L, %L, %L)',
            table_name || '_audit_' || event, event, relation,
            case event
                when 'insert' then 'new table as new_rows'
                when 'delete' then 'old table as old_rows'
                else 'old table as old_rows new table as new_rows'
            end,
            pg_catalog.regexp_replace(pg_catalog.regexp_replace(table_name, 'ies$', 'y'), '((?<=ch)e)?s$', ''),
            key_columns, personal
        );
    end loop;
    execute pg_catalog.format('drop trigger if exists %I on %s', table_name || '_audit_truncate', relation);
    execute pg_catalog.format(
        'create trigger %I before truncate on %s for each statement execute function private.refuse_truncate()',
        table_name || '_audit_truncate', relation
    );
end
$$;

select private.record_changes_of('public.legacy_batches');
