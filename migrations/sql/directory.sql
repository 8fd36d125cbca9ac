-- E-mail, name and role of every user, for staff. It runs with its owner's rights, so that staff see who owns something
-- without any right on auth.users. A role that is none of ours is a user's, as app.parse_role has it for the sign-in.
create or replace view app.directory with (security_barrier) as
  select u.id as user_id, u.email::text as email, coalesce(a.name, u.email::text) as name,
         case when u.raw_app_meta_data ->> 'role' in ('admin', 'operator') then u.raw_app_meta_data ->> 'role'
              else 'user' end as role
    from auth.users u left join public.accounts a on a.user_id = u.id
   where app.is_staff() and u.deleted_at is null;
grant select on app.directory to authenticated;
