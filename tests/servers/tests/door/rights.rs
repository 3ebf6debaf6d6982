//! Nobody's own functions run with the rights of the owner of the schema.

use std::sync::Arc;

use seriatim::store::postgres::{MIGRATIONS, Postgres as Stored, PostgresOptions, door};
use seriatim_servers_tests::Postgres;

use super::Door;
use super::number_column::define;

/// A role with no rights but on schema `mallory`, who would be a superuser.
fn mallory() -> Door {
    let door = Door::install();
    define(&door, "invoice", &[("format", "INV-{seq:4}")]);
    // Roles belong to the whole cluster, and this one to its own test.
    door.psql(
        "create role mallory login; create schema mallory authorization mallory;
         grant create on schema public to mallory; grant seriatim_admin to mallory",
    );
    door
}

fn is_superuser(door: &Door) -> String {
    door.psql("select rolsuper from pg_roles where rolname = 'mallory'")
}

/// What mallory would run as somebody else.
const RISE: &str = "begin if current_user <> 'mallory' then alter role mallory superuser; end if; return";

#[test]
fn a_cast_of_the_tables_owner_does_not_run_in_the_triggers() {
    let door = mallory();
    door.psql(&format!(
        "set role mallory;
         create type mallory.kind as enum ('x');
         create function mallory.as_json(mallory.kind) returns json language plpgsql as $$ {RISE} '1'; end $$;
         create function mallory.as_text(mallory.kind) returns text language plpgsql as $$ {RISE} 'x'; end $$;
         create function mallory.fits(text) returns boolean language plpgsql as $$ {RISE} true; end $$;
         create cast (mallory.kind as json) with function mallory.as_json(mallory.kind);
         create cast (mallory.kind as text) with function mallory.as_text(mallory.kind);
         create domain mallory.name as text check (mallory.fits(value));
         create table mallory.orders (number text unique, kind mallory.kind default 'x', of mallory.name unique);
         select seriatim.number_column('mallory.orders', 'number', 'invoice', key_column => 'of');
         insert into mallory.orders values (null, 'x', 'pay_1'), (null, 'x', 'pay_2')"
    ));
    assert_eq!(
        door.psql("select number from mallory.orders order by number limit 1"),
        "INV-0001"
    );
    // A trigger of one's own that names a column with a condition.
    let own = door.try_psql(
        "set role mallory; create table mallory.bills (number mallory.name);
         create trigger mine before insert on mallory.bills for each row execute function seriatim.fill_number(
            '{\"column\": \"number\", \"series\": \"invoice\", \"params\": {}, \"supplied\": \"refuse\", \"on_delete\": \"refuse\"}');
         insert into mallory.bills values (null)",
    );
    assert!(own.unwrap_err().contains("column_unfit"));
    assert_eq!(is_superuser(&door), "f");
}

#[test]
fn a_function_that_fits_better_than_postgresqls_is_not_called() {
    let door = mallory();
    // They stand where the installer and the issuer look, as in every database that was made before PostgreSQL 15.
    door.psql(&format!(
        "set role mallory;
         create function public.format(text, int, text) returns text language plpgsql as $$ {RISE} 'x'; end $$;
         create function public.format(text, text, text) returns text language plpgsql as $$ {RISE} 'x'; end $$;
         create function public.state(text, text, text) returns text language plpgsql as $$ {RISE} 'x'; end $$;
         create aggregate public.jsonb_object_agg(text, text) (sfunc = public.state, stype = text, initcond = '{{}}');
         create function public.jsonb_build_object(text, text) returns jsonb language plpgsql as $$ {RISE} '{{}}'; end $$;
         create function public.concat_ws(text, text, text) returns text language plpgsql as $$ {RISE} 'x'; end $$;"
    ));
    // As an update does it.
    door.psql(&door::script(MIGRATIONS.len()));
    door.psql(
        "create table orders (tenant text not null, number text, unique (tenant, number));
         select seriatim.number_column('orders', 'number', 'invoice', tenant_column => 'tenant');
         insert into orders values ('acme', null); select seriatim.issue('invoice', key => 'a'); table seriatim.entries;",
    );
    assert_eq!(is_superuser(&door), "f");
}

#[test]
fn a_column_that_is_not_there_is_no_call_of_a_function() {
    let door = mallory();
    // PostgreSQL takes `(row).to_jsonb` for to_jsonb(row) where the row has no such column, and that calls casts.
    door.psql(&format!(
        "set role mallory;
         create type mallory.kind as enum ('x');
         create function mallory.as_json(mallory.kind) returns json language plpgsql as $$ {RISE} '1'; end $$;
         create cast (mallory.kind as json) with function mallory.as_json(mallory.kind);
         create table mallory.orders (number text unique, kind mallory.kind default 'x', to_jsonb text unique);
         select seriatim.number_column('mallory.orders', 'number', 'invoice', params => '{{\"of\": \"to_jsonb\"}}');
         alter table mallory.orders rename to_jsonb to renamed"
    ));
    let renamed = door.try_psql("set role mallory; insert into mallory.orders values (null)");
    let renamed = renamed.unwrap_err();
    assert!(
        renamed.contains("unknown_column") && renamed.contains("to_jsonb"),
        "{renamed}"
    );
    // A trigger of one's own says what it likes, in each function and in each place.
    let given = |of: &str| {
        format!(
            "{{\"column\": \"number\", \"series\": \"invoice\", \"params\": {{}}, \"supplied\": \"adopt\", \"on_delete\": \"void\", {of}}}"
        )
    };
    for (moment, does) in [
        ("before insert", "fill_number"),
        ("before insert", "guard_number"),
        ("after insert", "check_number_stands"),
        ("before update", "guard_number"),
        ("after delete", "keep_number"),
    ] {
        for of in [
            "\"column\": \"to_jsonb\"",
            "\"key\": \"to_jsonb\"",
            "\"tenant\": \"to_jsonb\"",
            "\"date\": \"to_jsonb\"",
            "\"params\": {\"of\": \"to_jsonb\"}",
            "\"key\": \"ctid\"",
        ] {
            let said = door.try_psql(&format!(
                "set role mallory;
                 create table mallory.bills (id int, number text, kind mallory.kind default 'x');
                 insert into mallory.bills values (1, 'INV-0001');
                 create trigger mine {moment} on mallory.bills for each row execute function seriatim.{does}('{}');
                 insert into mallory.bills values (2, 'INV-0002'); update mallory.bills set number = 'INV-0003';
                 delete from mallory.bills",
                given(of)
            ));
            let said = said.unwrap_err();
            assert!(said.contains("unknown_column"), "{does} {of}: {said}");
        }
    }
    // Nor is a column read that number_column would not take.
    for of in [
        "\"key\": \"of\"",
        "\"tenant\": \"of\"",
        "\"date\": \"of\"",
        "\"params\": {\"of\": \"of\"}",
    ] {
        let said = door.try_psql(&format!(
            "set role mallory; create table mallory.bills (number text, of mallory.kind[]);
             create trigger mine before insert on mallory.bills for each row execute function seriatim.fill_number('{}');
             insert into mallory.bills values (null)",
            given(of)
        ));
        let said = said.unwrap_err();
        assert!(said.contains("column_unfit"), "{of}: {said}");
    }
    assert_eq!(is_superuser(&door), "f");
    assert_eq!(door.psql("select count(*) from seriatim.entry"), "0");
}

/// What is said to a role that opens a store, that installs, and that runs the printed script.
async fn refusals(door: &Door, role: &str) -> Vec<String> {
    let url = door
        .server
        .url_of(&door.database)
        .replace("postgres@", &format!("{role}@"));
    let opened = Stored::open(&url, PostgresOptions::default()).await;
    let opened = opened.err().map(|error| error.to_string());
    let installed = door::install(&url, &PostgresOptions::default()).await;
    let installed = installed.err().map(|error| error.to_string());
    let script = format!("set role {role};\n{}", door::script(0));
    let ran = door.try_psql(&script).err();
    [opened, installed, ran].into_iter().flatten().collect()
}

#[tokio::test]
async fn nothing_is_made_where_somebody_else_could_replace_it() {
    let server = Arc::new(Postgres::start());
    let database = server.create_database();
    let door = Door { server, database };
    let refused = async |role: &str, words: &str| {
        let all = refusals(&door, role).await;
        assert_eq!(all.len(), 3, "{role}: {all:?}");
        assert!(all.iter().all(|error| error.contains(words)), "{role}: {all:?}");
        let left = door.psql("select count(*) from pg_class where relnamespace = 'seriatim'::regnamespace");
        assert_eq!(left, "0");
    };
    // Who may make schemas made ours first, and waits for a superuser.
    door.psql(&format!(
        "create role mallory login; create role team; create role app login in role team;
         grant create on database {0} to mallory, app, team;
         set role mallory; create schema seriatim;
         create function seriatim.refuse(text, text, text) returns void language sql return null",
        door.database
    ));
    refused("postgres", "belongs to mallory").await;
    door.psql("grant create, usage on schema seriatim to app");
    refused("app", "belongs to mallory").await;
    // Whatever he left there stays his, and so does the right to more.
    door.psql("alter schema seriatim owner to team; revoke create on schema seriatim from app");
    refused("app", "function seriatim.refuse(text,text,text) of mallory").await;
    door.psql("drop function seriatim.refuse; grant create on schema seriatim to mallory");
    refused("app", "revoke create on schema seriatim from mallory").await;
    door.psql("revoke create on schema seriatim from mallory; grant create on schema seriatim to public");
    refused("app", "revoke create on schema seriatim from public").await;
    door.psql("revoke create on schema seriatim from public");
    refused("postgres", "belongs to team").await;
    // A member of the owner's role makes it, and a service that owns nothing starts on it.
    let url = |role: &str| {
        door.server
            .url_of(&door.database)
            .replace("postgres@", &format!("{role}@"))
    };
    door::install(&url("app"), &PostgresOptions::default())
        .await
        .expect("a door");
    door.psql(
        "create role service login; grant usage on schema seriatim to service;
         grant select, insert, update, delete on all tables in schema seriatim to service;
         grant execute on all functions in schema seriatim to service",
    );
    Stored::open(&url("service"), PostgresOptions::default())
        .await
        .expect("a store");
}
