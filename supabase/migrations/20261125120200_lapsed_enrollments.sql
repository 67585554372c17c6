-- Progress completes nothing that has lapsed: the clock has only not written it down yet.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- The reason is for the audit log, in which whoever sent the last event stands as the actor.
create or replace function private.complete_enrollment(enrollment public.program_enrollments, completed_at timestamptz) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    noted text := pg_catalog.current_setting('gym.reason', true);
begin
    -- Whoever changes the enrolment right now may be waiting for this learner: then it is left to the worker.
    perform from public.program_enrollments as e
    where e.community_id = enrollment.community_id and e.id = enrollment.id
    for no key update skip locked;
    if not found then
        perform private.queue_progress(enrollment.community_id, array[enrollment.id]);
        return;
    end if;
    perform private.note_reason('What the program asks for is done.');
    update public.program_enrollments as e
    set status = 'completed', completed_at = greatest(complete_enrollment.completed_at, e.enrolled_at)
    where e.community_id = enrollment.community_id and e.id = enrollment.id and e.status = 'active'
        -- Of one that has lapsed only the clock has not spoken yet.
        and (e.expires_at > pg_catalog.now()) is not false;
    perform private.note_reason(noted);
end
$$;
