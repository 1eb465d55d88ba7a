//! Search in memory: words ranked by BM25, and facets. One entry for each model: its newest version.
//!
//! A query's words must all occur, each as a word or as the beginning of one. Facets are counted over everything that matches.

mod terms;

use std::collections::{BTreeMap, HashMap};

use carat_receipt::Digest;
use serde::{Deserialize, Serialize};

use crate::card::Execution;
use crate::catalogue::Record;
use crate::name::{RepoId, Version};
use terms::Terms;

/// Longest query, in characters.
pub const MAX_QUERY: usize = 256;
/// Most results of one query.
pub const MAX_LIMIT: usize = 100;
/// Most values of a facet that are listed.
const MAX_VALUES: usize = 50;

/// What is searched for. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Words.
    pub q: String,
    /// Namespace.
    pub owner: Option<String>,
    /// Task.
    pub task: Option<String>,
    /// Licence.
    pub licence: Option<String>,
    /// Operators, with commas between them: all of them are used.
    pub operators: Option<String>,
    /// `runs`, `refused`, `no-model` or `pending`.
    pub execution: Option<String>,
    /// A rung that can be had: `signature`, `replay`, `tee`, `zk`.
    pub rung: Option<String>,
    /// Median cost of that rung (of `zk` where none is named), at most, in microseconds. Models without a measurement are left out.
    pub max_cost_micros: Option<u64>,
    /// Lowest version of the default operator set.
    pub opset_min: Option<i64>,
    /// Highest version of the default operator set.
    pub opset_max: Option<i64>,
    /// Most bytes of all files.
    pub max_bytes: Option<u64>,
    /// `relevance` (with words), `newest`, `name`, `size` or `cost`.
    pub sort: Option<String>,
    /// Results to leave out.
    pub offset: usize,
    /// Results to give, at most [`MAX_LIMIT`].
    pub limit: Option<usize>,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The model.
    pub repo: RepoId,
    /// Its newest version.
    pub version: Version,
    /// Its digest.
    pub digest: Digest,
    /// First line of the description.
    pub summary: String,
    /// Task.
    pub task: String,
    /// Licence.
    pub licence: String,
    /// Version of the default operator set.
    pub opset: Option<i64>,
    /// Bytes of all files.
    pub size: u64,
    /// `runs`, `refused`, `no-model` or `pending`.
    pub execution: String,
    /// Rungs that can be had.
    pub rungs: Vec<String>,
    /// Median costs that were measured, in microseconds, by rung.
    pub cost_micros: BTreeMap<String, u64>,
    /// Files never leave.
    pub private: bool,
    /// When it was published, in Unix seconds.
    pub published: u64,
}

/// The answer to a query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// How many match.
    pub total: usize,
    /// Those asked for.
    pub hits: Vec<Hit>,
    /// Over all that match: values and how often each occurs, by facet; the most frequent ones.
    pub facets: BTreeMap<String, Vec<(String, usize)>>,
}

/// An entry: what is shown, and the numbers of its facets' values.
#[derive(Debug)]
struct Entry {
    place: usize,
    hit: Hit,
    sequence: u64,
    operators: Vec<u32>,
    task: u32,
    licence: u32,
    execution: u32,
    opset: u32,
    rungs: Vec<u32>,
    words: Vec<(String, u32)>,
}

/// Texts by number.
#[derive(Debug, Default)]
struct Names {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.to_string());
        self.numbers.insert(text.to_string(), number);
        number
    }

    /// `None`: no entry has it.
    fn known(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }
}

/// The index.
#[derive(Debug, Default)]
pub struct Index {
    entries: Vec<Option<Entry>>,
    /// In order of names, for whoever wants that order.
    places: BTreeMap<RepoId, usize>,
    free: Vec<usize>,
    names: Names,
    terms: Terms,
}

/// The conditions of a query with numbers for texts. `None`: nothing can match.
struct Conditions {
    operators: Vec<u32>,
    task: Option<u32>,
    licence: Option<u32>,
    execution: Option<u32>,
    rung: Option<u32>,
}

impl Index {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Puts a version in place of the model's entry.
    pub fn put(&mut self, record: &Record) {
        self.remove(&record.manifest.repo);
        let card = crate::card::Card::new(record, Vec::new(), None);
        let found = card.examination.as_ref();
        let execution = match found.map(|found| &found.execution) {
            None => "pending",
            Some(Execution::Runs) => "runs",
            Some(Execution::Refused { .. }) => "refused",
            Some(Execution::NoModel) => "no-model",
        };
        let facts = found.map(|found| &found.facts);
        let rungs = found.map_or(&[][..], |found| &found.rungs[..]);
        let available = || rungs.iter().filter(|rung| rung.available);
        let opset = facts.and_then(|facts| facts.opset);
        let hit = Hit {
            summary: card
                .about
                .description
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect(),
            repo: card.repo,
            version: card.version,
            digest: card.digest,
            task: card.about.task,
            licence: card.about.licence,
            opset,
            size: card.size,
            execution: execution.into(),
            rungs: available().map(|rung| rung.name.clone()).collect(),
            cost_micros: available()
                .filter_map(|rung| Some((rung.name.clone(), rung.cost.as_ref()?.p50_micros)))
                .collect(),
            private: card.private,
            published: card.published,
        };
        let operators: Vec<&String> =
            facts.map_or(Vec::new(), |facts| facts.operators.keys().collect());
        // What is in a name counts more than what is in a text.
        let mut words: BTreeMap<String, u32> = BTreeMap::new();
        let mut count = |text: &str, weight: u32| {
            terms::words(text).for_each(|word| *words.entry(word).or_default() += weight);
        };
        count(hit.repo.name(), 4);
        count(hit.repo.owner(), 2);
        count(&hit.task, 2);
        count(&card.about.description, 1);
        count(&card.about.origin, 1);
        operators.iter().for_each(|operator| count(operator, 1));
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let words: Vec<(String, u32)> = words.into_iter().collect();
        self.terms.add(place as u32, &words);
        let names = &mut self.names;
        let entry = Entry {
            place,
            sequence: record.sequence,
            operators: operators
                .iter()
                .map(|operator| names.number(operator))
                .collect(),
            task: names.number(&hit.task),
            licence: names.number(&hit.licence),
            execution: names.number(&hit.execution),
            opset: names.number(&opset.map_or(String::new(), |opset| opset.to_string())),
            rungs: hit.rungs.iter().map(|rung| names.number(rung)).collect(),
            words,
            hit,
        };
        self.places.insert(entry.hit.repo.clone(), place);
        self.entries[place] = Some(entry);
    }

    /// Takes a model out.
    pub fn remove(&mut self, repo: &RepoId) {
        let Some(place) = self.places.remove(repo) else {
            return;
        };
        if let Some(entry) = self.entries[place].take() {
            self.terms.remove(place as u32, &entry.words);
            self.free.push(place);
        }
    }

    /// Searches.
    pub fn search(&self, query: &Query) -> Found {
        let Some(conditions) = self.conditions(query) else {
            return Found::default();
        };
        let matches = |entry: &&Entry| self.holds(entry, query, &conditions);
        let ranked = self.terms.rank(&query.q, self.len(), self.entries.len());
        let by_words = ranked.is_some();
        let mut found: Vec<(&Entry, f64)> = match ranked {
            Some(scores) => scores
                .into_iter()
                .filter_map(|(place, score)| Some((self.entries[place as usize].as_ref()?, score)))
                .filter(|(entry, _)| matches(entry))
                .collect(),
            None => {
                let all = self.entries.iter().flatten();
                all.filter(matches).map(|entry| (entry, 0.0)).collect()
            }
        };
        let facets = self.facets(&found);
        let total = found.len();
        let rung = query.rung.as_deref().unwrap_or("zk");
        let cost = |entry: &Entry| entry.hit.cost_micros.get(rung).copied().unwrap_or(u64::MAX);
        let limit = query.limit.unwrap_or(20).min(MAX_LIMIT);
        let end = query.offset.saturating_add(limit);
        let newest = |a: &Entry, b: &Entry| b.sequence.cmp(&a.sequence);
        let order = query
            .sort
            .as_deref()
            .unwrap_or(if by_words { "relevance" } else { "newest" });
        if order == "name" {
            // Names are in order already: nothing is compared.
            let mut among = vec![false; self.entries.len()];
            found
                .iter()
                .for_each(|(entry, _)| among[entry.place] = true);
            let places = self.places.values().filter(|place| among[**place]);
            let shown = places.skip(query.offset).take(limit);
            let hits = shown.filter_map(|place| Some(self.entries[*place].as_ref()?.hit.clone()));
            return Found {
                total,
                hits: hits.collect(),
                facets,
            };
        }
        let compare = |(a, score_a): &(&Entry, f64), (b, score_b): &(&Entry, f64)| match order {
            "size" => a.hit.size.cmp(&b.hit.size).then_with(|| newest(a, b)),
            "cost" => cost(a).cmp(&cost(b)).then_with(|| newest(a, b)),
            "relevance" => score_b.total_cmp(score_a).then_with(|| newest(a, b)),
            _ => newest(a, b),
        };
        // Only what is shown is put in order.
        if end < found.len() {
            found.select_nth_unstable_by(end, compare);
            found.truncate(end);
        }
        found.sort_by(compare);
        let hits = found
            .into_iter()
            .skip(query.offset)
            .map(|(entry, _)| entry.hit.clone())
            .collect();
        Found {
            total,
            hits,
            facets,
        }
    }

    fn conditions(&self, query: &Query) -> Option<Conditions> {
        let known = |text: &Option<String>| match text {
            None => Some(None),
            Some(text) => self.names.known(text).map(Some),
        };
        let operators = query.operators.as_deref().unwrap_or_default();
        Some(Conditions {
            operators: operators
                .split(',')
                .map(str::trim)
                .filter(|operator| !operator.is_empty())
                .map(|operator| self.names.known(operator))
                .collect::<Option<_>>()?,
            task: known(&query.task)?,
            licence: known(&query.licence)?,
            execution: known(&query.execution)?,
            rung: known(&query.rung)?,
        })
    }

    fn holds(&self, entry: &Entry, query: &Query, conditions: &Conditions) -> bool {
        let is = |wanted: Option<u32>, found: u32| wanted.is_none_or(|wanted| wanted == found);
        let hit = &entry.hit;
        let cost = || {
            let rung = query.rung.as_deref().unwrap_or("zk");
            hit.cost_micros.get(rung).copied()
        };
        is(conditions.task, entry.task)
            && is(conditions.licence, entry.licence)
            && is(conditions.execution, entry.execution)
            && conditions
                .rung
                .is_none_or(|rung| entry.rungs.contains(&rung))
            && conditions
                .operators
                .iter()
                .all(|wanted| entry.operators.contains(wanted))
            && query
                .owner
                .as_deref()
                .is_none_or(|owner| owner == hit.repo.owner())
            && query.max_bytes.is_none_or(|most| hit.size <= most)
            && query
                .opset_min
                .is_none_or(|least| hit.opset.is_some_and(|opset| opset >= least))
            && query
                .opset_max
                .is_none_or(|most| hit.opset.is_some_and(|opset| opset <= most))
            && query
                .max_cost_micros
                .is_none_or(|most| cost().is_some_and(|cost| cost <= most))
    }

    fn facets(&self, found: &[(&Entry, f64)]) -> BTreeMap<String, Vec<(String, usize)>> {
        type Values = fn(&Entry) -> &[u32];
        let facets: [(&str, Values); 6] = [
            ("task", |entry| std::slice::from_ref(&entry.task)),
            ("licence", |entry| std::slice::from_ref(&entry.licence)),
            ("execution", |entry| std::slice::from_ref(&entry.execution)),
            ("opset", |entry| std::slice::from_ref(&entry.opset)),
            ("operator", |entry| &entry.operators),
            ("rung", |entry| &entry.rungs),
        ];
        let mut counts = vec![0usize; self.names.texts.len()];
        let mut all = BTreeMap::new();
        for (facet, values) in facets {
            let numbers = || found.iter().flat_map(|(entry, _)| values(entry));
            numbers().for_each(|number| counts[*number as usize] += 1);
            let mut list = Vec::new();
            for number in numbers() {
                let count = std::mem::take(&mut counts[*number as usize]);
                if count > 0 {
                    list.push((self.names.texts[*number as usize].as_str(), count));
                }
            }
            list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
            list.truncate(MAX_VALUES);
            let list = list
                .into_iter()
                .map(|(text, count)| (text.to_string(), count));
            all.insert(facet.to_string(), list.collect());
        }
        all
    }
}

#[cfg(test)]
mod tests;
