//! The list of peers, and the details of the selected one.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::protocol::Timestamp;
use crate::text::{columns, fit_end};
use crate::top::look::{Ink, Look};
use crate::top::model::peers::{PeerRow, PeerState};
use crate::top::model::{Connection, Focus, Model};
use crate::top::view::paint::{Row, title};
use crate::top::wrap::wrap;

/// The widths of the columns. One of no width is left out.
struct Columns {
    name: usize,
    directory: usize,
    branch: usize,
    summary: usize,
    gap: usize,
}

const STATE: usize = 7;
const VIA: usize = 8;
const UNREAD: usize = 6;

/// From this width on, there are two spaces between columns.
const ROOMY: usize = 100;

impl Columns {
    fn of<'a>(width: usize, rows: impl Iterator<Item = &'a PeerRow>) -> Self {
        let gap = if width < ROOMY { 1 } else { 2 };
        let (mut name, mut directory, mut branch) = (4, 9, 0);
        for row in rows {
            name = name.max(columns(&row.name));
            directory = directory.max(columns(&row.directory));
            branch = branch.max(columns(&row.branch));
        }
        let name = name.min(24).min((width / 4).max(8));
        // One column for the mark of the selected peer.
        let fixed = 1 + name + STATE + VIA + UNREAD + 4 * gap;
        let mut room = width.saturating_sub(fixed);
        let mut take = |wanted: usize, most: usize, least: usize| {
            let given = wanted.min(most).min(room);
            if given < least {
                return 0;
            }
            room = room.saturating_sub(given + gap);
            given
        };
        let all = width.saturating_sub(fixed);
        let directory = take(directory, (all * 2 / 5).max(14), 5);
        let wanted = branch.max(6);
        let mut branch = if branch == 0 { 0 } else { take(wanted, (all / 5).max(8), 6) };
        let summary = take(usize::MAX, usize::MAX, 7);
        if summary == 0 && branch > 0 {
            branch = (branch + room).min(wanted);
        }
        Self { name, directory, branch, summary, gap }
    }
}

const fn ink(state: PeerState) -> Ink {
    match state {
        PeerState::Busy => Ink::Active,
        PeerState::Idle => Ink::Good,
        PeerState::Waiting => Ink::Attention,
        PeerState::Live | PeerState::Inbox => Ink::Plain,
        PeerState::Away | PeerState::Ended => Ink::Dim,
    }
}

/// Draws the list.
pub fn list(buffer: &mut Buffer, look: &Look, area: Rect, rows: Rect, model: &Model) {
    if area.height == 0 {
        return;
    }
    let has_keys = model.focus == Focus::Peers && model.writing.is_none();
    let peers = &model.peers;
    if peers.listed().len() == 0 {
        return empty(buffer, look, rows, model);
    }
    let widths = Columns::of(area.width.into(), peers.listed());
    let heading = if has_keys { Ink::Title } else { Ink::Dim };
    let mut row = Row::of(buffer, look, area, 0);
    row.skip(1).cell(heading, "NAME", widths.name, widths.gap);
    row.cell(heading, "STATE", STATE, widths.gap);
    row.cell(heading, "VIA", VIA, widths.gap);
    row.cell_right(heading, "UNREAD", UNREAD, widths.gap);
    for (word, width) in
        [("DIRECTORY", widths.directory), ("BRANCH", widths.branch), ("SUMMARY", widths.summary)]
    {
        if width > 0 {
            row.cell(heading, word, width, widths.gap);
        }
    }
    let cursor = peers.cursor();
    let seen = peers.listed().enumerate().skip(cursor.offset).take(rows.height.into());
    for (line, (at, peer)) in seen.enumerate() {
        peer_line(&mut Row::of(buffer, look, rows, line), peer, &widths, at == cursor.selected);
        if at == cursor.selected {
            let y = rows.y + u16::try_from(line).unwrap_or(0);
            buffer.set_style(Rect { y, height: 1, ..rows }, Look::selected(has_keys));
        }
    }
}

fn peer_line(row: &mut Row<'_>, peer: &PeerRow, widths: &Columns, is_selected: bool) {
    let gap = widths.gap;
    let away = matches!(peer.state, PeerState::Away | PeerState::Ended);
    let text = if away { Ink::Dim } else { Ink::Plain };
    let name = if away { Ink::Dim } else { Ink::Strong };
    row.put(Ink::Plain, if is_selected { "▸" } else { " " });
    row.cell(name, &peer.name, widths.name, gap);
    row.cell(ink(peer.state), peer.state.as_str(), STATE, gap);
    row.cell(text, peer.reach.short(), VIA, gap);
    let unread = if peer.unread == 0 { Ink::Dim } else { Ink::Attention };
    row.cell_right(unread, &peer.unread.to_string(), UNREAD, gap);
    if widths.directory > 0 {
        row.cell(text, &fit_end(&peer.directory, widths.directory), widths.directory, gap);
    }
    if widths.branch > 0 {
        row.cell(text, &peer.branch, widths.branch, gap);
    }
    if widths.summary > 0 {
        row.cell(text, &peer.summary, widths.summary, gap);
    }
}

/// Says why there is no peer.
fn empty(buffer: &mut Buffer, look: &Look, area: Rect, model: &Model) {
    let (_, away, _) = model.peers.counts();
    let text = match (&model.connection, away) {
        (Connection::Live, 0) => {
            "No sessions yet. Start Claude Code in two directories (set it up once with \
             `claude-peers setup claude`), or see `claude-peers demo`."
                .to_owned()
        }
        (Connection::Live, 1) => "No session is live; one is away (a shows it).".to_owned(),
        (Connection::Live, away) => format!("No session is live; {away} are away (a shows them)."),
        (Connection::Connecting, _) => "Connecting to the broker…".to_owned(),
        (Connection::Lost(_), _) => return,
    };
    let width = usize::from(area.width).saturating_sub(2);
    for (line, (_, text)) in wrap(&text, width).into_iter().enumerate() {
        Row::of(buffer, look, area, line).skip(1).put(Ink::Plain, text);
    }
}

/// Draws the details of the selected peer.
pub fn details(buffer: &mut Buffer, look: &Look, area: Rect, model: &Model, now: Timestamp) {
    let Some(peer) = model.peers.selected().filter(|_| area.height > 0) else { return };
    title(buffer, look, area, false, &[(Ink::Strong, peer.name.clone())], peer.id.as_str());
    let inner = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let mut row = Row::of(buffer, look, inner, 1);
    row.put(ink(peer.state), peer.state.as_str());
    match peer.state {
        PeerState::Inbox => {}
        PeerState::Live | PeerState::Away | PeerState::Ended => {
            row.put(Ink::Plain, &format!(" since {}", look.when(peer.since, now)));
        }
        PeerState::Busy | PeerState::Idle | PeerState::Waiting => {
            row.put(Ink::Plain, &format!(", live since {}", look.when(peer.since, now)));
        }
    }
    row.put(Ink::Dim, &format!("  {}", peer.client));
    let unread = match (peer.unread, peer.oldest_unread) {
        (0, _) => "nothing unread".to_owned(),
        (unread, Some(oldest)) => {
            format!("{unread} unread, the oldest from {}", look.when(oldest, now))
        }
        (unread, None) => format!("{unread} unread"),
    };
    let ink = if peer.unread == 0 { Ink::Plain } else { Ink::Attention };
    Row::of(buffer, look, inner, 2).put(ink, &unread);
    let mut row = Row::of(buffer, look, inner, 3);
    row.put(Ink::Plain, peer.reach.short());
    row.put(Ink::Dim, &format!(": {}", peer.reach.meaning()));
    let branch_wide = if peer.branch.is_empty() { 0 } else { columns(&peer.branch).min(30) + 2 };
    let directory = fit_end(&peer.directory, usize::from(inner.width).saturating_sub(branch_wide));
    let mut row = Row::of(buffer, look, inner, 4);
    row.put(Ink::Plain, &directory).skip(2).put(Ink::Active, &peer.branch);
    let summary = wrap(&peer.summary, inner.width.into());
    for (line, (_, text)) in summary.into_iter().enumerate() {
        Row::of(buffer, look, inner, 5 + line).put(Ink::Plain, text);
    }
}
