//! What a fault injects: a kind with its settings, whichever kind it is.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

use super::{Aimed, FaultKind, Kind, Phrase};

/// A kind with its settings. Written as in a scenario: `"kill"`, `{ "latency": { … } }`.
#[derive(Clone)]
pub struct Injection(Arc<dyn Erased>);

/// A kind of which the type is not known.
trait Erased: Any + fmt::Debug + Send + Sync {
    fn kind(&self) -> &'static FaultKind;
    fn in_turn(&self) -> Option<Duration>;
    fn ends_within(&self) -> Option<Duration>;
    fn phrase(&self, aimed: Aimed<'_>) -> Phrase;
    fn settings(&self) -> serde_json::Result<Json>;
    fn equals(&self, other: &dyn Any) -> bool;
    fn any(&self) -> &dyn Any;
}

impl<K: Kind> Erased for K {
    fn kind(&self) -> &'static FaultKind {
        const { &FaultKind::of::<K>() }
    }

    fn in_turn(&self) -> Option<Duration> {
        Kind::in_turn(self)
    }

    fn ends_within(&self) -> Option<Duration> {
        Kind::ends_within(self)
    }

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        Kind::phrase(self, aimed)
    }

    fn settings(&self) -> serde_json::Result<Json> {
        serde_json::to_value(self)
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<K>() == Some(self)
    }

    fn any(&self) -> &dyn Any {
        self
    }
}

impl Injection {
    /// Of these settings.
    pub fn new(settings: impl Kind) -> Self {
        Self(Arc::new(settings))
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &'static FaultKind {
        self.0.kind()
    }

    /// The settings, where it is of this kind.
    #[must_use]
    pub fn settings<K: Kind>(&self) -> Option<&K> {
        self.0.any().downcast_ref()
    }

    /// The pause between targets, where they are hit one after the other.
    #[must_use]
    pub fn in_turn(&self) -> Option<Duration> {
        self.0.in_turn()
    }

    /// Longest time that a target takes to end, where the fault ends by itself.
    #[must_use]
    pub fn ends_within(&self) -> Option<Duration> {
        self.0.ends_within()
    }

    /// How reports speak of it when it hits these targets.
    #[must_use]
    pub fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        self.0.phrase(aimed)
    }
}

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Injection {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(other.0.any())
    }
}

impl Serialize for Injection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = self.kind().name;
        match self.0.settings().map_err(S::Error::custom)? {
            Json::Null => serializer.serialize_str(name),
            settings => Map::from_iter([(name.to_owned(), settings)]).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Injection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, settings) = match Json::deserialize(deserializer)? {
            Json::String(name) => (name, Json::Null),
            Json::Object(map) if map.len() == 1 => map
                .into_iter()
                .next()
                .ok_or_else(|| D::Error::custom("a fault without a kind"))?,
            other => {
                return Err(D::Error::custom(format!(
                    "a fault is written as `kill` or {{\"latency\": {{…}}}}, not as {other}"
                )));
            }
        };
        let kind = FaultKind::find(&name).ok_or_else(|| {
            D::Error::custom(format!("this version knows no kind of fault `{name}`"))
        })?;
        (kind.restore)(settings)
            .map_err(|error| D::Error::custom(format!("settings of `{name}`: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use clip_service::units::HumanDuration;
    use serde_json::json;

    use super::super::{Down, KINDS, Kill, Latency, StatusAnswer};
    use super::*;
    use crate::scenario::value::Percent;
    use crate::scenario::value::Status;
    use crate::scenario::vocabulary::Direction;

    fn latency() -> Latency {
        Latency {
            add: HumanDuration::millis(400),
            jitter: HumanDuration::millis(100),
            share: Percent(0.5),
            direction: Direction::Both,
        }
    }

    #[test]
    fn it_is_stored_as_it_is_written_and_comes_back() {
        for (injection, stored) in [
            (Injection::new(Kill), json!("kill")),
            (
                Injection::new(latency()),
                json!({"latency": {"add": "400ms", "jitter": "100ms", "share": 0.5, "way": "both"}}),
            ),
            (
                Injection::new(StatusAnswer {
                    code: Status(503),
                    share: Percent(1.0),
                    retry_after: None,
                }),
                json!({"status": {"code": 503, "share": 1.0, "retry_after": null}}),
            ),
        ] {
            assert_eq!(serde_json::to_value(&injection).expect("stored"), stored);
            let back: Injection = serde_json::from_value(stored).expect("restored");
            assert_eq!(back, injection);
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_refused_and_never_another_kind() {
        let refused = |json: Json| {
            serde_json::from_value::<Injection>(json)
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(
            refused(json!("melt")),
            "this version knows no kind of fault `melt`"
        );
        assert!(refused(json!({"latency": {}})).starts_with("settings of `latency`: "));
        assert!(refused(json!({"kill": null, "down": null})).contains("a fault is written as"));
        assert!(refused(json!(7)).contains("not as 7"));
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_ne!(Injection::new(Kill), Injection::new(Down));
        assert!(Injection::new(Kill).settings::<Down>().is_none());
        assert_eq!(
            Injection::new(latency()).settings::<Latency>(),
            Some(&latency())
        );
        for kind in KINDS {
            assert_eq!(FaultKind::find(kind.name), Some(kind));
        }
    }
}
