//! The bytes of the page, and the policy under which a browser runs them.
//!
//! The parts are files of their own beside this one, joined when the program is compiled. They are
//! one document: no other request is made for any of it.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use sha2::{Digest as _, Sha256};

macro_rules! style {
    () => {
        include_str!("page.css")
    };
}

macro_rules! script {
    () => {
        concat!(
            "'use strict';\n",
            include_str!("text.js"),
            include_str!("broker.js"),
            include_str!("model.js"),
            include_str!("parts.js"),
            include_str!("view.js"),
            include_str!("page.js"),
        )
    };
}

/// The document.
pub const PAGE: &str = concat!(
    include_str!("head.html"),
    "<style>",
    style!(),
    "</style>\n",
    include_str!("body.html"),
    "<script>",
    script!(),
    "</script>\n</body>\n</html>\n",
);

/// Returns the content security policy: this script, this style, calls to this origin, and nothing
/// else, whatever text a peer gets into the page.
pub fn policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            hash(script!()),
            hash(style!()),
        );
        // It is ASCII. A policy that forbids all is the safe one in any case.
        HeaderValue::from_str(&policy)
            .unwrap_or(HeaderValue::from_static("default-src 'none'; sandbox"))
    });
    POLICY.clone()
}

/// Returns the SHA-256 of a text in Base64, as a policy names what may run.
fn hash(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in Sha256::digest(text.as_bytes()).chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for digit in 0..=group.len() {
            out.push(char::from(DIGITS[bits >> (18 - 6 * digit) & 63]));
        }
        out.extend(std::iter::repeat_n('=', 3 - group.len()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_other_programs_compute() {
        // printf abc | openssl dgst -sha256 -binary | base64
        assert_eq!(hash(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(hash("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn the_document_has_one_script_and_one_style_and_loads_nothing() {
        for (tag, count) in [("<script", 1), ("</script", 1), ("<style", 1), ("</style", 1)] {
            assert_eq!(PAGE.matches(tag).count(), count, "{tag}");
        }
        for word in ["src=", "@import", "url(", "http://", "https://www", "style=", " onclick"] {
            assert!(!PAGE.contains(word), "{word}");
        }
        // Markup is never made of text.
        for word in
            ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("]
        {
            assert!(!PAGE.contains(word), "{word}");
        }
        assert!(!PAGE.contains('\r'));
    }
}
