//! The answer while the wall clock is before 1970 or after 9999.
//!
//! HTTP has no date for such a time, and hyper panics where it makes one, even if no answer is to
//! carry it. So connections get an error that is written by hand. Linux refuses to set such clocks,
//! but a hardware clock, a virtual machine or a preloaded library can have one.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::protocol::{ApiError, ErrorCode, Timestamp};

/// The last millisecond of the year 9999.
const LAST: Timestamp = Timestamp::from_millis(253_402_300_799_999);

/// How long the caller may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether the clock shows a time that HTTP cannot write.
pub fn is_impossible(now: Timestamp) -> bool {
    now.millis() < 0 || now > LAST
}

/// Reads a request, and answers that the clock must be set.
pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let error = ApiError::new(
        ErrorCode::Storage,
        "the clock of this machine is before 1970 or after 9999, so the broker cannot work",
    )
    .hint("Set the clock. Nothing is lost, and sessions continue by themselves.");
    let body = serde_json::to_string(&error).unwrap_or_default();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let exchange = async {
        let mut request = vec![0; 64 * 1024];
        let _ = stream.read(&mut request).await?;
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    if let Ok(Err(error)) = tokio::time::timeout(LIMIT, exchange).await {
        tracing::debug!("a connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_of_http_has_the_years_1970_to_9999() {
        let impossible = |millis| is_impossible(Timestamp::from_millis(millis));
        assert!([-1, i64::MIN, 253_402_300_800_000, i64::MAX].into_iter().all(impossible));
        assert!(![0, 1_800_000_000_000, 253_402_300_799_999].into_iter().any(impossible));
    }
}
