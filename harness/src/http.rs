//! The plain HTTP client with which the harness itself asks nodes: for readiness, for the fate of accepted work, for
//! counts. Load does not go through it.

/// A client that goes where it is told: no proxies of the environment, no redirects.
pub(crate) fn client() -> reqwest::Client {
    // The builder fails only where no TLS backend can be set up; the default client then says so itself.
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap_or_default()
}

/// The innermost cause, which is the part a person can use.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
