//! Judges a run from two sides: what was answered, and what is stored afterwards.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Every answer: key, number, and whether it was marked as given before.
#[derive(Debug, Default)]
pub struct Answers(Vec<(String, String, bool)>);

impl Answers {
    /// One more.
    pub fn push(&mut self, key: String, number: String, replayed: bool) {
        self.0.push((key, number, replayed));
    }

    /// Those of another client.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

/// One stored number.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its count: a series has one for each period.
    pub counter: String,
    /// The integer.
    pub seq: u64,
    /// The text.
    pub number: String,
    /// Whose it is.
    pub key: Option<String>,
}

/// What the run shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Different numbers that were answered.
    pub numbers: u64,
    /// Answers that were marked as given before.
    pub replays: u64,
    /// Numbers that two keys got, or that are stored twice.
    pub duplicates: u64,
    /// Seqs between the first and the last stored that are not there.
    pub holes: u64,
    /// Keys that got two numbers.
    pub split_keys: u64,
    /// Answered numbers that are not stored for their key.
    pub lost: u64,
}

impl Proof {
    /// Compares what was answered with what is stored.
    pub fn of(answers: &Answers, stored: &[Stored]) -> Self {
        let mut numbers_of: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        let mut keys_of: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for (key, number, _) in &answers.0 {
            numbers_of.entry(key).or_default().insert(number);
            keys_of.entry(number).or_default().insert(key);
        }
        let several = |sets: &HashMap<&str, BTreeSet<&str>>| count(sets.values().filter(|set| set.len() > 1));
        let stored_key: HashMap<&str, Option<&str>> = stored
            .iter()
            .map(|entry| (entry.number.as_str(), entry.key.as_deref()))
            .collect();
        let is_lost = |(number, keys): &(&&str, &BTreeSet<&str>)| {
            stored_key
                .get(**number)
                .is_none_or(|key| !key.is_some_and(|key| keys.contains(key)))
        };
        Self {
            numbers: count(keys_of.keys()),
            replays: count(answers.0.iter().filter(|(_, _, replayed)| *replayed)),
            duplicates: several(&keys_of) + count(stored.iter()) - count(stored_key.keys()),
            holes: holes(stored),
            split_keys: several(&numbers_of),
            lost: count(keys_of.iter().filter(is_lost)),
        }
    }

    /// Whether every promise was kept.
    pub fn holds(&self) -> bool {
        self.duplicates == 0 && self.holes == 0 && self.split_keys == 0 && self.lost == 0
    }
}

fn count(things: impl Iterator) -> u64 {
    things.count() as u64
}

fn holes(stored: &[Stored]) -> u64 {
    let mut seqs: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for entry in stored {
        seqs.entry(&entry.counter).or_default().insert(entry.seq);
    }
    let missing = |seqs: &BTreeSet<u64>| match (seqs.first(), seqs.last()) {
        (Some(first), Some(last)) => last - first + 1 - seqs.len() as u64,
        _ => 0,
    };
    seqs.values().map(missing).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(answers: &[(&str, &str, bool)], stored: &[(u64, &str, &str)]) -> Proof {
        let answers = answers
            .iter()
            .map(|(key, number, replayed)| (key.to_string(), number.to_string(), *replayed));
        let stored = stored.iter().map(|(seq, number, key)| Stored {
            counter: "bench".to_string(),
            seq: *seq,
            number: number.to_string(),
            key: Some(key.to_string()),
        });
        Proof::of(&Answers(answers.collect()), &stored.collect::<Vec<_>>())
    }

    #[test]
    fn an_honest_run_passes() {
        let proof = judge(
            &[("a", "1", false), ("a", "1", true), ("b", "2", false)],
            &[(1, "1", "a"), (2, "2", "b")],
        );
        assert_eq!((proof.numbers, proof.replays), (2, 1));
        assert!(proof.holds());
    }

    #[test]
    fn every_broken_promise_is_seen() {
        let twice = judge(&[("a", "1", false), ("b", "1", false)], &[(1, "1", "a")]);
        assert_eq!(twice.duplicates, 1);
        let split = judge(&[("a", "1", false), ("a", "2", false)], &[(1, "1", "a"), (2, "2", "a")]);
        assert_eq!(split.split_keys, 1);
        let hole = judge(&[("a", "1", false), ("b", "3", false)], &[(1, "1", "a"), (3, "3", "b")]);
        assert_eq!(hole.holes, 1);
        let lost = judge(&[("a", "1", false), ("b", "2", false)], &[(1, "1", "a")]);
        assert_eq!(lost.lost, 1);
        let stored_twice = judge(&[("a", "1", false)], &[(1, "1", "a"), (2, "1", "a")]);
        assert_eq!(stored_twice.duplicates, 1);
    }
}
