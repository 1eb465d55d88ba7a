//! Policy files, expressions and facts from strangers: no panic, and what is read is judged without one.
#![no_main]

use carat_policy::cel::Expression;
use carat_policy::facts::Facts;
use carat_policy::policy_file::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = core::str::from_utf8(data) else { return };
    // A zero byte separates a policy from facts.
    let (policy, facts) = text.split_once('\0').unwrap_or((text, "{}"));
    let _ = Expression::parse(policy);
    let facts = Facts::from_json(facts);
    if let Ok(facts) = &facts {
        assert_eq!(Facts::from_json(&facts.canonical()).as_ref(), Ok(facts));
    }
    if let (Ok(policy), Ok(facts)) = (Policy::parse(policy), facts) {
        let _ = policy.check(None);
        assert_eq!(policy.judge(&facts), policy.judge(&facts));
    }
});
