//! What a person does, and what becomes of it.

use crate::protocol::PeerId;
use crate::top::layout::line_at;
use crate::top::model::command::Command;
use crate::top::model::cursor::Step;
use crate::top::model::editor::{Edit, Editor};
use crate::top::model::entry::Entry;
use crate::top::model::peers::PeerState;
use crate::top::model::search::Search;
use crate::top::model::{Content, Focus, Model, Notice, Writing, results_height};

/// What a key or the mouse does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Step(Step),
    /// Opens what is selected; sends or looks for what was typed.
    Enter,
    /// Closes what was opened last.
    Back,
    NextPane,
    /// Begins a message to the peer that is selected.
    Write,
    /// Begins a search.
    Search,
    /// Lists those that are away, too, or not.
    ToggleAll,
    Help,
    Connect,
    Redraw,
    Suspend,
    Quit,
    Edit(Edit),
    Click(Click),
    /// The wheel of the mouse, at a place.
    Wheel(Click, Step),
}

/// A place of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Click {
    pub column: u16,
    pub row: u16,
}

/// How many lines the wheel of the mouse moves.
const WHEEL: usize = 3;

impl Model {
    /// Whether keys are text.
    #[must_use]
    pub fn is_typing(&self) -> bool {
        !self.help && (self.writing.is_some() || self.is_typing_search())
    }

    fn is_typing_search(&self) -> bool {
        self.content == Content::Search && self.search.as_ref().is_some_and(|search| search.typing)
    }

    /// Does what a person asked for.
    pub fn act(&mut self, action: Action) {
        self.changed = true;
        let notice = self.notice.take();
        match action {
            Action::Quit => self.quit(notice.is_some()),
            Action::Suspend => self.commands.push(Command::Suspend),
            Action::Redraw => self.commands.push(Command::Redraw),
            // The help is over with the next key.
            _ if self.help => self.help = false,
            Action::Help => self.help = true,
            Action::Connect => self.commands.push(Command::Connect),
            Action::Edit(edit) => self.edit(edit),
            Action::Step(step) => self.step(step),
            Action::Enter => self.enter(),
            Action::Back => self.back(),
            Action::NextPane => self.next_pane(),
            Action::Write => self.write(),
            Action::Search => self.begin_search(),
            Action::ToggleAll => self.peers.toggle_all(),
            Action::Click(place) => self.click(place),
            Action::Wheel(place, step) => self.wheel(place, step),
        }
        self.settle();
    }

    fn quit(&mut self, was_told: bool) {
        if self.sending == 0 || was_told {
            self.commands.push(Command::Quit);
        } else {
            let text = "A message is being sent. The same key again leaves without its answer.";
            self.notice = Some(Notice { text: text.to_owned(), is_problem: true });
        }
    }

    fn edit(&mut self, edit: Edit) {
        if let Some(writing) = &mut self.writing {
            if !writing.sending {
                writing.editor.edit(edit);
            }
        } else if let Some(search) = self.search.as_mut().filter(|search| search.typing) {
            search.editor.edit(match edit {
                Edit::Paste(pasted) => Edit::Paste(pasted.replace(['\n', '\r'], " ")),
                Edit::Insert('\n') => return,
                edit => edit,
            });
        }
    }

    /// The lines of the list of peers, and of the content.
    fn heights(&self) -> (usize, usize) {
        self.areas()
            .map_or((0, 0), |areas| (areas.peer_rows().height.into(), areas.rows().height.into()))
    }

    fn step(&mut self, step: Step) {
        match self.focus {
            Focus::Peers => self.step_peers(step),
            Focus::Content => self.step_content(step),
        }
    }

    fn step_peers(&mut self, step: Step) {
        let (height, _) = self.heights();
        self.peers.step(step, height);
        self.show_selected_beside();
    }

    /// Beside the list, the conversation is that of the selected peer.
    fn show_selected_beside(&mut self) {
        if self.content == Content::Conversation
            && let Some(peer) = self.peers.selected().map(|row| row.id.clone())
        {
            self.open(peer);
            self.focus = Focus::Peers;
        }
    }

    fn step_content(&mut self, step: Step) {
        let (_, height) = self.heights();
        match self.content {
            Content::Feed => self.feed.step(step, height),
            Content::Conversation => {
                let Some(open) = &mut self.conversation else { return };
                if step == Step::Last && open.newer_missing {
                    let peer = open.peer.clone();
                    self.open(peer);
                } else if open.scroll(step, height) || step == Step::First {
                    self.load_older();
                }
            }
            Content::Search => {
                let height = results_height(height);
                if self.search.as_mut().is_some_and(|search| search.step(step, height)) {
                    self.search_further();
                }
            }
        }
    }

    fn enter(&mut self) {
        if self.writing.is_some() {
            return self.send();
        }
        match (self.focus, self.content) {
            (Focus::Peers, _) => {
                if let Some(peer) = self.peers.selected().map(|row| row.id.clone()) {
                    self.open(peer);
                }
            }
            (_, Content::Feed) => {
                if let Some(entry) = self.feed.selected().cloned() {
                    self.open_entry(&entry);
                }
            }
            (_, Content::Conversation) => self.write(),
            (_, Content::Search) if self.is_typing_search() => self.search_now(),
            (_, Content::Search) => {
                let found = self.search.as_ref().and_then(Search::selected);
                if let Some(entry) = found.cloned() {
                    self.open_entry(&entry);
                }
            }
        }
    }

    /// Opens the conversation that a message belongs to, at this message.
    fn open_entry(&mut self, entry: &Entry) {
        let peer = self.correspondent(entry);
        self.peers.select_peer(&peer);
        self.open_at(peer, entry);
    }

    /// Returns the end of a message that a person means by it: a session, and its sender if both are.
    fn correspondent(&self, entry: &Entry) -> PeerId {
        let is_session =
            |id: &PeerId| self.peers.get(id).is_some_and(|row| row.state != PeerState::Inbox);
        if is_session(&entry.from.id) || !is_session(&entry.to.id) {
            entry.from.id.clone()
        } else {
            entry.to.id.clone()
        }
    }

    fn back(&mut self) {
        if self.writing.is_some() {
            return self.stop_writing();
        }
        match self.content {
            Content::Search => {
                let search = self.search.as_mut().filter(|search| search.typing);
                if let Some(search) = search.filter(|search| search.words.is_some()) {
                    search.typing = false;
                } else {
                    self.search = None;
                    (self.content, self.focus) = (Content::Feed, Focus::Peers);
                }
            }
            Content::Conversation => {
                self.conversation = None;
                if self.search.is_some() {
                    (self.content, self.focus) = (Content::Search, Focus::Content);
                } else {
                    (self.content, self.focus) = (Content::Feed, Focus::Peers);
                }
            }
            Content::Feed => self.focus = Focus::Peers,
        }
    }

    fn next_pane(&mut self) {
        // In a narrow terminal there is no other pane beside a conversation or a search.
        let has_peers = self.areas().is_none_or(|areas| areas.peers.height > 0);
        if self.writing.is_none() && has_peers {
            self.focus = match self.focus {
                Focus::Peers => Focus::Content,
                Focus::Content => Focus::Peers,
            };
        }
    }

    fn write(&mut self) {
        let to = match (self.focus, self.content) {
            (Focus::Peers, _) => self.peers.selected().map(|row| row.id.clone()),
            (_, Content::Conversation) => self.conversation.as_ref().map(|open| open.peer.clone()),
            (_, Content::Feed) => self.feed.selected().map(|entry| self.correspondent(entry)),
            (_, Content::Search) => {
                let found = self.search.as_ref().and_then(Search::selected);
                found.map(|entry| self.correspondent(entry))
            }
        };
        let Some(to) = to else { return };
        self.open(to.clone());
        let editor = self.drafts.get(&to).cloned().unwrap_or_default();
        self.writing = Some(Writing { to, editor, sending: false, problem: None });
    }

    /// Stops writing, and keeps the text.
    fn stop_writing(&mut self) {
        let Some(Writing { to, editor, .. }) = self.writing.take() else { return };
        if editor.text().trim().is_empty() {
            self.drafts.remove(&to);
        } else {
            self.drafts.insert(to, editor);
        }
    }

    fn send(&mut self) {
        let Some(writing) = self.writing.as_mut().filter(|writing| !writing.sending) else {
            return;
        };
        let text = writing.editor.text().trim_end().to_owned();
        if text.is_empty() {
            return;
        }
        writing.sending = true;
        writing.problem = None;
        self.sending += 1;
        self.commands.push(Command::Send { to: writing.to.clone(), text });
    }

    fn begin_search(&mut self) {
        self.stop_writing();
        let search = self.search.get_or_insert_default();
        search.typing = true;
        if let Some(words) = &search.words {
            search.editor = Editor::of(words);
        }
        self.conversation = None;
        (self.content, self.focus) = (Content::Search, Focus::Content);
    }

    fn search_now(&mut self) {
        let serial = self.next_serial();
        if let Some(words) = self.search.as_mut().and_then(|search| search.begin(serial)) {
            self.commands.push(Command::Search { serial, words, before: None });
        }
    }

    /// Looks for older messages with the same words.
    pub(super) fn search_further(&mut self) {
        let serial = self.next_serial();
        let Some(search) = &mut self.search else { return };
        if let (Some(words), Some(next)) = (&search.words, search.next.take()) {
            search.loading = Some(serial);
            let words = words.clone();
            self.commands.push(Command::Search { serial, words, before: Some(next) });
        }
    }

    fn click(&mut self, place: Click) {
        let Some(areas) = self.areas() else { return };
        if let Some(line) = line_at(areas.peer_rows(), place.column, place.row) {
            let line = line + self.peers.cursor().offset;
            let again = self.focus == Focus::Peers && self.peers.cursor().selected == line;
            self.stop_writing();
            self.focus = Focus::Peers;
            if !self.peers.select(line) {
                return;
            }
            if again {
                self.enter();
            } else {
                self.show_selected_beside();
            }
        } else if let Some(line) = line_at(areas.rows(), place.column, place.row) {
            let had_keys = self.focus == Focus::Content;
            self.focus = Focus::Content;
            self.click_content(line, had_keys);
        }
    }

    fn click_content(&mut self, line: usize, had_keys: bool) {
        match (self.content, &mut self.search) {
            (Content::Feed, _) => {
                let line = line + self.feed.cursor().offset;
                let again = had_keys && self.feed.cursor().selected == line;
                if self.feed.select(line) && again {
                    self.enter();
                }
            }
            (Content::Search, Some(search)) => {
                // The first line has the words.
                let Some(line) = line.checked_sub(1) else { return self.begin_search() };
                let line = line / 2 + search.cursor.offset;
                search.typing = false;
                if line >= search.results.len() {
                    return;
                }
                let again = had_keys && search.cursor.selected == line;
                search.cursor.selected = line;
                if again {
                    self.enter();
                }
            }
            _ => {}
        }
    }

    fn wheel(&mut self, place: Click, step: Step) {
        let Some(areas) = self.areas() else { return };
        let over_peers = areas.peers.contains((place.column, place.row).into());
        for _ in 0..WHEEL {
            if over_peers {
                self.step_peers(step);
            } else {
                self.step_content(step);
            }
        }
    }
}
