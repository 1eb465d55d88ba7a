//! What tests share.

pub(crate) mod evidence;

/// The flips `(byte, bit)` that `survives` tells to verify, of `bits` flips of each of `len` bytes, in order.
#[allow(dead_code, reason = "each test binary uses a part")]
pub(crate) fn survivors(
    len: usize,
    bits: usize,
    survives: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<(usize, usize)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let survives = &survives;
    let mut found: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    (worker..len)
                        .step_by(threads)
                        .flat_map(|at| (0..bits).map(move |bit| (at, bit)))
                        .filter(|(at, bit)| survives(*at, *bit))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker ends"))
            .collect()
    });
    found.sort_unstable();
    found
}
