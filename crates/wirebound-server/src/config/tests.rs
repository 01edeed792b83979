//! Every key goes through the file and back.

use std::path::Path;

use super::*;

fn parse(text: &str) -> Config {
    load(Sources::new(
        Some((Path::new("w.toml"), text)),
        &[],
        Vec::new(),
    ))
    .unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
    .config
}

/// A value that the key takes and that is not its default, as TOML.
fn another(key: &Key) -> String {
    let default = key.default.clone().unwrap_or_default();
    let choice = key
        .takes
        .split(", ")
        .map(|choice| choice.trim_matches('`'))
        .find(|choice| !default.contains(choice));
    match (key.path.as_str(), key.kind, key.takes.as_str()) {
        ("listen.addr", ..) => "\"127.0.0.1:1\"".to_owned(),
        ("session.max_sessions", ..) => "{ user = { max = 3, on_limit = \"deny\" } }".to_owned(),
        (_, KeyKind::Number, _) => "77".to_owned(),
        (_, KeyKind::Switch, _) => (default != "true").to_string(),
        (_, KeyKind::List, _) => "[\"x\", \"y\"]".to_owned(),
        (_, KeyKind::FileOnly, _) => panic!("{} needs a value here", key.path),
        (_, KeyKind::Text, "a length of time") => "\"17m\"".to_owned(),
        (_, KeyKind::Text, "a size") => "\"17MiB\"".to_owned(),
        (_, KeyKind::Text, "text") => "\"x\"".to_owned(),
        (_, KeyKind::Text, _) => format!("\"{}\"", choice.unwrap()),
    }
}

#[test]
fn every_key_goes_through_the_file_and_back() {
    for key in keys() {
        let value = another(&key);
        let text = match key.path.strip_prefix("routes[].") {
            Some("path") => "[[routes]]\npath = \"/x\"".to_owned(),
            Some(name) => format!("[[routes]]\npath = \"/x\"\n{name} = {value}"),
            None => format!("{} = {value}", key.path),
        };
        let config = parse(&text);
        assert_ne!(config, Config::default(), "{text} is not heard");
        let written = toml::to_string(&config).unwrap();
        assert_eq!(parse(&written), config, "{text}");
    }
}

#[test]
fn what_is_printed_is_a_file_of_the_same_meaning() {
    let config = parse(
        "session.max_wires = 3\narmour.cookies = \"auto\"\n[[routes]]\npath = \"/a\"\nstrength = \"wire\"",
    );
    let printed: String = flat_values(&config)
        .iter()
        .map(|(key, value)| format!("{key} = {}\n", toml_text(value)))
        .collect();
    assert_eq!(parse(&printed), config);
}
