//! Settings of a kind of fault: one plain struct from the scenario file through the plan to the record.
//!
//! The macro reads the struct from a mapping, with every problem located, fills in defaults, and describes it in the JSON
//! Schema. Places in the file are needed only while it is checked, so they are not kept.

use schemars::{Schema, SchemaGenerator};

use crate::scenario::read::{Fields, Reader, Scalar};
use crate::scenario::text::node::Node;
use crate::scenario::text::source::Span;
use crate::scenario::text::spanned::Written;

/// What a kind of fault can be told.
pub(crate) trait Settings: Sized {
    /// Its keys; none for a kind that is written as a bare word.
    const KEYS: &'static [&'static str];

    /// What the bare word means; `None` where a key must be given.
    fn bare() -> Option<Self>;

    /// Reads them; `None` when anything could not be read, which has been reported.
    fn read(node: &Node, cx: &mut Reader) -> Option<(Self, Places)>;

    /// How they are described to editors.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// Where the values stand in the file, by key.
#[derive(Debug)]
pub struct Places {
    whole: Span,
    keys: Vec<(&'static str, Span)>,
}

impl Places {
    pub(crate) fn new(fields: &Fields<'_>, keys: &'static [&'static str]) -> Self {
        let place = |key: &'static str| Some((key, fields.node(key)?.span));
        Self {
            whole: fields.span(),
            keys: keys.iter().copied().filter_map(place).collect(),
        }
    }

    /// The place of a key's value; the whole mapping where the key is not given.
    pub(crate) fn of(&self, key: &str) -> Span {
        let found = self.keys.iter().find(|(name, _)| *name == key);
        found.map_or(self.whole, |(_, span)| *span)
    }
}

/// The value of a key that must be there.
pub(crate) fn required<T: Scalar>(fields: &Fields<'_>, key: &str, cx: &mut Reader) -> Option<T> {
    fields.take::<Written<T>>(key, cx).value
}

/// The value of a key that may be left out: the outer `None` for a value that could not be read.
pub(crate) fn optional<T: Scalar>(
    fields: &Fields<'_>,
    key: &str,
    cx: &mut Reader,
) -> Option<Option<T>> {
    let given = fields.take::<Option<Written<T>>>(key, cx);
    given.map_or(Some(None), |given| given.value.map(Some))
}

/// Defines the settings of a kind. Behind each key stands in brackets whether it is `required`, `optional` (an `Option`),
/// or what it is when it is left out. Without keys the kind is a bare word.
macro_rules! settings {
    (@type $type:ty, required) => { $type };
    (@type $type:ty, optional) => { Option<$type> };
    (@type $type:ty, $default:expr) => { $type };
    (@read $fields:ident, $key:literal, $cx:ident, $type:ty, required) => {
        $crate::scenario::fault::settings::required::<$type>(&$fields, $key, $cx)
    };
    (@read $fields:ident, $key:literal, $cx:ident, $type:ty, optional) => {
        $crate::scenario::fault::settings::optional::<$type>(&$fields, $key, $cx)
    };
    (@read $fields:ident, $key:literal, $cx:ident, $type:ty, $default:expr) => {
        $crate::scenario::fault::settings::optional::<$type>(&$fields, $key, $cx)
            .map(|given| given.unwrap_or($default))
    };
    (@bare $type:ty, required) => { return None };
    (@bare $type:ty, optional) => { None };
    (@bare $type:ty, $default:expr) => { $default };
    (@needed $key:literal, required) => { Some($key) };
    (@needed $key:literal, optional) => { None::<&str> };
    (@needed $key:literal, $default:expr) => { None::<&str> };

    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name;

        impl $crate::scenario::fault::settings::Settings for $name {
            const KEYS: &'static [&'static str] = &[];

            fn bare() -> Option<Self> {
                Some(Self)
            }

            fn read(
                _: &$crate::scenario::text::node::Node,
                _: &mut $crate::scenario::read::Reader,
            ) -> Option<(Self, $crate::scenario::fault::settings::Places)> {
                None
            }

            fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "null" })
            }
        }
    };

    ($(#[$meta:meta])* $name:ident {
        $( #[doc = $doc:literal] $field:ident ($key:literal) : $type:ty [$($rule:tt)+] ),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $( #[doc = $doc] #[serde(rename = $key)]
               pub $field: $crate::scenario::fault::settings::settings!(@type $type, $($rule)+), )+
        }

        impl $crate::scenario::fault::settings::Settings for $name {
            const KEYS: &'static [&'static str] = &[$($key),+];

            #[allow(unreachable_code, clippy::diverging_sub_expression,
                clippy::allow_attributes, reason = "kinds with a required key have no bare form")]
            fn bare() -> Option<Self> {
                Some(Self {
                    $( $field: $crate::scenario::fault::settings::settings!(@bare $type, $($rule)+), )+
                })
            }

            fn read(
                node: &$crate::scenario::text::node::Node,
                cx: &mut $crate::scenario::read::Reader,
            ) -> Option<(Self, $crate::scenario::fault::settings::Places)> {
                let fields = cx.fields(node, Self::KEYS, |node, cx| {
                    cx.as_mapping(node, &[$( (
                        $key,
                        $crate::scenario::fault::settings::settings!(@needed $key, $($rule)+)
                            .is_some(),
                        |node, cx| {
                            <$type as $crate::scenario::read::Scalar>::read(node, cx);
                        },
                    ) ),+])
                });
                let places = $crate::scenario::fault::settings::Places::new(&fields, Self::KEYS);
                // All of them first, so that every problem is told.
                $( let $field = $crate::scenario::fault::settings::settings!(
                    @read fields, $key, cx, $type, $($rule)+); )+
                Some((Self { $( $field: $field?, )+ }, places))
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let required: Vec<&str> = [$( $crate::scenario::fault::settings::settings!(
                    @needed $key, $($rule)+) ),+].into_iter().flatten().collect();
                let mut properties = serde_json::Map::new();
                $( properties.insert($key.to_owned(), $crate::scenario::fault::settings::described(
                    generator.subschema_for::<$crate::scenario::text::spanned::Written<$type>>(), $doc)); )+
                let mut schema = schemars::json_schema!({
                    "type": "object",
                    "properties": properties,
                    "additionalProperties": false,
                });
                if !required.is_empty() {
                    schema.insert("required".to_owned(), required.into());
                }
                schema
            }
        }
    };
}
pub(crate) use settings;

/// A schema with the text that editors show for the key.
pub(crate) fn described(mut schema: Schema, doc: &str) -> serde_json::Value {
    schema.insert("description".to_owned(), doc.trim().into());
    schema.to_value()
}
