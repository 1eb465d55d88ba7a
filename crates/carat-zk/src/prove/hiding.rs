//! Keys that hide a model's constants.

use super::{
    ProvingKey, WeightsSecret,
    key::{LastPlan, place, placed, shapes, tensors},
};
use crate::{
    Error, Profile,
    field::F,
    hide::{
        self,
        pin::{HidingRoots, Pin},
        random::{Purpose, Random},
        weights::{self, Scheme},
    },
    kernels::compact::{Compact, Values},
    key::ModelKey,
    store::Store,
};
use carat_program::{Ints, Program, Weights};
use carat_receipt::Digest;
use p3_field::PrimeCharacteristicRing;

/// What the commitments under one key have in common.
struct Hider<'a> {
    program: Digest,
    profile: Profile,
    secret: &'a WeightsSecret,
    store: Store,
    scheme: Scheme,
}

impl<'a> Hider<'a> {
    fn new(program: &Program, profile: Profile, secret: &'a WeightsSecret) -> Result<Self, Error> {
        let store = weights::store(program)?;
        Ok(Self {
            program: program.digest(),
            profile,
            secret,
            scheme: Scheme::new(profile, &store)?,
            store,
        })
    }

    /// Randomness that the secret gives for one purpose: the same every time.
    fn random(&self, purpose: &[u8]) -> Random {
        let shape = self.scheme.shape();
        let context: [&[u8]; 4] = [
            self.program.as_bytes(),
            self.profile.name().as_bytes(),
            &shape,
            purpose,
        ];
        Random::kept(self.secret.as_bytes(), &context)
    }

    fn commitment(&self, number: usize) -> Random {
        self.random(&[b"commitment ", &(number as u32).to_le_bytes()[..]].concat())
    }

    /// The number of the commitment that a proof opens which is made after `before` others: each once before one is opened
    /// again, in an order that is another one each time, so that the numbers say next to nothing of how many proofs there were.
    fn turn(&self, before: usize) -> usize {
        let all = 1 << self.scheme.commitments();
        let round = (before / all) as u32;
        let mut random = self.random(&[b"order ", &round.to_le_bytes()[..]].concat());
        let mut order: Vec<(u64, usize)> = (0..all).map(|n| (random.number(), n)).collect();
        order.sort_unstable();
        order[before % all].1
    }

    fn pin(&self, roots: &HidingRoots, number: usize, polynomial: &Compact) -> Pin {
        let values = Values::Compact(polynomial);
        let key = (&self.program, self.profile);
        Pin::of(roots, number, key, values, self.store.vars)
    }

    fn key(&self, pin: &Pin) -> ModelKey {
        ModelKey {
            program: self.program,
            profile: self.profile,
            root: pin.joint_root(),
        }
    }

    /// The polynomial: the constants, and random ones that the Program does not know.
    fn polynomial(&self, program: &Program, weights: &Weights) -> Compact {
        let mut blind = [F::ZERO; weights::BLIND];
        self.random(b"blind")
            .fill(Purpose::WeightsBlind, &mut blind);
        let dims = shapes(program);
        let mut tensors = tensors(&dims, weights);
        // In its place for now: its elements are no integers of 32 bits.
        let nothing = [0; weights::BLIND];
        let blinds = [nothing.len()];
        tensors.push((&blinds, Ints::Wide(&nothing)));
        let size = 1 << self.store.vars;
        let part = placed(&self.store);
        let parts = (0..size).step_by(part).map(|start| {
            let range = start..start + part;
            let mut values = place(&self.store, &tensors, range.clone());
            let own = self.store.slots_of(tensors.len() - 1);
            for (slot, &b) in own.zip(&blind) {
                if range.contains(&slot) {
                    values[slot - start] = b;
                }
            }
            values
        });
        Compact::of_parts(size, parts)
    }
}

impl HidingRoots {
    /// Makes all commitments under the key that hides these constants with this secret, and keeps their roots. That the constants
    /// are the Program's is not looked at, as for [`ProvingKey::new`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a Program that has no proof; [`Error::Randomness`], once in 2^31 times: then another secret is
    /// needed.
    pub fn new(
        program: &Program,
        weights: &Weights,
        profile: Profile,
        secret: &WeightsSecret,
    ) -> Result<(ModelKey, Self), Error> {
        let hider = Hider::new(program, profile, secret)?;
        let compact = hider.polynomial(program, weights);
        let root = |number| {
            #[cfg(test)]
            if crate::tests::hooks::stage().few && number != hider.turn(0) {
                return crate::pcs::Root([number as u8; 32]);
            }
            let random = &mut hider.commitment(number);
            hider.scheme.commit(&compact, random).0
        };
        let roots = Self((0..1 << hider.scheme.commitments()).map(root).collect());
        let pin = hider.pin(&roots, 0, &compact);
        if pin.is_blind(&hider.store) {
            Ok((hider.key(&pin), roots))
        } else {
            Err(Error::Randomness(
                "the random constants do not hide the key's value, which happens once in 2^31 times: take another secret"
                    .into(),
            ))
        }
    }
}

impl ProvingKey {
    /// Makes that commitment of a key that hides a model's constants which a proof opens after `before` others, the
    /// registration among them. It is good for that one proof. Whoever keeps the secret keeps count, on disk, so that no
    /// commitment is opened more often than may be: one proof too many can show all constants. That the constants are the
    /// Program's is not looked at again, as for [`ProvingKey::new`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a Program that has no proof; [`Error::Values`] if as many proofs were made as may be
    /// ([`crate::hidden_weights_budget`]), or the key or the roots are not those of this secret and these constants.
    pub fn hiding(
        program: &Program,
        weights: &Weights,
        key: &ModelKey,
        secret: &WeightsSecret,
        roots: &HidingRoots,
        before: u32,
    ) -> Result<Self, Error> {
        let hider = Hider::new(program, key.profile, secret)?;
        let before = before as usize;
        if before >= hider.scheme.budget() {
            return Err(Error::Values(
                "as many proofs were made under this key as may be; a further one could show its constants".into(),
            ));
        }
        let strange = || {
            let message = "a key that hides constants is another one than these constants and this secret give";
            Err(Error::Values(message.into()))
        };
        if roots.0.len() != 1 << hider.scheme.commitments() {
            return strange();
        }
        let compact = hider.polynomial(program, weights);
        let number = hider.turn(before);
        let pin = hider.pin(roots, number, &compact);
        // Under other roots the pin would be at another point, and two values are not under the random constants.
        if hider.key(&pin) != *key {
            return strange();
        }
        let (root, tree, tails) = (hider.scheme).commit(&compact, &mut hider.commitment(number));
        if root != pin.opened {
            return strange();
        }
        Ok(Self {
            key: *key,
            data: Vec::new(),
            last_plan: LastPlan::default(),
            hidden: Some(hide::weights::Data::new(
                compact,
                (tree, tails),
                (number, roots),
                pin,
            )),
        })
    }
}
