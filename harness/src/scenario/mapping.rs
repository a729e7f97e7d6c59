//! Mappings of a scenario file: those with a closed set of keys, each a field of a struct, and those whose keys the author
//! chose. What may stand behind a key is the business of its type.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::read::{Read, Reader};
use super::text::node::{Node, Value};
use super::text::source::Span;
use super::text::spanned::Spanned;

/// A mapping whose keys are names the author chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Entries<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Entries<T> {
    /// The entries in the order written.
    pub fn iter(&self) -> impl Iterator<Item = (&Spanned<String>, &T)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0
            .iter()
            .find(|(key, _)| key.value == name)
            .map(|(_, value)| value)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Read> Read for Entries<T> {
    fn read(node: &Node, cx: &mut Reader) -> Self {
        let Some(entries) = cx.mapping(node) else {
            return Self::default();
        };
        let entries = cx.unique(entries);
        Self(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let name = Spanned::new(key.name.clone(), key.span);
                    (name, T::read(value, cx))
                })
                .collect(),
        )
    }

    fn missing(_: Span) -> Self {
        Self::default()
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }

    fn fits(node: &Node) -> bool {
        matches!(node.value, Value::Map(_) | Value::Null)
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Named{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "object",
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

/// A struct that is read from a mapping: each field is a key, and there are no others. An `Option` or a list may be
/// absent, everything else must be there. Raw identifiers (`r#for`) stand for their plain key.
macro_rules! mapping {
    ($(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields, transform = $name::describe_required)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
            /// Where it stands.
            #[schemars(skip)]
            pub span: $crate::scenario::text::source::Span,
            /// Whether every key in it was understood, so that what is absent or empty was left out.
            #[schemars(skip)]
            pub complete: bool,
        }

        impl $name {
            /// The keys it takes.
            pub const KEYS: &'static [&'static str] =
                &[$( $crate::scenario::mapping::plain_key(stringify!($field)) ),*];

            /// Those of them that must be there.
            #[must_use]
            pub fn required() -> Vec<&'static str> {
                let keys: &[(&'static str, bool)] = &[$( (
                    $crate::scenario::mapping::plain_key(stringify!($field)),
                    <$type as $crate::scenario::read::Read>::absent().is_none(),
                ) ),*];
                keys.iter().filter(|(_, required)| *required).map(|(key, _)| *key).collect()
            }

            /// schemars takes every list for required; the reader knows better.
            fn describe_required(schema: &mut schemars::Schema) {
                schema.remove("required");
                let required = Self::required();
                if !required.is_empty() {
                    schema.insert("required".to_owned(), required.into());
                }
            }
        }

        impl $crate::scenario::read::Read for $name {
            fn read(
                node: &$crate::scenario::text::node::Node,
                cx: &mut $crate::scenario::read::Reader,
            ) -> Self {
                let fields = cx.fields(node, Self::KEYS, |node, cx| {
                    cx.as_mapping(node, &[$( (
                        $crate::scenario::mapping::plain_key(stringify!($field)),
                        <$type as $crate::scenario::read::Read>::absent().is_none(),
                        |node, cx| { <$type as $crate::scenario::read::Read>::read(node, cx); },
                    ) ),*])
                });
                Self {
                    $( $field: fields.take(
                        $crate::scenario::mapping::plain_key(stringify!($field)), cx), )*
                    span: fields.span(),
                    complete: fields.complete() $( && fields.fits::<$type>(
                        $crate::scenario::mapping::plain_key(stringify!($field))) )*,
                }
            }

            fn missing(span: $crate::scenario::text::source::Span) -> Self {
                Self {
                    $( $field: <$type as $crate::scenario::read::Read>::absent().unwrap_or_else(
                        || <$type as $crate::scenario::read::Read>::missing(span)), )*
                    span,
                    complete: false,
                }
            }
        }
    };
}
pub(crate) use mapping;

/// `r#for` is the key `for`.
pub(crate) const fn plain_key(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}
