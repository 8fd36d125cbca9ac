-- name: enrol
-- Warm is who wrote to the session lately, by either spelling of their line; a group knows whoever is in it. A call, a
-- note of WhatsApp's own and what nobody could read make nobody warm.
insert into public.campaign_recipients (campaign_id, user_id, seq, phone, name, variables, cold)
select :campaign, :user, r.seq, r.phone, r.name, r.variables,
       r.phone not like '%@g.us' and not exists (
         select from public.messages m
          where m.user_id = :user and m.direction = 'in' and app.is_written(m.kind)
            and m.created_at > now() - make_interval(days => :days)
            and m.phone in (r.phone, r.twin))
  from jsonb_to_recordset(cast(:rows as jsonb)) as r (seq integer, phone text, twin text, name text, variables jsonb)
