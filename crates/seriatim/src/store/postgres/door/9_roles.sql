-- The SQL door, 9 of 9: rights.
--
-- Who may what: nobody anything, but through four roles. They belong to the whole cluster; where this user may not
-- make roles, somebody else does (`create role seriatim_issuer nologin` …) and installs once more.
revoke all on schema seriatim from public;
revoke all on all tables in schema seriatim from public;
revoke all on all functions in schema seriatim from public;

do $$
declare
    name text;
begin
    foreach name in array array['seriatim_reader', 'seriatim_issuer', 'seriatim_worker', 'seriatim_admin'] loop
        begin
            execute format('create role %I nologin', name);
        exception
            when duplicate_object then null;
            when insufficient_privilege then raise notice 'role % was not made: it takes CREATEROLE', name;
        end;
    end loop;
    if (select count(*) from pg_roles where rolname in ('seriatim_reader', 'seriatim_issuer', 'seriatim_worker', 'seriatim_admin')) < 4 then
        return;
    end if;
    -- Whoever reads sees every tenant.
    grant usage on schema seriatim to seriatim_reader, seriatim_issuer, seriatim_worker, seriatim_admin;
    grant select on seriatim.entries, seriatim.counters, seriatim.events to seriatim_reader, seriatim_admin;
    grant select on seriatim.gates to seriatim_reader, seriatim_worker, seriatim_admin;
    -- A view reads tables with its owner's rights, but calls functions with those of whoever looks.
    grant execute on function seriatim.instant, seriatim.entry_id to seriatim_reader, seriatim_worker, seriatim_admin;
    grant execute on function seriatim.preview, seriatim.id_of to seriatim_reader, seriatim_issuer, seriatim_admin;
    grant execute on function seriatim.next, seriatim.issue, seriatim.adopt, seriatim.reserve, seriatim.confirm,
        seriatim.release to seriatim_issuer, seriatim_admin;
    -- As the scope `gate` of an API key: who makes receipts needs not issue numbers. But here nothing is known of payments, whose
    -- gates a server keeps for itself: who may claim these may end them too.
    grant execute on function seriatim.gate_claim, seriatim.gate_renew, seriatim.gate_complete, seriatim.gate_fail
        to seriatim_worker, seriatim_admin;
    grant execute on function seriatim.void, seriatim.gate_retry to seriatim_admin;
    -- number_column runs as its caller, who must own the table.
    grant execute on function seriatim.number_column, seriatim.number_triggers, seriatim.unfit, seriatim.require_series,
        seriatim.is_unique, seriatim.refuse, seriatim.given_to, seriatim.reference_of, seriatim.table_of,
        seriatim.free_reference, seriatim.was_replayed, seriatim.fill_number, seriatim.guard_number,
        seriatim.check_number_stands, seriatim.keep_number to seriatim_admin;
end $$;
