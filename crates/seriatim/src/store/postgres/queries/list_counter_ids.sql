select c.id from seriatim.counter c
