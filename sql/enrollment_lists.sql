-- Enrolling up to 1,000 people at once, with a result for each.

-- Enrols one person as above, or, asked by an admin, up to 1,000: a result for each.
create function public.enroll_people(input jsonb) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    enrollment_id uuid;
begin
    if input ->> 'user_ids' is not null then
        return pg_catalog.jsonb_build_object('results', private.enroll_listed(input));
    end if;
    enrollment_id := public.enroll(input);
    return pg_catalog.jsonb_build_object(
        'enrollment_id', enrollment_id,
        'results', pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
            'user_id', coalesce((input ->> 'user_id')::uuid, auth.uid()), 'enrollment_id', enrollment_id
        ))
    );
end
$$;

-- All who can be enrolled in one statement; the others each told why not, most of them by trying it.
create function private.enroll_listed(input jsonb) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    listed uuid[];
    program_status text;
    enrolled jsonb;
begin
    perform private.require_community_admin();
    if input ->> 'user_id' is not null then
        perform private.refuse('400', 'Give userId or userIds, not both.', 'userIds');
    end if;
    if pg_catalog.jsonb_typeof(input -> 'user_ids') <> 'array'
        or pg_catalog.jsonb_array_length(input -> 'user_ids') not between 1 and 1000 then
        perform private.refuse('400', 'userIds can name 1 to 1,000 people.', 'userIds');
    end if;
    listed := array(select pg_catalog.jsonb_array_elements_text(input -> 'user_ids')::uuid);
    select p.status into program_status from public.programs as p where p.id = (input ->> 'program_id')::uuid;
    if not found then
        perform private.refuse('404', 'There is no program with this id in your community.');
    elsif program_status <> 'published' then
        perform private.refuse_unpublished(program_status);
    end if;

    with enrollments as (
        insert into public.program_enrollments (program_id, user_id, cohort_id, starts_at, due_at, expires_at)
        select
            (input ->> 'program_id')::uuid, m.user_id, (input ->> 'cohort_id')::uuid,
            (input ->> 'starts_at')::timestamptz, (input ->> 'due_at')::timestamptz, (input ->> 'expires_at')::timestamptz
        from public.memberships as m
        where m.user_id = any (listed) and m.status = 'active'
            and not exists (
                select from public.program_enrollments as e
                where e.community_id = m.community_id and e.program_id = (input ->> 'program_id')::uuid
                    and e.user_id = m.user_id and e.status in ('pending', 'active', 'paused')
            )
        -- In one order, whoever enrols: two lists with the same people wait for each other, and not in a circle.
        order by m.user_id
        on conflict do nothing
        returning user_id, id
    )
    select coalesce(pg_catalog.jsonb_object_agg(e.user_id, e.id), '{}') into enrolled from enrollments as e;

    return (
        select pg_catalog.jsonb_agg(
            case
                when l.place > l.first_place then pg_catalog.jsonb_build_object(
                    'user_id', l.user_id, 'code', 'BAD_USER_INPUT',
                    'message', 'This person is in the list twice; the first place counts.'
                )
                when enrolled ? l.user_id::text then pg_catalog.jsonb_build_object(
                    'user_id', l.user_id, 'enrollment_id', enrolled -> l.user_id::text
                )
                when exists (
                    select from public.program_enrollments as e
                    where e.program_id = (input ->> 'program_id')::uuid and e.user_id = l.user_id
                        and e.status in ('pending', 'active', 'paused') and (e.expires_at > pg_catalog.now()) is not false
                ) then private.already_enrolled(l.user_id)
                else private.try_to_enroll(l.user_id, input)
            end
            order by l.place
        )
        from (
            select u.user_id, u.place, min(u.place) over (partition by u.user_id) as first_place
            from pg_catalog.unnest(listed) with ordinality as u (user_id, place)
        ) as l
    );
end
$$;

-- One of a list, in a savepoint: what is refused for a reason of this person's is told, and hinders nobody else.
create function private.try_to_enroll(person uuid, input jsonb) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    one jsonb := pg_catalog.jsonb_set(input - 'user_ids', '{user_id}', pg_catalog.to_jsonb(person));
    why text;
begin
    return pg_catalog.jsonb_build_object('user_id', person, 'enrollment_id', public.enroll(one));
exception
    when sqlstate 'PT404' or sqlstate 'PT412' then
        get stacked diagnostics why = message_text;
        return pg_catalog.jsonb_build_object(
            'user_id', person, 'message', why,
            'code', case sqlstate when 'PT404' then 'NOT_FOUND' else 'FAILED_PRECONDITION' end
        );
    when unique_violation then
        return private.already_enrolled(person);
end
$$;

-- In the words of the constraint program_enrollments_one_open.
create function private.already_enrolled(person uuid) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return pg_catalog.jsonb_build_object(
        'user_id', person, 'code', 'CONFLICT', 'message',
        'This person already has an open enrolment in the program. Withdraw it first, or go on with it.'
    );
end
$$;

-- The results of enroll_people as rows.
create function private.enroll_results(told jsonb) returns table (
    place bigint, user_id uuid, enrollment_id uuid, code text, message text
)
stable
rows 100
set search_path = ''
language plpgsql
as $$
begin
    return query
    select
        r.place, (r.result ->> 'user_id')::uuid, (r.result ->> 'enrollment_id')::uuid,
        r.result ->> 'code', r.result ->> 'message'
    from pg_catalog.jsonb_array_elements(told -> 'results') with ordinality as r (result, place);
end
$$;
