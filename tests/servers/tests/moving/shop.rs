//! A shop that numbers its invoices itself: a counter row for each tenant, functions, and code that calls them. The
//! code is the guide's: it adopts what the old functions gave, and asks the service once the counters refuse.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use seriatim_servers_tests::Postgres;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, Statement};

use super::seriatim::{Desk, Service};

const TABLES: &str = "
    create table invoice_counters (tenant text primary key, last bigint not null);
    create table invoices (payment text primary key, tenant text not null, number text not null, issued date not null,
                           unique (tenant, number));
    insert into invoice_counters values ('acme', 0), ('zeta', 995), ('late', 0);";

/// The functions of the shop: what they do is the same, but a caller waits for the table in another place.
const OLD_FUNCTIONS: &str = "
    create function next_invoice(of_tenant text) returns text language sql as $$
        update invoice_counters set last = last + 1 where tenant = of_tenant
        returning 'INV-' || lpad(last::text, greatest(3, length(last::text)), '0')
    $$;
    create function next_invoice_in_steps(of_tenant text) returns text language plpgsql as $$
    declare
        taken bigint;
    begin
        update invoice_counters set last = last + 1 where tenant = of_tenant returning last into taken;
        return 'INV-' || lpad(taken::text, greatest(3, length(taken::text)), '0');
    end $$;";

/// The counters refuse: whoever still counts with them is told where numbers come from now.
const RETIRE: &str = "
    create function numbers_have_moved() returns trigger language plpgsql as $$
    begin
        raise exception 'numbers come from the service now' using errcode = 'SRT01';
    end $$;
    create trigger numbers_have_moved before insert or update or delete on invoice_counters
        for each statement execute function numbers_have_moved();";

pub struct Shop {
    url: String,
    stopping: AtomicBool,
    forgetful: AtomicBool,
    has_new_tenant: AtomicBool,
    written: AtomicU64,
    from_service: AtomicU64,
    service: OnceLock<(String, String)>,
}

impl Shop {
    pub async fn open(server: &Postgres, desk: &Desk) -> Arc<Self> {
        let shop = Self {
            url: server.url(),
            stopping: AtomicBool::new(false),
            forgetful: AtomicBool::new(false),
            has_new_tenant: AtomicBool::new(false),
            written: AtomicU64::new(0),
            from_service: AtomicU64::new(0),
            service: OnceLock::new(),
        };
        let client = shop.connect().await;
        client.batch_execute(TABLES).await.expect("tables");
        client.batch_execute(OLD_FUNCTIONS).await.expect("functions");
        desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}"]);
        Arc::new(shop)
    }

    async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.expect("a connection");
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    /// A verb with the shop's table and columns.
    pub fn columns<'a>(&'a self, verb: &[&'a str]) -> Vec<&'a str> {
        let columns = [
            "--with",
            &self.url,
            "--table",
            "invoices",
            "--column",
            "number",
            "--tenant-column",
            "tenant",
            "--date-column",
            "issued",
            "--key-column",
            "payment",
        ];
        [verb, &columns[..]].concat()
    }

    pub fn start_writers(self: &Arc<Self>, count: u64) -> Vec<JoinHandle<()>> {
        let writer = |i| tokio::spawn(write(self.clone(), i));
        (0..count).map(writer).collect()
    }

    pub fn let_old_code_adopt(&self, url: &str, key: &str) {
        self.service.set((url.to_string(), key.to_string())).expect("once");
    }

    /// From now on the old code adopts nothing: a release of it is still out there, or its requests are lost.
    pub fn let_old_code_forget(&self) {
        self.forgetful.store(true, Ordering::SeqCst);
    }

    /// A tenant comes whom the old counters do not know.
    pub fn welcome_new_tenant(&self) {
        self.has_new_tenant.store(true, Ordering::SeqCst);
    }

    /// A number that is taken in a transaction of its own, whose document comes later.
    pub async fn take_early(&self) -> String {
        let row = self.connect().await.query_one("select next_invoice('late')", &[]).await;
        row.expect("a number").get(0)
    }

    /// The document of a number that was taken early.
    pub async fn save_late(&self, number: &str) {
        let insert = "insert into invoices values ('pay_late', 'late', $1, date '2026-03-02')";
        self.connect()
            .await
            .execute(insert, &[&number])
            .await
            .expect("an invoice");
    }

    /// A payment that the service numbers.
    pub async fn pay(&self, payment: &str, tenant: &str) {
        let paid = new_way(self, &self.connect().await, payment, tenant).await;
        assert!(paid.is_ok(), "the service is there");
    }

    pub fn count(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    pub fn issued_by_service(&self) -> u64 {
        self.from_service.load(Ordering::SeqCst)
    }

    /// Until so many more invoices are written: nobody ever waits for long.
    pub async fn wait_for(&self, more: u64) {
        let goal = self.count() + more;
        let wait = async {
            while self.count() < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .expect("the writers go on");
    }

    pub async fn stop(&self, writers: Vec<JoinHandle<()>>) {
        self.stopping.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.await.expect("a writer ends well");
        }
    }

    /// Every tenant's numbers are dense, over both systems.
    pub fn is_in_order(&self, server: &Postgres) {
        let dense = "select bool_and(n = highest) from (select tenant, count(*) as n, max(substr(number, 5)::bigint)
                     - case tenant when 'zeta' then 995 else 0 end as highest from invoices group by tenant) t";
        assert_eq!(server.psql("postgres", dense), "t");
        let counters =
            "select bool_and(last = (select max(substr(number, 5)::bigint) from invoices i where i.tenant = c.tenant))
                        from invoice_counters c";
        assert_eq!(server.psql("postgres", counters), "t");
    }
}

/// What a writer could not do now and will do again.
enum Again {
    /// The function is retired: ask the service.
    Retired,
    /// The service is not there.
    Away,
}

async fn write(shop: Arc<Shop>, writer: u64) {
    let mut client = shop.connect().await;
    // Prepared once, as drivers do: planned anew each time, it would wait for the table before it is in the function.
    let function = ["next_invoice", "next_invoice_in_steps"][usize::from(writer % 2 == 1)];
    let insert = format!("insert into invoices values ($1, $2, {function}($2), date '2026-03-02') returning number");
    let insert = client.prepare(&insert).await.expect("a statement");
    let mut turn = 0;
    while !shop.stopping.load(Ordering::SeqCst) {
        turn += 1;
        let payment = format!("pay_{writer}_{turn}");
        let tenant = match turn % 3 {
            0 if shop.has_new_tenant.load(Ordering::SeqCst) => "nova",
            1 => "acme",
            _ => "zeta",
        };
        loop {
            let done = match old_way(&shop, &mut client, &insert, &payment, tenant).await {
                Err(Again::Retired) => new_way(&shop, &client, &payment, tenant).await,
                done => done,
            };
            if done.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shop.written.fetch_add(1, Ordering::SeqCst);
    }
}

/// Number and invoice in one transaction; then, once it is told to, the number is adopted.
async fn old_way(
    shop: &Shop,
    client: &mut Client,
    insert: &Statement,
    payment: &str,
    tenant: &str,
) -> Result<(), Again> {
    let transaction = client.transaction().await.expect("a transaction");
    let number: String = match transaction.query_one(insert, &[&payment, &tenant]).await {
        Ok(row) => row.get(0),
        Err(error) if error.code().is_some_and(|code| code.code() == "SRT01") => return Err(Again::Retired),
        Err(error) => panic!("{error:?}"),
    };
    transaction.commit().await.expect("a commit");
    if shop.service.get().is_some() && !shop.forgetful.load(Ordering::SeqCst) {
        let body =
            format!(r#"{{"number": "{number}", "key": "{payment}", "tenant": "{tenant}", "date": "2026-03-02"}}"#);
        // What is not adopted now is adopted by the next import.
        let _ = post(shop, "adopt", &body).await;
    }
    Ok(())
}

async fn new_way(shop: &Shop, client: &Client, payment: &str, tenant: &str) -> Result<(), Again> {
    let body = format!(r#"{{"key": "{payment}", "tenant": "{tenant}"}}"#);
    let entry = post(shop, "entries", &body).await.ok_or(Again::Away)?;
    let text = |field: &str| entry[field].as_str().expect("a text").to_string();
    let insert = "insert into invoices values ($1, $2, $3, $4::text::date) on conflict (payment) do nothing";
    let values = [
        &payment as &(dyn tokio_postgres::types::ToSql + Sync),
        &tenant,
        &text("number"),
        &text("date"),
    ];
    client.execute(insert, &values).await.expect("an invoice");
    shop.from_service.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

/// One request to the service; nothing if it is not there.
async fn post(shop: &Shop, verb: &str, body: &str) -> Option<serde_json::Value> {
    let (url, key) = shop.service.get().expect("where the service is");
    let mut stream = TcpStream::connect(url.strip_prefix("http://")?).await.ok()?;
    let request = format!(
        "POST /v1/series/invoice/{verb} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.starts_with("HTTP/1.1 503") {
        return None;
    }
    assert!(head.starts_with("HTTP/1.1 201"), "{answer}");
    serde_json::from_str(body).ok()
}

/// The guide's switch: one transaction locks the old counters, adopts the rest, and lets the counters refuse.
pub async fn switch_over(shop: &Shop, desk: &Desk) {
    let mut client = shop.connect().await;
    let transaction = client.transaction().await.expect("a transaction");
    // Who has a number already ends first; who wants one waits.
    transaction
        .batch_execute("lock table invoice_counters in exclusive mode")
        .await
        .expect("the lock");
    let verb = shop.columns(&["import", "invoice"]);
    let imported = tokio::task::block_in_place(|| desk.run(&verb));
    assert_eq!(
        imported.code, 0,
        "else: rollback, and the old functions go on: {imported:?}"
    );
    // Another window reads beside the lock.
    let counters = "select tenant, last from invoice_counters";
    for row in shop.connect().await.query(counters, &[]).await.expect("the counters") {
        raise(desk, row.get(0), row.get(1));
    }
    transaction.batch_execute(RETIRE).await.expect("a trigger");
    transaction.commit().await.expect("a commit");
}

/// A number that is taken, and on no document yet, is in the old counter only.
fn raise(desk: &Desk, tenant: &str, last: i64) {
    let to = last.to_string();
    let reason = "taken before the switch, on no document yet";
    let advance = [
        "advance", "invoice", "--tenant", tenant, "--to", &to, "--reason", reason,
    ];
    let ran = tokio::task::block_in_place(|| desk.run(&advance));
    assert!(
        ran.code == 0 || ran.stderr.contains("code advance_too_low"),
        "else: rollback, and the old functions go on: {ran:?}"
    );
}

/// The guide's way back: the service is stopped, the old counters are set to where it was, and count again.
pub async fn way_back(shop: &Shop, desk: &Desk, service: Service) {
    tokio::task::block_in_place(|| service.stop());
    let counters = tokio::task::block_in_place(|| desk.ok(&["counters", "invoice"]));
    let mut client = shop.connect().await;
    let transaction = client.transaction().await.expect("a transaction");
    let open = "drop trigger numbers_have_moved on invoice_counters";
    transaction.batch_execute(open).await.expect("no trigger");
    for line in counters.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let (tenant, last) = (columns[1], columns[5].parse::<i64>().expect("a seq"));
        let set = "insert into invoice_counters (tenant, last) values ($1, $2)
                   on conflict (tenant) do update set last = greatest(invoice_counters.last, excluded.last)";
        transaction.execute(set, &[&tenant, &last]).await.expect("the counter");
    }
    let forget = "drop function numbers_have_moved()";
    transaction.batch_execute(forget).await.expect("no function");
    transaction.commit().await.expect("a commit");
}
