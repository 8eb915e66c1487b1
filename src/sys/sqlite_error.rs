//! SQLite's errors as texts for people, who have not written the statement that failed.

use rusqlite::{Error, ErrorCode as Code, ffi};

/// Describes the error without SQL.
#[must_use]
pub fn plain(error: &Error) -> String {
    const TABLES: &str = "its tables are not those that this version knows";
    const VALUE: &str = "something in it is not what this version knows";
    match error {
        Error::SqliteFailure(failure, said) => match failure.code {
            Code::Unknown
            | Code::ConstraintViolation
            | Code::TypeMismatch
            | Code::SchemaChanged => TABLES.to_owned(),
            _ if is_without_shared_memory(error) => {
                "its file system does not support shared memory".to_owned()
            }
            _ => said.clone().unwrap_or_else(|| failure.to_string()),
        },
        Error::SqlInputError { .. } | Error::InvalidColumnName(..) => TABLES.to_owned(),
        Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::FromSqlConversionFailure(..)
        | Error::Utf8Error(..)
        | Error::QueryReturnedNoRows => VALUE.to_owned(),
        other => other.to_string(),
    }
}

/// Whether the file system does not support the shared memory that several users of a database in
/// WAL mode need. Some of FUSE, 9p and virtiofs do not. A single user with an exclusive lock works
/// there as well.
#[must_use]
pub fn is_without_shared_memory(error: &Error) -> bool {
    const KINDS: [i32; 4] = [
        ffi::SQLITE_IOERR_SHMOPEN,
        ffi::SQLITE_IOERR_SHMSIZE,
        ffi::SQLITE_IOERR_SHMLOCK,
        ffi::SQLITE_IOERR_SHMMAP,
    ];
    error.sqlite_error().is_some_and(|failure| KINDS.contains(&failure.extended_code))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_text_for_people_contains_no_statement() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (x INTEGER NOT NULL CHECK (x IN (1, 2)) UNIQUE) STRICT")
            .unwrap();
        db.execute("INSERT INTO t VALUES (1)", []).unwrap();
        for statement in [
            "SELECT nothing FROM nowhere",
            "SELECT FROM WHERE",
            "INSERT INTO t VALUES (3)",
            "INSERT INTO t VALUES (1)",
            "INSERT INTO t VALUES (NULL)",
            "INSERT INTO t VALUES ('text')",
            "DROP TABLE none",
        ] {
            let error = db.execute(statement, []).unwrap_err();
            let told = plain(&error);
            assert_eq!(told, "its tables are not those that this version knows", "{statement}");
        }
        let odd = db.query_row("SELECT x FROM t", [], |row| row.get::<_, String>(0)).unwrap_err();
        assert_eq!(plain(&odd), "something in it is not what this version knows");
    }
}
