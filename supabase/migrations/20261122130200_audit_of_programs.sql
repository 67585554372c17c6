-- The audit log knows the tables that have come since it began.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

select private.record_changes_of('public.program_versions');
select private.record_changes_of('public.program_course_groups');
select private.record_changes_of('public.program_course_prerequisites');
select private.record_changes_of('public.enrollment_moves');
select private.record_changes_of('public.cohorts');
