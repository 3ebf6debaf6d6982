-- By its place, which is its id.
select e.no, e.counter, e.seq, e.number, e.state, e.origin, e.date, e.key, e.params, e.reference, e.document_sha256,
       e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code, e.reason, e.replaces, e.replacement,
       e.position, e.hash, d.body
from entry e
left join document d on d.entry = e.no
where e.counter = ?1 and e.seq = ?2
