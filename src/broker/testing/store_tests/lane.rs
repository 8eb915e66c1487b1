//! The lane, with a database in a file: what shares a commit, what waits for which, and who carries
//! it out.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::ErrorCode;
use crate::broker::store::{
    Context, DatabaseStatus, Fault, OpeningProgress, Store, StoreOptions, TransactionHooks,
};
use crate::protocol::{ApiError, Timestamp};

/// A memory beside the database that only records what happens.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    fn add(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl TransactionHooks for Trace {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
    fn rollback(&mut self, _: usize) {
        self.add("rollback");
    }
    fn commit(&mut self) {
        self.add("commit");
    }
    fn abort(&mut self) {
        self.add("abort");
    }
}

struct Opened {
    store: Store<Trace>,
    trace: Trace,
    ended: CancellationToken,
    directory: TempDir,
}

impl Opened {
    fn path(&self) -> PathBuf {
        self.directory.path().join("test.db")
    }
}

fn open() -> Opened {
    let directory = tempfile::tempdir().unwrap();
    let path = &directory.path().join("test.db");
    let (trace, ended) = (Trace::default(), CancellationToken::new());
    let options = StoreOptions {
        path,
        legacy_port: 0,
        starting_owner: "",
        owner: "",
        rescue_file: &directory.path().join("rescue"),
        status: DatabaseStatus::default(),
    };
    let progress = OpeningProgress::default();
    let (store, _) = Store::open(options, trace.clone(), ended.clone(), &progress).unwrap();
    Opened { store, trace, ended, directory }
}

type Work = Box<dyn FnOnce(&mut Context<'_, Trace>) -> Result<(), Fault> + Send>;

/// Writes a row of this name.
fn add(name: &'static str) -> Work {
    Box::new(move |tx| {
        tx.state.add(name);
        tx.db.execute("INSERT INTO meta (key, value) VALUES (?1, '')", [name])?;
        Ok(())
    })
}

fn refuse(name: &'static str) -> Work {
    Box::new(move |tx| {
        add(name)(tx)?;
        Err(ApiError::new(ErrorCode::BadRequest, "the test refuses this").into())
    })
}

/// The names of the rows that were added, as another process reads them.
fn rows(path: &Path) -> Vec<String> {
    let other = Connection::open(path).unwrap();
    names(&other)
}

fn names(db: &Connection) -> Vec<String> {
    let mut statement =
        db.prepare("SELECT key FROM meta WHERE key LIKE 'row %' ORDER BY key").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn requests_that_come_together_share_a_commit_and_what_is_refused_undoes_itself() {
    let Opened { store, trace, .. } = &open();
    let (one, two, read, three) = tokio::join!(
        store.write(add("row 1")),
        store.write(refuse("row 2")),
        store.inspect(|tx| Ok(names(tx.db))),
        store.write(add("row 3")),
    );
    assert_eq!(two.unwrap_err().code, ErrorCode::BadRequest);
    one.unwrap();
    three.unwrap();
    assert_eq!(read.unwrap(), ["row 1", "row 3"], "a read comes between two commits");
    assert_eq!(trace.take(), ["row 1", "row 2", "rollback", "row 3", "commit"]);
    store.write(add("row 4")).await.unwrap();
    store.write(refuse("row 5")).await.unwrap_err();
    assert_eq!(trace.take(), ["row 4", "commit", "row 5", "rollback", "commit"]);
    assert_eq!(store.inspect(|tx| Ok(names(tx.db))).await.unwrap(), ["row 1", "row 3", "row 4"]);
}

#[tokio::test]
async fn a_note_shares_the_commit_of_the_next_request() {
    let Opened { store, trace, .. } = &open();
    let write_later = async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(trace.take(), [""; 0], "the note waits");
        store.write(add("row 2")).await
    };
    let (note, write) = tokio::join!(store.note(add("row 1")), write_later);
    note.unwrap();
    write.unwrap();
    assert_eq!(trace.take(), ["row 1", "row 2", "commit"]);
}

#[tokio::test]
async fn a_note_to_which_nothing_comes_is_written_alone() {
    let opened = open();
    opened.store.note(add("row 1")).await.unwrap();
    assert_eq!(opened.trace.take(), ["row 1", "commit"]);
    assert_eq!(rows(&opened.path()), ["row 1"]);
}

#[tokio::test]
async fn a_read_sees_the_notes_before_it_and_a_store_that_is_closed_has_written_them() {
    let opened = open();
    let store = &opened.store;
    let read_later = async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        store.inspect(|tx| Ok(names(tx.db))).await
    };
    let (note, read) = tokio::join!(store.note(add("row 1")), read_later);
    note.unwrap();
    assert_eq!(read.unwrap(), ["row 1"]);
    let close_later = async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        store.close().await
    };
    let (note, closed) = tokio::join!(store.note(add("row 2")), close_later);
    note.unwrap();
    assert!(closed);
    assert_eq!(rows(&opened.path()), ["row 1", "row 2"]);
    assert_eq!(store.write(add("row 3")).await.unwrap_err().code, ErrorCode::ShuttingDown);
}

#[tokio::test]
async fn a_change_of_the_memory_alone_opens_no_transaction() {
    let Opened { store, trace, .. } = &open();
    let update = store.update(|tx| {
        tx.state.add("update");
        Ok(tx.db.is_autocommit())
    });
    assert!(update.await.unwrap());
    store.update(|_| Err::<(), _>(ApiError::stopping().into())).await.unwrap_err();
    assert_eq!(trace.take(), ["update", "commit", "rollback"]);
}

#[tokio::test]
async fn what_a_caller_queued_is_done_though_it_goes_away_while_it_leads() {
    let opened = open();
    {
        let mut call = pin!(opened.store.write(add("row 1")));
        let mut context = TaskContext::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(opened.trace.take(), [""; 0], "it lets others queue first");
    }
    opened.store.write(add("row 2")).await.unwrap();
    assert_eq!(rows(&opened.path()), ["row 1", "row 2"]);
}

#[tokio::test]
async fn requests_keep_their_order_while_another_process_has_the_database_locked() {
    let opened = open();
    let other = Connection::open(opened.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let unlock = async {
        // The first has been handed to the thread, which waits for the lock.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(opened.trace.take(), [""; 0]);
        let third = opened.store.write(add("row 3"));
        let unlock = async { other.execute_batch("COMMIT").unwrap() };
        let (third, ()) = tokio::join!(third, unlock);
        third
    };
    let (first, second, third) =
        tokio::join!(opened.store.write(add("row 1")), opened.store.write(add("row 2")), unlock);
    first.unwrap();
    second.unwrap();
    third.unwrap();
    let mut order = opened.trace.take();
    order.retain(|what| what != "commit");
    assert_eq!(order, ["row 1", "row 2", "row 3"]);
    // The lead comes back from the thread.
    opened.store.write(add("row 4")).await.unwrap();
    assert_eq!(opened.trace.take(), ["row 4", "commit"]);
}

#[tokio::test]
async fn a_panic_in_a_request_ends_the_store() {
    let Opened { store, ended, directory: _directory, .. } = open();
    let panics = store.clone();
    let call = tokio::spawn(async move {
        let work =
            |_: &mut Context<'_, Trace>| -> Result<(), Fault> { panic!("as the test wants") };
        panics.write(work).await
    });
    call.await.unwrap_err();
    ended.cancelled().await;
    assert_eq!(store.write(add("row 1")).await.unwrap_err().code, ErrorCode::ShuttingDown);
    assert!(!store.close().await);
}

#[tokio::test]
async fn the_database_is_closed_with_the_last_handle() {
    let Opened { store, ended, directory, .. } = open();
    let another = store.clone();
    drop(store);
    another.write(add("row 1")).await.unwrap();
    drop(another);
    ended.cancelled().await;
    let path = directory.path().join("test.db");
    assert_eq!(rows(&path), ["row 1"]);
    let other = Connection::open(&path).unwrap();
    let clean: String = other
        .query_row("SELECT value FROM meta WHERE key = 'clean'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(clean, "yes");
}

#[tokio::test]
async fn what_is_committed_into_a_file_that_was_removed_meanwhile_is_written_back() {
    let opened = open();
    let path = opened.path();
    let removed = path.clone();
    let work: Work = Box::new(move |tx| {
        add("kept")(tx)?;
        std::fs::remove_file(&removed).unwrap();
        Ok(())
    });
    opened.store.write(work).await.unwrap();
    let rows = "SELECT count(*) FROM meta WHERE key = 'kept'";
    let database = Connection::open(&path).unwrap();
    assert_eq!(database.query_row(rows, [], |row| row.get::<_, i64>(0)), Ok(1));
}

#[tokio::test]
async fn a_database_is_marked_as_closed_in_order_only_once_it_is() {
    let opened = open();
    let path = opened.path();
    let is_clean = || {
        let mark = "SELECT value FROM meta WHERE key = 'clean'";
        let database = Connection::open(&path).unwrap();
        database.query_row(mark, [], |row| row.get::<_, String>(0)).unwrap()
    };
    opened.store.write(add("row")).await.unwrap();
    assert_eq!(is_clean(), "no");
    assert!(opened.store.close().await);
    assert_eq!(is_clean(), "yes");
}

#[tokio::test]
async fn a_database_whose_pages_are_damaged_is_moved_aside_as_it_is_opened() {
    use std::os::unix::fs::FileExt as _;

    let opened = open();
    let path = opened.path();
    for name in ["one", "two"] {
        opened.store.write(add(name)).await.unwrap();
    }
    assert!(opened.store.close().await);
    // A page of a table: the schema before it can be read as ever.
    let database = Connection::open(&path).unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'receivers'";
    let page: i64 = database.query_row(root, [], |row| row.get(0)).unwrap();
    drop(database);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0x55; 4096], (page - 1).unsigned_abs() * 4096).unwrap();
    let options = StoreOptions {
        path: &path,
        legacy_port: 0,
        starting_owner: "",
        owner: "",
        rescue_file: &opened.directory.path().join("rescue"),
        status: DatabaseStatus::default(),
    };
    let ended = CancellationToken::new();
    let again = Store::open(options, Trace::default(), ended, &OpeningProgress::default());
    assert!(again.unwrap().1.moved_to.is_some());
}
