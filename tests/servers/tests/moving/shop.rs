//! A shop that numbers its invoices itself: a counter row for each tenant, a function, and code that calls it. The
//! code is the guide's: it adopts what the old function gave, and asks the service once the function is retired.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use seriatim_servers_tests::Postgres;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::seriatim::{Desk, Service};

const TABLES: &str = "
    create table invoice_counters (tenant text primary key, last bigint not null);
    create table invoices (payment text primary key, tenant text not null, number text not null, issued date not null,
                           unique (tenant, number));
    insert into invoice_counters values ('acme', 0), ('zeta', 995);";

/// The function of the shop, as it always was.
const OLD_FUNCTION: &str = "
    create or replace function next_invoice(of_tenant text) returns text language sql as $$
        update invoice_counters set last = last + 1 where tenant = of_tenant
        returning 'INV-' || lpad(last::text, greatest(3, length(last::text)), '0')
    $$;";

/// What takes its place: code that still calls it is told where numbers come from now.
const RETIRED_FUNCTION: &str = "
    create or replace function next_invoice(of_tenant text) returns text language plpgsql as $$
    begin
        raise exception 'numbers come from the service now' using errcode = 'SRT01';
    end $$;
    revoke execute on function next_invoice(text) from public;";

pub struct Shop {
    url: String,
    stopping: AtomicBool,
    forgetful: AtomicBool,
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
            written: AtomicU64::new(0),
            from_service: AtomicU64::new(0),
            service: OnceLock::new(),
        };
        let client = shop.connect().await;
        client.batch_execute(TABLES).await.expect("tables");
        client.batch_execute(OLD_FUNCTION).await.expect("a function");
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
    let mut turn = 0;
    while !shop.stopping.load(Ordering::SeqCst) {
        turn += 1;
        let payment = format!("pay_{writer}_{turn}");
        let tenant = if turn % 2 == 0 { "acme" } else { "zeta" };
        loop {
            let done = match old_way(&shop, &mut client, &payment, tenant).await {
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
async fn old_way(shop: &Shop, client: &mut Client, payment: &str, tenant: &str) -> Result<(), Again> {
    let transaction = client.transaction().await.expect("a transaction");
    let number: String = match transaction.query_one("select next_invoice($1)", &[&tenant]).await {
        Ok(row) => row.get(0),
        Err(error) if error.code().is_some_and(|code| code.code() == "SRT01") => return Err(Again::Retired),
        Err(error) => panic!("{error:?}"),
    };
    let insert = "insert into invoices values ($1, $2, $3, date '2026-03-02')";
    transaction
        .execute(insert, &[&payment, &tenant, &number])
        .await
        .expect("an invoice");
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

/// The guide's switch: one transaction locks the old counters, adopts the rest, and retires the function.
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
        "else: rollback, and the old function goes on: {imported:?}"
    );
    transaction
        .batch_execute(RETIRED_FUNCTION)
        .await
        .expect("another function");
    transaction.commit().await.expect("a commit");
}

/// The guide's way back: the service is stopped, the old counters are set to where it was, the function is back.
pub async fn way_back(shop: &Shop, desk: &Desk, service: Service) {
    tokio::task::block_in_place(|| service.stop());
    let counters = tokio::task::block_in_place(|| desk.ok(&["counters", "invoice"]));
    let mut client = shop.connect().await;
    let transaction = client.transaction().await.expect("a transaction");
    for line in counters.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let (tenant, last) = (columns[1], columns[5].parse::<i64>().expect("a seq"));
        let set = "update invoice_counters set last = greatest(last, $2) where tenant = $1";
        transaction.execute(set, &[&tenant, &last]).await.expect("the counter");
    }
    transaction.batch_execute(OLD_FUNCTION).await.expect("the old function");
    let grant = "grant execute on function next_invoice(text) to public";
    transaction.batch_execute(grant).await.expect("the grant");
    transaction.commit().await.expect("a commit");
}
