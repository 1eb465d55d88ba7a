//! The elements of a constant, in the smallest form that holds them all.

use crate::Range;
use alloc::{borrow::Cow, sync::Arc, vec::Vec};

/// The elements of a constant in row-major order: bytes where all of them are, as weights mostly are, and 32-bit integers
/// otherwise. Clones share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elements(Form);

/// Equal elements have one form.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Bytes(Arc<Vec<i8>>),
    Wide(Arc<Vec<i32>>),
}

/// Integers to read, in either form.
#[derive(Debug, Clone, Copy)]
pub enum Ints<'a> {
    /// All of them are bytes.
    Bytes(&'a [i8]),
    /// They may have any size.
    Wide(&'a [i32]),
}

impl Elements {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ints().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as they are held.
    #[must_use]
    pub fn ints(&self) -> Ints<'_> {
        match &self.0 {
            Form::Bytes(data) => Ints::Bytes(data),
            Form::Wide(data) => Ints::Wide(data),
        }
    }

    /// The elements one by one.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.ints().iter()
    }

    /// The elements as 32-bit integers: a copy where they are held as bytes.
    #[must_use]
    pub fn wide(&self) -> Cow<'_, [i32]> {
        match self.ints() {
            Ints::Bytes(data) => Cow::Owned(data.iter().map(|&v| v.into()).collect()),
            Ints::Wide(data) => Cow::Borrowed(data),
        }
    }

    /// The smallest interval that holds all elements; `None` for no elements.
    #[must_use]
    pub fn range(&self) -> Option<Range> {
        match self.ints() {
            Ints::Bytes(data) => {
                let (lo, hi) = (data.iter().min()?, data.iter().max()?);
                Some(Range::new((*lo).into(), (*hi).into()))
            }
            Ints::Wide(data) => Range::of(data),
        }
    }
}

impl From<Vec<i32>> for Elements {
    fn from(values: Vec<i32>) -> Self {
        let bytes: Option<Vec<i8>> = values.iter().map(|&v| i8::try_from(v).ok()).collect();
        Self(match bytes {
            Some(bytes) => Form::Bytes(bytes.into()),
            None => Form::Wide(values.into()),
        })
    }
}

impl From<Vec<i8>> for Elements {
    fn from(values: Vec<i8>) -> Self {
        Self(Form::Bytes(values.into()))
    }
}

impl<'a> From<&'a [i32]> for Ints<'a> {
    fn from(values: &'a [i32]) -> Self {
        Self::Wide(values)
    }
}

impl<'a> From<&'a Vec<i32>> for Ints<'a> {
    fn from(values: &'a Vec<i32>) -> Self {
        Self::Wide(values)
    }
}

impl<'a> From<&'a Elements> for Ints<'a> {
    fn from(elements: &'a Elements) -> Self {
        elements.ints()
    }
}

impl<'a> Ints<'a> {
    /// How many.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Bytes(data) => data.len(),
            Self::Wide(data) => data.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// One by one.
    pub fn iter(self) -> impl Iterator<Item = i32> + 'a {
        let (bytes, wide): (&[i8], &[i32]) = match self {
            Self::Bytes(data) => (data, &[]),
            Self::Wide(data) => (&[], data),
        };
        // One of the two is empty.
        bytes.iter().map(|&v| v.into()).chain(wide.iter().copied())
    }

    /// Some of them.
    ///
    /// # Panics
    /// If the range reaches beyond them.
    #[must_use]
    pub fn range(self, range: core::ops::Range<usize>) -> Self {
        match self {
            Self::Wide(data) => Self::Wide(&data[range]),
            Self::Bytes(data) => Self::Bytes(&data[range]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn bytes_are_held_as_bytes_and_nothing_else_is() {
        let small = vec![-128, 0, 127];
        let elements = Elements::from(small.clone());
        assert!(matches!(elements.ints(), Ints::Bytes([-128, 0, 127])));
        assert_eq!(elements, Elements::from(vec![-128i8, 0, 127]));
        for large in [vec![-129, 0], vec![0, 128]] {
            let elements = Elements::from(large.clone());
            assert!(matches!(elements.ints(), Ints::Wide(data) if data == large));
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        for values in [vec![], vec![5, -3, 5], vec![5, -300, 1 << 20]] {
            let elements = Elements::from(values.clone());
            assert_eq!(elements.len(), values.len());
            assert_eq!(elements.is_empty(), values.is_empty());
            assert_eq!(*elements.wide(), values);
            assert_eq!(elements.iter().collect::<Vec<_>>(), values);
            assert_eq!(elements.range(), Range::of(&values));
            let part = elements.ints().range(0..values.len().min(2));
            assert_eq!(part.len(), values.len().min(2));
        }
    }
}
