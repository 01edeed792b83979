//! The command line as it is typed: each file of `tests/cli/` is a command, its files, and all that came of it.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p wirebound-server --test cli` writes what is seen; read the difference.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// One case: `$ command`, `--- file NAME` with its text, then `--- exit`, `--- stdout`, `--- stderr`.
struct Case {
    command: String,
    variables: Vec<(String, String)>,
    files: Vec<(String, String)>,
}

impl Case {
    fn read(text: &str) -> Self {
        let mut case = Self {
            command: String::new(),
            variables: Vec::new(),
            files: Vec::new(),
        };
        let mut file: Option<(String, String)> = None;
        for line in text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                case.command = command.to_owned();
            } else if let Some(pair) = line.strip_prefix("@ ") {
                let (name, value) = pair.split_once('=').unwrap();
                case.variables.push((name.to_owned(), value.to_owned()));
            } else if let Some(rest) = line.strip_prefix("--- ") {
                case.files.extend(file.take());
                match rest.strip_prefix("file ") {
                    Some(name) => file = Some((name.to_owned(), String::new())),
                    None => break,
                }
            } else if let Some((_, text)) = &mut file {
                writeln!(text, "{line}").unwrap();
            }
        }
        case.files.extend(file);
        case
    }

    fn run(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, text) in &self.files {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let mut words = self.command.split(' ').filter(|word| !word.is_empty());
        assert_eq!(words.next(), Some("wirebound"), "{}", self.command);
        let output = Command::new(env!("CARGO_BIN_EXE_wirebound"))
            .args(words)
            .env_clear()
            .env("HOME", folder.path().join("home"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let clean = |bytes: &[u8]| {
            let text =
                String::from_utf8_lossy(bytes).replace(folder.path().to_str().unwrap(), "[DIR]");
            text.split_inclusive('\n')
                .map(without_the_moment)
                .collect::<String>()
        };
        let mut text = format!("$ {}\n", self.command);
        for (name, value) in &self.variables {
            writeln!(text, "@ {name}={value}").unwrap();
        }
        for (name, content) in &self.files {
            write!(text, "--- file {name}\n{content}").unwrap();
        }
        writeln!(text, "--- exit {}", output.status.code().unwrap()).unwrap();
        write!(
            text,
            "--- stdout\n{}--- stderr\n{}",
            clean(&output.stdout),
            clean(&output.stderr)
        )
        .unwrap();
        text
    }
}

/// What `doctor` says of this minute and this machine, taken out.
fn without_the_moment(line: &str) -> String {
    let at = |text| line.find(text);
    if let Some(at) = at("clock         2") {
        format!("{}clock         [NOW]\n", line.get(..at).unwrap())
    } else if let Some(at) = at(" files may be open") {
        format!("good     descriptors   [LIMIT]{}", line.get(at..).unwrap())
    } else if at(" MiB are free").is_some() {
        "good     space         [ROOM]\n".to_owned()
    } else {
        line.to_owned()
    }
}

#[test]
fn two_processes_do_not_share_a_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let owned = wirebound_server::data_dir::DataDir::open(folder.path()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wirebound"))
        .env_clear()
        .args(["demo", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(owned.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    let expected = format!(
        "is in use by process {}\nhint: stop that one",
        std::process::id()
    );
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn nothing_that_is_printed_holds_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_wirebound"))
            .env_clear()
            .args(arguments)
            .arg("--data-dir")
            .arg(folder.path())
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let mut printed = run(&["demo", "--print-ca"]);
    let owned = wirebound_server::data_dir::DataDir::open(folder.path()).unwrap();
    let secret = owned
        .node_secret(&wirebound_server::system::SystemEntropy::new())
        .unwrap();
    for arguments in [
        &["demo"][..],
        &["doctor"],
        &["doctor", "--json"],
        &["config", "print", "--json"],
    ] {
        printed.push_str(&run(arguments));
    }
    printed.push_str(&format!("{owned:?}{secret:?}"));
    let mut planted = vec![secret.current().unwrap().1.expose_text()];
    for key in ["ca.key", "leaf.key"] {
        let pem = fs::read_to_string(folder.path().join(key)).unwrap();
        planted.extend(
            pem.lines()
                .filter(|line| !line.starts_with('-'))
                .map(str::to_owned),
        );
    }
    assert!(planted.len() >= 5);
    for secret in planted {
        assert!(!printed.contains(&secret), "{printed}");
    }
}

#[test]
fn completions_and_the_manual_name_every_flag_of_serve() {
    for arguments in [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["completions", "fish"],
        &["man"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_wirebound"))
            .env_clear()
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout)
            .unwrap()
            .replace("\\-", "-");
        for flag in [
            "listen", "upstream", "armour", "preset", "store", "data-dir", "cert", "key", "config",
            "print-ca",
        ] {
            assert!(
                text.contains(flag),
                "{arguments:?} says nothing of --{flag}"
            );
        }
    }
}

#[test]
fn every_command_does_what_its_file_says() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"));
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "only {} cases were found", paths.len());
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut wrong = String::new();
    for path in &paths {
        let expected = fs::read_to_string(path).unwrap();
        let seen = Case::read(&expected).run();
        assert_errors_are_well_made(&seen);
        if update {
            fs::write(path, seen).unwrap();
        } else if seen != expected {
            writeln!(
                wrong,
                "{}\n--- expected\n{expected}--- seen\n{seen}",
                path.display()
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Each error has a prefix, no full stop, and a way out.
fn assert_errors_are_well_made(seen: &str) {
    let (_, stderr) = seen.split_once("--- stderr\n").unwrap();
    let lines: Vec<_> = stderr.lines().collect();
    for pair in lines.chunks(2) {
        let [message, hint] = pair else {
            panic!("no hint: {seen}")
        };
        let message = message
            .strip_prefix("wirebound: ")
            .unwrap_or_else(|| panic!("no prefix: {seen}"));
        assert!(
            !message.ends_with('.') && !message.starts_with(char::is_uppercase),
            "{message}"
        );
        assert!(
            hint.strip_prefix("hint: ")
                .is_some_and(|hint| !hint.ends_with('.')),
            "{hint}"
        );
    }
}
