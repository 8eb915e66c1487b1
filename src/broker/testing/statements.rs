//! Counts the SQL statements of a test, and the steps that SQLite takes for them.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use rusqlite::ffi;

use super::World;

impl World {
    /// Returns the SQL statements that `act` runs, without those of triggers.
    pub fn statements(&mut self, act: impl FnOnce(&mut Self)) -> Vec<String> {
        let found: RefCell<Vec<String>> = RefCell::default();
        let context = ptr::from_ref(&found).cast_mut().cast();
        // SAFETY: the connection is open, and the trace ends below, before `found` does.
        unsafe { trace(self, ffi::SQLITE_TRACE_STMT, Some(note), context) };
        act(self);
        // SAFETY: as above.
        unsafe { trace(self, 0, None, ptr::null_mut()) };
        found.into_inner()
    }
}

impl World {
    /// Returns about how many steps SQLite's virtual machine takes for what `act` does.
    pub fn steps(&mut self, act: impl FnOnce(&mut Self)) -> u64 {
        const EVERY: c_int = 10;
        let count = Cell::new(0u64);
        let context = ptr::from_ref(&count).cast_mut().cast();
        let database = self.store.database();
        // SAFETY: the connection is open, and the handler ends below, before `count` does.
        unsafe {
            ffi::sqlite3_progress_handler(database.handle(), EVERY, Some(count_steps), context);
        }
        act(self);
        // SAFETY: as above.
        unsafe {
            ffi::sqlite3_progress_handler(self.store.database().handle(), 0, None, ptr::null_mut());
        }
        count.get() * u64::try_from(EVERY).unwrap()
    }
}

/// Counts one call. See <https://sqlite.org/c3ref/progress_handler.html>: 0 goes on.
unsafe extern "C" fn count_steps(count: *mut c_void) -> c_int {
    // SAFETY: `count` is what `steps` gave, on this thread.
    let count = unsafe { &*count.cast::<Cell<u64>>() };
    count.set(count.get() + 1);
    0
}

type Callback = unsafe extern "C" fn(c_uint, *mut c_void, *mut c_void, *mut c_void) -> c_int;

/// Has SQLite call `callback` for what `mask` selects.
unsafe fn trace(world: &World, mask: c_uint, callback: Option<Callback>, context: *mut c_void) {
    // SAFETY: the caller's.
    let code =
        unsafe { ffi::sqlite3_trace_v2(world.store.database().handle(), mask, callback, context) };
    assert_eq!(code, ffi::SQLITE_OK);
}

/// Notes a statement that begins.
///
/// See <https://sqlite.org/c3ref/c_trace.html>: the last argument is its text, or for a trigger a
/// comment.
unsafe extern "C" fn note(
    _mask: c_uint,
    found: *mut c_void,
    _statement: *mut c_void,
    text: *mut c_void,
) -> c_int {
    // SAFETY: `found` is what `statements` gave, on this thread, and `text` a string of SQLite's.
    let (found, text) =
        unsafe { (&*found.cast::<RefCell<Vec<String>>>(), CStr::from_ptr(text.cast::<c_char>())) };
    let text = text.to_string_lossy().into_owned();
    if !text.starts_with("--") {
        found.borrow_mut().push(text);
    }
    0
}
