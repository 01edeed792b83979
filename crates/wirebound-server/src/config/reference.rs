//! The reference page and the commented example, made from the schema.

use serde_json::Value;

use super::Config;
use super::schema::{Key, json_schema, keys, properties, why};

const HEAD: &str = "# Configuration

<!-- Made by `wirebound config schema --format markdown`; a test compares. Change the doc comments of the types in
crates/wirebound-server/src/config/ and make it again. -->

Every key can stand in a TOML file (`--config FILE`, or the variable `WIREBOUND_CONFIG`), most can be set by a
variable, and the common ones have a flag. A flag beats a variable, a variable beats the file, the file beats the
default. In a variable a list is written with commas. An unknown key, variable or flag is an error that names the nearest one.

Lengths of time are written `250ms`, `30s`, `5m`, `1h30m`, `14d`; sizes `512B`, `64KiB`, `10MB`. A number without its
unit is refused.

`wirebound config check` says what is wrong and how to put it right; `wirebound config print` shows the values in
force and where each came from.

";

/// `docs/configuration.md`.
#[must_use]
pub fn reference_page() -> String {
    let mut page = HEAD.to_owned();
    for (section, about, keys) in sections() {
        let heading = if section.is_empty() {
            "At the top".to_owned()
        } else {
            section.clone()
        };
        page.push_str(&format!("## {heading}\n\n"));
        if !about.is_empty() {
            page.push_str(&format!("{about}\n\n"));
        }
        for key in keys {
            write_key(&mut page, &key);
        }
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// A file with every key at its default, commented out, each under its reason.
#[must_use]
pub fn commented_example() -> String {
    let mut text =
        "# wirebound.toml: every key, at its default. Remove the `#` before what you change.\n"
            .to_owned();
    for (section, _, keys) in sections() {
        if section.starts_with("[[") {
            text.push_str(&format!("\n# {section}\n"));
        } else if !section.is_empty() {
            text.push_str(&format!("\n{section}\n"));
        }
        for key in keys {
            for line in wrap(&key.why, 100) {
                text.push_str(&format!("# {line}\n"));
            }
            let name = last_name(&key.path);
            let value = key.default.as_deref().unwrap_or("...");
            text.push_str(&format!("#{name} = {value}\n"));
        }
    }
    text
}

/// Section heading, its doc comment, its keys; in the order of the schema.
fn sections() -> Vec<(String, String, Vec<Key>)> {
    let mut found: Vec<(String, String, Vec<Key>)> = Vec::new();
    for key in keys() {
        let section = section_of(&key.path);
        match found.iter_mut().find(|(name, ..)| *name == section) {
            Some((_, _, keys)) => keys.push(key),
            None => found.push((section, section_about(&key.path), vec![key])),
        }
    }
    found.sort_by_key(|(name, ..)| !name.is_empty());
    found
}

fn section_of(path: &str) -> String {
    match path.rsplit_once('.') {
        None => String::new(),
        Some((section, _)) => match section.strip_suffix("[]") {
            Some(list) => format!("[[{list}]]"),
            None => format!("[{section}]"),
        },
    }
}

fn section_about(path: &str) -> String {
    let Some((section, _)) = path.rsplit_once('.') else {
        return String::new();
    };
    let schema = json_schema();
    let mut node = schema.as_object();
    for name in section.split('.') {
        node = node.and_then(|node| {
            properties(node).find_map(|(property, value)| {
                (property == name.trim_end_matches("[]")).then_some(value)
            })
        });
    }
    node.map(why).unwrap_or_default()
}

fn write_key(page: &mut String, key: &Key) {
    let default = match &key.default {
        Some(default) => format!("default `{default}`"),
        None => "no default".to_owned(),
    };
    let variable = match key.variable() {
        Some(variable) => format!("`{variable}`"),
        None => "file only".to_owned(),
    };
    let Key {
        path, takes, why, ..
    } = key;
    page.push_str(&format!(
        "**`{}`** ({takes}; {default}; {variable})  \n{why}\n\n",
        last_name(path)
    ));
}

fn last_name(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, name)| name)
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines
            .last()
            .is_some_and(|line| !line.is_empty() && line.len().saturating_add(word.len()) >= width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// The values in force as rows: dotted key and value, lists of tables as one value.
#[must_use]
pub(crate) fn flat_values(config: &Config) -> Vec<(String, Value)> {
    flat(&serde_json::to_value(config).unwrap_or_default(), "")
}

fn flat(config: &Value, prefix: &str) -> Vec<(String, Value)> {
    let mut rows = Vec::new();
    if let Some(table) = config.as_object() {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            match value {
                Value::Object(_) => rows.extend(flat(value, &key)),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => {
                    rows.push((key, value.clone()));
                }
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn the_reference_page_says_what_the_schema_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == reference_page(),
            "docs/configuration.md is stale: cargo run -- config schema --format markdown > docs/configuration.md"
        );
    }

    #[test]
    fn the_commented_example_is_the_default_and_so_is_its_uncommented_form() {
        let example = commented_example();
        let parse = |text: &str| {
            load(Sources::new(
                Some((Path::new("example"), text)),
                &[],
                Vec::new(),
            ))
        };
        assert_eq!(parse(&example).unwrap().config, Config::default());
        let bare: String = example
            .lines()
            .filter(|line| !line.starts_with("# ") && !line.ends_with("= ..."))
            .take_while(|line| !line.contains("[[routes]]"))
            .map(|line| format!("{}\n", line.trim_start_matches('#')))
            .collect();
        assert!(bare.contains("absolute_timeout"), "{bare}");
    }
}
