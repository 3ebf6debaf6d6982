-- Newest first, for counters so small that their entries are found by seq and sorted.
select e.no, e.counter, e.seq, e.number, e.state, e.origin, e.date, e.key, e.params, e.reference, e.document_sha256,
       e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code, e.reason, e.replaces, e.replacement,
       e.position, e.hash, d.body
from (
    select e.no as no
    from json_each(:counters) f
    cross join entry e on e.counter = f.value
    where e.no < :before and e.no >= :from
      and (:state is null or e.state = :state)
      and (:date_from is null or e.date >= :date_from)
      and (:date_to is null or e.date <= :date_to)
      and (:expires_until is null or e.expires_at <= :expires_until)
    order by e.no desc
    limit :limit
) found
cross join entry e on e.no = found.no
left join document d on d.entry = e.no
order by e.no desc
