//! Changes of a configuration as a value: how they are applied, and how they are undone.
//!
//! The editors of JSON and TOML make the same changes in a file's text. Their result is used only if it
//! parses to the value that the changes give here.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::setup::edit::ownership;

/// A path in a configuration: keys of objects and indices of arrays.
pub type Path = Vec<String>;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Sets the member at `path`; missing objects around it are made.
    Set { path: Path, value: Value },
    /// Removes the member at `path`.
    Remove { path: Path },
    /// Appends an element to the array at `path`, which is made if it is missing.
    Append { path: Path, value: Value },
    /// Removes the element at `index` of the array at `path`.
    Take { path: Path, index: usize },
}

/// An applied change, with everything that is needed to undo it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "did")]
pub enum AppliedChange {
    Set {
        path: Path,
        value: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Value>,
    },
    Removed {
        path: Path,
        value: Value,
    },
    Appended {
        path: Path,
        value: Value,
    },
    Taken {
        path: Path,
        value: Value,
    },
    /// An empty object or array was made for the change that follows.
    Made {
        path: Path,
    },
}

/// The configuration does not have the form that the client expects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not {expected}", place(path))]
pub struct Shape {
    path: Path,
    expected: &'static str,
}

/// Formats a path for display: `hooks.Stop`.
pub fn place(path: &[String]) -> String {
    if path.is_empty() { "the whole".to_owned() } else { path.join(".") }
}

/// Returns a path from its parts.
pub fn path(parts: &[&str]) -> Path {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

/// Returns the value at `path`.
pub fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Object(object) => object.get(part),
        Value::Array(array) => array.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

impl Change {
    /// Applies the change to `value`, and returns what was done.
    ///
    /// # Errors
    ///
    /// If there is another type of value where an object or an array is needed.
    pub fn apply(&self, value: &mut Value) -> Result<Vec<AppliedChange>, Shape> {
        let mut applied = Vec::new();
        match self {
            Self::Set { path, value: new } => {
                let (key, object) = parent(value, path, &mut applied)?;
                let before = object.insert(key.clone(), new.clone());
                applied.push(AppliedChange::Set { path: path.clone(), value: new.clone(), before });
            }
            Self::Remove { path } if at(value, path).is_none() => {}
            Self::Remove { path } => {
                let (key, object) = parent(value, path, &mut applied)?;
                // The others keep the file's order.
                if let Some(value) = object.shift_remove(key) {
                    applied.push(AppliedChange::Removed { path: path.clone(), value });
                }
            }
            Self::Append { path, value: new } => {
                let (key, object) = parent(value, path, &mut applied)?;
                if !object.contains_key(key) {
                    applied.push(AppliedChange::Made { path: path.clone() });
                }
                let array = object.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
                array_at(array, path)?.push(new.clone());
                applied.push(AppliedChange::Appended { path: path.clone(), value: new.clone() });
            }
            Self::Take { path, index } => {
                let found = at_mut(value, path).ok_or_else(|| no_array(path))?;
                let array = array_at(found, path)?;
                if *index < array.len() {
                    let value = array.remove(*index);
                    applied.push(AppliedChange::Taken { path: path.clone(), value });
                }
            }
        }
        Ok(applied)
    }
}

fn no_array(path: &[String]) -> Shape {
    Shape { path: path.to_vec(), expected: "an array" }
}

fn array_at<'a>(value: &'a mut Value, path: &[String]) -> Result<&'a mut Vec<Value>, Shape> {
    value.as_array_mut().ok_or_else(|| no_array(path))
}

fn at_mut<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Object(object) => object.get_mut(part),
        Value::Array(array) => array.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Returns the last key of `path` and the object that contains it; missing objects are made.
fn parent<'a, 'p>(
    value: &'a mut Value,
    path: &'p [String],
    applied: &mut Vec<AppliedChange>,
) -> Result<(&'p String, &'a mut Map<String, Value>), Shape> {
    let wrong =
        |depth: usize| Shape { path: path[..depth].to_vec(), expected: "an object with keys" };
    let (key, parents) = path.split_last().ok_or_else(|| wrong(0))?;
    let mut here = value;
    for (depth, part) in parents.iter().enumerate() {
        let object = here.as_object_mut().ok_or_else(|| wrong(depth))?;
        if !object.contains_key(part) {
            applied.push(AppliedChange::Made { path: parents[..=depth].to_vec() });
        }
        here = object.entry(part.clone()).or_insert_with(|| Value::Object(Map::new()));
    }
    Ok((key, here.as_object_mut().ok_or_else(|| wrong(parents.len()))?))
}

/// Returns the changes that undo `applied` in a configuration that may have been edited since.
///
/// Only values that are unchanged, or recognisably ours, are touched.
pub fn taking_back(applied: &[AppliedChange], current: &Value) -> Vec<Change> {
    let mut value = current.clone();
    let mut changes = Vec::new();
    for applied_change in applied.iter().rev() {
        let Some(change) = applied_change.undone(&value) else { continue };
        if change.apply(&mut value).is_ok() {
            changes.push(change);
        }
    }
    changes
}

impl AppliedChange {
    fn undone(&self, value: &Value) -> Option<Change> {
        match self {
            Self::Set { path, value: ours, before } => {
                let now = at(value, path)?;
                if now != ours && !ownership::is_ours(now) {
                    return None;
                }
                Some(match before {
                    Some(before) => Change::Set { path: path.clone(), value: before.clone() },
                    None => Change::Remove { path: path.clone() },
                })
            }
            Self::Removed { path, value: old } => at(value, path)
                .is_none()
                .then(|| Change::Set { path: path.clone(), value: old.clone() }),
            Self::Appended { path, value: ours } => {
                let array = at(value, path)?.as_array()?;
                let index = array
                    .iter()
                    .rposition(|element| element == ours)
                    .or_else(|| array.iter().rposition(ownership::is_ours))?;
                Some(Change::Take { path: path.clone(), index })
            }
            Self::Taken { path, value: old } => {
                let array = at(value, path)?.as_array()?;
                (!array.contains(old))
                    .then(|| Change::Append { path: path.clone(), value: old.clone() })
            }
            Self::Made { path } => {
                let empty = match at(value, path)? {
                    Value::Object(object) => object.is_empty(),
                    Value::Array(array) => array.is_empty(),
                    _ => false,
                };
                empty.then(|| Change::Remove { path: path.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn done(value: &mut Value, changes: &[Change]) -> Vec<AppliedChange> {
        changes.iter().flat_map(|change| change.apply(value).unwrap()).collect()
    }

    #[test]
    fn what_was_done_is_taken_back_and_what_others_did_since_stays() {
        let before = json!({ "a": { "list": ["x"] }, "z": 1 });
        let mut value = before.clone();
        let applied = done(
            &mut value,
            &[
                Change::Append { path: path(&["a", "list"]), value: json!("mcp__claude-peers") },
                Change::Append { path: path(&["b", "new"]), value: json!("y") },
                Change::Set { path: path(&["z"]), value: json!(2) },
                Change::Take { path: path(&["a", "list"]), index: 0 },
            ],
        );
        assert_eq!(
            value,
            json!({ "a": { "list": ["mcp__claude-peers"] }, "z": 2, "b": { "new": ["y"] } })
        );
        let mut back = value.clone();
        done(&mut back, &taking_back(&applied, &value));
        assert_eq!(back, before);

        // Since then somebody has added to it, and chosen a value.
        value["b"]["new"].as_array_mut().unwrap().push(json!("theirs"));
        value["z"] = json!(3);
        done(&mut value.clone(), &taking_back(&applied, &value));
        let mut back = value.clone();
        done(&mut back, &taking_back(&applied, &value));
        assert_eq!(back, json!({ "a": { "list": ["x"] }, "z": 3, "b": { "new": ["theirs"] } }));
    }

    #[test]
    fn what_has_another_form_is_left_alone() {
        let mut value = json!({ "hooks": 3, "permissions": { "allow": "all" } });
        let before = value.clone();
        let append = |parts: &[&str]| Change::Append { path: path(parts), value: json!("x") };
        let error = append(&["hooks", "Stop"]).apply(&mut value).unwrap_err();
        assert_eq!(error.to_string(), "hooks is not an object with keys");
        let error = append(&["permissions", "allow"]).apply(&mut value).unwrap_err();
        assert_eq!(error.to_string(), "permissions.allow is not an array");
        assert_eq!(value, before);
    }
}
