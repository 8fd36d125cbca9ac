-- name: kinds
    with recursive k as (
      (select kind from events where verdict <> 'received' order by kind limit 1)
      union all
      select (select e.kind from events e where e.verdict <> 'received' and e.kind > k.kind order by e.kind limit 1)
        from k where k.kind is not null
    ) select kind from k where kind is not null limit :most
    
