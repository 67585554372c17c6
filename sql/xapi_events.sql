-- What statements come to: the events that progress is made of.

-- What was scored, 0 to 100; null when that cannot be told.
create function private.score_of_result(score jsonb) returns numeric
stable
set search_path = ''
language plpgsql
as $$
declare
    scaled numeric := score ->> 'scaled';
    points numeric := score ->> 'raw';
    least_points numeric := coalesce((score ->> 'min')::numeric, 0);
    most_points numeric := score ->> 'max';
begin
    if scaled is null and most_points > least_points then
        scaled := (points - least_points) / (most_points - least_points);
    end if;
    -- Of nothing and nought, greatest would take the nought.
    return case when scaled is not null then least(100, greatest(0, 100 * scaled)) end;
end
$$;

-- What a statement comes to as an event, or why it comes to none though it might have; null when it is about something
-- else. The table of docs/xapi.md.
create function private.event_of_statement(entry private.xapi_entry, as_admin boolean)
returns table (event jsonb, reason text)
stable
rows 1
set search_path = ''
language plpgsql
as $$
declare
    -- xAPI's identifiers, of ADL's vocabulary, cmi5 and the video profile.
    adl constant text := 'http://adlnet.gov/expapi/verbs/';
    cmi5 constant text := 'https://w3id.org/xapi/adl/verbs/';
    result jsonb := coalesce(entry.content -> 'result', '{}');
    extensions jsonb := coalesce(entry.content -> 'result' -> 'extensions', '{}');
    block text := pg_catalog.substring(
        entry.activity, '(?i)^(?:urn:uuid:|.*/blocks/)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$'
    );
    finished boolean := (result -> 'completion') is not distinct from 'true';
    progress numeric := coalesce(
        case when pg_catalog.jsonb_typeof(extensions -> 'https://w3id.org/xapi/cmi5/result/extensions/progress') = 'number'
            then (extensions ->> 'https://w3id.org/xapi/cmi5/result/extensions/progress')::numeric / 100
        end,
        case when pg_catalog.jsonb_typeof(extensions -> 'https://w3id.org/xapi/video/extensions/progress') = 'number'
            then (extensions ->> 'https://w3id.org/xapi/video/extensions/progress')::numeric
        end
    );
    value numeric;
    correct boolean;
begin
    if block is null then
        return;
    end if;
    case entry.verb
        when adl || 'completed' then
            value := ((result -> 'completion') is distinct from 'false')::integer;
        when adl || 'passed' then
            value := ((result -> 'success') is distinct from 'false')::integer;
        when cmi5 || 'satisfied' then
            value := 1;
        when cmi5 || 'waived' then
            if not as_admin then
                reason := 'Only admins waive.';
            elsif coalesce(extensions ->> 'https://w3id.org/xapi/cmi5/result/extensions/reason', '') !~ '\S' then
                reason := 'It waives without a reason. Give one in result.extensions, as cmi5 says.';
            end if;
            value := 1;
        when adl || 'failed' then
            value := 0;
        when adl || 'progressed' then
            if progress is null then
                reason := 'It does not say how far the progress went. Give it in result.extensions.';
            end if;
            value := progress;
        when adl || 'answered', adl || 'scored' then
            value := finished::integer;
            if entry.verb = adl || 'answered' then
                correct := (result ->> 'success')::boolean;
            end if;
        when adl || 'launched', adl || 'initialized', adl || 'attempted', adl || 'experienced' then
            value := coalesce(progress, 0);
        else
            return;
    end case;
    if entry.voided_by is not null then
        reason := 'It was voided before it came.';
    end if;
    if reason is null then
        event := pg_catalog.jsonb_build_object(
            'user_id', entry.user_id,
            'event_id', entry.id,
            'block_id', block,
            'value', value,
            'score', private.score_of_result(result -> 'score'),
            'correct', correct,
            'occurred_at', coalesce(entry.content ->> 'timestamp', private.xapi_time(entry.stored_at))
        );
    end if;
    return next;
end
$$;
