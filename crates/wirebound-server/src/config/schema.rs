//! The schema as data: what keys there are, of which kind, with which default and why.
//!
//! It is made from the types, so a key cannot be accepted and undocumented, or documented and ignored.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::Config;

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// From the top: `session.idle_timeout`.
    pub path: String,
    /// What it takes.
    pub kind: KeyKind,
    /// Its default as TOML; nothing if it has none.
    pub default: Option<String>,
    /// What it takes, in words.
    pub takes: String,
    /// What it does and why its default is what it is.
    pub why: String,
}

impl Key {
    /// The variable that sets it; nothing for keys that only a file can hold.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        (self.kind != KeyKind::FileOnly && !self.path.contains("[]")).then(|| {
            format!(
                "WIREBOUND_{}",
                self.path.replace('.', "_").to_ascii_uppercase()
            )
        })
    }
}

/// What a key takes, as far as reading it from a variable goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// Text, among it lengths of time, sizes and choices.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// A list; in a variable with commas between.
    List,
    /// A table that only a file can hold.
    FileOnly,
}

/// The JSON Schema (draft 2020-12) of the file.
#[must_use]
pub fn json_schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), "wirebound.toml".into());
    }
    schema
}

/// Every key, in the order of the schema.
#[must_use]
pub fn keys() -> Vec<Key> {
    let schema = json_schema();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut found = Vec::new();
    if let Some(root) = schema.as_object() {
        walk(root, Some(&defaults), "", &mut found);
    }
    found
}

/// The properties of a section by name, in the order of the schema.
pub(super) fn properties(
    schema: &Map<String, Value>,
) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, property)| Some((name.as_str(), property.as_object()?)))
}

/// The sub-schemas that the unknown-key check follows, by name.
pub(super) fn properties_by_name(
    schema: &Map<String, Value>,
) -> BTreeMap<&str, &Map<String, Value>> {
    properties(schema).collect()
}

fn walk(schema: &Map<String, Value>, defaults: Option<&Value>, prefix: &str, found: &mut Vec<Key>) {
    for (name, property) in properties(schema) {
        let path = if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}.{name}")
        };
        let default = defaults.and_then(|section| section.get(name));
        let items = property.get("items").and_then(Value::as_object);
        if property.contains_key("properties") {
            walk(property, default, &path, found);
        } else if let Some(items) = items.filter(|items| items.contains_key("properties")) {
            walk(items, None, &format!("{path}[]"), found);
        } else {
            found.push(Key {
                kind: kind(property),
                default: default
                    .or_else(|| property.get("default"))
                    .filter(|value| !value.is_null())
                    .map(toml_text),
                takes: takes(property),
                why: why(property),
                path,
            });
        }
    }
}

/// The doc comment of a key or a section, on one line.
pub(super) fn why(property: &Map<String, Value>) -> String {
    let text = property
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kind(property: &Map<String, Value>) -> KeyKind {
    if property.contains_key("x-file-only") {
        return KeyKind::FileOnly;
    }
    match type_name(property) {
        "integer" => KeyKind::Number,
        "boolean" => KeyKind::Switch,
        "array" => KeyKind::List,
        "object" => KeyKind::FileOnly,
        _ => KeyKind::Text,
    }
}

/// The first type that is not null: an optional key is of the kind it has when it is given.
fn type_name(property: &Map<String, Value>) -> &str {
    match property.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .unwrap_or("string"),
        _ => "string",
    }
}

fn takes(property: &Map<String, Value>) -> String {
    let mut choices = Vec::new();
    collect_choices(property, &mut choices);
    if !choices.is_empty() {
        return choices.join(", ");
    }
    match property.get("format").and_then(Value::as_str) {
        Some("duration") => return "a length of time".to_owned(),
        Some("size") => return "a size".to_owned(),
        _ => {}
    }
    match kind(property) {
        KeyKind::Text => "text",
        KeyKind::Number => "a number",
        KeyKind::Switch => "`true` or `false`",
        KeyKind::List => "a list of texts",
        KeyKind::FileOnly => "tables of `max` and `on_limit`",
    }
    .to_owned()
}

/// Choices are `enum`, or `oneOf`/`anyOf` over `const` where each has a doc comment.
fn collect_choices(property: &Map<String, Value>, choices: &mut Vec<String>) {
    let mut push = |value: &Value| {
        if let Some(text) = value.as_str() {
            choices.push(format!("`{text}`"));
        }
    };
    property
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .for_each(&mut push);
    if let Some(value) = property.get("const") {
        push(value);
    }
    for group in ["oneOf", "anyOf"] {
        for choice in property
            .get(group)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(choice) = choice.as_object() {
                collect_choices(choice, choices);
            }
        }
    }
}

/// A JSON value as inline TOML.
pub(crate) fn toml_text(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let entries: Vec<_> = table
                .iter()
                .map(|(name, value)| format!("{name} = {}", toml_text(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml_text).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_it_is_for() {
        let keys = keys();
        assert!(keys.len() > 50, "{}", keys.len());
        for key in keys {
            assert!(key.why.len() > 15, "{} says nothing of itself", key.path);
        }
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let mut seen = std::collections::BTreeSet::new();
        for key in keys() {
            if let Some(variable) = key.variable() {
                assert!(seen.insert(variable.clone()), "{variable}");
            }
        }
    }
}
