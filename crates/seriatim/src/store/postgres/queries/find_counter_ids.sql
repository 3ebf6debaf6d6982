-- Which of them there are, whoever holds them.
select c.id from seriatim.counter c where c.id = any($1::text[])
