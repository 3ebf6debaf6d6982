//! The PDF says what the document says, and a bad template harms nobody.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use seriatim_receipt::{Folder, FolderError, Issued, Pool, PoolOptions, Receipt, RenderError, Template, sample};

fn options() -> PoolOptions {
    PoolOptions {
        children_max: 1,
        ..PoolOptions::new(env!("CARGO_BIN_EXE_seriatim-render-receipts"), [""; 0])
    }
}

/// A template folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(place.path().join(name), text).unwrap();
    }
    place
}

fn load(main: &str) -> Result<Template, RenderError> {
    Template::load(Folder::read(folder(&[("receipt.typ", main)]).path()).unwrap())
}

fn start(main: &str, options: PoolOptions) -> Result<Pool, RenderError> {
    Pool::start(Folder::read(folder(&[("receipt.typ", main)]).path()).unwrap(), options)
}

fn receipt(number: &str, document: &Value) -> Receipt {
    let issued = Issued {
        number: number.to_string(),
        date: "2025-11-20".parse().unwrap(),
    };
    Receipt::read(&document.to_string(), issued, sample::paid()).unwrap()
}

static BUILTIN: LazyLock<Template> = LazyLock::new(|| Template::load(Folder::builtin()).unwrap());

fn pdftotext(pdf: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), pdf).unwrap();
    let said = Command::new("pdftotext")
        .args(["-layout", "-enc", "UTF-8"])
        .arg(file.path())
        .arg("-")
        .output();
    let said = said.expect("pdftotext is in the Debian package poppler-utils");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

/// Spaces are layout, and joiners are how a script is typed; what remains is what a reader reads.
fn bare(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200d}' | '\u{feff}'))
        .collect()
}

/// Whether a text is in another.
fn assert_says(text: &str, what: &str) {
    assert!(bare(text).contains(&bare(what)), "no {what:?} in\n{text}");
}

/// Every text and every amount of the document that is printed.
fn said(printed: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut said = vec![
        text(&printed["number"]),
        text(&printed["date"]["text"]),
        text(&printed["title"]),
    ];
    for party in [&printed["seller"], &printed["buyer"]] {
        said.push(text(&party["name"]));
        said.extend(party["address"].as_array().into_iter().flatten().map(text));
        said.extend(
            party["tax_ids"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|id| text(&id["value"])),
        );
    }
    for line in printed["lines"].as_array().unwrap() {
        said.extend([text(&line["description"]), text(&line["code"]), text(&line["quantity"])]);
        said.extend([text(&line["unit_price"]["text"]), text(&line["amount"]["text"])]);
    }
    for tax in printed["taxes"].as_array().unwrap() {
        said.extend([
            text(&tax["label"]),
            text(&tax["base"]["text"]),
            text(&tax["amount"]["text"]),
        ]);
    }
    said.extend(
        printed["discounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|discount| text(&discount["label"])),
    );
    said.extend(printed["notes"].as_array().unwrap().iter().map(text));
    let totals = &printed["totals"];
    said.extend([
        text(&totals["subtotal"]["text"]),
        text(&totals["total"]["money"]),
        text(&totals["in_words"]),
    ]);
    said.extend([
        text(&printed["payment"]["reference"]),
        text(&printed["payment"]["at"]["text"]),
    ]);
    said
}

#[test]
fn the_text_of_the_pdf_is_that_of_the_document() {
    let receipt = sample::receipt().unwrap();
    let text = pdftotext(&BUILTIN.render(&receipt).unwrap());
    for what in said(&receipt.printed()) {
        assert_says(&text, &what);
    }
    for what in ["₹4,300.00", "श्रीमती", "Page 1 of 1", "20 November 2025, 16:38"] {
        assert_says(&text, what);
    }
}

#[test]
fn euros_and_vat_read_as_in_their_locale() {
    let receipt = receipt("RE-2025-118", &euros());
    let text = pdftotext(&BUILTIN.render(&receipt).unwrap());
    for what in said(&receipt.printed()) {
        assert_says(&text, &what);
    }
    assert_says(&text, "1.309,00 €");
    assert_says(&text, "Πειραιάς Москва");
}

#[test]
fn long_receipts_have_a_header_and_a_page_number_on_each_page() {
    let receipt = receipt("INV-2526-00120", &long(120));
    let text = pdftotext(&BUILTIN.render(&receipt).unwrap());
    let pages: Vec<&str> = text.split('\u{c}').filter(|page| !page.trim().is_empty()).collect();
    assert!(pages.len() >= 3, "{}", pages.len());
    for (at, page) in pages.iter().enumerate() {
        assert_says(page, &format!("Page {} of {}", at + 1, pages.len()));
        assert_says(page, "INV-2526-00120");
    }
    for page in &pages[..2] {
        assert_says(page, "Description");
    }
    for line in 1..=120 {
        assert_says(&text, &format!("Article number {line} of many"));
    }
}

#[test]
fn an_unbroken_word_stays_on_the_page() {
    let mut document = euros();
    let word = "Donaudampfschifffahrtsgesellschaft".repeat(12);
    document["lines"][0]["description"] = json!(word);
    document["seller"]["name"] = json!("W".repeat(150));
    document["notes"] = json!(["n".repeat(400)]);
    let text = pdftotext(&BUILTIN.render(&receipt("R-1", &document)).unwrap());
    for what in [word.as_str(), &"W".repeat(150), &"n".repeat(400)] {
        let count = |text: &str| text.chars().filter(|c| what.contains(*c)).count();
        assert!(count(&text) >= count(what), "letters are missing in\n{text}");
    }
}

#[test]
fn the_same_receipt_is_the_same_bytes_in_any_process() {
    let receipt = sample::receipt().unwrap();
    let here = BUILTIN.render(&receipt).unwrap();
    let pool = Pool::start(Folder::builtin(), options()).unwrap();
    for _ in 0..3 {
        assert!(pool.render(&receipt).unwrap() == here, "the bytes differ");
        assert!(BUILTIN.render(&receipt).unwrap() == here, "the bytes differ");
    }
    assert!(pool.render(&self::receipt("OTHER", &euros())).unwrap() != here);
    assert!(
        pool.render(&receipt).unwrap() == here,
        "the bytes differ after another receipt"
    );
}

#[test]
fn the_number_is_the_title_whatever_the_template_says() {
    let template = load("#set document(title: \"mine\")\nhello").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), template.render(&sample::receipt().unwrap()).unwrap()).unwrap();
    let said = Command::new("pdfinfo").arg(file.path()).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.lines()
            .any(|line| line.starts_with("Title:") && line.ends_with("INV-2526-00001")),
        "{said}"
    );
    assert!(
        said.lines()
            .any(|line| line.starts_with("CreationDate:") && line.contains("Nov 20") && line.contains("2025")),
        "{said}"
    );
}

#[test]
fn a_template_asks_for_today_and_gets_the_date_of_the_document() {
    let template = load("#datetime.today().display()").unwrap();
    assert_says(
        &pdftotext(&template.render(&sample::receipt().unwrap()).unwrap()),
        "2025-11-20",
    );
}

#[test]
fn a_mistake_is_named_with_file_line_and_column_before_the_first_payment() {
    let error = load("hello\n  #let x = \n").map(|_| ()).unwrap_err();
    assert!(
        error.to_string().starts_with("receipt template: receipt.typ:2:"),
        "{error}"
    );
    let error = load("#let r = json(\"receipt.json\")\n\n   #r.nmber")
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("receipt.typ:3:") && error.contains("nmber"), "{error}");
    let place = folder(&[("receipt.typ", "#include \"part.typ\""), ("part.typ", "ok\n\n#foo()")]);
    let folder = Folder::read(place.path()).unwrap();
    let error = Pool::start(folder, options()).map(|_| ()).unwrap_err();
    assert!(
        error.to_string().contains("part.typ:3:2: unknown variable: foo"),
        "{error}"
    );
}

#[test]
fn a_template_reads_its_own_folder_and_nothing_else() {
    let secret = folder(&[("secret.txt", "s3cret")]);
    let absolute = secret.path().join("secret.txt").display().to_string();
    let paths = [
        "../secret.txt",
        "../../../../etc/passwd",
        "/etc/passwd",
        &absolute,
        "/../etc/passwd",
        "part/../../x",
    ];
    for path in paths {
        let error = load(&format!("\n#read(\"{path}\")"))
            .map(|_| ())
            .expect_err(path)
            .to_string();
        assert!(error.contains("receipt.typ:2:"), "{path}: {error}");
        assert!(!error.contains("s3cret") && !error.contains("root:"), "{error}");
    }
    let place = folder(&[("receipt.typ", "#read(\"own.txt\")"), ("own.txt", "our terms")]);
    let template = Template::load(Folder::read(place.path()).unwrap()).unwrap();
    assert_says(
        &pdftotext(&template.render(&sample::receipt().unwrap()).unwrap()),
        "our terms",
    );
}

#[test]
fn a_symbolic_link_in_a_template_is_refused_by_name() {
    let secret = folder(&[("secret.txt", "s3cret")]);
    let place = folder(&[("receipt.typ", "#read(\"link.txt\")")]);
    symlink(secret.path().join("secret.txt"), place.path().join("link.txt")).unwrap();
    let error = Folder::read(place.path()).unwrap_err();
    assert!(error.to_string().contains("link.txt: is a symbolic link"), "{error}");
    fs::remove_file(place.path().join("link.txt")).unwrap();
    symlink(secret.path(), place.path().join("linked")).unwrap();
    assert!(matches!(Folder::read(place.path()), Err(FolderError::Refused { .. })));
}

#[test]
fn a_folder_that_is_no_template_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let error = Folder::read(empty.path()).unwrap_err().to_string();
    assert!(error.contains("has no file receipt.typ"), "{error}");
    let error = Folder::read(Path::new("/nowhere/at/all")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all"), "{error}");
    let place = folder(&[("receipt.typ", "x"), ("large.bin", "")]);
    fs::File::options()
        .write(true)
        .open(place.path().join("large.bin"))
        .unwrap()
        .set_len(9 << 20)
        .unwrap();
    let error = Folder::read(place.path()).unwrap_err().to_string();
    assert!(error.contains("8 MiB"), "{error}");
}

#[test]
fn a_package_is_refused_and_nothing_is_fetched() {
    let error = load("#import \"@preview/tablex:0.0.8\": tablex")
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("receipt.typ:1:") && error.contains("packages are not fetched"),
        "{error}"
    );
}

/// What a template does only once the number is this one, so that it passes the sample.
fn only_for_bad(code: &str) -> String {
    format!("#let r = json(\"receipt.json\")\nfine\n#if r.number == \"BAD\" {{ {code} }}")
}

fn bad() -> Receipt {
    receipt("BAD", &euros())
}

#[test]
fn an_endless_template_is_stopped_and_the_pool_goes_on() {
    let endless = "for a in range(100000) { for b in range(100000) { let c = a * b } }";
    let options = PoolOptions {
        render_within: Duration::from_secs(1),
        ..options()
    };
    let pool = start(&only_for_bad(endless), options).unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(
            pool.render(&bad()),
            Err(RenderError::TooSlow {
                after: Duration::from_secs(1)
            })
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        pool.render(&sample::receipt().unwrap()).unwrap();
    }
}

#[test]
fn a_template_that_is_endless_from_the_start_is_known_at_the_start() {
    let endless = "#for a in range(100000) { for b in range(100000) { let c = a * b } }";
    let options = PoolOptions {
        start_within: Duration::from_secs(2),
        ..options()
    };
    let error = start(endless, options).map(|_| ()).unwrap_err();
    assert_eq!(
        error,
        RenderError::TooSlow {
            after: Duration::from_secs(2)
        }
    );
}

#[test]
fn while_true_and_endless_recursion_are_named_with_their_line() {
    for code in ["while true {}", "let f() = f(); f()"] {
        let pool = start(&only_for_bad(code), options()).unwrap();
        let error = pool.render(&bad()).unwrap_err();
        assert!(
            matches!(&error, RenderError::Template(faults) if faults[0].line == 3),
            "{code}: {error}"
        );
        pool.render(&sample::receipt().unwrap()).unwrap();
    }
}

#[test]
fn a_template_that_eats_memory_is_stopped_and_the_pool_goes_on() {
    // Long, so that it is the memory that ends on a slow machine, too.
    let options = PoolOptions {
        render_within: Duration::from_secs(60),
        ..options()
    };
    for code in ["let s = \"x\" * 2000000000", "let all = range(200000000)"] {
        let pool = start(&only_for_bad(code), options.clone()).unwrap();
        let error = pool.render(&bad()).unwrap_err();
        assert!(
            matches!(&error, RenderError::Died { said, .. } if said.contains("memory")),
            "{code}: {error}"
        );
        pool.render(&sample::receipt().unwrap()).unwrap();
    }
}

#[test]
fn a_child_that_is_killed_while_idle_is_replaced() {
    let pool = Pool::start(Folder::builtin(), options()).unwrap();
    let [child] = pool.idle()[..] else { panic!("one child") };
    let killed = Command::new("kill").args(["-9", &child.to_string()]).status().unwrap();
    assert!(killed.success());
    std::thread::sleep(Duration::from_millis(200));
    pool.render(&sample::receipt().unwrap()).unwrap();
    assert_ne!(pool.idle(), [child]);
}

#[test]
fn a_child_that_is_paused_is_stopped_at_the_deadline() {
    let options = PoolOptions {
        render_within: Duration::from_secs(1),
        ..options()
    };
    let pool = Pool::start(Folder::builtin(), options).unwrap();
    let [child] = pool.idle()[..] else { panic!("one child") };
    assert!(
        Command::new("kill")
            .args(["-STOP", &child.to_string()])
            .status()
            .unwrap()
            .success()
    );
    // More than a pipe holds, so that sending it blocks, too.
    let error = pool.render(&receipt("LONG", &long(500))).unwrap_err();
    assert!(matches!(error, RenderError::TooSlow { .. }), "{error}");
    assert!(pool.idle().is_empty());
}

#[test]
fn many_callers_share_few_children() {
    let pool = Pool::start(
        Folder::builtin(),
        PoolOptions {
            children_max: 2,
            ..options()
        },
    )
    .unwrap();
    let expected = BUILTIN.render(&sample::receipt().unwrap()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(pool.render(&sample::receipt().unwrap()).unwrap() == expected));
        }
    });
    assert!(pool.idle().len() <= 2);
}

#[test]
fn a_program_that_is_not_there_or_says_nonsense_is_an_error() {
    let error = Pool::start(Folder::builtin(), PoolOptions::new("/nowhere/seriatim", [""; 0]))
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(&error, RenderError::Unavailable(said) if said.contains("/nowhere/seriatim")),
        "{error}"
    );
    for nonsense in ["echo nonsense that is no frame", "exit 3"] {
        let options = PoolOptions::new("/bin/sh", ["-c", nonsense]);
        let error = Pool::start(Folder::builtin(), options).map(|_| ()).unwrap_err();
        assert!(matches!(error, RenderError::Died { .. }), "{nonsense}: {error}");
    }
}

fn euros() -> Value {
    json!({
        "title": "Rechnung und Quittung", "currency": "EUR", "locale": "de-DE",
        "seller": {"name": "Köhler & Söhne GmbH", "address": ["Größe Übermaß Ærøskøbing", "Łódź Πειραιάς Москва"],
            "tax_ids": [{"label": "USt-IdNr.", "value": "DE123456789"}]},
        "buyer": {"name": "Zoë Müller", "address": ["Hauptstraße 5", "10115 Berlin"]},
        "lines": [
            {"description": "Bürostuhl", "quantity": 4, "unit": "Stk", "unit_price": 25000, "amount": 100000},
            {"description": "Lieferung", "quantity": 1, "unit_price": 10000, "amount": 10000}
        ],
        "taxes": [{"label": "USt", "rate": 19, "base": 110000, "amount": 20900}],
        "totals": {"subtotal": 110000, "tax": 20900, "total": 130900}
    })
}

fn long(lines: i64) -> Value {
    let line = |at: i64| {
        json!({
            "description": format!("Article number {at} of many"), "code": "998314",
            "quantity": at, "unit": "pc", "unit_price": 12345, "amount": at * 12345,
        })
    };
    let total = lines * (lines + 1) / 2 * 12345;
    json!({
        "title": "Tax invoice", "currency": "INR", "locale": "en-IN",
        "seller": {"name": "Long List Traders"}, "buyer": {"name": "A buyer"},
        "lines": (1..=lines).map(line).collect::<Vec<_>>(),
        "totals": {"subtotal": total, "total": total}
    })
}
