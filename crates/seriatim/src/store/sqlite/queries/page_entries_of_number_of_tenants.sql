-- As page_entries_of_number, for a few tenants: among a million of them, a million may have printed the same number.
select e.no, e.counter, e.seq, e.number, e.state, e.origin, e.date, e.key, e.params, e.reference, e.document_sha256,
       e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code, e.reason, e.replaces, e.replacement,
       e.position, e.hash, d.body
from json_each(:series) s
cross join json_each(:tenants) t
cross join line l on l.series = s.value and l.tenant = t.value
cross join entry e indexed by entry_by_number on e.number = :number and e.line = l.no
cross join counter c on c.no = e.counter
left join document d on d.entry = e.no
where e.no < :before and e.no >= :from
  and (:period is null or c.period = :period)
  and (:state is null or e.state = :state)
  and (:date_from is null or e.date >= :date_from)
  and (:date_to is null or e.date <= :date_to)
  and (:expires_until is null or e.expires_at <= :expires_until)
order by e.no desc
limit :limit
