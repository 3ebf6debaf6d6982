-- Counted where the keys are kept.
select count(*) from seriatim.key k join seriatim.counter c on c.no = k.counter where c.id = $1::text
