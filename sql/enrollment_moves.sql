-- Decisions about enrolments when their program has a newer version: keep the version, or move to the newer one.
-- A row is the decision and does what it says; none ever changes.

create table public.enrollment_moves (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    enrollment_id uuid not null,
    from_version integer not null,
    to_version integer not null,
    mode text not null,
    reason text not null,
    moved_at timestamptz not null default now(),
    -- No reference: who decided stays written when they have gone.
    moved_by uuid default auth.uid(),
    constraint enrollment_moves_pkey primary key (community_id, id),
    constraint enrollment_moves_enrollment_exists foreign key (community_id, enrollment_id)
    references public.program_enrollments (community_id, id) on delete cascade,
    constraint enrollment_moves_forward check (to_version > from_version),
    constraint enrollment_moves_mode_known check (mode in ('keep', 'carry_over', 'require_new')),
    constraint enrollment_moves_reason_not_blank check (reason ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint enrollment_moves_reason_length check (char_length(reason) <= 1000)
);
alter table public.enrollment_moves enable row level security;
alter table public.enrollment_moves alter column community_id set (n_distinct = 20);
comment on table public.enrollment_moves is 'Which enrolments were moved to a newer version of their program, or kept, and why.';
comment on column public.enrollment_moves.mode is
'keep: stays in its version; carry_over: what was completed stays complete; require_new: new parts must be done.';

create index enrollment_moves_enrollment_idx on public.enrollment_moves (community_id, enrollment_id, moved_at);

create function private.keep_enrollment_moves() returns trigger
volatile
security definer -- asks whether the enrolment is there, whoever asks
set search_path = ''
language plpgsql
as $$
begin
    if tg_op = 'UPDATE' or exists (
        select from public.program_enrollments as e where e.community_id = old.community_id and e.id = old.enrollment_id
    ) then
        perform private.refuse('412', 'A decision about an enrolment stays as it is. Decide anew.');
    end if;
    return old;
end
$$;

create trigger enrollment_moves_keep before update or delete on public.enrollment_moves
for each row execute function private.keep_enrollment_moves();

create function private.carry_out_enrollment_moves() returns trigger
volatile
security definer -- writes the version of enrolments, which no client may; only of those that the caller could decide on
set search_path = ''
language plpgsql
as $$
declare
    decided bigint := (select count(*) from new_moves);
    done bigint;
    kept bigint;
begin
    update public.program_enrollments as e
    set program_version = m.to_version
    from new_moves as m
    where m.mode <> 'keep' and e.community_id = m.community_id and e.id = m.enrollment_id
        and e.program_version = m.from_version and e.status in ('pending', 'active', 'paused')
        and exists (
            select from public.programs as p
            where p.community_id = e.community_id and p.id = e.program_id and p.version >= m.to_version
        );
    get diagnostics done = row_count;
    select count(distinct e.id) into kept
    from new_moves as m
    join public.program_enrollments as e on e.community_id = m.community_id and e.id = m.enrollment_id
    join public.programs as p on p.community_id = e.community_id and p.id = e.program_id
    where m.mode = 'keep' and e.program_version = m.from_version and p.version >= m.to_version
        and e.status in ('pending', 'active', 'paused');
    if done + kept <> decided then
        perform private.refuse(
            '412', 'Only open enrolments that are in this version can be moved, to a version that is there. Look again.'
        );
    end if;
    return null;
end
$$;

create trigger enrollment_moves_carry_out after insert on public.enrollment_moves
referencing new table as new_moves
for each statement execute function private.carry_out_enrollment_moves();

-- Between which versions the input asks to move; refuses what cannot be.
create function private.versions_of_move(input jsonb) returns table (
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

-- The enrolments that the input names; null when it names none, which means all. Refuses those that are none of them.
create function private.enrollments_of_move(input jsonb) returns uuid[]
stable
set search_path = ''
language plpgsql
as $$
declare
    wanted jsonb := nullif(input -> 'enrollment_ids', 'null');
    wrong record;
begin
    if wanted is null then
        return null;
    end if;
    if pg_catalog.jsonb_array_length(private.list_in(wanted, 'enrollmentIds')) not between 1 and 1000 then
        perform private.refuse('400', 'Name 1 to 1,000 enrolments, or leave the list out to mean all.', 'enrollmentIds');
    end if;
    select w.place - 1 as place, e.status, e.program_version into wrong
    from pg_catalog.jsonb_array_elements_text(wanted) with ordinality as w (id, place)
    left join public.program_enrollments as e
        on e.id = w.id::uuid and e.program_id = (input ->> 'program_id')::uuid
    where e.id is null or e.status not in ('pending', 'active', 'paused')
        or e.program_version <> (input ->> 'from_version')::integer
    order by w.place
    limit 1;
    if found then
        if wrong.status is null then
            perform private.refuse(
                '404', 'There is no enrolment with this id in the program.',
                pg_catalog.format('enrollmentIds.%s', wrong.place)
            );
        end if;
        perform private.refuse('412', pg_catalog.format(
            'This enrolment is %s and in version %s. Only open ones in version %s can be moved from there.',
            wrong.status, wrong.program_version, input ->> 'from_version'
        ), pg_catalog.format('enrollmentIds.%s', wrong.place));
    end if;
    return array(select distinct w::uuid from pg_catalog.jsonb_array_elements_text(wanted) as w);
end
$$;

create type private.move_preview as (
    program_id uuid,
    from_version integer,
    to_version integer,
    pending bigint,
    active bigint,
    paused bigint,
    completed bigint,
    withdrawn bigint,
    expired bigint
);

-- Whom a move would touch, and, counted beside them, whom it would not. For admins; no row for others.
create function private.preview_move(input jsonb) returns setof private.move_preview
stable
rows 1
set search_path = ''
language plpgsql
as $$
declare
    move record;
    wanted uuid[];
begin
    if not private.is_community_admin() then
        return;
    end if;
    select v.* into move from private.versions_of_move(input) as v;
    wanted := private.enrollments_of_move(input);
    return query
    select move.program_id, move.from_version, move.to_version,
        count(*) filter (where e.status = 'pending'),
        count(*) filter (where e.status = 'active'),
        count(*) filter (where e.status = 'paused'),
        count(*) filter (where e.status = 'completed'),
        count(*) filter (where e.status = 'withdrawn'),
        count(*) filter (where e.status = 'expired')
    from public.program_enrollments as e
    where e.program_id = move.program_id and e.program_version = move.from_version
        and (wanted is null or e.id = any (wanted));
end
$$;

-- What is different in one version of a program from another: courses, groups, then the criteria.
create function private.version_differences(program uuid, from_version integer, to_version integer)
returns table (place integer, kind text, course_id uuid, group_name text, before jsonb, after jsonb)
stable
rows 20
set search_path = ''
language plpgsql
as $$
declare
    old jsonb := private.program_structure(program, from_version);
    new jsonb := private.program_structure(program, to_version);
begin
    return query
    with courses as (
        select a.version, a.course_id, a.sequence_order,
            pg_catalog.jsonb_build_object('version', a.course_version) || (s.course - 'course_id') as content
        from public.program_course_assignments as a
        join lateral (
            select c as course
            from pg_catalog.jsonb_array_elements(case a.version when from_version then old else new end -> 'courses') as c
            where (c ->> 'course_id')::uuid = a.course_id
        ) as s on true
        where a.program_id = program and a.version in (from_version, to_version)
    ),
    differences as (
        select 1 as part, 'course' as what, coalesce(n.sequence_order, o.sequence_order) as nth,
            coalesce(n.course_id, o.course_id) as course_id, null as group_name,
            o.content as before, n.content as after
        from (select * from courses where version = from_version) as o
        full join (select * from courses where version = to_version) as n on n.course_id = o.course_id
        union all
        select 2, 'group', 0, null, coalesce(n.key, o.key), o.value, n.value
        from pg_catalog.jsonb_each(old -> 'groups') as o
        full join pg_catalog.jsonb_each(new -> 'groups') as n on n.key = o.key
        union all
        select 3, 'criteria', 0, null, null,
            nullif(old -> 'completion_criteria', 'null'), nullif(new -> 'completion_criteria', 'null')
    )
    select pg_catalog.row_number() over (order by d.part, d.nth, d.course_id, d.group_name)::integer,
        d.what || case
            when d.before is null then '_added'
            when d.after is null then '_removed'
            else '_changed'
        end,
        d.course_id, d.group_name, d.before, d.after
    from differences as d
    where d.before is distinct from d.after;
end
$$;

create function private.preview_differences(preview private.move_preview)
returns table (place integer, kind text, course_id uuid, group_name text, before jsonb, after jsonb)
stable
rows 20
set search_path = ''
language plpgsql
as $$
begin
    return query
    select d.* from private.version_differences(preview.program_id, preview.from_version, preview.to_version) as d;
end
$$;

create function private.move_differences(told jsonb)
returns table (place integer, kind text, course_id uuid, group_name text, before jsonb, after jsonb)
stable
rows 20
set search_path = ''
language plpgsql
as $$
begin
    return query
    select d.*
    from private.version_differences(
        (told ->> 'program_id')::uuid, (told ->> 'from_version')::integer, (told ->> 'to_version')::integer
    ) as d;
end
$$;

-- The enrolments that a move is still to decide about: the open ones that are in the version and not kept there yet.
create function private.undecided_enrollments(
    program uuid, from_version integer, to_version integer, mode text, wanted uuid[]
) returns setof public.program_enrollments
volatile -- else it would not see what the statement before it in the same function has moved
set search_path = ''
language plpgsql
as $$
begin
    return query
    select e.*
    from public.program_enrollments as e
    where e.program_id = program and e.program_version = from_version
        and e.status in ('pending', 'active', 'paused') and (wanted is null or e.id = any (wanted))
        and (mode <> 'keep' or not exists (
            select from public.enrollment_moves as m
            where m.community_id = e.community_id and m.enrollment_id = e.id and m.mode = 'keep'
                and m.from_version = e.program_version and m.to_version = undecided_enrollments.to_version
        ));
end
$$;

-- Decides about the open enrolments in a version, or about some of them; 5,000 at the most, so that it ends in time.
create function public.move_enrollments(input jsonb) returns jsonb
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
