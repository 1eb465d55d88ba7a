//! Words, where they occur, and how much that says: BM25 (Robertson and Zaragoza 2009).

use std::collections::BTreeMap;

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
    lengths: Vec<u32>,
    total: u64,
}

impl Terms {
    /// Adds an entry's words, each with its weight.
    pub(super) fn add(&mut self, entry: u32, words: &[(String, u32)]) {
        let mut length = 0;
        for (word, weight) in words {
            self.postings
                .entry(word.clone())
                .or_default()
                .push((entry, *weight));
            length += weight;
        }
        self.total += u64::from(length);
        let at = entry as usize;
        if self.lengths.len() <= at {
            self.lengths.resize(at + 1, 0);
        }
        self.lengths[at] = length;
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
        if let Some(length) = self.lengths.get_mut(entry as usize) {
            self.total -= u64::from(std::mem::take(length));
        }
    }

    /// The entries with all words of a query, and how well each fits; `None`: the query has no words. `places`: how many
    /// numbers entries have.
    pub(super) fn rank(
        &self,
        query: &str,
        entries: usize,
        places: usize,
    ) -> Option<Vec<(u32, f64)>> {
        let query: Vec<String> = words(query).take(MAX_WORDS).collect();
        if query.is_empty() {
            return None;
        }
        let mean = self.total as f64 / entries.max(1) as f64;
        // How many words an entry has so far, and what they say together; and the best of the present word.
        let mut hits = vec![(0u32, 0.0f64); places];
        let mut best = vec![0.0f64; places];
        let mut touched: Vec<u32> = Vec::new();
        for (number, word) in query.iter().enumerate() {
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
                    let at = *entry as usize;
                    if hits[at].0 != number as u32 {
                        continue;
                    }
                    let length = f64::from(self.lengths[at]);
                    let weight = f64::from(*weight);
                    let often = weight * (K1 + 1.0) / (weight + K1 * (1.0 - B + B * length / mean));
                    if best[at] == 0.0 {
                        touched.push(*entry);
                    }
                    best[at] = best[at].max(worth * rarity * often);
                }
            }
            for entry in touched.iter() {
                let at = *entry as usize;
                hits[at].0 += 1;
                hits[at].1 += std::mem::take(&mut best[at]);
            }
            if number + 1 < query.len() {
                touched.clear();
            }
        }
        // Those with the last word; whoever lacks an earlier one was left out on the way.
        Some(
            touched
                .into_iter()
                .map(|entry| (entry, hits[entry as usize].1))
                .collect(),
        )
    }
}
