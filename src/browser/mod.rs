//! The page in the person's browser: a link from the broker, and a program that opens it.
//!
//! Arguments of a process are seen by every user of the machine, and whoever has the link first has the
//! page. So the browser is given the path of a private file that leads to the page.

mod opener;
mod redirect;

use std::time::Duration;

use crate::client::{Client, ClientError};
use crate::protocol::page::{PageLink, Visit};
use opener::Opener;
pub use opener::Reason;
use redirect::Redirect;

/// What became of the page.
#[derive(Debug)]
pub enum Outcome {
    /// A browser has opened it.
    Opened { program: String },
    /// The person is to open it: for a reason, or because that was asked for.
    Link { link: PageLink, reason: Option<Reason> },
    /// The program was started, and no browser came.
    Missed { program: String, waited: Duration },
}

/// Opens the page, and waits until it is open. `started` is told the program and for how long the link is
/// good.
///
/// # Errors
///
/// If the broker gives no link, or cannot be reached.
pub async fn open_page(
    client: &Client,
    started: impl FnOnce(&str, Duration),
) -> Result<Outcome, ClientError> {
    let opener = Opener::find(&client.config().environment);
    let link = client.page_link().await?;
    let left = |reason| Ok(Outcome::Link { link: link.clone(), reason: Some(reason) });
    let opener = match opener {
        Ok(opener) => opener,
        Err(reason) => return left(reason),
    };
    let runtime = client.config().paths.runtime();
    // It is removed when this function ends.
    let file = match Redirect::write(runtime, &link.url) {
        Ok(file) => file,
        Err(error) => {
            let place = runtime.display();
            return left(Reason::NoBrowser(format!("no file can be written in {place}: {error}")));
        }
    };
    let failed = |program: &str, error: String| Reason::NoBrowser(format!("{program}: {error}"));
    let program = opener.name().to_owned();
    let mut child = match opener.start(file.path()) {
        Ok(child) => child,
        Err(error) => return left(failed(&program, error.to_string())),
    };
    let good_for = Duration::from_secs(link.valid_for);
    started(&program, good_for);
    let visit = client.page_visit(link.code(), good_for);
    tokio::pin!(visit);
    let visit = tokio::select! {
        visit = &mut visit => visit?,
        ended = child.wait() => match ended {
            Ok(status) if !status.success() => return left(failed(&program, status.to_string())),
            // Most such programs end at once, and leave the rest to a browser that runs.
            _ => visit.await?,
        },
    };
    Ok(match visit.visit {
        Visit::Opened => Outcome::Opened { program },
        _ => Outcome::Missed { program, waited: good_for },
    })
}
