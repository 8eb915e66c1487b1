//! `claude-peers completions`: a completion script for a shell.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use crate::cli::complete::VARIABLE;
use crate::cli::error::CliError;
use crate::cli::output::Out;

/// The name under which people call this program.
const NAME: &str = "claude-peers";

/// What zsh needs of a script that it loads as the function `_claude-peers`, at the first completion: the
/// script itself only defines what completes from then on.
const WHERE_AUTOLOADED: &str = "\
if [[ $funcstack[1] == _claude-peers ]]; then
    _clap_dynamic_completer_claude_peers \"$@\"
fi
";

#[derive(Debug, Args)]
#[command(after_help = "\
The script asks claude-peers for the names of live peers and the ids of recent messages, and never \
starts a broker. Packages install it; otherwise add this line to the file of your shell:

  ~/.bashrc                   source <(claude-peers completions bash)
  ~/.zshrc, after compinit    source <(claude-peers completions zsh)
  ~/.config/fish/config.fish  claude-peers completions fish | source")]
pub struct Arguments {
    /// The shell to print a script for
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

pub fn run(arguments: &Arguments, out: &mut Out) -> Result<ExitCode, CliError> {
    let shell: &dyn EnvCompleter = match arguments.shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
        Shell::Zsh => &Zsh,
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)?;
    if matches!(arguments.shell, Shell::Zsh) {
        script.extend_from_slice(WHERE_AUTOLOADED.as_bytes());
    }
    out.raw(&script)?;
    Ok(ExitCode::SUCCESS)
}
