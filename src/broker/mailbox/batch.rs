//! A batch: several messages of one caller, in order, in one transaction.

use crate::broker::core::idempotency::{IdempotencyKey, known};
use crate::broker::core::{Caller, Tx};
use crate::broker::mailbox::send::{Sending, send_one_of};
use crate::broker::store::Fault;
use crate::protocol::messages::{SendMessage, Sent};
use crate::protocol::{ApiError, ErrorCode};

/// Several messages of one caller.
pub struct Batch {
    pub items: Vec<BatchItem>,
    /// Whether it may have been carried out before.
    pub again: bool,
}

/// A message of a batch, with its idempotency key or why it has none that can be used.
pub struct BatchItem {
    pub key: Result<IdempotencyKey, ApiError>,
    pub message: SendMessage,
}

/// Accepts or refuses each message for itself, in order.
///
/// A refused message leaves nothing behind, and its neighbours as they are. If the batch is sent
/// again, what comes before the last message that was accepted is not accepted any more: it would
/// come after that one.
///
/// # Errors
///
/// If the transaction cannot go on. No message of the batch is then stored.
pub fn send_batch(
    tx: &mut Tx<'_>,
    caller: &Caller,
    batch: &Batch,
) -> Result<Vec<Result<Sent, ApiError>>, Fault> {
    let known = if batch.again { known_messages(tx, caller, &batch.items)? } else { Vec::new() };
    let last_known = known.iter().rposition(|known| *known).unwrap_or(0);
    let mut sending = Sending::default();
    let send_one = |(index, item): (usize, &BatchItem)| {
        let key = match &item.key {
            Ok(key) => key,
            Err(error) => return Ok(Err(error.clone())),
        };
        let outcome = tx.in_savepoint(|tx| {
            let sent = send_one_of(tx, caller, Some(key), &item.message, &mut sending)?;
            if index < last_known && !known[index] { Err(out_of_order().into()) } else { Ok(sent) }
        })?;
        failpoint!("broker.batch.inserted");
        if outcome.is_err() {
            // It may know of a message that was undone.
            sending = Sending::default();
        }
        Ok(outcome)
    };
    batch.items.iter().enumerate().map(send_one).collect()
}

/// Returns for each message whether it was accepted before.
fn known_messages(tx: &Tx<'_>, caller: &Caller, items: &[BatchItem]) -> Result<Vec<bool>, Fault> {
    let receiver = caller.receiver();
    let is_known = |item: &BatchItem| match &item.key {
        Ok(key) => match known(tx, &receiver, key) {
            Ok(known) => Ok(known.is_some()),
            // The key stands for another request.
            Err(Fault::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        },
        Err(_) => Ok(false),
    };
    items.iter().map(is_known).collect()
}

fn out_of_order() -> ApiError {
    ApiError::new(
        ErrorCode::OutOfOrder,
        "the message was refused at first, and messages that follow it are accepted already",
    )
    .hint("Nothing was sent. Send it anew.")
}
