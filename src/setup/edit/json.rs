//! Changes of JSON text that leave every other byte as it was: comments, order, indentation,
//! line ends.
//!
//! Comments and trailing commas are accepted, because most clients accept them; anything else that is not
//! JSON is an error. The result is parsed again and returned only if it has the expected value.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{
    CstArray, CstContainerNode, CstInputValue, CstNode, CstObject, CstRootNode,
};
use jsonc_parser::errors::ParseError;
use serde_json::Value;

use crate::setup::edit::change::{Change, place};
use crate::setup::edit::problem::Problem;

const STRICT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Parses the text. A text without a value is an empty object, as for the clients.
pub fn parse(text: &str) -> Result<Value, Problem> {
    let root = CstRootNode::parse(text, &STRICT).map_err(|error| broken(&error))?;
    let Some(value) = root.value() else { return Ok(Value::Object(serde_json::Map::new())) };
    raw_control_character(text, &root)?;
    match value.to_serde_value() {
        Some(value @ Value::Object(_)) => Ok(value),
        Some(_) => Err(Problem::Broken("it holds no object".to_owned())),
        None => Err(Problem::Broken("it holds a value that cannot be read".to_owned())),
    }
}

fn broken(error: &ParseError) -> Problem {
    Problem::Broken(format!(
        "line {}, column {}: {}",
        error.line_display(),
        error.column_display(),
        error.kind()
    ))
}

/// Refuses a line break in a string, which the parser accepts and the clients do not.
fn raw_control_character(text: &str, root: &CstRootNode) -> Result<(), Problem> {
    fn look(node: &CstNode) -> Option<String> {
        if let Some(string) = node.as_string_lit() {
            let raw = string.raw_value();
            return raw.contains(|c: char| c < ' ').then_some(raw);
        }
        node.children().iter().find_map(look)
    }
    match root.children().iter().find_map(look) {
        None => Ok(()),
        Some(raw) => {
            let line = text.find(&raw).map_or(1, |at| text[..at].matches('\n').count() + 1);
            Err(Problem::Broken(format!("line {line}: a control character in a string")))
        }
    }
}

/// Returns the text with these changes.
pub fn edit(text: &str, changes: &[Change]) -> Result<String, Problem> {
    let mut wanted = parse(text)?;
    for change in changes {
        change.apply(&mut wanted)?;
    }
    let root = CstRootNode::parse(text, &STRICT).map_err(|error| broken(&error))?;
    for change in changes {
        apply(&root, change)?;
    }
    let edited = root.to_string();
    // A text that was strict JSON stays strict JSON.
    let strict = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    let as_strict = strict(&edited) || !strict(text) && !text.trim().is_empty();
    if as_strict && parse(&edited)? == wanted { Ok(edited) } else { Err(Problem::Unsure) }
}

fn apply(root: &CstRootNode, change: &Change) -> Result<(), Problem> {
    let shape = |path: &[String]| Problem::Shape(format!("{} cannot be changed", place(path)));
    match change {
        Change::Set { path, value } => {
            let (key, object) = parent(root, path)?;
            match object.get(key) {
                Some(property) => property.set_value(input(value)),
                None => drop(object.append(key, input(value))),
            }
        }
        Change::Remove { path } => {
            let (key, object) = parent(root, path)?;
            if let Some(property) = object.get(key) {
                property.remove();
            }
        }
        Change::Append { path, value } => {
            let (key, object) = parent(root, path)?;
            let array = object.array_value_or_create(key).ok_or_else(|| shape(path))?;
            array.append(input(value));
        }
        Change::Take { path, index } => {
            let array = array(root, path).ok_or_else(|| shape(path))?;
            if let Some(element) = array.elements().into_iter().nth(*index) {
                element.remove();
                close_up(&array);
            }
        }
    }
    Ok(())
}

/// Puts the closing bracket behind the last element, if the array begins on the line of its opening
/// bracket.
fn close_up(array: &CstArray) {
    let children = array.children();
    let elements = array.elements();
    let (Some(first), Some(last)) = (elements.first(), elements.last()) else { return };
    let begins_there = !children[..first.child_index()].iter().any(CstNode::is_newline);
    let behind = children.into_iter().skip(last.child_index() + 1).filter(|node| !node.is_token());
    let behind: Vec<CstNode> = behind.collect();
    if begins_there && behind.iter().all(|node| node.is_newline() || node.is_whitespace()) {
        behind.into_iter().for_each(CstNode::remove);
    }
}

/// Returns the object that contains the last key of `path`; it is made if missing.
fn parent<'p>(root: &CstRootNode, path: &'p [String]) -> Result<(&'p str, CstObject), Problem> {
    let shape = || Problem::Shape(format!("{} cannot be changed", place(path)));
    let (key, parents) = path.split_last().ok_or_else(shape)?;
    let mut object = root.object_value_or_create().ok_or_else(shape)?;
    for (depth, part) in parents.iter().enumerate() {
        once(&object, part, &path[..=depth])?;
        object = object.object_value_or_create(part).ok_or_else(shape)?;
    }
    once(&object, key, path)?;
    Ok((key, object))
}

/// Refuses a duplicate key, of which programs read one or the other.
fn once(object: &CstObject, key: &str, path: &[String]) -> Result<(), Problem> {
    let named = |property: &jsonc_parser::cst::CstObjectProp| {
        property.decoded_name().is_some_and(|name| name == key)
    };
    if object.properties().iter().filter(|property| named(property)).count() > 1 {
        return Err(Problem::Shape(format!("{} stands there twice", place(path))));
    }
    Ok(())
}

fn array(root: &CstRootNode, path: &[String]) -> Option<CstArray> {
    let mut node = root.value()?;
    for part in path {
        node = match node {
            CstNode::Container(CstContainerNode::Object(object)) => object.get(part)?.value()?,
            CstNode::Container(CstContainerNode::Array(array)) => {
                array.elements().into_iter().nth(part.parse().ok()?)?
            }
            _ => return None,
        };
    }
    node.as_array()
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(list) => CstInputValue::Array(list.iter().map(input).collect()),
        Value::Object(object) => CstInputValue::Object(
            object.iter().map(|(key, value)| (key.clone(), input(value))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use serde_json::json;

    use super::*;
    use crate::setup::edit::change::{path, taking_back};

    fn set() -> Vec<Change> {
        vec![Change::Set {
            path: path(&["mcpServers", "claude-peers"]),
            value: json!({ "command": "/usr/bin/claude-peers", "args": ["mcp"] }),
        }]
    }

    #[test]
    fn everything_else_stays_byte_for_byte() {
        let text = "// mine\r\n{\r\n\t\"b\": [1,2 , 3], // odd\r\n\t\"mcpServers\": {\r\n\t\t\"x\": {},\r\n\t},\r\n\t/* end */\r\n}\r\n";
        let edited = edit(text, &set()).unwrap();
        assert_eq!(
            edited,
            "// mine\r\n{\r\n\t\"b\": [1,2 , 3], // odd\r\n\t\"mcpServers\": {\r\n\t\t\"x\": {},\r\n\t\t\"claude-peers\": {\r\n\t\t\t\"command\": \"/usr/bin/claude-peers\",\r\n\t\t\t\"args\": [\"mcp\"],\r\n\t\t},\r\n\t},\r\n\t/* end */\r\n}\r\n"
        );
        let remove = Change::Remove { path: path(&["mcpServers", "claude-peers"]) };
        assert_eq!(edit(&edited, &[remove]).unwrap(), text);
    }

    #[test]
    fn an_array_of_one_line_is_one_line_again() {
        let text = "{ \"a\": [{ \"b\": 1 }] }\n";
        let group = json!({ "hooks": [{ "command": "x" }] });
        let edited = edit(text, &[Change::Append { path: path(&["a"]), value: group }]).unwrap();
        assert!(edited.contains("[{ \"b\": 1 },"), "{edited}");
        let taken = edit(&edited, &[Change::Take { path: path(&["a"]), index: 1 }]).unwrap();
        assert!(taken.contains("\"a\": [{ \"b\": 1 }]"), "{taken}");
    }

    #[test]
    fn nothing_becomes_an_object() {
        for text in ["", "\n", "// only words\n", "{}", "{ }\n"] {
            let edited = edit(text, &set()).unwrap();
            assert_eq!(
                parse(&edited).unwrap()["mcpServers"]["claude-peers"]["args"],
                json!(["mcp"])
            );
            assert!(text.is_empty() || edited.contains(text.trim_matches(['{', '}', ' ', '\n'])));
        }
    }

    #[test]
    fn what_a_client_would_not_read_is_an_error_with_its_line() {
        for (text, line) in [
            ("{\n  \"a\": 1\n  \"b\": 2\n}", "line 2"),
            ("{\n  'a': 1\n}", "line 2"),
            ("{\n  a: 1\n}", "line 2"),
            ("{\n  \"a\": 0x1\n}", "line 2"),
            ("{\n  \"a\": \"x\ny\"\n}", "line 2"),
            ("{ \"a\": 1", "line 1"),
            ("{} {}", "line 1"),
            ("[1]", "no object"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(line), "{text:?}: {error}");
            assert!(edit(text, &set()).is_err());
        }
    }

    #[test]
    fn what_cannot_be_told_is_not_touched() {
        let twice = "{ \"mcpServers\": {}, \"mcpServers\": {} }";
        let error = edit(twice, &set()).unwrap_err().to_string();
        assert!(error.contains("mcpServers stands there twice"), "{error}");
        let error = edit("{ \"mcpServers\": [] }", &set()).unwrap_err().to_string();
        assert!(error.contains("mcpServers is not an object"), "{error}");
    }

    #[test]
    fn no_depth_ends_the_program() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&format!("{{\"a\": {deep}}}")).is_err());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z/*,\\\\\"{}\\[\\] ü]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec(("[a-z/*\"ü]{0,5}", inner), 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// The text in one of the ways that people write it.
    fn written(value: &Value, way: u8) -> String {
        let pretty = serde_json::to_string_pretty(value).unwrap();
        match way {
            0 => value.to_string(),
            1 => pretty,
            2 => pretty.replace('\n', "\r\n"),
            3 => pretty.replace('\n', " // c }\n"),
            _ => format!("/* {{ */ {pretty}\n// end\n"),
        }
    }

    proptest! {
        /// Whatever the file holds: it then means what it should, or it is left alone; and what
        /// was done can be taken back.
        #[test]
        fn any_object_is_changed_as_it_should_be_and_back(
            members in proptest::collection::vec(
                (prop_oneof!["[a-z]{0,4}", Just("hooks".to_owned()), Just("mcpServers".to_owned())], any_value()),
                0..6,
            ),
            way in 0u8..5,
        ) {
            let value: Value = members.into_iter().collect();
            let text = written(&value, way);
            let changes = [
                set(),
                vec![Change::Append { path: path(&["hooks", "Stop"]), value: json!({ "hooks": [{ "x": 1 }] }) }],
            ]
            .concat();
            let mut wanted = value.clone();
            let mut applied = Vec::new();
            let fits = changes.iter().all(|change| {
                change.apply(&mut wanted).map(|done| applied.extend(done)).is_ok()
            });
            let edited = edit(&text, &changes);
            prop_assert_eq!(edited.is_ok(), fits, "{}: {:?}", text, edited);
            if let Ok(edited) = edited {
                prop_assert_eq!(parse(&edited).unwrap(), wanted.clone());
                let back = edit(&edited, &taking_back(&applied, &wanted));
                prop_assert_eq!(back.map(|text| parse(&text).unwrap()), Ok(value), "{}", edited);
            }
        }
    }
}
