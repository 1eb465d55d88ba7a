//! What verification may cost, by tenant and in all, by day and month; and how many upgrades a tenant may ask for in a day.
//!
//! Every charge is a record in the store, written together with the receipt or the job that it pays for. What was spent is
//! the sum of the records, so a restart finds the same. Days and months are those of UTC.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carat_policy::Price;
use carat_receipt::{Amount, Currency};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::exit::{Exit, Failure};
use crate::problem::Problem;
use crate::store::{Charge, JobId, Store, StoreFault};

const DAY: u64 = 86_400;
/// The entry of a configuration that is for every tenant without one of its own.
pub const EVERYBODY: &str = "*";
/// Days of which charges are kept: this month and the one before.
const KEPT_DAYS: u32 = 62;

/// Limits of what all tenants together spend.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// In a day (UTC).
    pub day: Option<Amount>,
    /// In a calendar month (UTC).
    pub month: Option<Amount>,
}

/// What the operator states about a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// What it may spend in a day (UTC).
    pub budget_day: Option<Amount>,
    /// What it may spend in a calendar month (UTC).
    pub budget_month: Option<Amount>,
    /// Upgrades that it may ask for in a day; `None`: no limit.
    pub upgrades_per_day: Option<u64>,
    /// Facts for the policy, under `tenant`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
}

/// What is limited.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Of all tenants together.
    pub budget: Budget,
    /// By tenant.
    pub tenants: BTreeMap<String, Tenant>,
}

impl Limits {
    /// The entry for a tenant: its own, or that for everybody.
    pub fn of(&self, tenant: &str) -> Option<&Tenant> {
        self.tenants
            .get(tenant)
            .or_else(|| self.tenants.get(EVERYBODY))
    }

    /// Every amount, with its name.
    fn amounts(&self) -> impl Iterator<Item = (String, Amount)> + '_ {
        let total = [("day", self.budget.day), ("month", self.budget.month)]
            .map(|(name, amount)| (format!("budget.{name}"), amount));
        let tenants = self.tenants.iter().flat_map(|(name, tenant)| {
            [
                (format!("tenants.{name}.budget_day"), tenant.budget_day),
                (format!("tenants.{name}.budget_month"), tenant.budget_month),
            ]
        });
        total
            .into_iter()
            .chain(tenants)
            .filter_map(|(name, amount)| Some((name, amount?)))
    }

    /// Refuses budgets in another currency than the policy's: what is spent is counted in that.
    pub fn check(&self, currency: Currency) -> Result<(), Failure> {
        match self
            .amounts()
            .find(|(_, amount)| amount.currency() != currency)
        {
            None => Ok(()),
            Some((name, amount)) => Err(Failure::new(
                Exit::Usage,
                format!(
                    "{name} = {amount}, and the policy is in {currency}: state it in {currency}"
                ),
            )),
        }
    }
}

/// A day of a calendar, as days since 1970-01-01.
pub fn day(now: u64) -> u32 {
    u32::try_from(now / DAY).unwrap_or(u32::MAX)
}

/// The name of what is bought by a job.
pub fn of_job(id: &JobId) -> [u8; 32] {
    let mut what = [0; 32];
    what[..id.len()].copy_from_slice(id);
    what
}

/// The first day of a day's month, and the first day of the next month. Gregorian calendar.
fn month(day: u32) -> (u32, u32) {
    // Years of this count begin in March, so that the day that leap years add is their last.
    let shifted = u64::from(day) + 719_468;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let year_start = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
    let of_year = of_era - year_start;
    let number = (5 * of_year + 2) / 153;
    let start = (153 * number + 2) / 5;
    let leap = (year_of_era + 1).is_multiple_of(4)
        && (!(year_of_era + 1).is_multiple_of(100) || (year_of_era + 1).is_multiple_of(400));
    let length = match number {
        // February.
        11 => 28 + u64::from(leap),
        // April, June, September, November: 1, 3, 6, 8 from March.
        1 | 3 | 6 | 8 => 30,
        _ => 31,
    };
    let first = u64::from(day) - (of_year - start);
    let whole = |day: u64| u32::try_from(day).unwrap_or(u32::MAX);
    (whole(first), whole(first + length))
}

/// What was spent, and how many upgrades were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// The sum of prices.
    pub price: Price,
    /// Upgrades.
    pub upgrades: u64,
}

impl Spent {
    fn add(&mut self, price: Price, upgrade: bool) {
        self.price = self.price.plus(price);
        self.upgrades += u64::from(upgrade);
    }

    fn take(&mut self, price: Price, upgrade: bool) {
        self.price = Price(self.price.0.saturating_sub(price.0));
        self.upgrades = self.upgrades.saturating_sub(u64::from(upgrade));
    }
}

#[derive(Debug, Default)]
struct Book {
    /// By day and tenant.
    days: BTreeMap<u32, HashMap<String, Spent>>,
    /// By day.
    totals: BTreeMap<u32, Spent>,
}

impl Book {
    fn add(&mut self, day: u32, tenant: &str, price: Price, upgrade: bool) {
        let tenants = self.days.entry(day).or_default();
        match tenants.get_mut(tenant) {
            Some(spent) => spent.add(price, upgrade),
            None => tenants
                .entry(tenant.to_string())
                .or_default()
                .add(price, upgrade),
        }
        self.totals.entry(day).or_default().add(price, upgrade);
    }

    fn take(&mut self, day: u32, tenant: &str, price: Price, upgrade: bool) {
        let tenants = self.days.get_mut(&day);
        if let Some(spent) = tenants.and_then(|tenants| tenants.get_mut(tenant)) {
            spent.take(price, upgrade);
        }
        if let Some(spent) = self.totals.get_mut(&day) {
            spent.take(price, upgrade);
        }
    }

    /// The sum over some days: of a tenant, or of all.
    fn sum(&self, days: (u32, u32), tenant: Option<&str>) -> Spent {
        let mut sum = Spent::default();
        let mut more = |spent: &Spent| {
            sum.price = sum.price.plus(spent.price);
            sum.upgrades += spent.upgrades;
        };
        match tenant {
            None => self
                .totals
                .range(days.0..days.1)
                .for_each(|(_, spent)| more(spent)),
            Some(tenant) => self
                .days
                .range(days.0..days.1)
                .filter_map(|(_, tenants)| tenants.get(tenant))
                .for_each(more),
        }
        sum
    }
}

/// Why something is not bought: a limit is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// The key of the configuration.
    pub limit: String,
    /// What it allows.
    pub allowed: Amount,
    /// What is left of it.
    pub left: Price,
    /// What was asked for costs this.
    pub price: Price,
    /// When it starts anew, Unix seconds.
    pub resets_at: u64,
}

impl Over {
    /// In words, with what would be enough.
    pub fn text(&self) -> String {
        let currency = self.allowed.currency();
        format!(
            "{} = {} has {} left, and it costs {}: it would be enough to raise the limit, to state less, or to ask again after \
             Unix time {}, when it starts anew",
            self.limit,
            self.allowed,
            self.left.show(currency),
            self.price.show(currency),
            self.resets_at
        )
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let currency = self.allowed.currency();
        json!({
            "limit": self.limit,
            "allowed": self.allowed,
            "left": self.left.show(currency).to_string(),
            "price": self.price.show(currency).to_string(),
            "resets_at": self.resets_at,
        })
    }
}

/// A budget with the days over which it counts, and whose spending it counts: a tenant's, or everybody's.
struct Counted<'a> {
    limit: String,
    allowed: Amount,
    days: (u32, u32),
    whose: Option<&'a str>,
}

/// What was spent, against what may be.
#[derive(Debug)]
pub struct Spending {
    limits: Limits,
    currency: Mutex<Currency>,
    book: Arc<Mutex<Book>>,
}

/// Money that is set aside. Given back when dropped, unless it was spent.
#[derive(Debug)]
pub struct Reserved {
    book: Arc<Mutex<Book>>,
    charge: Option<Charge>,
}

impl Reserved {
    /// Nothing is set aside.
    pub fn nothing() -> Self {
        Self {
            book: Arc::default(),
            charge: None,
        }
    }

    /// It is spent on something: the record of it.
    pub fn on(mut self, what: [u8; 32]) -> Option<Charge> {
        let charge = self.charge.take()?;
        Some(Charge { what, ..charge })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(charge) = &self.charge {
            lock(&self.book).take(charge.day, &charge.tenant, charge.price, charge.upgrade);
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Spending {
    /// What a store says was spent.
    pub fn load(
        limits: Limits,
        currency: Currency,
        store: &Store,
        now: u64,
    ) -> Result<Self, StoreFault> {
        let spending = Self {
            limits,
            currency: Mutex::new(currency),
            book: Arc::default(),
        };
        spending.count(store, now)?;
        Ok(spending)
    }

    fn count(&self, store: &Store, now: u64) -> Result<(), StoreFault> {
        let currency = self.currency();
        let mut book = Book::default();
        store.charges(month(day(now)).0, |charge| {
            // What was spent in another currency is no part of a budget in this one; that upgrades were asked for is.
            let price = if charge.currency == currency {
                charge.price
            } else {
                Price::ZERO
            };
            book.add(charge.day, &charge.tenant, price, charge.upgrade);
        })?;
        *lock(&self.book) = book;
        Ok(())
    }

    /// What is limited.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn currency(&self) -> Currency {
        *self.currency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy in force is in this currency now.
    pub fn counted_in(
        &self,
        currency: Currency,
        store: &Store,
        now: u64,
    ) -> Result<(), StoreFault> {
        if self.currency() == currency {
            return Ok(());
        }
        *self.currency.lock().unwrap_or_else(PoisonError::into_inner) = currency;
        self.count(store, now)
    }

    /// Every budget that a tenant's spending counts against.
    fn budgets<'a>(&self, tenant: &'a str, now: u64) -> Vec<Counted<'a>> {
        let today = day(now);
        let (one, all) = ((today, today.saturating_add(1)), month(today));
        let budget = &self.limits.budget;
        let mut found = vec![
            ("budget.day".to_string(), budget.day, one, None),
            ("budget.month".to_string(), budget.month, all, None),
        ];
        if let Some(own) = self.limits.of(tenant) {
            for (name, amount, days) in [
                ("day", own.budget_day, one),
                ("month", own.budget_month, all),
            ] {
                let name = format!("tenants.{tenant}.budget_{name}");
                found.push((name, amount, days, Some(tenant)));
            }
        }
        found
            .into_iter()
            .filter_map(|(limit, allowed, days, whose)| {
                Some(Counted {
                    limit,
                    allowed: allowed?,
                    days,
                    whose,
                })
            })
            .collect()
    }

    /// Sets a price aside, if every budget has it left.
    ///
    /// # Errors
    /// The budget that has the least left.
    pub fn reserve(
        &self,
        tenant: &str,
        price: Price,
        upgrade: bool,
        now: u64,
    ) -> Result<Reserved, Box<Over>> {
        let budgets = self.budgets(tenant, now);
        let mut book = lock(&self.book);
        let over = budgets
            .into_iter()
            .map(|budget| {
                let spent = book.sum(budget.days, budget.whose).price;
                let allowed = Price::from_amount(budget.allowed);
                Over {
                    left: Price(allowed.0.saturating_sub(spent.0)),
                    limit: budget.limit,
                    allowed: budget.allowed,
                    price,
                    resets_at: u64::from(budget.days.1) * DAY,
                }
            })
            .filter(|over| over.left < price)
            .min_by_key(|over| over.left);
        if let Some(over) = over {
            return Err(Box::new(over));
        }
        let charge = Charge {
            day: day(now),
            what: [0; 32],
            tenant: tenant.to_string(),
            currency: self.currency(),
            price,
            upgrade,
        };
        if price > Price::ZERO || upgrade {
            book.add(charge.day, tenant, price, upgrade);
        }
        drop(book);
        Ok(Reserved {
            book: self.book.clone(),
            charge: (price > Price::ZERO || upgrade).then_some(charge),
        })
    }

    /// Refuses a tenant that asked for all the upgrades that it may ask for in a day.
    pub fn upgrades(&self, tenant: &str, now: u64) -> Result<(), Problem> {
        let Some(most) = self.limits.of(tenant).and_then(|own| own.upgrades_per_day) else {
            return Ok(());
        };
        let today = day(now);
        let asked = lock(&self.book).sum((today, today.saturating_add(1)), Some(tenant));
        if asked.upgrades < most {
            return Ok(());
        }
        let wait = (u64::from(today) + 1)
            .saturating_mul(DAY)
            .saturating_sub(now);
        Err(Problem::new(
            429,
            "quota",
            format!(
                "tenants.{tenant}.upgrades_per_day = {most} upgrades were asked for today; ask again tomorrow (UTC), or prove it \
                 yourself: carat prove"
            ),
        )
        .after(wait))
    }

    /// What was spent is given back: what it was spent on did not come.
    pub fn give_back(&self, charge: &Charge) {
        lock(&self.book).take(charge.day, &charge.tenant, charge.price, charge.upgrade);
    }

    /// Forgets days that no budget looks at any more.
    pub fn forget(&self, store: &Store, now: u64, most: usize) -> Result<(), StoreFault> {
        let oldest = day(now).saturating_sub(KEPT_DAYS);
        let mut book = lock(&self.book);
        book.days = book.days.split_off(&oldest);
        book.totals = book.totals.split_off(&oldest);
        drop(book);
        store.forget_charges(oldest, most)
    }

    /// Spent and left, for the operator.
    pub fn json(&self, now: u64) -> Value {
        let currency = self.currency();
        let today = day(now);
        let (one, all) = ((today, today.saturating_add(1)), month(today));
        let book = lock(&self.book);
        let of = |whose: Option<&str>, days: (u32, u32), allowed: Option<Amount>| {
            let spent = book.sum(days, whose).price;
            let left = allowed.map(|allowed| {
                let left = Price(Price::from_amount(allowed).0.saturating_sub(spent.0));
                left.show(currency).to_string()
            });
            json!({ "spent": spent.show(currency).to_string(), "allowed": allowed, "left": left })
        };
        let mut names: Vec<&String> = book
            .days
            .range(all.0..all.1)
            .flat_map(|(_, tenants)| tenants.keys())
            .chain(self.limits.tenants.keys().filter(|name| *name != EVERYBODY))
            .collect();
        names.sort_unstable();
        names.dedup();
        let tenants: Map<String, Value> = names
            .into_iter()
            .map(|name| {
                let own = self.limits.of(name);
                let upgrades = book.sum(one, Some(name)).upgrades;
                let value = json!({
                    "day": of(Some(name), one, own.and_then(|own| own.budget_day)),
                    "month": of(Some(name), all, own.and_then(|own| own.budget_month)),
                    "upgrades_today": upgrades,
                    "upgrades_per_day": own.and_then(|own| own.upgrades_per_day),
                });
                (name.clone(), value)
            })
            .collect();
        json!({
            "currency": currency,
            "day": of(None, one, self.limits.budget.day),
            "month": of(None, all, self.limits.budget.month),
            "tenants": tenants,
        })
    }

    /// Spent today and this month by all, in units of the currency, and what is left of each budget.
    pub fn totals(&self, now: u64) -> Totals {
        let today = day(now);
        let book = lock(&self.book);
        let units = |price: Price| price.0 as f64 / Price::PICOS as f64;
        let of = |days, allowed: Option<Amount>| {
            let spent = book.sum(days, None).price;
            let left =
                allowed.map(|allowed| Price(Price::from_amount(allowed).0.saturating_sub(spent.0)));
            (units(spent), left.map(units))
        };
        Totals {
            day: of((today, today.saturating_add(1)), self.limits.budget.day),
            month: of(month(today), self.limits.budget.month),
        }
    }
}

/// Spent and left, in units of the policy's currency.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Today.
    pub day: (f64, Option<f64>),
    /// This month.
    pub month: (f64, Option<f64>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    fn usd(text: &str) -> Amount {
        text.parse().expect("an amount")
    }

    fn limits() -> Limits {
        let tenants = [
            (
                "acme".to_string(),
                Tenant {
                    budget_day: Some(usd("2USD")),
                    budget_month: Some(usd("3USD")),
                    upgrades_per_day: Some(1),
                    ..Tenant::default()
                },
            ),
            (
                EVERYBODY.to_string(),
                Tenant {
                    budget_day: Some(usd("9USD")),
                    ..Tenant::default()
                },
            ),
        ];
        Limits {
            budget: Budget {
                day: Some(usd("10USD")),
                month: None,
            },
            tenants: tenants.into(),
        }
    }

    const UNIT: u64 = Price::PICOS;

    /// 2026-08-31 and 2026-09-01, in days since 1970.
    const LAST: u64 = 20_696;

    fn open(store: &Store, now: u64) -> Spending {
        let currency = Currency::new("USD").expect("a currency");
        Spending::load(limits(), currency, store, now).expect("loads")
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        // From the tables of other software: (a day, first of its month, first of the next).
        for (at, first, next) in [
            (0, 0, 31),
            (58, 31, 59),
            // 1972-02-29.
            (789, 761, 790),
            // 2000-02-29 and 2000-03-01.
            (11_016, 10_988, 11_017),
            (11_017, 11_017, 11_048),
            // 2026-08-31 and 2026-09-01.
            (20_696, 20_666, 20_697),
            (20_697, 20_697, 20_727),
            // 2100-02-28: no leap year.
            (47_540, 47_513, 47_541),
            // 2026-12-31.
            (20_818, 20_788, 20_819),
        ] {
            assert_eq!(month(at), (first, next), "{at}");
        }
    }

    #[test]
    fn budgets_hold_over_days_months_tenants_and_restarts() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path(), StoreOptions::default()).expect("opens");
        let now = LAST * DAY + 5;
        let spending = open(&store, now);
        let spend = |spending: &Spending, tenant: &str, units: u64, now: u64, name: u8| {
            let reserved = spending.reserve(tenant, Price(units * UNIT), false, now)?;
            let charge = reserved.on([name; 32]).expect("a charge");
            store.put_charge(&charge).expect("written");
            Ok::<_, Box<Over>>(())
        };
        spend(&spending, "acme", 2, now, 1).expect("within");
        let over = spend(&spending, "acme", 1, now, 2).expect_err("over the day");
        assert_eq!(over.limit, "tenants.acme.budget_day");
        assert_eq!((over.left, over.resets_at), (Price::ZERO, (LAST + 1) * DAY));
        assert!(over.text().contains("costs 1 USD"), "{}", over.text());
        // Another tenant has its own, and all together have theirs.
        spend(&spending, "other", 8, now, 3).expect("within");
        let over = spend(&spending, "other", 1, now, 4).expect_err("all together");
        assert_eq!(over.limit, "budget.day");
        // After a restart nothing is forgotten.
        let again = open(&store, now);
        assert!(spend(&again, "acme", 1, now, 5).is_err());
        assert_eq!(again.json(now), spending.json(now));
        assert_eq!(again.json(now)["tenants"]["acme"]["day"]["left"], "0 USD");
        // A new day, and here a new month too.
        let tomorrow = now + DAY;
        spend(&again, "acme", 2, tomorrow, 6).expect("a new day");
        spend(&again, "acme", 1, tomorrow + DAY, 7).expect("the day after");
        let over = spend(&again, "acme", 1, tomorrow + DAY, 8).expect_err("the month");
        assert_eq!(over.limit, "tenants.acme.budget_month");
        assert_eq!(over.resets_at, 20_727 * DAY);
        // What is old is forgotten, and what counts is not.
        again
            .forget(&store, tomorrow + 70 * DAY, 100)
            .expect("forgets");
        let mut left = 0;
        store.charges(0, |_| left += 1).expect("reads");
        assert_eq!(left, 0);
    }

    #[test]
    fn what_was_set_aside_and_not_spent_is_given_back() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path(), StoreOptions::default()).expect("opens");
        let now = LAST * DAY;
        let spending = open(&store, now);
        let reserved = spending.reserve("acme", Price(2 * UNIT), true, now);
        let reserved = reserved.expect("within");
        assert!(spending.reserve("acme", Price(1), false, now).is_err());
        let refused = spending.upgrades("acme", now + 10).expect_err("one a day");
        assert_eq!(
            (refused.kind, refused.retry_after),
            ("quota", Some(DAY - 10))
        );
        drop(reserved);
        assert!(spending.reserve("acme", Price(1), false, now).is_ok());
        spending.upgrades("acme", now).expect("again");
        assert!(spending.upgrades("other", now).is_ok());
    }

    #[test]
    fn another_currency_is_refused() {
        let eur = Currency::new("EUR").expect("a currency");
        let refused = limits().check(eur).expect_err("refused");
        assert!(
            refused.message.contains("budget.day"),
            "{}",
            refused.message
        );
        assert!(limits().check(Currency::new("USD").expect("one")).is_ok());
    }
}
