//! The page's token: until when it is valid, and a proof that this broker's user was given it.
//!
//! The proof is made with the secret of the token file, so nothing is kept: a page stays open when the
//! broker is replaced by another one, for example at an upgrade. A new token file ends all pages.

use std::fmt::Write as _;
use std::time::Duration;

use ring::hmac;

use crate::protocol::Timestamp;

/// What a page's token begins with, and no other token does.
const PREFIX: &str = "page-";

/// How long a page may be used after it was opened.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Makes the token for a page that is opened `now`.
pub fn issue(secret: &str, now: Timestamp) -> String {
    make(secret, &now.plus(LIFETIME).millis().to_string())
}

fn make(secret: &str, until: &str) -> String {
    format!("{PREFIX}{until}-{}", sign(secret, &claim(until)))
}

/// Proves to a page that this broker knows the page's token, though it was not sent.
pub fn prove(secret: &str, until: &str, nonce: &str) -> String {
    sign(&make(secret, until), &format!("claude-peers page proof {nonce}"))
}

/// Returns the HMAC of a text as hexadecimal digits.
fn sign(secret: &str, text: &str) -> String {
    let mut digits = String::with_capacity(64);
    for byte in hmac::sign(&key(secret), text.as_bytes()).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Whether a token claims to be a page's.
pub fn has_form(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// Whether [`issue`] made this token with the same secret, and its time is not over.
pub fn is_valid(secret: &str, token: &str, now: Timestamp) -> bool {
    let Some((until, proof)) = token.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    let Some(proof) = bytes(proof) else { return false };
    // The proof first, in constant time: it covers the time as it is written.
    hmac::verify(&key(secret), claim(until).as_bytes(), &proof).is_ok()
        && until.parse().is_ok_and(|until: i64| now.millis() < until)
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

/// What is proven. The words keep the proof apart from any other that is made with the secret.
fn claim(until: &str) -> String {
    format!("claude-peers page until {until}")
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_for_its_secret_until_its_time_is_over() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let token = issue("secret", now);
        assert!(has_form(&token));
        assert!(is_valid("secret", &token, now));
        let last = now.plus(LIFETIME).shifted(-1);
        assert!(is_valid("secret", &token, last));
        assert!(!is_valid("secret", &token, last.shifted(1)));
        assert!(!is_valid("another", &token, now));
    }

    #[test]
    fn a_proof_is_another_for_each_token_nonce_and_secret() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let until = now.plus(LIFETIME).millis().to_string();
        let proof = prove("secret", &until, "nonce");
        assert_eq!(proof, sign(&issue("secret", now), "claude-peers page proof nonce"));
        assert_ne!(proof, prove("secret", &until, "other"));
        assert_ne!(proof, prove("other", &until, "nonce"));
        assert_ne!(proof, prove("secret", "0", "nonce"));
        assert!(!issue("secret", now).contains(&proof));
    }

    #[test]
    fn no_change_of_a_token_is_valid() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let token = issue("secret", now);
        for at in 0..token.len() {
            for other in ["0", "f", "-", "", "é"] {
                let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
                if changed != token {
                    assert!(!is_valid("secret", &changed, now), "{changed}");
                }
            }
            assert!(!is_valid("secret", &token[..at], now), "{}", &token[..at]);
        }
        // A later time with the proof of an earlier one.
        let (_, proof) = token.rsplit_once('-').unwrap();
        for until in ["9999999999999", "+9999999999999", "-1", ""] {
            assert!(!is_valid("secret", &format!("{PREFIX}{until}-{proof}"), now), "{until}");
        }
        assert!(!is_valid("secret", &token.to_uppercase(), now));
        assert!(!is_valid("secret", &format!("{token}0"), now));
    }
}
