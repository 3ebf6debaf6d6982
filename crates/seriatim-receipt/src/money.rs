//! Amounts in minor units, as people of a place read them. It knows no receipt.

/// A currency of ISO 4217 and how many digits its minor unit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency {
    code: &'static str,
    digits: u8,
}

/// The active codes of ISO 4217 that money is paid in, so that a slip of the pen is not printed.
const CODES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF \
    CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG \
    HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD \
    MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF \
    SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS \
    VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";
const WITHOUT_MINOR: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
const OF_THOUSAND: &str = "BHD IQD JOD KWD LYD OMR TND";

impl Currency {
    /// The currency of a code such as `INR`; nothing if ISO 4217 has none.
    pub fn of(code: &str) -> Option<Self> {
        let code = CODES.split(' ').find(|known| *known == code)?;
        let is_in = |list: &str| list.split(' ').any(|known| known == code);
        let digits = match (is_in(WITHOUT_MINOR), is_in(OF_THOUSAND)) {
            (true, _) => 0,
            (_, true) => 3,
            _ => 2,
        };
        Some(Self { code, digits })
    }

    /// Three letters, `INR`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// How many digits the minor unit has: 2 for INR, 0 for JPY, 3 for KWD.
    pub fn digits(&self) -> u8 {
        self.digits
    }

    /// What stands beside an amount: a sign where it is plain whose it is, else the code.
    pub fn sign(&self) -> &'static str {
        match self.code {
            "INR" => "₹",
            "EUR" => "€",
            "GBP" => "£",
            "USD" => "$",
            "JPY" => "¥",
            code => code,
        }
    }
}

/// How digits are grouped, and where the sign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manner {
    group: &'static str,
    point: &'static str,
    /// 12,34,567 rather than 1,234,567.
    lakh: bool,
    /// `1.234,56 €` rather than `€1,234.56`.
    sign_last: bool,
}

const fn manner(group: &'static str, point: &'static str, lakh: bool, sign_last: bool) -> Manner {
    Manner {
        group,
        point,
        lakh,
        sign_last,
    }
}

/// Places that are not named here read 1,234.56.
fn manner_of(locale: &str) -> Manner {
    let mut parts = locale.split('-');
    let language = parts.next().unwrap_or_default();
    let region = parts.next_back().unwrap_or_default();
    match (language, region) {
        (_, "IN") => manner(",", ".", true, false),
        (_, "CH" | "LI") => manner("’", ".", false, false),
        ("es", "MX" | "US") => manner(",", ".", false, false),
        ("de" | "nl" | "da" | "es" | "it" | "pt" | "el" | "tr" | "id" | "ro" | "hr" | "sl", _) => {
            manner(".", ",", false, true)
        }
        // A no-break space, so that an amount never ends in the next line.
        ("fr" | "sv" | "nb" | "no" | "fi" | "pl" | "cs" | "sk" | "hu" | "bg" | "uk" | "ru" | "et" | "lv" | "lt", _) => {
            manner("\u{a0}", ",", false, true)
        }
        _ => manner(",", ".", false, false),
    }
}

/// An amount in digits as the locale writes it: `1,23,456.00` for 12345600 in INR and `en-IN`.
pub fn digits(minor: i64, currency: Currency, locale: &str) -> String {
    let manner = manner_of(locale);
    let unit = 10u64.pow(u32::from(currency.digits));
    let whole = grouped(minor.unsigned_abs() / unit, manner);
    let sign = if minor < 0 { "-" } else { "" };
    if currency.digits == 0 {
        return format!("{sign}{whole}");
    }
    let width = usize::from(currency.digits);
    let part = minor.unsigned_abs() % unit;
    format!("{sign}{whole}{}{part:0width$}", manner.point)
}

/// An amount with its currency as the locale writes it: `₹1,23,456.00`, `1.234,56 €`, `CHF 1’234.56`.
pub fn money(minor: i64, currency: Currency, locale: &str) -> String {
    let text = digits(minor, currency, locale);
    let sign = currency.sign();
    if manner_of(locale).sign_last {
        return format!("{text}\u{a0}{sign}");
    }
    let space = if sign.len() == 3 && sign.is_ascii() {
        "\u{a0}"
    } else {
        ""
    };
    match text.strip_prefix('-') {
        Some(text) => format!("-{sign}{space}{text}"),
        None => format!("{sign}{space}{text}"),
    }
}

fn grouped(whole: u64, manner: Manner) -> String {
    let plain = whole.to_string();
    let (head, tail) = plain.split_at(plain.len().saturating_sub(3));
    let size = if manner.lakh { 2 } else { 3 };
    let mut groups: Vec<&str> = Vec::new();
    let mut rest = head;
    while !rest.is_empty() {
        let (before, group) = rest.split_at(rest.len().saturating_sub(size));
        groups.push(group);
        rest = before;
    }
    groups.reverse();
    groups.push(tail);
    groups.join(manner.group)
}

/// A decimal such as `1.5` with the locale's own point.
pub(crate) fn decimal(text: &str, locale: &str) -> String {
    text.replace('.', manner_of(locale).point)
}

/// Rupees in words, as Indian invoices have it; nothing for other currencies.
pub fn in_words(minor: i64, currency: Currency) -> Option<String> {
    if currency.code != "INR" || minor < 0 {
        return None;
    }
    let minor = minor.unsigned_abs();
    let mut words = vec!["Rupees".to_string(), indian(minor / 100)];
    if !minor.is_multiple_of(100) {
        words.push(format!("and paise {}", indian(minor % 100)));
    }
    words.push("only".to_string());
    Some(words.join(" "))
}

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = [
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

fn indian(n: u64) -> String {
    for (size, name) in [
        (10_000_000, "crore"),
        (100_000, "lakh"),
        (1_000, "thousand"),
        (100, "hundred"),
    ] {
        if n >= size {
            let head = format!("{} {name}", indian(n / size));
            let rest = n % size;
            return if rest == 0 {
                head
            } else {
                format!("{head} {}", indian(rest))
            };
        }
    }
    let word = |list: &[&'static str], at: u64| usize::try_from(at).ok().and_then(|at| list.get(at).copied());
    if n < 20 {
        return word(&SMALL, n).unwrap_or_default().to_string();
    }
    let tens = word(&TENS, n / 10).unwrap_or_default();
    match n % 10 {
        0 => tens.to_string(),
        one => format!("{tens}-{}", word(&SMALL, one).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::of(code).unwrap()
    }

    #[test]
    fn amounts_are_grouped_as_their_locale_reads_them() {
        let cases = [
            (12_345_600, "INR", "en-IN", "1,23,456.00", "₹1,23,456.00"),
            (12_345_678_900, "INR", "hi-IN", "12,34,56,789.00", "₹12,34,56,789.00"),
            (99_999, "INR", "en-IN", "999.99", "₹999.99"),
            (100_000, "INR", "en-IN", "1,000.00", "₹1,000.00"),
            (12_345_600, "INR", "en-US", "123,456.00", "₹123,456.00"),
            (123_456, "EUR", "en-IE", "1,234.56", "€1,234.56"),
            (123_456_789, "EUR", "de-DE", "1.234.567,89", "1.234.567,89\u{a0}€"),
            (123_456, "EUR", "fr-FR", "1\u{a0}234,56", "1\u{a0}234,56\u{a0}€"),
            (123_456, "CHF", "de-CH", "1’234.56", "CHF\u{a0}1’234.56"),
            (1_234_567, "JPY", "ja-JP", "1,234,567", "¥1,234,567"),
            (1_234_567, "KWD", "en", "1,234.567", "KWD\u{a0}1,234.567"),
            (-5, "USD", "en-US", "-0.05", "-$0.05"),
            (0, "INR", "en-IN", "0.00", "₹0.00"),
            (
                i64::MIN,
                "JPY",
                "en",
                "-9,223,372,036,854,775,808",
                "-¥9,223,372,036,854,775,808",
            ),
        ];
        for (minor, code, locale, plain, with_sign) in cases {
            assert_eq!(digits(minor, currency(code), locale), plain, "{minor} {code} {locale}");
            assert_eq!(
                money(minor, currency(code), locale),
                with_sign,
                "{minor} {code} {locale}"
            );
        }
    }

    #[test]
    fn a_currency_that_does_not_exist_is_none() {
        for code in ["INT", "inr", "", "EURO", "XXX", "INR EUR"] {
            assert_eq!(Currency::of(code), None, "{code}");
        }
    }

    #[test]
    fn rupees_are_said_in_lakh_and_crore() {
        let cases = [
            (0, "Rupees zero only"),
            (100, "Rupees one only"),
            (
                12_345_650,
                "Rupees one lakh twenty-three thousand four hundred fifty-six and paise fifty only",
            ),
            (1_000_000_000, "Rupees one crore only"),
            (1_901, "Rupees nineteen and paise one only"),
            (
                1_234_567_890_100,
                "Rupees one thousand two hundred thirty-four crore fifty-six lakh seventy-eight thousand nine hundred one only",
            ),
        ];
        for (minor, words) in cases {
            assert_eq!(in_words(minor, currency("INR")).as_deref(), Some(words));
        }
        assert_eq!(in_words(100, currency("EUR")), None);
    }
}
