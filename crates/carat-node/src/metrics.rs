//! What is counted, in the text format of Prometheus (OpenMetrics). No label names a tenant.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::spending::Totals;

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    status: u16,
}

/// What befell a request to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Befell {
    code: &'static str,
}

/// The evidence that a receipt left with, or got later.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rung {
    rung: &'static str,
}

/// A day or a month (UTC).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Period {
    period: &'static str,
}

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    receipts: Counter,
    evidence: Family<Rung, Counter>,
    refusals: Counter,
    courier_faults: Family<Befell, Counter>,
    overloads: Counter,
    missed: Counter,
    refused_upgrades: Counter,
    proofs: Counter,
    unattested: Counter,
    bad_policies: Counter,
    clock_jumps: Counter,
    duration: Histogram,
    queue: Gauge<u64, AtomicU64>,
    keeping: Gauge<u64, AtomicU64>,
    jobs: Gauge<u64, AtomicU64>,
    entries: Gauge<u64, AtomicU64>,
    published: Gauge<u64, AtomicU64>,
    certificate: Gauge<u64, AtomicU64>,
    handshakes: Counter,
    erased: Counter,
    spans_exported: Counter,
    spans_dropped: Counter,
    spent: Family<Period, Gauge<f64, AtomicU64>>,
    left: Family<Period, Gauge<f64, AtomicU64>>,
}

/// What is measured when somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Levels {
    /// Requests that wait for a thread.
    pub queue: u64,
    /// Receipts on their way to the disk.
    pub keeping: u64,
    /// Jobs that wait.
    pub jobs: u64,
    /// Entries of the log.
    pub entries: u64,
    /// Entries under its last checkpoint.
    pub published: u64,
    /// When the TLS certificate expires, in Unix seconds; 0: there is none.
    pub certificate_not_after: u64,
    /// What was spent, and what is left of the budgets of all tenants together.
    pub spending: Totals,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("carat");
        let buckets = [
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
        ];
        let metrics = Self {
            requests: Family::default(),
            receipts: Counter::default(),
            evidence: Family::default(),
            refusals: Counter::default(),
            courier_faults: Family::default(),
            overloads: Counter::default(),
            missed: Counter::default(),
            refused_upgrades: Counter::default(),
            proofs: Counter::default(),
            unattested: Counter::default(),
            bad_policies: Counter::default(),
            clock_jumps: Counter::default(),
            duration: Histogram::new(buckets),
            queue: Gauge::default(),
            keeping: Gauge::default(),
            jobs: Gauge::default(),
            entries: Gauge::default(),
            published: Gauge::default(),
            certificate: Gauge::default(),
            handshakes: Counter::default(),
            erased: Counter::default(),
            spans_exported: Counter::default(),
            spans_dropped: Counter::default(),
            spent: Family::default(),
            left: Family::default(),
            registry: Registry::default(),
        };
        registry.register(
            "requests",
            "Requests by route and status",
            metrics.requests.clone(),
        );
        registry.register(
            "clock_jumps",
            "Times that the wall clock was set, or the machine slept",
            metrics.clock_jumps.clone(),
        );
        registry.register("receipts", "Receipts issued", metrics.receipts.clone());
        registry.register(
            "evidence",
            "Evidence beyond the signature, by kind, with the answer or later",
            metrics.evidence.clone(),
        );
        registry.register(
            "refusals",
            "Requests that the policy refused",
            metrics.refusals.clone(),
        );
        registry.register(
            "courier_faults",
            "Answers of upstreams that were refused or cut, by what befell them",
            metrics.courier_faults.clone(),
        );
        registry.register(
            "overloads",
            "Requests answered with 429",
            metrics.overloads.clone(),
        );
        registry.register(
            "upgrade_deadlines_missed",
            "Upgrades that were not there when they were promised",
            metrics.missed.clone(),
        );
        registry.register(
            "upgrades_refused",
            "Upgrades that were refused with a signed notice",
            metrics.refused_upgrades.clone(),
        );
        registry.register(
            "proofs",
            "Proofs made; one over several receipts is one",
            metrics.proofs.clone(),
        );
        registry.register(
            "attestations_failed",
            "Times that the node's own attestation could not be renewed",
            metrics.unattested.clone(),
        );
        registry.register(
            "policy_refreshes_refused",
            "Changed files of policy, API keys or certificate that could not be used",
            metrics.bad_policies.clone(),
        );
        registry.register_with_unit(
            "answer_duration",
            "From an accepted request to its durable receipt",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "queue_length",
            "Requests that wait for a thread",
            metrics.queue.clone(),
        );
        registry.register(
            "keeping",
            "Receipts on their way to the disk",
            metrics.keeping.clone(),
        );
        registry.register("jobs_waiting", "Jobs that wait", metrics.jobs.clone());
        registry.register("log_entries", "Entries of the log", metrics.entries.clone());
        registry.register(
            "log_published",
            "Entries under the last checkpoint",
            metrics.published.clone(),
        );
        registry.register_with_unit(
            "tls_certificate_not_after",
            "When the TLS certificate expires, since 1970; 0: there is none",
            Unit::Seconds,
            metrics.certificate.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "TLS handshakes that failed or took too long",
            metrics.handshakes.clone(),
        );
        registry.register(
            "openings_expired",
            "Openings that were erased because their time was over",
            metrics.erased.clone(),
        );
        registry.register(
            "trace_spans_exported",
            "Spans that the collector took",
            metrics.spans_exported.clone(),
        );
        registry.register(
            "trace_spans_dropped",
            "Spans that the collector did not take, or not in time",
            metrics.spans_dropped.clone(),
        );
        registry.register(
            "spent",
            "Price of the verification that was bought, in the policy's currency, by day and month (UTC)",
            metrics.spent.clone(),
        );
        registry.register(
            "budget_left",
            "What is left of the budgets of all tenants together; not there where there is none",
            metrics.left.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    /// A request was answered. The route is the pattern, never the address.
    pub fn request(&self, route: &str, status: u16) {
        let route = route.to_string();
        self.requests
            .get_or_create(&Request { route, status })
            .inc();
        if status == 429 {
            self.overloads.inc();
        }
    }

    /// A receipt was issued, this long after its request was accepted.
    pub fn receipt(&self, taken: Duration) {
        self.receipts.inc();
        self.duration.observe(taken.as_secs_f64());
    }

    /// Evidence was made.
    pub fn evidence(&self, rung: &'static str) {
        self.evidence.get_or_create(&Rung { rung }).inc();
    }

    /// The policy refused a request.
    pub fn refusal(&self) {
        self.refusals.inc();
    }

    /// An upgrade was refused with a signed notice.
    pub fn refused_upgrade(&self) {
        self.refused_upgrades.inc();
    }

    /// The node's own attestation could not be renewed.
    pub fn unattested(&self) {
        self.unattested.inc();
    }

    /// A proof was made.
    pub fn proof(&self) {
        self.proofs.inc();
    }

    /// An answer of an upstream was refused or cut.
    pub fn courier_fault(&self, code: &'static str) {
        self.courier_faults.get_or_create(&Befell { code }).inc();
    }

    /// An upgrade was late.
    pub fn missed(&self) {
        self.missed.inc();
    }

    /// Openings were erased because their time was over.
    pub fn erased(&self, count: u64) {
        self.erased.inc_by(count);
    }

    /// Spans were taken by the collector, or dropped.
    pub fn spans(&self, exported: u64, dropped: u64) {
        self.spans_exported.inc_by(exported);
        self.spans_dropped.inc_by(dropped);
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self) {
        self.handshakes.inc();
    }

    /// A changed file could not be used.
    pub fn bad_policy(&self) {
        self.bad_policies.inc();
    }

    /// The wall clock moved by more than the time that passed.
    pub fn clock_jump(&self) {
        self.clock_jumps.inc();
    }

    /// Everything, as text.
    pub fn text(&self, levels: Levels) -> String {
        self.queue.set(levels.queue);
        self.keeping.set(levels.keeping);
        self.jobs.set(levels.jobs);
        self.entries.set(levels.entries);
        self.published.set(levels.published);
        self.certificate.set(levels.certificate_not_after);
        let Totals { day, month } = levels.spending;
        for (period, (spent, left)) in [("day", day), ("month", month)] {
            let period = Period { period };
            self.spent.get_or_create(&period).set(spent);
            if let Some(left) = left {
                self.left.get_or_create(&period).set(left);
            }
        }
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
