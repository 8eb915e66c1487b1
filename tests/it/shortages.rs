//! Promise 2: a session keeps its peer and its mail though the broker is short of descriptors.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crate::support::{SessionOptions, faults};

/// A broker that cannot read a process's files for a moment must not take it for another one, or for
/// one that has ended.
#[test]
fn a_session_that_comes_back_while_descriptors_are_short_is_the_same_peer() {
    let Some((sandbox, faults)) = faults::sandbox() else { return };
    let mut broker = sandbox.start_broker();
    let mut session = sandbox.session("session");
    session.until_live();
    let id = session.id();
    // The library spares processes that have just started: here, the new servers.
    std::thread::sleep(Duration::from_secs(4));
    // Each of the files that it opens at a registration is one that it cannot open, and the only one.
    let hits = || faults.hits.iter().map(|one| one.load(SeqCst)).sum::<u32>();
    let mut failed = 0;
    for opened in 1.. {
        session.kill9();
        let (before, since) = (hits(), Instant::now());
        faults.fail_after(|control| &control.descriptors, opened);
        session = SessionOptions::new("session").at_once().start(&sandbox);
        while hits() == before && since.elapsed() < Duration::from_secs(2) {
            std::hint::spin_loop();
        }
        faults.calm();
        session.until_live();
        assert_eq!(session.id(), id, "{opened} files were opened before");
        if hits() == before {
            break;
        }
        failed += 1;
    }
    assert!(failed > 5, "only {failed} files");
    broker.kill().unwrap();
    broker.wait().unwrap();
}
