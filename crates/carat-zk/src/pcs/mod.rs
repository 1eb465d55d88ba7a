//! The polynomial commitment: WHIR over KoalaBear with BLAKE3 trees, a form for constants whose rows are known to be code
//! words, and a direct form for small polynomials.
//!
//! A multilinear polynomial in `n` variables is given by its `2^n` values on the Boolean cube. Index bits are most
//! significant first: the value at `(x_0, ..., x_{n-1})` has index `sum x_i 2^(n-1-i)`. A point lists its coordinates
//! in the same order.
//!
//! The proximity test is `p3-whir`'s, and so are its verifier and its tree; the parameters, the encoding, the prover and the interface are ours. The exact
//! protocol, byte for byte, is `docs/protocol-whir.md`.

mod direct;
pub(crate) mod fold;
pub(crate) mod leaves;
mod rows;
mod schedule;
mod security;
mod whir;
mod wire;

use crate::{
    Error,
    field::E,
    transcript::{Source, Transcript},
};
use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
};

pub use schedule::{MAX_VARIABLES, Profile, Schedule, Use};
pub use security::{Security, Term};

#[cfg(feature = "prover")]
use crate::{
    field::F,
    kernels::compact::{Compact, Values},
    transcript::Sink,
};
#[cfg(feature = "prover")]
use alloc::vec::Vec;

/// What a commitment is known by: the root of a BLAKE3 tree, or the hash of all values in the direct form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Root(pub [u8; 32]);

/// A commitment scheme for polynomials of one size.
///
/// Everything about it follows from the three arguments of [`Whir::new`], so prover and verifier agree on it without a
/// word in the proof.
#[derive(Debug)]
pub struct Whir {
    profile: Profile,
    purpose: Use,
    n: usize,
    form: Form,
}

/// How the polynomial is committed.
#[derive(Debug)]
enum Form {
    /// All values, hashed; opened by showing them.
    Direct,
    /// A proximity proof.
    Whir(Arc<whir::Scheme>),
    /// Encoded rows.
    Rows(rows::Scheme),
}

/// What the committer keeps to open its polynomial; any number of times.
#[cfg(feature = "prover")]
#[derive(Debug, Clone)]
pub struct ProverData {
    root: Root,
    form: ProverForm,
}

#[cfg(feature = "prover")]
#[derive(Debug, Clone)]
enum ProverForm {
    Direct(Arc<Vec<F>>),
    Whir(Arc<whir::Data>),
    Rows(rows::Data),
}

#[cfg(feature = "prover")]
impl ProverData {
    /// The root that this data opens.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root
    }

    /// The committed values.
    #[must_use]
    pub fn evaluations(&self) -> alloc::borrow::Cow<'_, [F]> {
        let values = self.values();
        values.field(0..values.len())
    }

    /// The committed values, as they are kept.
    pub(crate) fn values(&self) -> Values<'_> {
        match &self.form {
            ProverForm::Direct(values) => Values::Plain(values),
            ProverForm::Whir(data) => Values::Plain(&data.evaluations),
            ProverForm::Rows(data) => data.values(),
        }
    }
}

impl Whir {
    /// The scheme for polynomials in `n` variables.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if `n` is above [`MAX_VARIABLES`] or the profile cannot be reached at that size.
    pub fn new(profile: Profile, n: usize, purpose: Use) -> Result<Self, Error> {
        let form = match Schedule::new(profile, n, purpose)? {
            Schedule::Direct => Form::Direct,
            Schedule::Whir(parameters) => {
                Form::Whir(whir::Scheme::shared(profile, n, purpose, &parameters)?)
            }
            Schedule::Rows(parameters) => Form::Rows(rows::Scheme::new(profile, n, parameters)?),
        };
        Ok(Self {
            profile,
            purpose,
            n,
            form,
        })
    }

    /// The number of variables.
    #[must_use]
    pub fn variables(&self) -> usize {
        self.n
    }

    /// The security profile.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// What the polynomials are.
    #[must_use]
    pub fn purpose(&self) -> Use {
        self.purpose
    }

    /// The error terms of one opening.
    #[must_use]
    pub fn security(&self) -> Security {
        match &self.form {
            Form::Direct => Security::exact(),
            Form::Whir(scheme) => scheme.security(),
            Form::Rows(scheme) => scheme.security(),
        }
    }

    /// All integers that follow from the arguments of [`Whir::new`]: a row of the table in `docs/protocol-whir.md`.
    #[must_use]
    pub fn describe(&self) -> String {
        let derived = match &self.form {
            Form::Direct => "direct".to_string(),
            Form::Whir(scheme) => scheme.describe(),
            Form::Rows(scheme) => scheme.describe(),
        };
        format!(
            "| {} | {} | {} | {derived} |",
            self.profile.name(),
            self.purpose.name(),
            self.n
        )
    }

    /// The most bytes an opening takes.
    #[must_use]
    pub fn max_opening_bytes(&self) -> usize {
        match &self.form {
            Form::Direct => direct::opening_bytes(self.n),
            Form::Whir(scheme) => scheme.max_opening_bytes(),
            Form::Rows(scheme) => scheme.max_opening_bytes(),
        }
    }

    /// About how many bytes committing to a polynomial takes and keeps.
    #[cfg(feature = "prover")]
    pub(crate) fn kept_bytes(&self) -> u64 {
        match &self.form {
            Form::Direct => 4 << self.n,
            // The value, its code word and tree.
            Form::Whir(_) => 40 << self.n,
            Form::Rows(scheme) => scheme.kept_bytes(),
        }
    }

    /// Commits to a polynomial. Nothing is absorbed: the caller sends the root before it draws any challenge.
    ///
    /// # Errors
    /// [`Error::Values`] unless there are `2^n` values.
    #[cfg(feature = "prover")]
    pub fn commit(&self, evaluations: Vec<F>) -> Result<(Root, ProverData), Error> {
        if evaluations.len() != 1 << self.n {
            return Err(Error::Values(format!(
                "a polynomial in {} variables has {} values, not {}",
                self.n,
                1_usize << self.n,
                evaluations.len()
            )));
        }
        let (root, form) = match &self.form {
            Form::Direct => (
                direct::root(self.n, &evaluations),
                ProverForm::Direct(Arc::new(evaluations)),
            ),
            Form::Whir(scheme) => {
                let (root, data) = scheme.commit(evaluations);
                (root, ProverForm::Whir(Arc::new(data)))
            }
            Form::Rows(scheme) => {
                let compact = Compact::new(&evaluations);
                drop(evaluations);
                let (root, data) = scheme.commit(compact);
                (root, ProverForm::Rows(data))
            }
        };
        Ok((root, ProverData { root, form }))
    }

    /// [`Whir::commit`] for a polynomial that is made in stretches of `part` values, a power of two of at most all: where
    /// values are kept as bytes, they are never all there as field elements.
    #[cfg(feature = "prover")]
    pub(crate) fn commit_parts(
        &self,
        part: usize,
        evaluations: impl Fn(core::ops::Range<usize>) -> Vec<F>,
    ) -> Result<(Root, ProverData), Error> {
        let Form::Rows(scheme) = &self.form else {
            return self.commit(evaluations(0..1 << self.n));
        };
        let starts = (0..1 << self.n).step_by(part);
        let parts = starts.map(|start| evaluations(start..start + part));
        let (root, data) = scheme.commit(Compact::of_parts(1 << self.n, parts));
        let form = ProverForm::Rows(data);
        Ok((root, ProverData { root, form }))
    }

    /// Opens a committed polynomial at a point and returns its value there.
    ///
    /// # Errors
    /// [`Error::Values`] if the data or the point are of another size.
    #[cfg(feature = "prover")]
    pub fn open(&self, data: &ProverData, point: &[E], sink: &mut Sink) -> Result<E, Error> {
        self.check_point(point)?;
        if data.values().len() != 1 << self.n {
            return Err(Error::Values(format!(
                "an opening of a polynomial in {} variables with the data of another size",
                self.n
            )));
        }
        self.absorb(data.root, point, &mut sink.transcript);
        match (&self.form, &data.form) {
            (Form::Direct, ProverForm::Direct(values)) => Ok(direct::open(values, point, sink)),
            (Form::Whir(scheme), ProverForm::Whir(data)) => Ok(scheme.open(data, point, sink)),
            (Form::Rows(scheme), ProverForm::Rows(data)) => scheme.open(data, point, sink),
            _ => Err(Error::Values(
                "an opening with the data of another scheme".into(),
            )),
        }
    }

    /// Checks that the committed polynomial has this value at this point. The root must have been absorbed before the
    /// point was drawn.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::NotCanonical`], [`Error::Opening`]; [`Error::Values`] if the point is of another
    /// size.
    pub fn verify(
        &self,
        root: &Root,
        point: &[E],
        value: E,
        source: &mut Source<'_>,
    ) -> Result<(), Error> {
        self.check_point(point)?;
        self.absorb(*root, point, &mut source.transcript);
        match &self.form {
            Form::Direct => direct::verify(root, point, value, source),
            Form::Whir(scheme) => scheme.verify(root, point, value, source),
            Form::Rows(scheme) => scheme.verify(root, point, value, source),
        }
        .map_err(|refused| refused.of(self.purpose.name()))
    }

    fn check_point(&self, point: &[E]) -> Result<(), Error> {
        if point.len() == self.n {
            Ok(())
        } else {
            Err(Error::Values(format!(
                "a point with {} coordinates for a polynomial in {} variables",
                point.len(),
                self.n
            )))
        }
    }

    /// Binds what is opened and where. The caller has drawn the point from this transcript and absorbed the root, so
    /// this repeats what is already bound; it costs nothing and leaves no way to forget it.
    fn absorb(&self, root: Root, point: &[E], transcript: &mut Transcript) {
        let mut scheme = alloc::vec![self.n as u8];
        scheme.extend_from_slice(self.profile.name().as_bytes());
        scheme.push(b'/');
        scheme.extend_from_slice(self.purpose.name().as_bytes());
        transcript.bytes("pcs", &scheme);
        transcript.bytes("pcs root", &root.0);
        transcript.elements("pcs point", point);
    }
}

/// Why an opening is refused.
pub(crate) enum Refused {
    /// The bytes do not hold an opening.
    Reading(Error),
    /// The opening is wrong.
    Opening(String),
}

impl Refused {
    /// The error of an opening of this commitment.
    pub(crate) fn of(self, what: &'static str) -> Error {
        match self {
            Self::Reading(error) => error,
            Self::Opening(reason) => Error::Opening(what, reason),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Reading(error)
    }
}
