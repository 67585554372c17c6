-- Versions of courses and the tree of blocks of each. A version that is published never changes again: learners are
-- enrolled in it, and what they have done is counted by it.

create table public.course_versions (
    community_id uuid not null default private.get_community_id(),
    course_id uuid not null,
    version integer not null,
    published boolean not null default false,
    published_at timestamptz,
    created_at timestamptz not null default now(),
    id uuid not null default gen_random_uuid(),
    tree_hash text,
    constraint course_versions_pkey primary key (community_id, course_id, version),
    constraint course_versions_published_unique unique (community_id, course_id, version, published),
    constraint course_versions_course_exists foreign key (community_id, course_id)
    references public.courses (community_id, id) on delete cascade,
    constraint course_versions_version_positive check (version >= 1),
    constraint course_versions_published_at_known check (published = (published_at is not null)),
    constraint course_versions_id_unique unique (community_id, id),
    constraint course_versions_tree_hash_known check (published = (tree_hash is not null))
);
alter table public.course_versions enable row level security;
alter table public.course_versions alter column community_id set (n_distinct = 20);
comment on table public.course_versions is 'One state of a course''s content; does not change once published.';

comment on column public.course_versions.tree_hash is
'SHA-256 of the blocks of a published version, in hexadecimal: the same for the same content.';

create unique index course_versions_one_unpublished on public.course_versions (community_id, course_id)
where not published;

-- Deferred: a course and its first version come into being together, and are published together.
alter table public.courses add constraint courses_version_exists
foreign key (community_id, id, version, published)
references public.course_versions (community_id, course_id, version, published)
deferrable initially deferred;

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

create table public.blocks (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    course_id uuid not null,
    version integer not null,
    published boolean not null default false,
    parent_id uuid,
    kind text not null,
    title text not null,
    position integer not null,
    weight numeric(9, 3) not null default 1,
    required boolean not null default true,
    completion_mode text not null default 'completable',
    constraint blocks_pkey primary key (community_id, course_id, version, id),
    -- Only the primary key begins with community, course and version and has all blocks. Where another index does too,
    -- the planner may look up a block among all of its version, as long as it has no statistics: an import takes as many
    -- look-ups as there are blocks.
    constraint blocks_position_unique unique (community_id, position, course_id, version) deferrable,
    -- The fourth column keeps `published` equal to the version's, so that policies need no join.
    constraint blocks_version_exists foreign key (community_id, course_id, version, published)
    references public.course_versions (community_id, course_id, version, published)
    on update cascade on delete cascade,
    constraint blocks_parent_exists foreign key (community_id, course_id, version, parent_id)
    references public.blocks (community_id, course_id, version, id) on delete cascade,
    constraint blocks_parent_is_another check (parent_id <> id),
    constraint blocks_kind_format check (kind ~ '^[a-z][a-z0-9_]{0,49}$'),
    constraint blocks_title_not_blank check (title ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint blocks_title_length check (char_length(title) <= 200),
    constraint blocks_position_positive check (position >= 1),
    constraint blocks_weight_range check (weight > 0 and weight <= 100000),
    constraint blocks_completion_mode_known check (completion_mode in ('completable', 'aggregator', 'excluded')),
    constraint blocks_identity_exists foreign key (community_id, course_id, id)
    references public.block_identities (community_id, course_id, id) on delete cascade
);
alter table public.blocks enable row level security;
alter table public.blocks alter column community_id set (n_distinct = 20);
comment on table public.blocks is 'A piece of a course version: chapter, page, video, quiz. Its id stays the same across versions.';
comment on column public.blocks.position is 'Place in the reading order of the version, from 1.';
comment on column public.blocks.completion_mode is
'completable: learners complete it; aggregator: complete when what is in it is; excluded: never counts.';

create index blocks_parent_idx on public.blocks (community_id, course_id, version, parent_id)
where parent_id is not null;

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

create function private.blocks_of(version public.course_versions) returns json
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
create function public.import_course(input jsonb) returns jsonb
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

create function public.publish_course(input jsonb) returns jsonb
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
