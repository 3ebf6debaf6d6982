//! The words of a line: quoting, escapes, and the settings that a verb takes out one by one.

use std::collections::BTreeMap;

/// The words of one command, taken out as they are understood; what is left was not.
pub(super) struct Words {
    plain: Vec<String>,
    named: Vec<(String, String)>,
}

impl Words {
    pub(super) fn of(words: Vec<Word>) -> Self {
        let (mut plain, mut named) = (Vec::new(), Vec::new());
        for word in words {
            match word {
                Word::Plain(text) => plain.push(text),
                Word::Named(name, value) => named.push((name, value)),
            }
        }
        plain.reverse();
        Self { plain, named }
    }

    /// The next word that has no name.
    pub(super) fn next(&mut self, what: &str) -> Result<String, String> {
        self.plain.pop().ok_or_else(|| format!("the {what} is missing"))
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        let at = self.plain.iter().position(|word| word == name);
        at.map(|at| self.plain.remove(at)).is_some()
    }

    pub(super) fn get(&mut self, name: &str) -> Option<String> {
        let at = self.named.iter().position(|(known, _)| known == name)?;
        Some(self.named.remove(at).1)
    }

    pub(super) fn require(&mut self, name: &str) -> Result<String, String> {
        self.get(name).ok_or_else(|| format!("{name}=… is missing"))
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let parse = |text: String| text.parse().map_err(|_| format!("{name}={text} is not a number"));
        self.get(name).map(parse).transpose()
    }

    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let text = self.get(name).unwrap_or_default();
        text.split(',')
            .filter(|part| !part.is_empty())
            .map(str::to_string)
            .collect()
    }

    /// Everything with a name that is left: params.
    pub(super) fn params(&mut self) -> BTreeMap<String, String> {
        let named = std::mem::take(&mut self.named);
        let plain = |(name, value): (String, String)| (name.strip_prefix("p.").unwrap_or(&name).to_string(), value);
        named.into_iter().map(plain).collect()
    }

    /// Everything with a name that is left.
    pub(super) fn rest(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.named)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), String> {
        match (self.plain.last(), self.named.first()) {
            (None, None) => Ok(()),
            (Some(word), _) => Err(format!("`{word}` is one word too many")),
            (None, Some((name, _))) => Err(format!("`{name}=` is no word of this verb")),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Plain(String),
    Named(String, String),
}

/// Splits a line into words.
pub(super) fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut begun: Option<(String, Option<usize>)> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                begun.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(begun.take().map(word).transpose()?),
            c => {
                let (text, equals) = begun.get_or_insert_default();
                if c == '=' && !quoted && equals.is_none() {
                    *equals = Some(text.len());
                }
                text.push(c);
            }
        }
    }
    if quoted {
        return Err("a quote is left open".to_string());
    }
    words.extend(begun.map(word).transpose()?);
    Ok(words)
}

fn word((text, equals): (String, Option<usize>)) -> Result<Word, String> {
    match equals {
        None => Ok(Word::Plain(spell_out(&text)?)),
        Some(at) => Ok(Word::Named(text[..at].to_string(), spell_out(&text[at + 1..])?)),
    }
}

/// `\u{202e}` and `repeat(x,300)`.
fn spell_out(text: &str) -> Result<String, String> {
    let text = replace_all(text, "\\u{", "}", |code| {
        let c = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
        c.map(String::from)
            .ok_or_else(|| format!("\\u{{{code}}} is not a character"))
    })?;
    replace_all(&text, "repeat(", ")", |inside| {
        let (what, times) = inside.rsplit_once(',').ok_or("write repeat(text,times)")?;
        let times: usize = times
            .parse()
            .map_err(|_| format!("`{times}` is not a number of times"))?;
        Ok(what.repeat(times))
    })
}

fn replace_all(
    text: &str,
    open: &str,
    close: &str,
    replace: impl Fn(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut spelled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        let (inside, after) = after
            .split_once(close)
            .ok_or_else(|| format!("`{open}` is left open"))?;
        spelled = spelled + before + &replace(inside)?;
        rest = after;
    }
    Ok(spelled + rest)
}
