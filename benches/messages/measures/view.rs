//! What the live view costs while much happens, and while nothing does: itself, the broker, and a send.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::Size;
use crate::figures::Figures;
use crate::measures::latency::exchange;
use crate::peer::{Peer, live};
use crate::processes::{ProcessorTimes, usage};
use crate::sandbox::{PATIENCE, within};
use crate::wire::{StandIn, Wire};
use crate::world::World;

/// The pause between two messages: a thousand come in a minute.
const APART: Duration = Duration::from_millis(60);

const COLUMNS: u16 = 160;
const ROWS: u16 = 50;

/// The live view on a terminal of its own.
struct View {
    child: Child,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
    bytes: Arc<AtomicU64>,
}

impl View {
    fn start(mut command: Command) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::io::fcntl_setfd(&keys, rustix::io::FdFlags::CLOEXEC).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&keys, size).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let terminal =
            open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let terminal = || terminal.try_clone().unwrap();
        command.env("TERM", "xterm-256color");
        command.stdin(terminal()).stdout(terminal()).stderr(terminal());
        // SAFETY: both calls are single system calls.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let (rows, columns) = (ROWS.try_into().unwrap(), COLUMNS.try_into().unwrap());
        let view = Self {
            child: command.spawn().unwrap(),
            keys: keys.into(),
            screen: Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0))),
            bytes: Arc::default(),
        };
        let (screen, bytes) = (Arc::clone(&view.screen), Arc::clone(&view.bytes));
        let mut output = view.keys.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                bytes.fetch_add(count as u64, Ordering::Relaxed);
                let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
                screen.process(&buffer[..count]);
            }
        });
        view
    }

    fn shows(&self, text: &str) -> bool {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.screen().contents().contains(text)
    }

    fn until_shows(&self, text: &str) {
        assert!(within(PATIENCE, || self.shows(text)), "not shown: {text}");
    }

    fn written(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.keys.write_all(b"\x03");
        let _ = self.child.wait();
    }
}

/// What messages took.
struct Talk {
    answered: Vec<Duration>,
    shown: Vec<Duration>,
}

/// Sends messages for so long, one after the other. Each must be shown, if there is a view.
fn talk(a: &mut Peer, b: &mut Peer, time: Duration, view: Option<&View>) -> Talk {
    let (since, mut talk) = (Instant::now(), Talk { answered: Vec::new(), shown: Vec::new() });
    let mut number = 0;
    while since.elapsed() < time {
        let text =
            format!("Message {number} of this run: which of the two endpoints should I call?");
        let ([called, _, answered], _) = exchange(a, b, &text);
        talk.answered.push(answered - called);
        if let Some(view) = view {
            let mark = format!("Message {number} of");
            view.until_shows(&mark);
            talk.shown.push(called.elapsed());
        }
        number += 1;
        std::thread::sleep((APART * number).saturating_sub(since.elapsed()));
    }
    talk
}

pub fn view(world: &World, size: &Size, figures: &mut Figures) {
    let Size { view_peers, view_seconds, idle_seconds, .. } = size;
    let heading =
        format!("live view ({view_peers} peers, 1,000 messages a minute for {view_seconds} s)");
    figures.measure_beside("view", &heading, "without");
    let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
    let (mut b, mut a) = (peers.pop().unwrap(), peers.pop().unwrap());
    let mut calls = Wire::open(&world.sandbox);
    let stand_in = |number| StandIn::live(&world.sandbox, &mut calls, &format!("peer-{number}"));
    let _others: Vec<StandIn> = (2..*view_peers).map(stand_in).collect();
    let broker = world.broker();
    let time = Duration::from_secs(*view_seconds);
    let percent = |micros: Option<f64>| micros.map(|micros| micros / time.as_secs_f64() / 1e4);

    let before = ProcessorTimes::now(&[broker]);
    let without = talk(&mut a, &mut b, time, None);
    let broker_without = percent(before.since(1)[0]);

    let view = View::start(world.sandbox.command(["top"]));
    view.until_shows(&format!("{view_peers} live"));
    let top = view.child.id();
    let (before, bytes) = (ProcessorTimes::now(&[broker, top]), view.written());
    let with = talk(&mut a, &mut b, time, Some(&view));
    let took: Vec<Option<f64>> = before.since(1).into_iter().map(percent).collect();
    let bytes = (view.written() - bytes) as f64 / time.as_secs_f64() / 1e3;

    figures.durations(
        "answered",
        "send_message called -> answered",
        &with.answered,
        &without.answered,
    );
    figures.durations("shown", "send_message called -> on the screen", &with.shown, &[]);
    if let (Some(with), Some(top)) = (took[0], took[1]) {
        figures.compared("broker", "the broker: of one processor", "%", with, broker_without);
        figures.value("top", "the live view: of one processor", "%", top);
    }
    figures.value("terminal", "what the live view writes to its terminal", "kB/s", bytes);

    // What was started by the last messages has ended by then.
    std::thread::sleep(Duration::from_secs(idle_seconds + 2));
    let (before, bytes) = (usage(&[top]), view.written());
    std::thread::sleep(Duration::from_secs(*idle_seconds));
    let (Some(before), Some(after)) = (before, usage(&[top])) else { return };
    let switches = after.switches_since(&before);
    let what = format!("the live view: context switches in {idle_seconds} idle seconds");
    figures.value("top.switches", &what, "", switches);
    let bytes = (view.written() - bytes) as f64;
    figures.value("top.idle_bytes", "what it writes meanwhile", "bytes", bytes);
    figures.value("top.resident", "the live view: memory (RSS)", "MB", after.resident);
}
