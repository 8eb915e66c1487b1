//! The selected line of a list, and which part of the list is seen.

/// How far a key moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

/// A place in a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    pub selected: usize,
    /// The first line that is seen.
    pub offset: usize,
}

impl Cursor {
    /// Moves the selection in a list of `count` lines, of which `height` are seen.
    pub fn step(&mut self, step: Step, count: usize, height: usize) {
        let page = height.saturating_sub(1).max(1);
        let last = count.saturating_sub(1);
        self.selected = match step {
            Step::Up => self.selected.saturating_sub(1),
            Step::Down => self.selected + 1,
            Step::PageUp => self.selected.saturating_sub(page),
            Step::PageDown => self.selected + page,
            Step::First => 0,
            Step::Last => last,
        }
        .min(last);
        self.settle(count, height);
    }

    /// Keeps the selection within the list, and in sight.
    pub fn settle(&mut self, count: usize, height: usize) {
        self.selected = self.selected.min(count.saturating_sub(1));
        let lowest = (self.selected + 1).saturating_sub(height);
        let highest = count.saturating_sub(height);
        self.offset = self.offset.clamp(lowest.min(self.selected), self.selected).min(highest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_stays_in_the_list_and_in_sight() {
        let mut cursor = Cursor::default();
        for (step, selected, offset) in [
            (Step::Up, 0, 0),
            (Step::Down, 1, 0),
            (Step::PageDown, 4, 1),
            (Step::Down, 5, 2),
            (Step::Last, 9, 6),
            (Step::Down, 9, 6),
            (Step::PageUp, 6, 6),
            (Step::Up, 5, 5),
            (Step::First, 0, 0),
        ] {
            cursor.step(step, 10, 4);
            assert_eq!(cursor, Cursor { selected, offset }, "{step:?}");
        }
        // The list became shorter, longer, or has no room.
        cursor = Cursor { selected: 9, offset: 6 };
        cursor.settle(3, 4);
        assert_eq!(cursor, Cursor { selected: 2, offset: 0 });
        for count in 0..5 {
            for height in 0..5 {
                let mut cursor = Cursor { selected: 3, offset: 2 };
                cursor.settle(count, height);
                assert!(cursor.selected < count.max(1) && cursor.offset <= cursor.selected);
            }
        }
    }
}
