//! Running commands, and finding programs.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where a program lies on the `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// `cargo`, as the one that runs this task.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::root());
    command
}

/// Runs a command in the terminal's sight.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn shown(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {}", typed(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", typed(command));
    }
    Ok(())
}

/// Runs a command silently; what it said stands in the error.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn silent(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", typed(command)))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "`{}` ended with {}:\n{}",
            typed(command),
            output.status,
            String::from_utf8_lossy(&said)
        );
    }
    Ok(())
}

/// The command as a person would type it.
pub(crate) fn typed(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    let words = command.get_args().map(|a| {
        let word = a.to_string_lossy();
        if word.contains([' ', '"']) {
            format!("'{word}'")
        } else {
            word.into_owned()
        }
    });
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!(
            "{}='{}'",
            name.to_string_lossy(),
            value?.to_string_lossy()
        ))
    });
    variables
        .chain([name])
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}
