//! Receipts that rest on others: each edge names an upstream receipt and the stake that the composite puts on it.
//!
//! A composite is worth its weakest edge, and an upstream receipt is worth its amount once: the stakes of all open edges on
//! it have to fit, or everything that rests on it is worth nothing.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::cell::Cell;

use carat_policy::{Micros, good_for};
use carat_receipt::statement::Reliance;
use carat_receipt::{Amount, Label, ReceiptFile};

use crate::appraisal::AssumptionSet;
use crate::appraise::{Work, appraise_within};
use crate::question::{Question, Upstream};

/// Longest chain of receipts that rest on each other.
const MAX_DEPTH: usize = 8;
/// Most appraisals for one question.
const MAX_APPRAISALS: u32 = 256;

/// Where an appraisal stands among those of one question.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The composite that the relying party asked about.
    root: &'a ReceiptFile,
    /// The composer that rests on this receipt, as the Trust file knows it; `None` for the root.
    pub(crate) composer: Option<&'a str>,
    depth: usize,
    spent: &'a Cell<u32>,
}

/// An edge that was appraised.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    stake: Micros,
    room: Micros,
    receipt: String,
    under: Vec<String>,
}

impl<'a> Place<'a> {
    /// The place of the receipt that the relying party asked about.
    pub(crate) fn root(root: &'a ReceiptFile, spent: &'a Cell<u32>) -> Self {
        Self {
            root,
            composer: None,
            depth: 0,
            spent,
        }
    }
}

impl<'a> Work<'a> {
    /// Appraises the receipts that this one rests on.
    pub(crate) fn relies_on(&mut self) {
        let edges = &self.file.signed.statement().optional.relies_on;
        if edges.is_empty() {
            self.pass("relies_on", "the receipt rests on no other receipt");
            return;
        }
        match edges
            .iter()
            .map(|edge| self.edge(edge))
            .collect::<Result<Vec<Edge>, String>>()
        {
            Ok(found) => {
                let total = found.len();
                let overdrawn = found.iter().find(|edge| edge.stake > edge.room);
                if let Some(edge) = overdrawn {
                    let reason = format!(
                        "the stakes of all open edges on the receipt {} are more than it is good for",
                        edge.receipt
                    );
                    self.blocks_all.push(reason.clone());
                    self.fail("relies_on", reason);
                } else {
                    self.pass("relies_on", format!("rests on {total} other receipts, and each is good for all that rests on it"));
                }
                self.edges = found;
            }
            Err(reason) => {
                self.blocks_all.push(reason.clone());
                self.not_made("relies_on", reason);
            }
        }
    }

    fn edge(&self, edge: &Reliance) -> Result<Edge, String> {
        let receipt = edge.receipt;
        let upstream = self
            .question
            .upstream
            .iter()
            .find(|upstream| upstream.file.receipt_id() == receipt)
            .ok_or_else(|| format!("rests on the receipt {receipt}, which was not given"))?;
        let trust = self.trust.ok_or(
            "rests on other receipts, and there is no usable Trust file to appraise them with",
        )?;
        let currency = trust.content().currency;
        if edge.stake.currency() != currency {
            return Err(format!(
                "the stake on the receipt {receipt} is in {}, the Trust file in {currency}",
                edge.stake.currency()
            ));
        }
        if self.place.depth >= MAX_DEPTH || self.place.spent.get() >= MAX_APPRAISALS {
            return Err(format!(
                "rests on more than {MAX_APPRAISALS} receipts, or on a chain of more than {MAX_DEPTH}"
            ));
        }
        self.place.spent.set(self.place.spent.get() + 1);
        let composer = self
            .known_issuer()
            .ok_or("rests on other receipts, and its own issuer is not in the Trust file")?;
        let place = Place {
            composer: Some(composer),
            depth: self.place.depth + 1,
            ..self.place
        };
        let question = Question {
            now: self.question.now,
            trust: self.question.trust,
            trust_owner: self.question.trust_owner,
            opening: upstream.opening,
            own_replay: upstream.own_replay,
            use_at: self.question.use_at,
            // What is open against an issuer's bond is open against it here too.
            open_exposure: self
                .question
                .open_exposure
                .filter(|_| self.same_issuer(upstream.file)),
            open_exposures: self.question.open_exposures,
            upstream: self.question.upstream,
            ..Question::default()
        };
        let appraisal = appraise_within(upstream.file, &question, place);
        if let crate::Verdict::Invalid = appraisal.verdict {
            return Err(format!(
                "rests on the receipt {receipt}, which is invalid: {}",
                appraisal.reason
            ));
        }
        let best = appraisal.best.unwrap_or(Amount::zero(currency));
        if best.is_zero() {
            let why = appraisal
                .good_for
                .last()
                .map_or_else(String::new, |set| set.reason.clone());
            return Err(format!(
                "rests on the receipt {receipt}, which is good for nothing: {why}"
            ));
        }
        let under = appraisal
            .good_for
            .into_iter()
            .find(|set| set.amount == Some(best))
            .map(|set| set.under);
        let others = self.other_edges(upstream, currency)?;
        Ok(Edge {
            stake: Micros::from(edge.stake),
            room: good_for::remaining(Micros::from(best), others),
            receipt: receipt.to_string(),
            under: under.unwrap_or_default(),
        })
    }

    /// Whether a receipt is by the issuer of this one, as the Trust file knows it.
    fn same_issuer(&self, other: &ReceiptFile) -> bool {
        let key = &other.signed.statement().issuer_key;
        let other = self.trust.and_then(|trust| trust.issuer_of(key));
        other.map(|(issuer, _)| issuer.name.as_str()) == self.known_issuer()
    }

    /// Stakes of all open edges on a receipt but this composite's: those of the other receipts that were given, and those
    /// that the relying party knows of besides.
    fn other_edges(
        &self,
        upstream: &Upstream<'_>,
        currency: carat_receipt::Currency,
    ) -> Result<Micros, String> {
        let receipt = upstream.file.receipt_id();
        let mut given: Vec<&ReceiptFile> = self
            .question
            .upstream
            .iter()
            .map(|upstream| upstream.file)
            .collect();
        given.push(self.place.root);
        given.sort_by_key(|file| file.receipt_id());
        given.dedup_by_key(|file| file.receipt_id());
        let mut sum = match upstream.open_edges {
            Some(open) if open.currency() != currency => {
                return Err(format!(
                    "the open edges on the receipt {receipt} are not in {currency}"
                ));
            }
            open => open.map_or(Micros::ZERO, Micros::from),
        };
        for file in given
            .into_iter()
            .filter(|file| file.receipt_id() != self.receipt_id)
        {
            for edge in &file.signed.statement().optional.relies_on {
                if edge.receipt == receipt {
                    sum = if edge.stake.currency() == currency {
                        sum.plus(Micros::from(edge.stake))
                    } else {
                        Micros::MAX
                    };
                }
            }
        }
        Ok(sum)
    }

    /// A composite is worth its weakest edge.
    pub(super) fn settle_composite(&self, sets: &mut [AssumptionSet]) {
        let Some(weakest) = self.edges.iter().min_by_key(|edge| edge.stake) else {
            return;
        };
        let pairs = || self.edges.iter().map(|edge| (edge.stake, edge.room));
        for set in sets {
            let Some(amount) = set.amount.filter(|amount| !amount.is_zero()) else {
                continue;
            };
            let own = Micros::from(amount);
            let left = good_for::composite(own, pairs());
            if left < own {
                set.reason = format!(
                    "{}; but it put only {} on the receipt {} that it rests on",
                    set.reason,
                    weakest.stake.in_currency(amount.currency()),
                    weakest.receipt
                );
            }
            set.amount = Some(left.in_currency(amount.currency()));
            set.under.push(format!(
                "honest-edges:{}",
                self.file.signed.statement().issuer
            ));
            for atom in self.edges.iter().flat_map(|edge| &edge.under) {
                if !set.under.contains(atom) {
                    set.under.push(atom.clone());
                }
            }
        }
    }

    /// The edge that limits the composite, for the weakest step.
    pub(crate) fn weakest_edge(&self) -> Option<String> {
        let edge = self.edges.iter().min_by_key(|edge| edge.stake)?;
        Some(format!(
            "the receipt {} that this one rests on, with a stake of {} millionths",
            edge.receipt, edge.stake.0
        ))
    }

    /// The audience to compare with, for a receipt that another one rests on: its composer.
    pub(crate) fn composer(&self) -> Option<Result<Label, carat_receipt::LabelError>> {
        self.place.composer.map(Label::new)
    }
}
