//! The command line as it is typed: each file of `tests/cli/` is a command, its files, and all that came of it.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p wirebound-server --test cli` writes what is seen; read the difference.

use std::fmt::Write as _;
use std::fs;
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
        for (name, text) in &self.files {
            fs::write(folder.path().join(name), text).unwrap();
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
            String::from_utf8_lossy(bytes).replace(folder.path().to_str().unwrap(), "[DIR]")
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

#[test]
fn every_error_has_a_prefix_no_full_stop_and_a_way_out() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"));
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let (_, stderr) = text.split_once("--- stderr\n").unwrap();
        let lines: Vec<_> = stderr.lines().collect();
        for pair in lines.chunks(2) {
            let [message, hint] = pair else {
                panic!("no hint: {text}")
            };
            let message = message
                .strip_prefix("wirebound: ")
                .unwrap_or_else(|| panic!("no prefix: {text}"));
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
}
