//! What the author wrote: model, parsing with spans, validation, JSON Schema.

pub mod expr;
