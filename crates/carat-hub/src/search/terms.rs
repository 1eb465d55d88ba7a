//! Words, where they occur, and how much that says: BM25 (Robertson and Zaragoza 2009).

use std::collections::{BTreeMap, HashMap};

/// Most words of a query.
const MAX_WORDS: usize = 16;
/// Most words that the beginning of one may stand for.
const MAX_EXPANSIONS: usize = 256;
/// BM25: how soon more occurrences say no more.
const K1: f64 = 1.2;
/// BM25: how much long entries are discounted.
const B: f64 = 0.75;
/// What the beginning of a word is worth, against the word.
const BEGINNING: f64 = 0.5;

/// The words of a text: runs of letters and digits, in lower case.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(40).flat_map(char::to_lowercase).collect())
}

/// Postings by word.
#[derive(Debug, Default)]
pub(super) struct Terms {
    postings: BTreeMap<String, Vec<(u32, u32)>>,
    lengths: HashMap<u32, u32>,
    total: u64,
}

impl Terms {
    /// Adds an entry's words, each with its weight.
    pub(super) fn add(&mut self, entry: u32, words: &[(String, u32)]) {
        let mut length = 0;
        for (word, weight) in words {
            self.postings.entry(word.clone()).or_default().push((entry, *weight));
            length += weight;
        }
        self.total += u64::from(length);
        self.lengths.insert(entry, length);
    }

    /// Takes an entry's words out.
    pub(super) fn remove(&mut self, entry: u32, words: &[(String, u32)]) {
        for (word, _) in words {
            if let Some(list) = self.postings.get_mut(word) {
                list.retain(|(other, _)| *other != entry);
                if list.is_empty() {
                    self.postings.remove(word);
                }
            }
        }
        let length = self.lengths.remove(&entry).unwrap_or_default();
        self.total -= u64::from(length);
    }

    /// The entries with all words of a query, and how well each fits; `None`: the query has no words.
    pub(super) fn rank(&self, query: &str, entries: usize) -> Option<HashMap<u32, f64>> {
        let query: Vec<String> = words(query).take(MAX_WORDS).collect();
        let mean = self.total as f64 / entries.max(1) as f64;
        let mut all: Option<HashMap<u32, f64>> = None;
        for word in &query {
            let mut scores: HashMap<u32, f64> = HashMap::new();
            let beginning = self
                .postings
                .range(word.clone()..)
                .take_while(|(term, _)| term.starts_with(word.as_str()))
                .take(MAX_EXPANSIONS);
            for (term, list) in beginning {
                let worth = if term == word { 1.0 } else { BEGINNING };
                let count = list.len() as f64;
                let rarity = (1.0 + (entries as f64 - count + 0.5).max(0.0) / (count + 0.5)).ln();
                for (entry, weight) in list {
                    if all.as_ref().is_some_and(|all| !all.contains_key(entry)) {
                        continue;
                    }
                    let length = f64::from(self.lengths.get(entry).copied().unwrap_or_default());
                    let weight = f64::from(*weight);
                    let often = weight * (K1 + 1.0) / (weight + K1 * (1.0 - B + B * length / mean));
                    let score = scores.entry(*entry).or_default();
                    *score = score.max(worth * rarity * often);
                }
            }
            if let Some(all) = &all {
                scores.iter_mut().for_each(|(entry, score)| *score += all.get(entry).copied().unwrap_or_default());
            }
            all = Some(scores);
        }
        all
    }
}
