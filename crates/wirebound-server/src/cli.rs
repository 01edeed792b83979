//! The command line: arguments in, text and an exit code out.
//!
//! Standard output carries what was asked for, standard error what went wrong; an error begins with
//! `wirebound: ` and is followed by a `hint: ` with the next thing to do.

mod flags;
mod keys;
mod orders;
mod show;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use self::flags::GatewayFlags;
use self::keys::{KeysVerb, RevokeFlags};
use self::orders::{IdentitiesVerb, SessionsVerb};
use crate::config::{Loaded, Sources, load};
use crate::failure::{Exit, Failure};
use crate::{authority, doctor, serve};

/// A copied cookie is not enough: sessions bound to live connections.
///
/// Without a verb, `wirebound` runs `wirebound demo`.
#[derive(Debug, Parser)]
#[command(name = "wirebound", version, args_conflicts_with_subcommands = true, after_help = exit_codes())]
struct Arguments {
    #[command(flatten)]
    flags: GatewayFlags,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway in front of an app.
    Serve(GatewayFlags),
    /// Run the gateway in front of a small app of its own, to look at.
    Demo(GatewayFlags),
    /// Look at what a gateway here would stumble over.
    Doctor {
        #[command(flatten)]
        flags: GatewayFlags,
        /// One JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Look at or change what is kept of a subject, whether the gateway runs or not.
    #[command(subcommand)]
    Identities(IdentitiesVerb),
    /// List, look at or end sessions, whether the gateway runs or not.
    #[command(subcommand)]
    Sessions(SessionsVerb),
    /// Make, list, rotate or revoke API keys, and the keys that sign assertions.
    #[command(subcommand)]
    Keys(KeysVerb),
    /// Call back a session, a token, all of a subject, or everything issued before a moment.
    Revoke(RevokeFlags),
    /// Check, print or describe the configuration.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print a completion script.
    Completions {
        /// The shell it is for.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Say what is wrong with it, and how to put it right.
    Check {
        #[command(flatten)]
        flags: GatewayFlags,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Print the values in force and where each came from.
    Print {
        #[command(flatten)]
        flags: GatewayFlags,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Print what can be configured.
    Schema {
        /// JSON Schema, the reference page, or a commented example file.
        #[arg(long, value_enum, default_value_t = SchemaFormat::Json)]
        format: SchemaFormat,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaFormat {
    /// JSON Schema, draft 2020-12.
    Json,
    /// The reference page.
    Markdown,
    /// A commented example file.
    Toml,
}

/// What a run of the command line reaches outside.
struct Outside<'a> {
    variables: Vec<(String, String)>,
    out: &'a mut dyn Write,
}

type Ends = Result<Exit, Vec<Failure>>;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        // One line for the operator's log; what panicked is caught where it happened, or ends one connection.
        tracing::error!(
            place = panic.location().map(tracing::field::display),
            "a panic: {panic}"
        );
    }));
    // A variable that is no text is none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let exit = run(std::env::args_os(), variables.collect(), &mut out, &mut err);
    ExitCode::from(exit.code())
}

/// Runs a command line; what it would print goes to `out` and `err`.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    variables: Vec<(String, String)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let ends = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => act(arguments, &mut Outside { variables, out }),
        Err(error) if !error.use_stderr() => write!(out, "{}", error.render())
            .map(|()| Exit::Done)
            .map_err(unwritten),
        Err(error) => Err(vec![usage(&error)]),
    };
    match ends {
        Ok(exit) => exit,
        Err(failures) => report(&failures, err),
    }
}

fn act(arguments: Arguments, outside: &mut Outside<'_>) -> Ends {
    match arguments.verb {
        None => gateway(&arguments.flags, serve::App::Demo, outside),
        Some(Verb::Demo(flags)) => gateway(&flags, serve::App::Demo, outside),
        Some(Verb::Serve(flags)) => gateway(&flags, serve::App::Upstream, outside),
        Some(Verb::Doctor { flags, json }) => {
            let loaded = read(&flags, outside)?;
            let findings = doctor::examine(&loaded, &outside.lookup());
            let text = if json {
                doctor::json(&findings)
            } else {
                doctor::table(&findings)
            };
            outside.print(&text)?;
            Ok(doctor::exit(&findings))
        }
        Some(Verb::Identities(verb)) => orders::carry_out(verb.order(), outside),
        Some(Verb::Sessions(verb)) => orders::carry_out(verb.order(), outside),
        Some(Verb::Keys(verb)) => orders::carry_out(verb.order().map_err(one)?, outside),
        Some(Verb::Revoke(flags)) => orders::carry_out(flags.order().map_err(one)?, outside),
        Some(Verb::Config(ConfigVerb::Check { flags, json })) => check(&flags, json, outside),
        Some(Verb::Config(ConfigVerb::Print { flags, json })) => {
            let loaded = read(&flags, outside)?;
            outside.print(&if json {
                show::json(&loaded)
            } else {
                show::text(&loaded)
            })
        }
        Some(Verb::Config(ConfigVerb::Schema { format })) => outside.print(&show::schema(format)),
        Some(Verb::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "wirebound", &mut script);
            outside.print(&String::from_utf8_lossy(&script))
        }
        Some(Verb::Man) => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command())
                .render(&mut page)
                .map_err(unwritten)?;
            outside.print(&String::from_utf8_lossy(&page))
        }
    }
}

fn gateway(flags: &GatewayFlags, app: serve::App, outside: &mut Outside<'_>) -> Ends {
    let loaded = read(flags, outside)?;
    loaded.check().map_err(|errors| refused(&errors))?;
    if flags.print_ca {
        let ca = serve::local_ca(&loaded, &outside.lookup()).map_err(one)?;
        return outside.print(&authority::trust_instructions(
            &ca,
            &format!("localhost:{}", loaded.config.listen.addr.port()),
        ));
    }
    let variable = outside.lookup();
    serve::run(loaded, app, &variable, outside.out).map_err(one)?;
    Ok(Exit::Done)
}

fn check(flags: &GatewayFlags, json: bool, outside: &mut Outside<'_>) -> Ends {
    let problems = match read_typed(flags, outside)? {
        Ok(loaded) => loaded.check().err().unwrap_or_default(),
        Err(errors) => errors,
    };
    if json {
        outside.print(&show::problems_json(&problems))?;
        return Ok(if problems.is_empty() {
            Exit::Done
        } else {
            Exit::Config
        });
    }
    if problems.is_empty() {
        return outside.print("the configuration is good\n");
    }
    Err(refused(&problems))
}

fn read(flags: &GatewayFlags, outside: &Outside<'_>) -> Result<Loaded, Vec<Failure>> {
    read_typed(flags, outside)?.map_err(|errors| refused(&errors))
}

/// The outer error is of a file that was named and cannot be read.
fn read_typed(
    flags: &GatewayFlags,
    outside: &Outside<'_>,
) -> Result<Result<Loaded, Vec<crate::config::ConfigError>>, Vec<Failure>> {
    let named = flags
        .config
        .clone()
        .or_else(|| outside.variable("WIREBOUND_CONFIG").map(Into::into));
    let text = match &named {
        None => None,
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            one(Failure::config(
                format!("{}: cannot be read: {error}", path.display()),
                "name a readable file with --config, or leave it out to run on defaults",
            ))
        })?),
    };
    let file = named
        .as_deref()
        .zip(text.as_deref())
        .map(|(path, text): (&Path, &str)| (path, text));
    Ok(load(Sources::new(
        file,
        &outside.variables,
        flags.settings(),
    )))
}

impl Outside<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables
            .iter()
            .find_map(|(own, value)| (own == name && !value.is_empty()).then(|| value.clone()))
    }

    /// A look-up that does not borrow what is printed to.
    fn lookup(&self) -> impl Fn(&str) -> Option<String> + use<> {
        let variables = self.variables.clone();
        move |name| {
            variables
                .iter()
                .find_map(|(own, value)| (own == name).then(|| value.clone()))
        }
    }

    fn print(&mut self, text: &str) -> Ends {
        match self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
        {
            // The reader has seen enough: `wirebound man | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
            Err(error) => Err(unwritten(error)),
            Ok(()) => Ok(Exit::Done),
        }
    }
}

fn report(failures: &[Failure], err: &mut dyn Write) -> Exit {
    for failure in failures {
        let hint = failure
            .hint
            .as_ref()
            .map_or_else(String::new, |hint| format!("hint: {hint}\n"));
        // Where standard error is closed, the exit code still says it.
        let _unwritten = write!(err, "wirebound: {failure}\n{hint}");
    }
    failures
        .first()
        .map_or(Exit::Failed, |failure| failure.exit)
}

fn refused(errors: &[crate::config::ConfigError]) -> Vec<Failure> {
    errors
        .iter()
        .map(|error| Failure::config(error.to_string(), error.hint()))
        .collect()
}

fn one(failure: Failure) -> Vec<Failure> {
    vec![failure]
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unwritten(error: io::Error) -> Vec<Failure> {
    one(Failure::failed(format!(
        "standard output cannot be written: {error}"
    )))
}

/// The parser's own words, in the shape of every other error.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let message: Vec<_> = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .map(|line| line.trim().trim_start_matches("error: "))
        .collect();
    let tip = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "));
    let message = match message.join(" ") {
        // Asked for nothing where something is needed, the parser answers with the whole help.
        _ if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a verb is missing here".to_owned()
        }
        message => message,
    };
    Failure {
        exit: Exit::Usage,
        message,
        hint: Some(tip.map_or_else(|| "wirebound --help".to_owned(), str::to_owned)),
    }
}

fn exit_codes() -> String {
    let rows = Exit::ALL.map(|exit| format!("  {}  {}\n", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", rows.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
