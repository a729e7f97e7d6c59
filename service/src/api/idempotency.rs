//! `Idempotency-Key`: a request that is sent again is answered as the first time.

use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::http::Problem;
use crate::store::IdempotencyKey;
use crate::units::hex;

/// Reads `Idempotency-Key` and ties it to `request`, which must be the same for the same wish.
pub(super) fn idempotency_key(
    headers: &HeaderMap,
    request: &[&[u8]],
) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    // The draft writes it as a quoted string, most clients as bare text.
    let key = value.to_str().unwrap_or_default().trim().trim_matches('"');
    if key.is_empty() || key.len() > 255 {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_idempotency_key",
            "Idempotency-Key must be 1 to 255 visible ASCII characters",
        ));
    }
    let mut hash = Sha256::new();
    for part in request {
        hash.update((part.len() as u64).to_le_bytes()); // so that parts cannot run into each other
        hash.update(part);
    }
    Ok(Some(IdempotencyKey {
        key: key.to_owned(),
        request_hash: hex(&hash.finalize()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_its_request() {
        let mut headers = HeaderMap::new();
        assert_eq!(idempotency_key(&headers, &[b"a"]).unwrap(), None);
        headers.insert("idempotency-key", "\"k-1\"".parse().unwrap());
        let key = |request: &[&[u8]]| idempotency_key(&headers, request).unwrap().unwrap();
        assert_eq!(key(&[b"a", b"b"]).key, "k-1");
        assert_eq!(key(&[b"a", b"b"]), key(&[b"a", b"b"]));
        assert_ne!(key(&[b"a", b"b"]), key(&[b"ab", b""]));
        headers.insert("idempotency-key", "".parse().unwrap());
        assert!(idempotency_key(&headers, &[]).is_err());
    }
}
