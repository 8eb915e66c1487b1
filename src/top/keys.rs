//! Keys, the mouse and the clipboard, as what they do.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use crate::top::model::cursor::Step;
use crate::top::model::editor::Edit;
use crate::top::model::{Action, Click};

/// Returns what an event does; `is_typing` says whether keys are text.
#[must_use]
pub fn action(event: &Event, is_typing: bool) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => of_key(*key, is_typing),
        Event::Mouse(mouse) => of_mouse(*mouse),
        Event::Paste(pasted) if is_typing => Some(Action::Edit(Edit::Paste(pasted.clone()))),
        _ => None,
    }
}

fn of_key(key: KeyEvent, is_typing: bool) -> Option<Action> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => Some(Action::Quit),
        KeyCode::Char('z') if control => Some(Action::Suspend),
        KeyCode::Char('l') if control => Some(Action::Redraw),
        KeyCode::Esc => Some(Action::Back),
        KeyCode::Up => Some(Action::Step(Step::Up)),
        KeyCode::Down => Some(Action::Step(Step::Down)),
        KeyCode::PageUp => Some(Action::Step(Step::PageUp)),
        KeyCode::PageDown => Some(Action::Step(Step::PageDown)),
        _ if is_typing => of_typed(key),
        _ => of_command(key, control),
    }
}

/// A key while text is typed: those of readline.
fn of_typed(key: KeyEvent) -> Option<Action> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let word = control || alt;
    let edit = match key.code {
        // Ctrl-J is a line end, as terminals send it.
        KeyCode::Enter if alt || key.modifiers.contains(KeyModifiers::SHIFT) => Edit::Insert('\n'),
        KeyCode::Char('j') if control => Edit::Insert('\n'),
        KeyCode::Enter => return Some(Action::Enter),
        KeyCode::Backspace if word => Edit::DeleteWord,
        KeyCode::Backspace => Edit::Backspace,
        KeyCode::Delete => Edit::Delete,
        KeyCode::Left if word => Edit::WordLeft,
        KeyCode::Left => Edit::Left,
        KeyCode::Right if word => Edit::WordRight,
        KeyCode::Right => Edit::Right,
        KeyCode::Home => Edit::Start,
        KeyCode::End => Edit::End,
        KeyCode::Char('a') if control => Edit::Start,
        KeyCode::Char('e') if control => Edit::End,
        KeyCode::Char('b') if control => Edit::Left,
        KeyCode::Char('f') if control => Edit::Right,
        KeyCode::Char('d') if control => Edit::Delete,
        KeyCode::Char('h') if control => Edit::Backspace,
        KeyCode::Char('w') if control => Edit::DeleteWord,
        KeyCode::Char('u') if control => Edit::DeleteToStart,
        KeyCode::Char('k') if control => Edit::DeleteToEnd,
        KeyCode::Char('b') if alt => Edit::WordLeft,
        KeyCode::Char('f') if alt => Edit::WordRight,
        KeyCode::Char(c) if !control && !alt => Edit::Insert(c),
        _ => return None,
    };
    Some(Action::Edit(edit))
}

fn of_command(key: KeyEvent, control: bool) -> Option<Action> {
    let action = match key.code {
        KeyCode::Char('u' | 'b') if control => Action::Step(Step::PageUp),
        KeyCode::Char('d' | 'f') if control => Action::Step(Step::PageDown),
        KeyCode::Char('n') if control => Action::Step(Step::Down),
        KeyCode::Char('p') if control => Action::Step(Step::Up),
        KeyCode::Char(_) if control => return None,
        KeyCode::Char('k') => Action::Step(Step::Up),
        KeyCode::Char('j') => Action::Step(Step::Down),
        KeyCode::Char(' ') => Action::Step(Step::PageDown),
        KeyCode::Home | KeyCode::Char('g') => Action::Step(Step::First),
        KeyCode::End | KeyCode::Char('G') => Action::Step(Step::Last),
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => Action::Enter,
        KeyCode::Left | KeyCode::Char('h') => Action::Back,
        KeyCode::Tab | KeyCode::BackTab => Action::NextPane,
        KeyCode::Char('s' | 'i') => Action::Write,
        KeyCode::Char('/') => Action::Search,
        KeyCode::Char('a') => Action::ToggleAll,
        KeyCode::Char('r') => Action::Connect,
        KeyCode::Char('?') | KeyCode::F(1) => Action::Help,
        KeyCode::Char('q') => Action::Quit,
        _ => return None,
    };
    Some(action)
}

fn of_mouse(mouse: MouseEvent) -> Option<Action> {
    let place = Click { column: mouse.column, row: mouse.row };
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => Some(Action::Click(place)),
        MouseEventKind::ScrollUp => Some(Action::Wheel(place, Step::Up)),
        MouseEventKind::ScrollDown => Some(Action::Wheel(place, Step::Down)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers, is_typing: bool) -> Option<Action> {
        action(&Event::Key(KeyEvent::new(code, modifiers)), is_typing)
    }

    #[test]
    fn letters_are_commands_unless_text_is_typed() {
        let (none, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        let q = KeyCode::Char('q');
        assert_eq!(pressed(q, none, false), Some(Action::Quit));
        assert_eq!(pressed(q, none, true), Some(Action::Edit(Edit::Insert('q'))));
        assert_eq!(pressed(q, KeyModifiers::SHIFT, true), Some(Action::Edit(Edit::Insert('q'))));
        for is_typing in [false, true] {
            let pressed = |code| pressed(code, control, is_typing);
            assert_eq!(pressed(KeyCode::Char('c')), Some(Action::Quit));
            assert_eq!(pressed(KeyCode::Char('z')), Some(Action::Suspend));
            assert_eq!(pressed(KeyCode::Char('x')), None);
        }
        assert_eq!(pressed(KeyCode::Enter, none, true), Some(Action::Enter));
        let line_end = Some(Action::Edit(Edit::Insert('\n')));
        assert_eq!(pressed(KeyCode::Enter, KeyModifiers::ALT, true), line_end);
        assert_eq!(pressed(KeyCode::Char('j'), control, true), line_end);
    }

    #[test]
    fn the_clipboard_is_text_only_where_text_is_typed() {
        let paste = Event::Paste("q".to_owned());
        assert_eq!(action(&paste, false), None);
        assert_eq!(action(&paste, true), Some(Action::Edit(Edit::Paste("q".to_owned()))));
    }
}
