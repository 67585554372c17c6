-- Courses are written by their admins: versions that do not change once published, blocks in a tree that is checked,
-- import and export as course/1.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- squawk is told to ignore what would have been done in several transactions if these tables were large. Only imports
-- have filled them so far, and whoever reads a course waits for moments.

-- The format course/1, in which courses come in and go out: docs/course-format.md says it for people.
-- Every mistake has its message, which names the block; the first one in the document is told. Reads no table.

create function private.refuse_block(block jsonb, place integer, key text, what text, code text default '400')
returns void
stable
set search_path = ''
language plpgsql
as $$
begin
    perform private.refuse(
        code,
        pg_catalog.concat(
            'blocks.', place, ' "' || pg_catalog.left(block ->> 'title', 60) || '"',
            ' (' || pg_catalog.left(block ->> 'id', 40) || ')', ': ', what
        ),
        pg_catalog.concat_ws('.', 'course.blocks', place, key)
    );
end
$$;

-- What is wrong with something that should be text; null when nothing is.
create function private.text_problem(value jsonb, longest integer) returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    return case
        when value is null then 'is missing'
        when pg_catalog.jsonb_typeof(value) <> 'string' then
            pg_catalog.format('has to be a text, not %s', pg_catalog.jsonb_typeof(value))
        when (value #>> '{}') !~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'
            then 'is blank'
        when pg_catalog.char_length(value #>> '{}') > longest then
            pg_catalog.format('is longer than %s characters', longest)
    end;
end
$$;

-- The first key that the format does not have.
create function private.unknown_key(given jsonb, known text[]) returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    if given - known = '{}' then
        return null;
    end if;
    return (select pg_catalog.left(min(k), 60) from pg_catalog.jsonb_object_keys(given - known) as k);
end
$$;

-- What can be seen wrong in a block by itself.
create function private.check_course_block(block jsonb, place integer) returns void
stable
set search_path = ''
language plpgsql
as $$
declare
    known text[] := '{id,parentId,kind,title,weight,required,completionMode}';
    uuid_form text := '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$';
    weight jsonb := block -> 'weight';
    problem text;
begin
    if pg_catalog.jsonb_typeof(block) <> 'object' then
        perform private.refuse_block(
            null, place, null, pg_catalog.format('it has to be an object, not %s.', pg_catalog.jsonb_typeof(block))
        );
    end if;
    problem := private.unknown_key(block, known);
    if problem is not null then
        perform private.refuse_block(block, place, null, pg_catalog.format(
            'a block has no key "%s". Its keys are %s.', problem, pg_catalog.array_to_string(known, ', ')
        ));
    end if;

    problem := private.text_problem(block -> 'id', 36);
    if problem is not null then
        perform private.refuse_block(block, place, 'id', pg_catalog.format(
            'id %s. Give the block a UUID, which it keeps in later versions.', problem
        ));
    elsif (block ->> 'id') !~ uuid_form then
        perform private.refuse_block(block, place, 'id', 'id is not a UUID of 36 characters.');
    end if;

    if (block ->> 'parentId') is not null then
        problem := private.text_problem(block -> 'parentId', 36);
        if problem is not null then
            perform private.refuse_block(block, place, 'parentId', pg_catalog.format(
                'parentId %s. Write the id of the block that this one is in, or leave it out.', problem
            ));
        elsif (block ->> 'parentId') !~ uuid_form then
            perform private.refuse_block(block, place, 'parentId', 'parentId is not a UUID of 36 characters.');
        end if;
    end if;

    problem := private.text_problem(block -> 'kind', 50);
    if problem is not null then
        perform private.refuse_block(block, place, 'kind', pg_catalog.format(
            'kind %s. Write what the block is, as "chapter" or "quiz".', problem
        ));
    elsif (block ->> 'kind') !~ '^[a-z][a-z0-9_]*$' then
        perform private.refuse_block(
            block, place, 'kind', 'kind has to be of a-z, 0-9 and _, beginning with a letter.'
        );
    end if;

    problem := private.text_problem(block -> 'title', 200);
    if problem is not null then
        perform private.refuse_block(block, place, 'title', pg_catalog.format(
            'title %s. Give the block a title of up to 200 characters.', problem
        ));
    end if;

    if pg_catalog.jsonb_typeof(weight) <> 'number' then
        perform private.refuse_block(block, place, 'weight', pg_catalog.format(
            'weight has to be a number, not %s.', pg_catalog.jsonb_typeof(weight)
        ));
    elsif weight::numeric <= 0 or weight::numeric > 100000 then
        perform private.refuse_block(
            block, place, 'weight',
            'weight has to be over 0 and at most 100000. What does not count is "required": false or "excluded".'
        );
    elsif pg_catalog.scale(pg_catalog.trim_scale(weight::numeric)) > 3 then
        perform private.refuse_block(block, place, 'weight', 'weight can have three decimals, and has more.');
    end if;

    if pg_catalog.jsonb_typeof(block -> 'required') <> 'boolean' then
        perform private.refuse_block(block, place, 'required', pg_catalog.format(
            'required has to be true or false, not %s.', pg_catalog.jsonb_typeof(block -> 'required')
        ));
    end if;

    if block ? 'completionMode'
        and block -> 'completionMode' not in ('"completable"', '"aggregator"', '"excluded"') then
        perform private.refuse_block(
            block, place, 'completionMode', 'completionMode has to be "completable", "aggregator" or "excluded".'
        );
    end if;
end
$$;

-- Says why a block cannot be where its parentId puts it: the parent is none of those that the reader is in by then.
create function private.refuse_parent(blocks jsonb, place integer, places jsonb) returns void
stable
set search_path = ''
language plpgsql
as $$
declare
    block jsonb := blocks -> place;
    block_id text := pg_catalog.lower(block ->> 'id');
    parent_place integer := places ->> pg_catalog.lower(block ->> 'parentId');
    ancestor jsonb := block;
    what text;
begin
    if pg_catalog.lower(block ->> 'parentId') = block_id then
        what := 'parentId is its own id. Nothing is inside itself.';
    elsif parent_place is null then
        what := pg_catalog.format(
            'parentId %s is the id of no block here. Add that block, or correct the parentId.', block ->> 'parentId'
        );
    elsif parent_place > place then
        what := pg_catalog.format(
            'it stands before the block that it is in, blocks.%s. Blocks are listed in reading order.', parent_place
        );
        -- A circle is why nobody could put them in order. It is closed within as many steps as there are blocks.
        for step in 1 .. pg_catalog.jsonb_array_length(blocks) loop
            ancestor := blocks -> (places ->> pg_catalog.lower(ancestor ->> 'parentId'))::integer;
            exit when ancestor is null;
            if pg_catalog.lower(ancestor ->> 'id') = block_id then
                what := pg_catalog.format(
                    'it is in a circle: from parent to parent, through blocks.%s, the way leads back to it.', parent_place
                );
                exit;
            end if;
        end loop;
    else
        what := pg_catalog.format(
            'it stands apart from the block that it is in, blocks.%s. Move it behind the others in there.', parent_place
        );
    end if;
    perform private.refuse_block(block, place, 'parentId', what);
end
$$;

-- Reads the blocks as a learner would, and knows at each which ones it is in: that is the whole check of the tree.
create function private.check_course_blocks(blocks jsonb) returns void
stable
set search_path = ''
language plpgsql
as $$
declare
    deepest integer := 8;
    places jsonb;
    parents jsonb;
    way text[] := '{}'; -- the blocks that the current one is in, from the top
    modes text[] := '{}';
    block jsonb;
    place integer;
    block_id text;
    mode text;
    depth integer;
begin
    if pg_catalog.jsonb_typeof(blocks) is distinct from 'array' then
        perform private.refuse('400', 'blocks has to be the list of the course''s blocks.', 'course.blocks');
    elsif pg_catalog.jsonb_array_length(blocks) > 5000 then
        perform private.refuse('400', pg_catalog.format(
            'A course has at most 5000 blocks; these are %s.', pg_catalog.jsonb_array_length(blocks)
        ), 'course.blocks');
    end if;
    -- Of several values for a key the last one stays: the first place of an id.
    select
        coalesce(pg_catalog.jsonb_object_agg(pg_catalog.lower(b.block ->> 'id'), b.place - 1 order by b.place desc)
            filter (where (b.block ->> 'id') is not null), '{}'),
        coalesce(pg_catalog.jsonb_object_agg(pg_catalog.lower(b.block ->> 'parentId'), true)
            filter (where (b.block ->> 'parentId') is not null), '{}')
    into places, parents
    from pg_catalog.jsonb_array_elements(blocks) with ordinality as b (block, place);

    for block, place in
        select b.block, b.place - 1
        from pg_catalog.jsonb_array_elements(blocks) with ordinality as b (block, place)
        order by b.place
    loop
        perform private.check_course_block(block, place);
        block_id := pg_catalog.lower(block ->> 'id');
        mode := coalesce(block ->> 'completionMode', 'completable');
        if (places ->> block_id)::integer < place then
            perform private.refuse_block(block, place, 'id', pg_catalog.format(
                'blocks.%s has the same id. Each block has one of its own.', places ->> block_id
            ));
        end if;
        depth := 0;
        if (block ->> 'parentId') is not null then
            depth := pg_catalog.array_position(way, pg_catalog.lower(block ->> 'parentId'));
            if depth is null then
                perform private.refuse_parent(blocks, place, places);
            elsif modes[depth] <> 'aggregator' then
                perform private.refuse_block(block, place, 'parentId', pg_catalog.format(
                    'it is in blocks.%s, which is %s. Only an aggregator has blocks in it.',
                    places ->> way[depth], modes[depth]
                ));
            elsif depth = deepest then
                perform private.refuse_block(block, place, 'parentId', pg_catalog.format(
                    'it is on level %s. Blocks are at most %s levels deep.', depth + 1, deepest
                ));
            end if;
        end if;
        if mode = 'aggregator' and not parents ? block_id then
            perform private.refuse_block(
                block, place, 'completionMode',
                'it is an aggregator with nothing in it, which could never be complete. Put blocks in it.'
            );
        end if;
        way := way[1:depth] || block_id;
        modes := modes[1:depth] || mode;
    end loop;
end
$$;

create function private.check_course(course jsonb) returns void
stable
set search_path = ''
language plpgsql
as $$
declare
    known text[] := '{format,title,description,blocks}';
    problem text;
begin
    if pg_catalog.jsonb_typeof(course) is distinct from 'object' then
        perform private.refuse(
            '400', 'A course is an object: {"format": "course/1", "title": "…", "blocks": […]}.', 'course'
        );
    elsif not course ? 'format' then
        perform private.refuse('400', 'format is missing. Write "format": "course/1".', 'course.format');
    elsif course -> 'format' <> '"course/1"' then
        perform private.refuse('400', pg_catalog.format(
            'The format %s is not known here. Write the course as "course/1".', pg_catalog.left((course -> 'format')::text, 60)
        ), 'course.format');
    end if;
    problem := private.unknown_key(course, known);
    if problem is not null then
        perform private.refuse('400', pg_catalog.format(
            'A course has no key "%s". Its keys are %s.', problem, pg_catalog.array_to_string(known, ', ')
        ), 'course');
    end if;
    problem := private.text_problem(course -> 'title', 200);
    if problem is not null then
        perform private.refuse('400', pg_catalog.format(
            'The title %s. Give the course a title of up to 200 characters.', problem
        ), 'course.title');
    end if;
    problem := private.text_problem(course -> 'description', 10000);
    if problem not in ('is missing', 'is blank') and (course ->> 'description') is not null then
        perform private.refuse('400', pg_catalog.format('The description %s.', problem), 'course.description');
    end if;
    perform private.check_course_blocks(course -> 'blocks');
end
$$;

-- squawk-ignore adding-field-with-default
alter table public.course_versions add column id uuid not null default gen_random_uuid();
alter table public.course_versions add column tree_hash text;
comment on column public.course_versions.tree_hash is
'SHA-256 of the blocks of a published version, in hexadecimal: the same for the same content.';

-- The blocks of a version as course/1 has them; what is as by default is left out. Written by hand, for the format's
-- order of keys and with jsonb's blanks.
create function private.blocks_of(version public.course_versions) returns json
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
        from public.blocks as b
        where b.community_id = version.community_id
            and b.course_id = version.course_id
            and b.version = version.version
    )::json;
end
$$;

create function private.tree_hash(version public.course_versions) returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    return pg_catalog.encode(
        pg_catalog.sha256(pg_catalog.convert_to(private.blocks_of(version)::text, 'UTF8')), 'hex'
    );
end
$$;

update public.course_versions as v set tree_hash = private.tree_hash(v) where v.published;
alter table public.course_versions add constraint course_versions_tree_hash_known
check (published = (tree_hash is not null)) not valid;
-- squawk-ignore constraint-missing-not-valid
alter table public.course_versions validate constraint course_versions_tree_hash_known;
-- squawk-ignore constraint-missing-not-valid, disallowed-unique-constraint
alter table public.course_versions add constraint course_versions_id_unique unique (community_id, id);
-- squawk-ignore require-concurrent-index-creation
create unique index course_versions_one_unpublished on public.course_versions (community_id, course_id)
where not published;

-- squawk-ignore adding-field-with-default
alter table public.courses add column published boolean not null generated always as (status <> 'draft') stored;
comment on column public.courses.published is 'Whether its version is published: all but drafts.';
comment on column public.courses.version is 'The version that new learners get; of a draft, the one being written.';

-- Deferred: a course and its first version come into being together, and are published together.
-- squawk-ignore ban-drop-constraint
alter table public.courses drop constraint courses_version_exists;
alter table public.courses add constraint courses_version_exists
foreign key (community_id, id, version, published)
references public.course_versions (community_id, course_id, version, published)
deferrable initially deferred not valid;
-- squawk-ignore constraint-missing-not-valid
alter table public.courses validate constraint courses_version_exists;

-- What learners do names a block by its id alone: it has to lead to one course, whichever versions the block is in.
create table public.block_identities (
    community_id uuid not null default private.get_community_id(),
    course_id uuid not null,
    id uuid not null,
    constraint block_identities_pkey primary key (community_id, id),
    constraint block_identities_course_unique unique (community_id, course_id, id),
    constraint block_identities_course_exists foreign key (community_id, course_id)
    references public.courses (community_id, id) on delete cascade
);
alter table public.block_identities enable row level security;
alter table public.block_identities alter column community_id set (n_distinct = 20);
comment on table public.block_identities is 'The ids of blocks, each of one course for ever.';

-- One id in two courses stops here: only SQL could have written that, and only people know which of them it is.
insert into public.block_identities (community_id, course_id, id)
select distinct b.community_id, b.course_id, b.id from public.blocks as b;
alter table public.blocks add constraint blocks_identity_exists foreign key (community_id, course_id, id)
references public.block_identities (community_id, course_id, id) on delete cascade not valid;
-- squawk-ignore constraint-missing-not-valid
alter table public.blocks validate constraint blocks_identity_exists;

-- Only the primary key begins with community, course and version and has all blocks. Where another index does too, the
-- planner may look up a block among all of its version, as long as it has no statistics.
-- squawk-ignore ban-drop-constraint
alter table public.blocks drop constraint blocks_position_unique;
-- squawk-ignore constraint-missing-not-valid, disallowed-unique-constraint
alter table public.blocks add constraint blocks_position_unique
unique (community_id, position, course_id, version) deferrable;
-- squawk-ignore require-concurrent-index-deletion
drop index public.blocks_parent_idx;
-- squawk-ignore require-concurrent-index-creation
create index blocks_parent_idx on public.blocks (community_id, course_id, version, parent_id)
where parent_id is not null;


-- The state machine. Whoever writes, and by which way, these are the only moves.
create function private.hold_course_states() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if new.status = old.status then
        if old.status = 'archived' and (new.title, new.description, new.version)
            is distinct from (old.title, old.description, old.version) then
            perform private.refuse('412', 'The course is archived. Restore it before you change it.');
        end if;
    elsif (old.status, new.status) not in (
        ('draft', 'published'), ('published', 'archived'), ('archived', 'published')
    ) then
        perform private.refuse('412', pg_catalog.format('A course cannot go from %s to %s.', old.status, new.status));
    end if;
    return new;
end
$$;

create trigger courses_hold_states before update on public.courses
for each row execute function private.hold_course_states();

create function private.keep_courses_with_history() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    -- A community that is deleted takes everything with it, whatever its state.
    if old.status <> 'draft' and exists (select from public.communities as c where c.id = old.community_id) then
        perform private.refuse('412', pg_catalog.format(
            'Only drafts can be deleted; this course is %s. Archive it instead.', old.status
        ));
    end if;
    return old;
end
$$;

create trigger courses_keep_history before delete on public.courses
for each row execute function private.keep_courses_with_history();

drop trigger course_versions_keep_published on public.course_versions;
-- squawk-ignore ban-drop-function
drop function private.keep_published_versions();

create function private.block_count(version public.course_versions) returns integer
stable
set search_path = ''
language plpgsql
as $$
begin
    return (
        select count(*)
        from public.blocks as b
        where b.community_id = version.community_id
            and b.course_id = version.course_id
            and b.version = version.version
    );
end
$$;

-- Whoever publishes, and by which way: the tree is in order, and what was published stays as it is.
create function private.hold_course_versions() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
declare
    course_status text;
begin
    if tg_op <> 'INSERT' and old.published then
        if tg_op = 'DELETE' and not exists (select from public.communities as c where c.id = old.community_id) then
            return old;
        end if;
        if tg_op = 'DELETE' or new is distinct from old then
            perform private.refuse('412', 'A published version does not change. Make a new version instead.');
        end if;
    elsif tg_op <> 'DELETE' and new.published then
        -- The lock makes an archiving at the same moment wait, or this one see it.
        select c.status into course_status
        from public.courses as c
        where c.community_id = new.community_id and c.id = new.course_id
        for share;
        if course_status = 'archived' then
            perform private.refuse('412', 'The course is archived. Restore it before you publish a version.');
        end if;
        perform private.check_course_blocks(private.blocks_of(new)::jsonb);
        new.published_at := coalesce(new.published_at, pg_catalog.now());
        new.tree_hash := private.tree_hash(new);
    end if;
    return coalesce(new, old);
end
$$;

create trigger course_versions_hold before insert or update or delete on public.course_versions
for each row execute function private.hold_course_versions();

create function private.keep_published_blocks() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if tg_op = 'DELETE' and not exists (select from public.communities as c where c.id = old.community_id) then
        return old;
    elsif tg_op = 'UPDATE' and not old.published then
        -- Publishing the version does this to its blocks, and no more than this.
        old.published := true;
        if new is not distinct from old then
            return new;
        end if;
    end if;
    perform private.refuse(
        '412', 'The blocks of a published version do not change. Make a new version instead.'
    );
    return null;
end
$$;

create trigger blocks_keep_published_insert before insert on public.blocks
for each row when (new.published) execute function private.keep_published_blocks();
create trigger blocks_keep_published_update before update on public.blocks
for each row when (old.published or new.published) execute function private.keep_published_blocks();
create trigger blocks_keep_published_delete before delete on public.blocks
for each row when (old.published) execute function private.keep_published_blocks();

-- What mutations do. Clients may write none of these tables, so these run as their owner: each begins with the right
-- to do so, and stays inside the caller's community. Each takes the GraphQL input with its names in snake case.

create function private.course_for_change(course_id uuid, even_archived boolean default false) returns public.courses
volatile
set search_path = ''
language plpgsql
as $$
declare
    course public.courses;
begin
    perform private.require_community_admin();
    select c.* into course
    from public.courses as c
    where c.community_id = private.get_community_id() and c.id = course_id
    for update;
    if not found then
        perform private.refuse('404', 'There is no course with this id in your community.');
    elsif course.status = 'archived' and not even_archived then
        perform private.refuse('412', 'The course is archived. Restore it before you change it.');
    end if;
    return course;
end
$$;

-- Publishes what is not published yet, and gives the id of the version that is the current one then. One that has the
-- same blocks as the current one brings nothing new: it goes, and whoever imports a file again changes nothing.
create function private.publish_next_version(course public.courses) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    next public.course_versions;
    current public.course_versions;
begin
    select v.* into next
    from public.course_versions as v
    where v.community_id = course.community_id and v.course_id = course.id and not v.published;
    if not found then
        perform private.refuse('412', 'The course has no unpublished version. Import its next one first.');
    end if;
    select v.* into current
    from public.course_versions as v
    where v.community_id = course.community_id and v.course_id = course.id and v.version = course.version;
    if current.tree_hash = private.tree_hash(next) then
        delete from public.course_versions as v where v.community_id = next.community_id and v.id = next.id;
        return current.id;
    end if;
    update public.course_versions as v set published = true where v.community_id = next.community_id and v.id = next.id;
    update public.courses as c
    set version = next.version, status = 'published'
    where c.community_id = course.community_id and c.id = course.id;
    return next.id;
end
$$;

-- The version that is not published, with these blocks and no others; gives its id.
create function private.write_next_version(course public.courses, blocks jsonb) returns uuid
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

    insert into public.blocks
        (community_id, course_id, version, id, parent_id, position, kind, title, weight, required, completion_mode)
    select
        next.community_id, next.course_id, next.version, (b.block ->> 'id')::uuid, (b.block ->> 'parentId')::uuid,
        b.place, b.block ->> 'kind', b.block ->> 'title', coalesce((b.block -> 'weight')::numeric, 1),
        coalesce((b.block -> 'required')::boolean, true), coalesce(b.block ->> 'completionMode', 'completable')
    from pg_catalog.jsonb_array_elements(blocks) with ordinality as b (block, place);
    return next.id;
end
$$;

create function public.import_course(input jsonb) returns jsonb
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    content jsonb := input -> 'course';
    course public.courses;
    version_id uuid;
begin
    perform private.require_community_admin();
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
        where c.community_id = course.community_id and c.id = course.id;
    end if;
    version_id := private.write_next_version(course, content -> 'blocks');
    if (input ->> 'publish')::boolean then
        version_id := private.publish_next_version(course);
    end if;
    return pg_catalog.jsonb_build_object('course_id', course.id, 'version_id', version_id);
end
$$;

create function public.update_course(input jsonb) returns uuid
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_change((input ->> 'id')::uuid);
begin
    -- What the input does not name keeps its value; what it names as null is cleared.
    update public.courses as c
    set
        title = case when input ? 'title' then input ->> 'title' else c.title end,
        description = case when input ? 'description' then input ->> 'description' else c.description end
    where c.community_id = course.community_id and c.id = course.id;
    return course.id;
end
$$;

create function public.publish_course(input jsonb) returns jsonb
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_change((input ->> 'id')::uuid);
begin
    return pg_catalog.jsonb_build_object('course_id', course.id, 'version_id', private.publish_next_version(course));
end
$$;

create function private.set_course_status(course_id uuid, from_status text, to_status text) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_change(course_id, even_archived => true);
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

create function public.archive_course(input jsonb) returns uuid
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language sql
as $$ select private.set_course_status((input ->> 'id')::uuid, 'published', 'archived') $$;

create function public.restore_course(input jsonb) returns uuid
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language sql
as $$ select private.set_course_status((input ->> 'id')::uuid, 'archived', 'published') $$;

create function public.delete_course(input jsonb) returns uuid
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_change((input ->> 'id')::uuid, even_archived => true);
    program_title text;
begin
    select p.title into program_title
    from public.program_course_assignments as a
    join public.programs as p on p.community_id = a.community_id and p.id = a.program_id
    where a.community_id = course.community_id and a.course_id = course.id and course.status = 'draft'
    order by p.title
    limit 1;
    if found then
        perform private.refuse('412', pg_catalog.format(
            'The course is in the program "%s". Take it out of its programs before you delete it.', program_title
        ));
    end if;
    delete from public.courses as c where c.community_id = course.community_id and c.id = course.id;
    return course.id;
end
$$;

create function public.discard_course_version(input jsonb) returns uuid
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_change((input ->> 'id')::uuid);
begin
    if course.status = 'draft' then
        perform private.refuse('412', 'A draft has this version only. Import another content, or delete the course.');
    end if;
    delete from public.course_versions as v
    where v.community_id = course.community_id and v.course_id = course.id and not v.published;
    if not found then
        perform private.refuse('412', 'The course has no unpublished version.');
    end if;
    return course.id;
end
$$;

-- A course as course/1, in its current version or another one; null when there is none that the caller may see.
create function private.export_course(arguments jsonb) returns json
stable
set search_path = ''
language plpgsql
as $$
begin
    return (
        select pg_catalog.concat(
            '{"format": "course/1", "title": ', pg_catalog.to_json(c.title),
            ', "description": ' || pg_catalog.to_json(c.description)::text,
            ', "blocks": ', private.blocks_of(v), '}'
        )
        from public.courses as c
        join public.course_versions as v
            on v.community_id = c.community_id
            and v.course_id = c.id
            and v.version = coalesce((arguments ->> 'version')::integer, c.version)
        where c.id = (arguments ->> 'id')::uuid
    )::json;
end
$$;

-- Members see published and archived courses with their published versions; admins see drafts too.

alter table public.courses enable row level security;
alter table public.courses force row level security;
revoke all on public.courses from public, anon, authenticated, service_role;
grant select on public.courses to authenticated;
grant select, insert, update, delete on public.courses to service_role;

drop policy if exists members_see_courses_admins_drafts_too on public.courses;
create policy members_see_courses_admins_drafts_too on public.courses
for select to authenticated
using (status <> 'draft' or (select private.is_community_admin()));

alter table public.course_versions enable row level security;
alter table public.course_versions force row level security;
revoke all on public.course_versions from public, anon, authenticated, service_role;
grant select on public.course_versions to authenticated;
grant select, insert, update, delete on public.course_versions to service_role;

drop policy if exists members_see_published_versions_admins_all on public.course_versions;
create policy members_see_published_versions_admins_all on public.course_versions
for select to authenticated
using (published or (select private.is_community_admin()));

alter table public.blocks enable row level security;
alter table public.blocks force row level security;
revoke all on public.blocks from public, anon, authenticated, service_role;
grant select on public.blocks to authenticated;
grant select, insert, update, delete on public.blocks to service_role;

drop policy if exists members_see_published_blocks_admins_all on public.blocks;
create policy members_see_published_blocks_admins_all on public.blocks
for select to authenticated
using (published or (select private.is_community_admin()));

-- The ids of all blocks tell about drafts too.

alter table public.block_identities enable row level security;
alter table public.block_identities force row level security;
revoke all on public.block_identities from public, anon, authenticated, service_role;
grant select on public.block_identities to authenticated;
-- No more than that: an id keeps its course.
grant select, insert on public.block_identities to service_role;

drop policy if exists admins_see_the_ids_of_blocks on public.block_identities;
create policy admins_see_the_ids_of_blocks on public.block_identities
for select to authenticated
using ((select private.is_community_admin()));

-- Callable: mutations, which ask for the right themselves; reading functions, which run under the policies above; and
-- for service_role what its publishing runs through.

revoke all on function
public.import_course(jsonb),
public.update_course(jsonb),
public.publish_course(jsonb),
public.archive_course(jsonb),
public.restore_course(jsonb),
public.delete_course(jsonb),
public.discard_course_version(jsonb),
private.export_course(jsonb),
private.blocks_of(public.course_versions),
private.block_count(public.course_versions),
private.tree_hash(public.course_versions),
private.course_for_change(uuid, boolean),
private.set_course_status(uuid, text, text),
private.write_next_version(public.courses, jsonb),
private.publish_next_version(public.courses),
private.hold_course_states(),
private.keep_courses_with_history(),
private.hold_course_versions(),
private.keep_published_blocks()
from public, anon, authenticated, service_role;
grant execute on function
public.import_course(jsonb),
public.update_course(jsonb),
public.publish_course(jsonb),
public.archive_course(jsonb),
public.restore_course(jsonb),
public.delete_course(jsonb),
public.discard_course_version(jsonb),
private.export_course(jsonb),
private.block_count(public.course_versions)
to authenticated;
grant execute on function
private.blocks_of(public.course_versions)
to authenticated, service_role;
grant execute on function
private.tree_hash(public.course_versions)
to service_role;

revoke all on function
private.check_course(jsonb),
private.check_course_blocks(jsonb),
private.check_course_block(jsonb, integer),
private.refuse_parent(jsonb, integer, jsonb),
private.refuse_block(jsonb, integer, text, text, text),
private.text_problem(jsonb, integer),
private.unknown_key(jsonb, text[])
from public, anon, authenticated, service_role;
grant execute on function
private.check_course_blocks(jsonb),
private.check_course_block(jsonb, integer),
private.refuse_parent(jsonb, integer, jsonb),
private.refuse_block(jsonb, integer, text, text, text),
private.text_problem(jsonb, integer),
private.unknown_key(jsonb, text[])
to service_role;

-- The wall of the new table, as policies/tenant_isolation.sql makes it.
do $$
begin
    execute pg_catalog.format(
        'create policy client_isolation_block_identities on public.block_identities as restrictive for all to public '
        'using (community_id = (select %1$s)) with check (community_id = (select %1$s))',
        case
            when pg_catalog.to_regprocedure('auth.get_community_id()') is not null then 'auth' else 'private'
        end || '.get_community_id()'
    );
end
$$;
