//! What a message costs that can be counted, so that noise does not matter.

use std::time::Duration;

use crate::Size;
use crate::figures::Figures;
use crate::measures::latency::exchange;
use crate::peer::live;
use crate::processes::log_pages;
use crate::world::World;

/// The pause between two messages: the receipt of one is written before the next.
const APART: Duration = Duration::from_millis(10);

pub fn counts(world: &World, size: &Size, figures: &mut Figures) {
    let messages = size.messages.min(100);
    figures.measure("counts", &format!("counts ({messages} messages, one by one)"));
    let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
    let (mut b, mut a) = (peers.pop().unwrap(), peers.pop().unwrap());
    let (mut pages, mut counted) = (0, 0);
    let mut before = log_pages(&world.database()).expect("there is a log");
    for _ in 0..messages {
        exchange(&mut a, &mut b, "Which of the two endpoints should the frontend call?");
        std::thread::sleep(APART);
        let after = log_pages(&world.database()).expect("there is a log");
        if let Some(new) = after.since(&before) {
            pages += new;
            counted += 1;
        }
        before = after;
    }
    let each = f64::from(u32::try_from(pages).unwrap()) / f64::from(counted);
    figures.value("send.pages", "pages written to the log, a message with its receipt", "", each);
}
