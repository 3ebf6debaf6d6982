-- Newest first, from the index of open reservations: overdue ones are swept all the time.
select e.no, e.counter, e.seq, e.number, e.state, e.origin, e.date, e.key, e.params, e.reference, e.document_sha256,
       e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code, e.reason, e.replaces, e.replacement,
       e.position, e.hash, d.body
from (
    select e.no as no
    from entry e indexed by entry_reserved
    cross join counter c on c.no = e.counter
    where e.state = 'reserved' and e.expires_at <= coalesce(:expires_until, 9223372036854775807)
      and e.no < :before and e.no >= :from
      and (:series is null or c.series in (select value from json_each(:series)))
      and (:tenants is null or c.tenant in (select value from json_each(:tenants)))
      and (:period is null or c.period = :period)
      and (:date_from is null or e.date >= :date_from)
      and (:date_to is null or e.date <= :date_to)
    order by e.no desc
    limit :limit
) found
cross join entry e on e.no = found.no
left join document d on d.entry = e.no
order by e.no desc
