//! The tree itself: what every source file begins with, and that the documents name only what is there.
//!
//! A page that names a test, a file, a crate or a format version is believed by its reader. So each of them is looked
//! up here; a rename that forgets the page fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a test says by panicking what is wrong"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Words that belong to a machine or a moment. In two halves, so that this file passes its own test.
const FORBIDDEN: [(&str, &str); 8] = [
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("TO", "DO"),
    ("FIX", "ME"),
    ("@@", "TABLE"),
    ("<<<<", "<<< "),
    ("`DES", "IGN"),
    ("REV", "IEW.md"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}

/// Every file of the tree below these folders, built ones left out.
fn files(ends: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if ends.iter().any(|end| name.ends_with(end)) {
                let inside = path.strip_prefix(root()).unwrap().to_str().unwrap();
                found.push((inside.to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    let found = files(&[".rs"]);
    assert!(
        found.len() > 100,
        "the sources are where they were looked for"
    );
    found
}

fn documents() -> Vec<(String, String)> {
    let found = files(&[".md"]);
    assert!(
        found.len() > 8,
        "the documents are where they were looked for"
    );
    found
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What stands between single backticks, code blocks left out.
fn quoted(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside && !line.starts_with("    ") {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

#[test]
fn every_source_file_opens_with_its_purpose() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(file, _)| file)
        .collect();
    nothing(&wrong);
}

#[test]
fn sources_are_ascii() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .flat_map(|(file, text)| {
            let lines: Vec<_> = text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.is_ascii())
                .map(|(number, _)| format!("{file}:{}", number + 1))
                .collect();
            lines
        })
        .collect();
    nothing(&wrong);
}

#[test]
fn nothing_speaks_of_a_machine_or_of_work_left_over() {
    let mut wrong = Vec::new();
    for (file, text) in files(&[".rs", ".md", ".toml"]) {
        for (first, second) in FORBIDDEN {
            if text.contains(&format!("{first}{second}")) {
                wrong.push(format!("{file} holds {first}{second}"));
            }
        }
    }
    nothing(&wrong);
}

#[test]
fn the_architecture_has_a_section_for_each_crate_and_for_no_other() {
    let text = read("ARCHITECTURE.md");
    let named: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .map(str::to_owned)
        .collect();
    let mut there: BTreeSet<_> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .map(|path| format!("crates/{}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    there.insert("xtask".to_owned());
    assert_eq!(named, there);
}

/// In a section of a crate, a file is named from that crate's `src`; anywhere else from the root.
#[test]
fn every_file_that_the_architecture_names_is_there() {
    let text = read("ARCHITECTURE.md");
    let mut section = String::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        if line.starts_with('#') {
            section = line
                .strip_prefix("### `")
                .and_then(|rest| rest.strip_suffix('`'))
                .unwrap_or_default()
                .to_owned();
        }
        for name in quoted(line)
            .into_iter()
            .filter(|name| name.ends_with(".rs"))
        {
            count += 1;
            let from_root = root().join(name);
            let from_crate = root().join(&section).join("src").join(name);
            let beside = root().join(&section).join(name);
            let near = !section.is_empty() && (from_crate.is_file() || beside.is_file());
            if !from_root.is_file() && !near {
                wrong.push(format!("{name} (in section {section})"));
            }
        }
    }
    assert!(count > 60, "the files were found in the text: {count}");
    nothing(&wrong);
}

/// Tests, keys, events and functions that a document names, as far as their name has two underscores or more.
#[test]
fn every_name_in_the_documents_is_in_the_tree() {
    let code = files(&[".rs", ".toml", ".js", "configuration.md"]);
    let words: BTreeSet<&str> = code
        .iter()
        .flat_map(|(_, text)| text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .collect();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (file, text) in documents() {
        for name in quoted(&text) {
            let plain = name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if plain && name.matches('_').count() >= 2 {
                count += 1;
                if !words.contains(name) {
                    wrong.push(format!("{file} names {name}"));
                }
            }
        }
    }
    assert!(count > 80, "the names were found in the text: {count}");
    nothing(&wrong);
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (file, text) in documents() {
        let folder = root().join(&file).parent().unwrap().to_owned();
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains(':') || target.contains(' ') {
                continue;
            }
            count += 1;
            if !folder.join(target).exists() {
                wrong.push(format!("{file} leads to {target}"));
            }
        }
    }
    assert!(count > 10, "the links were found: {count}");
    nothing(&wrong);
}

/// The rows of the table of versions: constant, file, value.
fn versions() -> Vec<[String; 3]> {
    read("docs/formats.md")
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let ["", _, constant, file, value, ""] = cells[..] else {
                return None;
            };
            let bare = |cell: &str| Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned());
            Some([bare(constant)?, bare(file)?, bare(value)?])
        })
        .collect()
}

#[test]
fn the_versions_in_the_page_of_formats_are_those_in_the_code() {
    let rows = versions();
    assert!(rows.len() > 8, "the table of versions is there");
    let mut wrong = Vec::new();
    for [constant, file, value] in &rows {
        let begin = format!("const {constant}: ");
        let code = read(file);
        let found = code
            .lines()
            .filter_map(|line| line.split_once(&begin)?.1.split_once(" = "))
            .any(|(_, there)| there == format!("{value};"));
        if !found {
            wrong.push(format!("{file} has no {constant} = {value}"));
        }
    }
    nothing(&wrong);
}

#[test]
fn every_version_in_the_code_stands_in_the_page_of_formats() {
    let rows = versions();
    let mut wrong = Vec::new();
    let mut count = 0;
    let product =
        |file: &str| file.contains("/src/") && !file.starts_with("crates/wirebound-testkit/");
    for (file, text) in sources().iter().filter(|(file, _)| product(file)) {
        for line in text.lines() {
            let Some((name, kind)) = line
                .split_once("const ")
                .and_then(|(_, rest)| rest.split_once(": "))
            else {
                continue;
            };
            let is_version = name.ends_with("FORMAT") || name.ends_with("VERSION");
            if is_version && kind.starts_with('u') {
                count += 1;
                if !rows
                    .iter()
                    .any(|[row, place, _]| row == name && place == file)
                {
                    wrong.push(format!("{file}: {name} is not in docs/formats.md"));
                }
            }
        }
    }
    assert!(count > 5, "the constants were found: {count}");
    nothing(&wrong);
}

/// The names of all events in the product's sources: given where they are logged, or by the engine's own type.
fn events() -> BTreeSet<String> {
    let product = |file: &str| {
        file.contains("/src/")
            && !file.starts_with("crates/wirebound-testkit/")
            && !file.starts_with("xtask/")
    };
    let mut names = BTreeSet::new();
    for (file, text) in sources().iter().filter(|(file, _)| product(file)) {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let lines: Vec<&str> = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for line in lines {
            let logged = line.split_once("event = \"").map(|(_, rest)| rest);
            let typed = line.split_once("{ .. } => \"").map(|(_, rest)| rest);
            let typed = typed.filter(|_| file.ends_with("wirebound/src/event.rs"));
            if let Some(rest) = logged.or(typed) {
                names.insert(rest.split('"').next().unwrap().to_owned());
            }
        }
    }
    names
}

#[test]
fn every_event_stands_in_the_page_of_events_and_no_other_does() {
    let page = read("docs/events.md");
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split('`').next())
        .map(str::to_owned)
        .collect();
    let sent = events();
    let mut wrong = Vec::new();
    for name in sent.difference(&listed) {
        wrong.push(format!("`{name}` is sent and not in docs/events.md"));
    }
    for name in listed.difference(&sent) {
        wrong.push(format!("docs/events.md has `{name}`, which nobody sends"));
    }
    for name in &sent {
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            wrong.push(format!("`{name}` is not plain words joined by underscores"));
        }
    }
    assert!(sent.len() > 20, "the names were found: {}", sent.len());
    nothing(&wrong);
}
