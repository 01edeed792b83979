//! Prints of the configuration: values with their origin, problems, the schema.

use serde_json::{Map, Value, json};

use super::SchemaFormat;
use crate::config::{
    ConfigError, Loaded, commented_example, flat_values, json_schema, reference_page, toml_text,
};

/// One dotted key a line, valid as a configuration file.
pub(super) fn text(loaded: &Loaded) -> String {
    let rows = flat_values(&loaded.config);
    let lines = rows
        .iter()
        .map(|(key, value)| format!("{key} = {}  # {}\n", toml_text(value), loaded.place(key)));
    lines.collect()
}

/// `{"session.idle_timeout": {"value": "8h", "from": "default"}, ...}`.
pub(super) fn json(loaded: &Loaded) -> String {
    let rows = flat_values(&loaded.config).into_iter().map(|(key, value)| {
        let from = loaded.place(&key).to_string();
        (key, json!({ "value": value, "from": from }))
    });
    line(&Value::Object(rows.collect::<Map<_, _>>()))
}

/// `{"problems": [{"key": .., "problem": .., "hint": ..}]}`.
pub(super) fn problems_json(problems: &[ConfigError]) -> String {
    let rows: Vec<_> = problems
        .iter()
        .map(|error| json!({ "key": error.key(), "problem": error.to_string(), "hint": error.hint() }))
        .collect();
    line(&json!({ "problems": rows }))
}

pub(super) fn schema(format: SchemaFormat) -> String {
    match format {
        SchemaFormat::Json => line(&json_schema()),
        SchemaFormat::Markdown => reference_page(),
        SchemaFormat::Toml => commented_example(),
    }
}

fn line(value: &Value) -> String {
    format!("{value:#}\n")
}
