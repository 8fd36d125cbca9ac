-- Sessions that still hold a QR code or a pairing code, each with its own age.
create or replace view app.expired_codes as
  select id, qr_since, code_since, least(qr_since, code_since) as since
    from (select id,
                 case when coalesce(qr_code, qr_urlcode) is not null then coalesce(qr_received_at, updated_at) end
                   as qr_since,
                 case when phone_code is not null then coalesce(phone_code_at, updated_at) end as code_since
            from public.whatsapp_sessions
           where qr_code is not null or qr_urlcode is not null or phone_code is not null) coded;
