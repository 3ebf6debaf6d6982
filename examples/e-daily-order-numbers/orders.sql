-- The shop's own table. The column order_number fills itself from the series `order`; the payment is the key.
create table orders (
    id bigint generated always as identity primary key,
    order_number text unique,
    payment_reference text not null unique,
    customer text not null,
    total_minor bigint not null
);

select seriatim.number_column('orders', 'order_number', 'order',
    key_column => 'payment_reference', on_delete => 'void');

-- Order and number in one statement, once for each payment: who comes again, or at the same time, gets the first order.
create function create_order_with_number(payment_reference text, customer text, total_minor bigint) returns orders
language sql as $$
    insert into orders (payment_reference, customer, total_minor) values ($1, $2, $3)
    on conflict (payment_reference) do update set payment_reference = excluded.payment_reference
    returning *
$$;
