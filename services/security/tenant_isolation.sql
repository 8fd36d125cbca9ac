-- name: catalogue
    select t.schema_name as schema, t.table_name as name, t.is_view, t.filled, c.columns
      from app.tenant_tables() t, lateral (
        select coalesce(json_agg(json_build_object(
                 'name', a.attname,
                 'kind', format_type(a.atttypid, null),
                 'insertable', has_column_privilege('authenticated', a.attrelid, a.attnum, 'insert'),
                 'updatable', has_column_privilege('authenticated', a.attrelid, a.attnum, 'update')) order by a.attnum),
               '[]') as columns
          from pg_attribute a
         where a.attrelid = format('%I.%I', t.schema_name, t.table_name)::regclass
           and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = ''
      ) c
     order by t.is_view, t.schema_name, t.table_name
    

-- name: functions
    select n.nspname || '.' || p.proname as name, coalesce(array_agg(format_type(a.type, null) order by a.place)
             filter (where a.type is not null), '{}') as arguments
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      left join lateral unnest(p.proargtypes::oid[]) with ordinality as a (type, place) on true
     where n.nspname in ('public', 'app') and p.prosecdef and p.prorettype <> 'trigger'::regtype
     group by p.oid, n.nspname, p.proname order by 1
    
