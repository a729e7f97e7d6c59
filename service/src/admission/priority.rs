//! How much a request matters, and so in which order requests are refused when there is too much work.

use http::{HeaderMap, HeaderName};

/// A caller's wish: `background`, `low`, `normal` or `high`. It can only lower what the route gives; `normal` is no wish.
pub const X_PRIORITY: HeaderName = HeaderName::from_static("x-priority");

/// Number of a try, from 1. More than one is a retry.
pub const X_ATTEMPT: HeaderName = HeaderName::from_static("x-attempt");

/// `1` on the second copy of a request whose first copy is still on its way.
pub const X_HEDGE: HeaderName = HeaderName::from_static("x-hedge");

/// How much a request matters, least first: the order in which requests are shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A second copy, sent for speed only.
    Hedge,
    /// A repetition: whoever sent it has other ways left, and repeating into overload makes it last.
    Retry,
    /// Nobody waits at a screen: listings, statistics.
    Background,
    /// Can be done later at no loss: uploads.
    Low,
    /// The usual.
    Normal,
    /// Somebody is watching: playback.
    High,
}

impl Priority {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All of them, most important first.
    pub const DESCENDING: [Self; Self::COUNT] = [
        Self::High,
        Self::Normal,
        Self::Low,
        Self::Background,
        Self::Retry,
        Self::Hedge,
    ];

    /// Place in arrays by priority, 0 for the least.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As metrics write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hedge => "hedge",
            Self::Retry => "retry",
            Self::Background => "background",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Share of a concurrency limit that requests of this priority may fill. What is left above it is kept for those
    /// that matter more, so that the first to be refused are always the least.
    #[must_use]
    pub const fn share(self) -> f64 {
        match self {
            Self::Hedge => 0.4,
            Self::Retry => 0.5,
            Self::Background => 0.6,
            Self::Low => 0.8,
            Self::Normal => 0.95,
            Self::High => 1.0,
        }
    }

    /// What requests of this priority may have in flight under `limit`. At least one: nothing is shut out for ever.
    #[must_use]
    pub fn allowance(self, limit: f64) -> usize {
        // The limit is a positive number far below 2^53.
        ((limit * self.share()) as usize).max(1)
    }

    /// Priority of a request whose route has `route`, after what its headers say.
    #[must_use]
    pub fn of(headers: &HeaderMap, route: Self) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let mut priority = match text(X_PRIORITY) {
            Some("background") => route.min(Self::Background),
            Some("low") => route.min(Self::Low),
            _ => route,
        };
        if text(X_ATTEMPT).is_some_and(|number| number.parse::<u32>().is_ok_and(|n| n > 1)) {
            priority = priority.min(Self::Retry);
        }
        if text(X_HEDGE) == Some("1") {
            priority = Self::Hedge;
        }
        priority
    }

    /// The wish to send on to the next hop; `None` when there is none.
    #[must_use]
    pub const fn wish(self) -> Option<&'static str> {
        match self {
            Self::Hedge | Self::Retry | Self::Background => Some("background"),
            Self::Low => Some("low"),
            Self::Normal | Self::High => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pairs: &[(HeaderName, &'static str)], route: Priority) -> Priority {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value)));
        Priority::of(&headers.collect(), route)
    }

    #[test]
    fn headers_only_lower() {
        use Priority::{Background, Hedge, High, Low, Normal, Retry};
        for (pairs, route, expected) in [
            (vec![], High, High),
            (vec![(X_PRIORITY, "low")], High, Low),
            (vec![(X_PRIORITY, "background")], Normal, Background),
            (vec![(X_PRIORITY, "high")], Low, Low),
            (vec![(X_PRIORITY, "normal")], High, High),
            (vec![(X_PRIORITY, "low")], Background, Background),
            (vec![(X_PRIORITY, "urgent!")], Normal, Normal),
            (vec![(X_ATTEMPT, "1")], High, High),
            (vec![(X_ATTEMPT, "2")], High, Retry),
            (vec![(X_HEDGE, "1"), (X_ATTEMPT, "2")], High, Hedge),
            (vec![(X_HEDGE, "0")], High, High),
        ] {
            assert_eq!(read(&pairs, route), expected, "{pairs:?} on {route:?}");
        }
    }

    proptest! {
        #[test]
        fn who_matters_more_may_always_have_at_least_as_much(limit in 1.0_f64..4096.0) {
            let allowances = Priority::DESCENDING.map(|priority| priority.allowance(limit));
            prop_assert!(allowances.windows(2).all(|pair| pair[0] >= pair[1]), "{allowances:?}");
            prop_assert_eq!(allowances[0], limit as usize);
            prop_assert!(allowances[5] >= 1);
        }
    }
}
