//! Rows of the file as values. A row that is none is told once and left out where there are others: one that is damaged
//! must not take the rest with it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{OptionalExtension as _, Params, Row};
use serde::de::DeserializeOwned;

use super::super::tables::{TaskRow, TaskState};
use super::super::{Held, Listed, StoreError, StoreResult, UnreadableRow};
use super::Sql;
use crate::model::{Task, TaskId};

/// Ids that are remembered as told.
const TOLD: usize = 1000;

/// The rows of one connection that could not be read so far.
#[derive(Debug, Default)]
pub(super) struct Damaged(RefCell<BTreeSet<String>>);

impl Damaged {
    /// Names a row in the log, the first time that it is met.
    fn tell(&self, id: &str, why: &str) {
        let mut told = self.0.borrow_mut();
        if told.len() < TOLD && told.insert(id.to_owned()) {
            tracing::error!(id, why, "a stored row cannot be read and is left out");
        }
    }
}

/// One column, or why it is no such value.
fn column<T: FromSql>(row: &Row<'_>, at: usize) -> Result<T, String> {
    row.get(at).map_err(|error| error.to_string())
}

/// The document in a column, or why it is none.
fn document<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> Result<T, String> {
    serde_json::from_str(&column::<String>(row, at)?).map_err(|error| error.to_string())
}

/// An id for people, whatever is stored in its place.
fn id_of(row: &Row<'_>, at: usize) -> String {
    let stored = row.get_ref(at).ok();
    let bytes = stored.as_ref().and_then(|value| value.as_bytes().ok());
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// What [`task`] reads, in its order.
pub(super) const TASK_COLUMNS: &str = "id, doc, epoch, state, at_ms, progress, strikes";

fn task(row: &Row<'_>) -> Result<TaskRow, String> {
    let mut task: Task = document(row, 1)?;
    task.epoch = column(row, 2)?;
    let at = Timestamp::from_millisecond(column(row, 4)?).map_err(|error| error.to_string())?;
    let state = match column::<String>(row, 3)?.as_str() {
        "waiting" => TaskState::Waiting { ready: at },
        "leased" => TaskState::Leased { until: at },
        _ => TaskState::Done,
    };
    Ok(TaskRow {
        task,
        state,
        progress: column(row, 5)?,
        strikes: column(row, 6)?,
    })
}

impl Sql<'_> {
    fn unreadable(&self, id: &str, why: &str) -> StoreError {
        self.1.tell(id, why);
        StoreError::Unreadable(id.to_owned())
    }

    /// The document that `sql` finds under `id`.
    pub(super) fn doc<T: DeserializeOwned>(&self, sql: &str, id: &str) -> StoreResult<Option<T>> {
        let mut statement = self.0.prepare_cached(sql)?;
        let found = statement.query_row([id], |row| Ok(document(row, 0)));
        let found = found.optional()?.transpose();
        found.map_err(|why| self.unreadable(id, &why))
    }

    /// The documents that `sql` finds, each as `id, doc`.
    pub(super) fn docs<T: DeserializeOwned>(
        &self,
        sql: &str,
        params: impl Params,
    ) -> StoreResult<Listed<T>> {
        let mut statement = self.0.prepare_cached(sql)?;
        let found = statement.query_map(params, |row| {
            Ok(document(row, 1).map_err(|why| {
                let id = id_of(row, 0);
                self.1.tell(&id, &why);
                UnreadableRow { id }
            }))
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The tasks that `sql` finds, all of which are needed.
    pub(super) fn task_rows(&self, sql: &str, params: impl Params) -> StoreResult<Vec<TaskRow>> {
        let mut statement = self.0.prepare_cached(sql)?;
        let found = statement.query_map(params, |row| {
            Ok(task(row).map_err(|why| self.unreadable(&id_of(row, 0), &why)))
        })?;
        found.map(|row| row?).collect()
    }

    /// The tasks held until later than a time, by columns alone; what is none of ours is left out.
    pub(super) fn held(&self, params: impl Params) -> StoreResult<Vec<Held>> {
        let mut statement = self.0.prepare_cached(
            "SELECT id, epoch, at_ms FROM tasks WHERE state <> 'done' AND at_ms > ?1
             ORDER BY job, seq LIMIT ?2",
        )?;
        let found = statement.query_map(params, |row| {
            Ok((|| {
                Some(Held {
                    task: TaskId::parse(&column::<String>(row, 0).ok()?)?,
                    epoch: column(row, 1).ok()?,
                    until: Timestamp::from_millisecond(column(row, 2).ok()?).ok()?,
                })
            })())
        })?;
        let held: Vec<Option<Held>> = found.collect::<Result<_, _>>()?;
        Ok(held.into_iter().flatten().collect())
    }

    /// The first of the tasks that `sql` finds that can be read and that `take` takes.
    pub(super) fn first_task<T>(
        &self,
        sql: &str,
        params: impl Params,
        take: impl Fn(TaskRow) -> StoreResult<T>,
    ) -> StoreResult<Option<T>> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            let taken = match task(row) {
                Ok(task) => take(task),
                Err(why) => Err(self.unreadable(&id_of(row, 0), &why)),
            };
            match taken {
                Ok(taken) => return Ok(Some(taken)),
                Err(StoreError::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A row that another one needs is not there.
    pub(super) fn dangling(&self, id: &str, what: &str) -> StoreError {
        self.unreadable(id, what)
    }
}
