//! Tool calls, read in one pass.
//!
//! rmcp tries the types of all messages in turn, which costs more than the rest of a call. Here the
//! usual form of a `tools/call` request is read directly. A line of any other form, even one that
//! differs by an unknown member, is left to rmcp, so there is one reading of everything odd: rmcp's.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, JsonObject, JsonRpcMessage, MetaObject,
    RequestId, RequestMetaObject,
};
use rmcp::service::RxJsonRpcMessage;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    jsonrpc: &'a str,
    #[serde(deserialize_with = "request_id")]
    id: RequestId,
    method: &'a str,
    #[serde(borrow)]
    params: Object<Params<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    arguments: Option<JsonObject>,
    #[serde(default, rename = "_meta")]
    meta: Option<JsonObject>,
}

/// A value that is an object in JSON. Without it serde would take an array of the members as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Reads a line as a tool call; `None` if it has not exactly the usual form.
pub fn read(line: &[u8]) -> Option<RxJsonRpcMessage<RoleServer>> {
    let Object(line): Object<Line<'_>> = serde_json::from_slice(line).ok()?;
    let Object(call) = line.params;
    if line.jsonrpc != "2.0" || line.method != "tools/call" {
        return None;
    }
    let mut params = CallToolRequestParams::new(call.name.into_owned());
    params.arguments = call.arguments;
    let mut request = CallToolRequest::new(params);
    if let Some(meta) = call.meta {
        request.extensions.insert(RequestMetaObject(MetaObject(meta)));
    }
    Some(JsonRpcMessage::request(ClientRequest::CallToolRequest(request), line.id))
}

/// Reads an id that is a string or a whole number. The rarer forms that rmcp takes are left to it.
fn request_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RequestId, D::Error> {
    struct Id;

    impl Visitor<'_> for Id {
        type Value = RequestId;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a whole number")
        }

        fn visit_i64<E: Error>(self, id: i64) -> Result<RequestId, E> {
            Ok(RequestId::Number(id))
        }

        fn visit_u64<E: Error>(self, id: u64) -> Result<RequestId, E> {
            i64::try_from(id).map(RequestId::Number).map_err(E::custom)
        }

        fn visit_str<E: Error>(self, id: &str) -> Result<RequestId, E> {
            Ok(RequestId::String(id.into()))
        }
    }

    deserializer.deserialize_any(Id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;

    /// Shows all of a message, its metadata included.
    fn shown(message: &RxJsonRpcMessage<RoleServer>) -> String {
        let JsonRpcMessage::Request(request) = message else { return format!("{message:?}") };
        let ClientRequest::CallToolRequest(call) = &request.request else {
            return format!("{message:?}");
        };
        let meta = call.extensions.get::<RequestMetaObject>();
        format!("{:?} {:?} {:?} {meta:?}", request.id, call.method, call.params)
    }

    /// Checks that a line that is read here is read by rmcp in the same way.
    fn same(line: &str) -> bool {
        let Some(read) = read(line.as_bytes()) else { return false };
        let rmcp: RxJsonRpcMessage<RoleServer> = serde_json::from_str(line).unwrap();
        assert_eq!(shown(&read), shown(&rmcp), "{line}");
        assert_eq!(
            serde_json::to_string(&read).unwrap(),
            serde_json::to_string(&rmcp).unwrap(),
            "{line}"
        );
        true
    }

    const IDS: [&str; 15] = [
        "0",
        "1",
        "-7",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1.0",
        "1e2",
        "1.5",
        "\"a\"",
        "\"\"",
        "\"\\u00e9\\n\"",
        "null",
        "{}",
        "true",
    ];

    const VALUES: [&str; 17] = [
        "null",
        "true",
        "0",
        "-1",
        "18446744073709551615",
        "1e400",
        "1.25",
        "\"\"",
        "\"text\"",
        "\"\\ud83d\\ude00 \\\" \\u0000\"",
        "\"\\ufffd\"",
        "\"\\ud83d\"",
        "[]",
        "[1,[2,{}]]",
        "{}",
        "{\"b\":1,\"a\":{\"c\":null},\"b\":2}",
        "{\"progressToken\":7}",
    ];

    const MEMBERS: [&str; 8] =
        ["name", "arguments", "_meta", "task", "inputResponses", "requestState", "", "Name"];

    /// An object of these members, in any order, with all that may be odd about it.
    fn object(members: Vec<(String, String)>) -> impl Strategy<Value = String> {
        let count = members.len();
        subsequence(members, 0..=count).prop_shuffle().prop_map(|members| {
            let members = members.iter().map(|(name, value)| format!("\"{name}\": {value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        })
    }

    fn params() -> impl Strategy<Value = String> {
        let member = (select(&MEMBERS[..]), select(&VALUES[..]));
        let arguments = prop::collection::vec((select(&MEMBERS[..]), select(&VALUES[..])), 0..4);
        let all = (prop::collection::vec(member, 0..3), arguments, select(&VALUES[..]));
        all.prop_flat_map(|(more, arguments, meta)| {
            let arguments: Vec<String> =
                arguments.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let mut members = vec![
                ("name".to_owned(), "\"send_message\"".to_owned()),
                ("arguments".to_owned(), format!("{{{}}}", arguments.join(","))),
                ("_meta".to_owned(), meta.to_owned()),
            ];
            members.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
            object(members)
        })
    }

    fn line() -> impl Strategy<Value = String> {
        let more = prop::collection::vec(
            (
                select(&["jsonrpc", "id", "method", "params", "result", "error", "x"][..]),
                select(&VALUES[..]),
            ),
            0..2,
        );
        let all = (
            select(&IDS[..]),
            params(),
            more,
            select(&["\"tools/call\"", "\"tools\\/call\"", "\"ping\"", "\"tools/list\""][..]),
        );
        all.prop_flat_map(|(id, params, more, method)| {
            let mut members = vec![
                ("jsonrpc".to_owned(), "\"2.0\"".to_owned()),
                ("id".to_owned(), id.to_owned()),
                ("method".to_owned(), method.to_owned()),
                ("params".to_owned(), params),
            ];
            members.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
            object(members)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]

        #[test]
        fn a_line_that_is_read_here_is_read_by_rmcp_in_the_same_way(line in line()) {
            same(&line);
        }
    }

    #[test]
    fn the_usual_lines_are_read_here_and_odd_ones_are_left() {
        let call = |id: &str, params: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
        };
        for line in [
            call(
                "1",
                r#"{"name":"send_message","arguments":{"to_id":"b","message":"x\n\ud83e\udd80"}}"#,
            ),
            call("\"a\"", r#"{"_meta":{"progressToken":3,"claudecode/toolUseId":"t"},"name":"x"}"#),
            call("0", r#"{"arguments":null,"name":"check_messages","_meta":null}"#),
            format!("{}\r\n", call("-1", r#"{"name":"list_peers","arguments":{}}"#)),
        ] {
            assert!(same(&line), "{line}");
        }
        for line in [
            call("null", r#"{"name":"x"}"#),
            call("1.0", r#"{"name":"x"}"#),
            call("1", r#"{"name":"x","arguments":[]}"#),
            call("1", r#"{"name":"x","name":"y"}"#),
            call("1", r#"{"name":"x","task":{}}"#),
            call("1", "{}"),
            call("1", r#"["x"]"#),
            call("1", r#"{"name":"x"},"more":1"#),
            call("1", r#"{"name":"x"},"result":null"#),
            call("1", r#"{"name":"x"},"id":2"#),
            r#"["2.0",1,"tools/call",{"name":"x"}]"#.to_owned(),
            format!("[{}]", call("1", r#"{"name":"x"}"#)),
            "\u{feff}{}".to_owned(),
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.to_owned(),
            r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"x"}}"#.to_owned(),
        ] {
            assert!(read(line.as_bytes()).is_none(), "{line}");
        }
    }
}
