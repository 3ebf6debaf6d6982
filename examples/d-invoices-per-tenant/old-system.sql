-- An invoice table as it was found: numbers per tenant from a counter beside it. acme went past INV-999, has no
-- INV-417 (its transaction failed after the counter had moved), and INV-042 twice (two first calls that raced).
create table invoice_counters (tenant text primary key, last bigint not null);
create table invoices (
    payment   text primary key,
    tenant    text not null,
    number    text,
    issued_at timestamptz not null default now()
);

create function next_invoice(of_tenant text) returns text language sql as $$
    update invoice_counters set last = last + 1 where tenant = of_tenant
    returning 'INV-' || lpad(last::text, greatest(3, length(last::text)), '0')
$$;

insert into invoices
select 'pay_' || n, 'acme', 'INV-' || lpad(n::text, greatest(3, length(n::text)), '0'),
       timestamptz '2025-01-01 10:00:00+01' + n * interval '6 hours'
from generate_series(1, 1000) as n
where n <> 417;

insert into invoices values
    ('pay_42b', 'acme', 'INV-042', '2025-01-12 09:00:00+01'),
    ('pay_z1',  'zeta', 'INV-001', '2025-09-01 10:00:00+02'),
    ('pay_z2',  'zeta', 'INV-002', '2025-09-02 10:00:00+02'),
    ('draft',   'zeta', null,      '2025-09-03 10:00:00+02');
insert into invoice_counters values ('acme', 1000), ('zeta', 2);
