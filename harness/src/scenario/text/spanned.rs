//! Values with their places in the file, some of which could not be understood.
//!
//! A value that could not be understood has been reported, and is `None`: the compiler asks every user what then. Checks
//! between values leave it alone, so that one mistake is told once.

use super::source::Span;

/// A value with its place in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// A value as the file gives it: `None` where it could not be understood, which has been reported.
pub type Written<T> = Spanned<Option<T>>;

impl<T> Spanned<T> {
    /// A value at its place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T> Spanned<Option<T>> {
    /// The value, where it was understood.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// The value with its place, where it was understood.
    #[must_use]
    pub fn placed(&self) -> Option<Spanned<&T>> {
        Some(Spanned::new(self.known()?, self.span))
    }
}

/// The value of a key that may be left out.
pub trait OptionalKey<T> {
    /// The value with its place, where it is given and was understood.
    fn placed(&self) -> Option<Spanned<&T>>;

    /// The value, where it is given and was understood.
    fn known(&self) -> Option<&T> {
        self.placed().map(|placed| placed.value)
    }

    /// Whether nothing was misunderstood: the value is left out, or known.
    fn understood(&self) -> bool;

    /// The value where it is given; the outer `None` where it is given and was not understood.
    fn if_given(&self) -> Option<Option<&T>>;

    /// The value, or the default where it is left out; `None` where it is given and was not understood.
    fn given_or(&self, default: T) -> Option<T>
    where
        T: Clone;
}

impl<T> OptionalKey<T> for Option<Written<T>> {
    fn placed(&self) -> Option<Spanned<&T>> {
        self.as_ref()?.placed()
    }

    fn understood(&self) -> bool {
        self.if_given().is_some()
    }

    fn if_given(&self) -> Option<Option<&T>> {
        match self {
            Some(given) => given.known().map(Some),
            None => Some(None),
        }
    }

    fn given_or(&self, default: T) -> Option<T>
    where
        T: Clone,
    {
        self.if_given()
            .map(|given| given.cloned().unwrap_or(default))
    }
}
