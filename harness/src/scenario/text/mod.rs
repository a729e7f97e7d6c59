//! Text with places: files, their trees of values with the span of each, and messages that point into them. Nothing here
//! knows what a scenario is.

pub mod diagnostic;
pub(crate) mod node;
pub mod source;
pub(crate) mod spanned;
pub(crate) mod syntax;
