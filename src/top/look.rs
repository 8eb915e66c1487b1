//! How it looks: styles by what they mean, and times as people read them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use ratatui::style::{Color, Modifier, Style};

use crate::protocol::Timestamp;

/// What a text means, which is a colour, or an attribute where there are no colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    Plain,
    /// A heading, or what matters most in its line.
    Strong,
    /// Beside the point.
    Dim,
    /// As it should be: read, idle.
    Good,
    /// Under way: busy, offered.
    Active,
    /// Waits for something: a person, a receiver.
    Attention,
    /// Failed, or lost.
    Bad,
    /// A key that can be pressed.
    Key,
    /// The title of the pane that has the keys.
    Title,
}

/// The look of the whole.
#[derive(Debug, Clone)]
pub struct Look {
    pub colours: bool,
    pub zone: TimeZone,
}

impl Look {
    #[must_use]
    pub fn style(&self, ink: Ink) -> Style {
        // What was drawn there before leaves nothing behind.
        let plain = Style::reset();
        match ink {
            Ink::Plain => plain,
            Ink::Strong => plain.add_modifier(Modifier::BOLD),
            Ink::Dim => plain.add_modifier(Modifier::DIM),
            Ink::Key | Ink::Attention | Ink::Bad | Ink::Title if !self.colours => {
                plain.add_modifier(Modifier::BOLD)
            }
            Ink::Good | Ink::Active if !self.colours => plain,
            Ink::Good => plain.fg(Color::Green),
            Ink::Active | Ink::Key => plain.fg(Color::Cyan),
            Ink::Attention => plain.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            Ink::Bad => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            Ink::Title => plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
        }
    }

    /// The style of the selected line: of the pane that has the keys, or of another one.
    #[must_use]
    pub fn selected(has_keys: bool) -> Style {
        if has_keys {
            Style::reset().add_modifier(Modifier::REVERSED)
        } else {
            Style::new().add_modifier(Modifier::BOLD)
        }
    }

    /// Returns the day on which a moment lies.
    #[must_use]
    pub fn day(&self, then: Timestamp) -> Date {
        zoned(then, &self.zone).date()
    }

    /// Returns the time of day.
    #[must_use]
    pub fn clock(&self, then: Timestamp) -> String {
        zoned(then, &self.zone).strftime("%H:%M:%S").to_string()
    }

    /// Returns when something happened, with the day unless it is today: in at most 12 columns.
    #[must_use]
    pub fn when(&self, then: Timestamp, now: Timestamp) -> String {
        let (moment, today) = (zoned(then, &self.zone), self.day(now));
        let format = match moment.date() {
            day if day == today => "%H:%M:%S",
            day if day.year() == today.year() => "%b %e %H:%M",
            _ => "%Y-%m-%d",
        };
        moment.strftime(format).to_string()
    }
}

/// Returns a moment in a time zone.
pub fn zoned(then: Timestamp, zone: &TimeZone) -> jiff::Zoned {
    let moment = jiff::Timestamp::from_millisecond(then.millis());
    // Beyond the year 9999 there is no calendar.
    moment.unwrap_or(jiff::Timestamp::MAX).to_zoned(zone.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_day_unless_it_is_today() {
        let look = Look { colours: true, zone: TimeZone::fixed(jiff::tz::offset(2)) };
        let now = Timestamp::from_millis(1_795_000_000_123);
        let ago = |hours: i64| look.when(now.shifted(-hours * 3_600_000), now);
        assert_eq!(ago(0), "13:06:40");
        assert_eq!(ago(13), "00:06:40");
        assert_eq!(ago(14), "Nov 17 23:06");
        assert_eq!(ago(24 * 365), "2025-11-18");
        for far in [i64::MIN, i64::MAX] {
            assert!(look.when(Timestamp::from_millis(far), now).len() <= 12);
        }
    }

    #[test]
    fn without_colours_there_are_attributes_only() {
        let look = Look { colours: false, zone: TimeZone::UTC };
        for ink in
            [Ink::Good, Ink::Active, Ink::Attention, Ink::Bad, Ink::Key, Ink::Title, Ink::Dim]
        {
            let style = look.style(ink);
            assert_eq!((style.fg, style.bg), (Some(Color::Reset), Some(Color::Reset)), "{ink:?}");
        }
        assert_ne!(look.style(Ink::Attention), look.style(Ink::Plain));
        assert_ne!(Look::selected(true), Look::selected(false));
    }
}
