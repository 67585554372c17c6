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
