select c.id from counter c
