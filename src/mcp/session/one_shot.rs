//! Whether a session is one-shot: ends with its answer, as `claude -p` does.
//!
//! The client's entrypoint only says that no person uses it (`sdk-cli`, `sdk-ts`, `sdk-py`). If a
//! program or an editor sends prompts one by one, the command line says so, and the session is idle
//! between them like any other.

use crate::config::Entrypoint;
use crate::protocol::ProcessId;
use crate::sys::process;

/// Whether the session of this client ends with its answer.
pub fn is_one_shot(entrypoint: Entrypoint, client: Option<&ProcessId>) -> bool {
    let argv = client.filter(|client| process::is_alive(client)).and_then(|c| process::argv(c.pid));
    ends_with_its_answer(entrypoint, argv.as_deref())
}

fn ends_with_its_answer(entrypoint: Entrypoint, argv: Option<&[String]>) -> bool {
    match (entrypoint, argv) {
        (Entrypoint::Person, _) => false,
        (_, Some(argv)) => !takes_prompts(argv),
        // The command line cannot be read. An SDK sends prompts one by one.
        (entrypoint, None) => entrypoint == Entrypoint::Print,
    }
}

fn takes_prompts(argv: &[String]) -> bool {
    argv.iter().skip(1).any(|word| word == "--input-format=stream-json")
        || argv.windows(2).any(|pair| pair == ["--input-format", "stream-json"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_takes_prompts_one_by_one_lasts() {
        let of = |entrypoint, line: &str| {
            let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
            ends_with_its_answer(entrypoint, Some(&argv))
        };
        let (print, sdk) = (Entrypoint::Print, Entrypoint::Sdk);
        for lasting in [
            "claude -p --input-format stream-json --output-format stream-json --verbose",
            "node cli.js --output-format stream-json --input-format=stream-json",
        ] {
            assert!(!of(print, lasting) && !of(sdk, lasting), "{lasting}");
        }
        for once in [
            "claude -p hello",
            "claude --print --output-format stream-json hello",
            "claude -p --input-format text",
        ] {
            assert!(of(print, once) && of(sdk, once), "{once}");
            assert!(!of(Entrypoint::Person, once));
        }
        assert!(ends_with_its_answer(print, None) && !ends_with_its_answer(sdk, None));
    }
}
