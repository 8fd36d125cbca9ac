-- Jobs that ended, from the newest event that procrastinate noted of them.
create or replace view app.expired_jobs as
  select j.id, (select max(e.at) from jobs.procrastinate_events e where e.job_id = j.id) as since
    from jobs.procrastinate_jobs j where j.status in ('succeeded', 'failed', 'cancelled', 'aborted');
