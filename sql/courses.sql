-- Courses, their versions and the tree of blocks of each version.

create table public.courses (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    title text not null,
    description text,
    status text not null default 'draft',
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint courses_pkey primary key (community_id, id),
    constraint courses_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    constraint courses_status_known check (status in ('draft', 'published', 'archived')),
    constraint courses_title_not_blank check (title ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint courses_title_length check (char_length(title) <= 200),
    constraint courses_description_length check (char_length(description) <= 10000)
);
alter table public.courses enable row level security;
alter table public.courses alter column community_id set (n_distinct = 20);
comment on table public.courses is 'A course; what is in it stands in its versions.';
comment on column public.courses.version is 'The version that new learners get.';

create index courses_title_idx on public.courses (community_id, title, id);
create index courses_created_at_idx on public.courses (community_id, created_at, id);

create trigger courses_touch_updated_at before update on public.courses
for each row execute function private.touch_updated_at();

create table public.course_versions (
    community_id uuid not null default private.get_community_id(),
    course_id uuid not null,
    version integer not null,
    published boolean not null default false,
    published_at timestamptz,
    created_at timestamptz not null default now(),
    constraint course_versions_pkey primary key (community_id, course_id, version),
    constraint course_versions_published_unique unique (community_id, course_id, version, published),
    constraint course_versions_course_exists foreign key (community_id, course_id)
    references public.courses (community_id, id) on delete cascade,
    constraint course_versions_version_positive check (version >= 1),
    constraint course_versions_published_at_known check (published = (published_at is not null))
);
alter table public.course_versions enable row level security;
alter table public.course_versions alter column community_id set (n_distinct = 20);
comment on table public.course_versions is 'One state of a course''s content; does not change once published.';

-- Deferred: a course and its first version come into being together.
alter table public.courses add constraint courses_version_exists
foreign key (community_id, id, version) references public.course_versions (community_id, course_id, version)
deferrable initially deferred;

-- Enrolled learners work through a published version; taking it back would take it from them.
create function private.keep_published_versions() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if old.published and (
        not new.published or (new.community_id, new.course_id, new.version, new.published_at)
        is distinct from (old.community_id, old.course_id, old.version, old.published_at)
    ) then
        perform private.refuse('412', 'A published version does not change. Make a new version instead.');
    end if;
    return new;
end
$$;

create trigger course_versions_keep_published before update on public.course_versions
for each row execute function private.keep_published_versions();

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
    constraint blocks_position_unique unique (community_id, course_id, version, position) deferrable,
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
    constraint blocks_completion_mode_known check (completion_mode in ('completable', 'aggregator', 'excluded'))
);
alter table public.blocks enable row level security;
alter table public.blocks alter column community_id set (n_distinct = 20);
comment on table public.blocks is 'A piece of a course version: chapter, page, video, quiz. Its id stays the same across versions.';
comment on column public.blocks.position is 'Place in the reading order of the version, from 1.';
comment on column public.blocks.completion_mode is
'completable: learners complete it; aggregator: complete when what is in it is; excluded: never counts.';

create index blocks_parent_idx on public.blocks (community_id, course_id, version, parent_id);
