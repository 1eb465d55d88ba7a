//! What this node says about upgrades: promises, refusals, misses. Signed with the key that signs its receipts, so that a caller
//! can show what it was told.

use carat_receipt::{Digest, Label, LogPart, Nonce, Notice, NoticeFile, Said, Salt, SignedNotice};
use serde_json::{Value, json};

use crate::call::base64;
use crate::exit::{Exit, Failure};
use crate::issue;
use crate::node::{Node, now};
use crate::problem::Problem;
use crate::store::{JobId, JobRecord, NoticeRecord};

/// Media type of a notice.
pub const NOTICE: &str = "application/vnd.carat.notice";
/// The longest words of a refusal that are signed, in bytes.
const MAX_DETAIL: usize = 240;
/// What is no word about the upgrade: the request could not be read, its receipt is nobody's here, or the server cannot write.
const UNSIGNED: [u16; 6] = [400, 401, 403, 404, 503, 507];

impl Node {
    fn say(
        &self,
        receipt: Digest,
        nonce: Option<Nonce>,
        said: Said,
        at: u64,
    ) -> Result<SignedNotice, Failure> {
        let notice = Notice {
            issuer: self.issuer().name.clone(),
            issuer_key: self.issuer().key.public(),
            said_at: at,
            receipt,
            nonce,
            said,
        };
        SignedNotice::sign(notice, &self.issuer().key)
            .ok_or_else(|| Failure::new(Exit::Internal, "a notice that cannot be signed"))
    }

    /// The promise that goes with a job which is accepted.
    pub(crate) fn promise(
        &self,
        job: JobId,
        receipt: Digest,
        nonce: Option<Nonce>,
        by: u64,
    ) -> Result<NoticeRecord, Problem> {
        let rung = Label::new("zk").map_err(Failure::of(Exit::Internal))?;
        let signed = self.say(receipt, nonce, Said::Promise { rung, by }, now()?)?;
        Ok(NoticeRecord {
            job,
            blind: None,
            signed,
        })
    }

    /// Signs why an upgrade is refused. What is not a word about the upgrade stays unsigned.
    pub(crate) fn refuse_upgrade(
        &self,
        receipt: Digest,
        nonce: Option<Nonce>,
        problem: Problem,
    ) -> Problem {
        if UNSIGNED.contains(&problem.status) {
            return problem;
        }
        let signed = || {
            let detail = Label::new(plain(&problem.detail)).map_err(Failure::of(Exit::Internal))?;
            let reason = Label::new(problem.kind).map_err(Failure::of(Exit::Internal))?;
            let said = Said::Refusal { reason, detail };
            self.say(receipt, nonce, said, now()?)
                .map_err(Problem::from)
        };
        match signed() {
            Ok(signed) => {
                self.metrics.refused_upgrade();
                let notice = encode(signed, None);
                problem.with_notice(base64(&notice))
            }
            Err(other) => {
                tracing::error!(error = other.detail, "a refusal could not be signed");
                problem
            }
        }
    }

    /// Logs the promises whose time is over and whose evidence is not there.
    pub(crate) fn look_for_misses(&self, now: u64) -> Result<(), Problem> {
        for id in self.jobs.overdue(now) {
            if let Some(job) = self.store.job(&id)? {
                self.miss(&id, &job, now)?;
            }
            self.jobs.missed(&id);
        }
        Ok(())
    }

    /// Appends a promise that was missed to the log, once.
    pub(crate) fn miss(&self, id: &JobId, job: &JobRecord, now: u64) -> Result<(), Problem> {
        let Some(receipt) = job.upgraded() else {
            return Ok(());
        };
        if job.deadline == 0 || self.store.notice_of(id, "miss")?.is_some() {
            return Ok(());
        }
        let promise = self.store.notice_of(id, "promise")?;
        let said = Said::Miss {
            by: job.deadline,
            promise: promise.as_ref().map(|promise| promise.signed.id()),
        };
        let nonce = promise.and_then(|promise| promise.signed.notice().nonce.clone());
        let miss = NoticeRecord {
            job: *id,
            blind: Some(Salt::generate().map_err(Failure::of(Exit::Io))?),
            signed: self.say(receipt, nonce, said, now)?,
        };
        if self.keeper().keep_miss(&self.store, &self.log, &miss)? {
            self.metrics.missed();
            tracing::warn!(job = hex::encode(id), %receipt, promised_by = job.deadline, "a promised upgrade was not there in time");
        }
        Ok(())
    }

    /// The notices of a job, for whoever asks about it: the promise, and the miss with what the log gives for it.
    pub(crate) fn notices_of(&self, id: &JobId) -> Result<Value, Problem> {
        let promise = self.store.notice_of(id, "promise")?;
        let promise = promise.map(|record| base64(&encode(record.signed, None)));
        let miss = match self.store.notice_of(id, "miss")? {
            None => None,
            Some(record) => {
                let log = match (self.store.place(&record.signed.id())?, &record.blind) {
                    (Some(index), Some(blind)) => {
                        let leaf = record.signed.leaf(blind);
                        Some(LogPart {
                            blind: blind.clone(),
                            items: vec![issue::log_item(&self.log, &leaf, index, now()?)?],
                        })
                    }
                    // It is on its way.
                    _ => None,
                };
                Some(base64(&encode(record.signed, log)))
            }
        };
        Ok(json!({ "promise": promise, "miss": miss }))
    }
}

fn encode(signed: SignedNotice, log: Option<LogPart>) -> Vec<u8> {
    NoticeFile { signed, log }.encode()
}

/// Words as a label takes them: one line, not too long.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for word in text
        .split(|c: char| c.is_whitespace() || c.is_control() || carat_receipt::label::misleads(c))
        .filter(|word| !word.is_empty())
    {
        if plain.len() + word.len() + 1 > MAX_DETAIL {
            plain.push_str(" ...");
            break;
        }
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_labels() {
        for text in ["a\nb\u{202e}c", &"word ".repeat(100), "x"] {
            assert!(Label::new(plain(text)).is_ok(), "{text:?}");
        }
        assert_eq!(plain(" two  words\n"), "two words");
    }
}
