//! File, variables and flags, laid over one another in that order.
//!
//! Each value remembers where it came from, so that an error can say which line, variable or flag to change.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::{Map, Value as Json};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::schema::{Key, KeyKind, json_schema, keys, properties_by_name};
use super::{Config, ConfigError, Place};

/// Names that begin with this are ours, and an unknown one is an error.
const VARIABLE_PREFIX: &str = "WIREBOUND_";

/// Names the file itself, so it is no key of it.
const FILE_VARIABLE: &str = "WIREBOUND_CONFIG";

/// A value that a flag sets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Setting {
    /// The key: `listen.addr`.
    pub key: &'static str,
    /// Its value.
    pub value: Value,
    /// The flag as it is typed: `--listen`.
    pub flag: &'static str,
}

impl Setting {
    /// This flag sets this key to this value.
    #[must_use]
    pub fn new(key: &'static str, flag: &'static str, value: impl Into<Value>) -> Self {
        Self {
            key,
            value: value.into(),
            flag,
        }
    }
}

/// What a configuration is made of; later beats earlier.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Sources<'a> {
    /// The file's name and text.
    pub file: Option<(&'a Path, &'a str)>,
    /// Environment variables, ours and others.
    pub variables: &'a [(String, String)],
    /// Flags.
    pub flags: Vec<Setting>,
}

impl<'a> Sources<'a> {
    /// From these three.
    #[must_use]
    pub const fn new(
        file: Option<(&'a Path, &'a str)>,
        variables: &'a [(String, String)],
        flags: Vec<Setting>,
    ) -> Self {
        Self {
            file,
            variables,
            flags,
        }
    }
}

/// A configuration and where each value that is no default came from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The values in force. Not yet checked: see [`Loaded::check`].
    pub config: Config,
    places: BTreeMap<String, Place>,
}

impl Loaded {
    /// Where the value of this key came from.
    #[must_use]
    pub fn place(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or(Place::Default)
    }

    /// [`Config::check`], with each error saying where its value came from.
    ///
    /// # Errors
    ///
    /// All that is wrong, not only the first.
    pub fn check(&self) -> Result<(), Vec<ConfigError>> {
        self.config.check().map_err(|errors| {
            let located = |error: ConfigError| {
                let place = error.key().map_or(Place::Default, |key| self.place(key));
                error.found_at(place)
            };
            errors.into_iter().map(located).collect()
        })
    }
}

/// Lays the sources over one another.
///
/// # Errors
///
/// All unknown keys, and all values of the wrong kind.
pub fn load(sources: Sources<'_>) -> Result<Loaded, Vec<ConfigError>> {
    let known = keys();
    let mut errors = Vec::new();
    let mut merged = Table::new();
    let mut places = BTreeMap::new();
    if let Some((path, text)) = sources.file {
        match read_file(path, text, &mut places) {
            Ok(table) => merged = table,
            Err(found) => errors.extend(found),
        }
    }
    for (name, text) in sources.variables {
        match read_variable(name, text, &known) {
            Ok(None) => {}
            Ok(Some((key, value))) => lay(
                &key,
                value,
                Place::Variable(name.clone()),
                &mut merged,
                &mut places,
                &mut errors,
            ),
            Err(error) => errors.push(*error),
        }
    }
    for Setting { key, value, flag } in sources.flags {
        lay(
            key,
            value,
            Place::Flag(flag),
            &mut merged,
            &mut places,
            &mut errors,
        );
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let config = Config::deserialize(Value::Table(merged)).map_err(|error| {
        vec![ConfigError::Syntax {
            place: Place::Default,
            problem: error.message().to_owned(),
        }]
    })?;
    Ok(Loaded { config, places })
}

/// Sets one key, after trying it alone: so a value of the wrong kind is laid at its own door.
fn lay(
    key: &str,
    value: Value,
    place: Place,
    merged: &mut Table,
    places: &mut BTreeMap<String, Place>,
    errors: &mut Vec<ConfigError>,
) {
    let mut alone = Table::new();
    insert(&mut alone, key, value.clone());
    if let Err(error) = Config::deserialize(Value::Table(alone)) {
        errors.push(ConfigError::WrongKind {
            key: key.to_owned(),
            place,
            problem: one_line(error.message()),
        });
        return;
    }
    insert(merged, key, value);
    places.insert(key.to_owned(), place);
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let entry = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}

fn read_variable(
    name: &str,
    text: &str,
    known: &[Key],
) -> Result<Option<(String, Value)>, Box<ConfigError>> {
    if !name.starts_with(VARIABLE_PREFIX) || name == FILE_VARIABLE {
        return Ok(None);
    }
    let place = Place::Variable(name.to_owned());
    let Some(key) = known
        .iter()
        .find(|key| key.variable().as_deref() == Some(name))
    else {
        let names: Vec<_> = known.iter().filter_map(Key::variable).collect();
        let nearest = nearest(name, names.iter().map(String::as_str));
        return Err(Box::new(ConfigError::UnknownKey {
            key: name.to_owned(),
            place,
            nearest,
        }));
    };
    let wrong = |problem: String| {
        Box::new(ConfigError::WrongKind {
            key: key.path.clone(),
            place: place.clone(),
            problem,
        })
    };
    let value = match key.kind {
        KeyKind::Number => Value::Integer(
            text.trim()
                .parse()
                .map_err(|_| wrong(format!("`{text}` is no whole number")))?,
        ),
        KeyKind::Switch => match text.trim() {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ => return Err(wrong(format!("`{text}` is neither `true` nor `false`"))),
        },
        KeyKind::List => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(Value::from)
                .collect(),
        ),
        KeyKind::Text | KeyKind::FileOnly => Value::from(text),
    };
    Ok(Some((key.path.clone(), value)))
}

fn read_file(
    path: &Path,
    text: &str,
    places: &mut BTreeMap<String, Place>,
) -> Result<Table, Vec<ConfigError>> {
    let at = |span: Option<core::ops::Range<usize>>| Place::File {
        path: path.to_owned(),
        line: line_of(text, span.map_or(0, |span| span.start)),
    };
    let syntax = |error: &toml::de::Error| ConfigError::Syntax {
        place: at(error.span()),
        problem: one_line(error.message()),
    };
    let document = DeTable::parse(text).map_err(|error| vec![syntax(&error)])?;
    let schema = json_schema();
    let mut walk = Walk {
        path,
        text,
        places,
        unknown: Vec::new(),
        last: None,
    };
    walk.table(document.get_ref(), schema.as_object(), "");
    let Walk { mut unknown, .. } = walk;
    unknown.sort_by_key(|error| error.line());
    if !unknown.is_empty() {
        return Err(unknown);
    }
    if let Err(error) = toml::from_str::<Config>(text) {
        let start = error.span().map_or(0, |span| span.start);
        let mut finder = Walk {
            path,
            text,
            places: &mut BTreeMap::new(),
            unknown: Vec::new(),
            last: None,
        };
        finder.find(document.get_ref(), "", start);
        let problem = one_line(error.message());
        return Err(vec![match finder.last {
            Some(key) => ConfigError::WrongKind {
                key,
                place: at(error.span()),
                problem,
            },
            None => ConfigError::Syntax {
                place: at(error.span()),
                problem,
            },
        }]);
    }
    toml::from_str(text).map_err(|error| vec![syntax(&error)])
}

/// A walk over a parsed file that knows where each key stands.
struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    places: &'a mut BTreeMap<String, Place>,
    unknown: Vec<ConfigError>,
    last: Option<String>,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>, schema: Option<&Map<String, Json>>, prefix: &str) {
        let known = schema.map(properties_by_name).unwrap_or_default();
        let any = schema
            .and_then(|schema| schema.get("additionalProperties"))
            .and_then(Json::as_object);
        for (name, value) in table.iter() {
            let key = join(prefix, name.get_ref());
            let place = self.place(name.span().start);
            match known.get(name.get_ref().as_ref()).copied().or(any) {
                None => {
                    let nearest = nearest(name.get_ref(), known.keys().copied())
                        .map(|near| join(prefix, &near));
                    self.unknown.push(ConfigError::UnknownKey {
                        key,
                        place,
                        nearest,
                    });
                }
                Some(property) => {
                    self.places.insert(key.clone(), place);
                    self.value(value, property, &key);
                }
            }
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, property: &Map<String, Json>, key: &str) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, Some(property), key),
            DeValue::Array(items) => {
                let schema = property.get("items").and_then(Json::as_object);
                for (index, item) in items.iter().enumerate() {
                    if let DeValue::Table(table) = item.get_ref() {
                        self.table(table, schema, &format!("{key}[{index}]"));
                    }
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    /// The key whose value covers this byte of the file.
    fn find(&mut self, table: &DeTable<'_>, prefix: &str, byte: usize) {
        for (name, value) in table.iter() {
            let key = join(prefix, name.get_ref());
            if name.span().contains(&byte) || value.span().contains(&byte) {
                self.last = Some(key.clone());
            }
            if let DeValue::Table(inner) = value.get_ref() {
                self.find(inner, &key, byte);
            }
        }
    }

    fn place(&self, byte: usize) -> Place {
        Place::File {
            path: self.path.to_owned(),
            line: line_of(self.text, byte),
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn line_of(text: &str, byte: usize) -> usize {
    text.bytes()
        .take(byte)
        .filter(|byte| *byte == b'\n')
        .count()
        .saturating_add(1)
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

/// The nearest of these names, if it is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<Loaded, Vec<ConfigError>> {
        load(Sources::new(
            Some((Path::new("w.toml"), text)),
            &[],
            Vec::new(),
        ))
    }

    fn only(errors: Result<Loaded, Vec<ConfigError>>) -> ConfigError {
        let mut errors = errors.unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors.remove(0)
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
        let error = only(from_file(
            "[session]\nidle_timeout = \"1h\"\nidle_timout = \"2h\"\n",
        ));
        assert_eq!(
            error.to_string(),
            "w.toml:3: there is no key `session.idle_timout`"
        );
        assert_eq!(error.hint(), "did you mean `session.idle_timeout`?");
        let error = only(from_file("[sesion]\nmax_wires = 1\n"));
        assert_eq!(error.hint(), "did you mean `session`?");
        let error = only(from_file("[[routes]]\npath = \"/\"\nrol = \"user\"\n"));
        assert_eq!(error.hint(), "did you mean `routes[0].role`?");
        let error = only(from_file(
            "[session.max_sessions.user]\nmax = 3\non_limt = \"deny\"\n",
        ));
        assert_eq!(
            error.hint(),
            "did you mean `session.max_sessions.user.on_limit`?"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_with_its_line() {
        for (text, start) in [
            (
                "[session]\nidle_timeout = 5\n",
                "w.toml:2: session.idle_timeout: ",
            ),
            (
                "[session]\nidle_timeout = \"5\"\n",
                "w.toml:2: session.idle_timeout: `5` was given; ",
            ),
            (
                "\n[session_token]\nexpiry_seconds = \"none\"\n",
                "w.toml:3: session_token.expiry_seconds: ",
            ),
            ("[listen]\naddr = \"here\"\n", "w.toml:2: listen.addr: "),
            (
                "[session]\npreset = \"loose\"\n",
                "w.toml:2: session.preset: ",
            ),
            ("[session\n", "w.toml:1: "),
        ] {
            let error = only(from_file(text)).to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
        let text = "[session]\nmax_wires = 1\nfreeze_after = 1\nidle_timeout = \"1h\"\n";
        let variables = [
            ("WIREBOUND_SESSION_MAX_WIRES".to_owned(), "2".to_owned()),
            ("WIREBOUND_SESSION_FREEZE_AFTER".to_owned(), "2".to_owned()),
            ("HOME".to_owned(), "/".to_owned()),
        ];
        let flags = vec![Setting::new("session.max_wires", "--max-wires", 3)];
        let loaded = load(Sources::new(
            Some((Path::new("w.toml"), text)),
            &variables,
            flags,
        ))
        .unwrap();
        assert_eq!(loaded.config.session.max_wires, 3);
        assert_eq!(
            loaded.place("session.max_wires"),
            Place::Flag("--max-wires")
        );
        assert_eq!(loaded.config.session.freeze_after, 2);
        assert_eq!(
            loaded.place("session.freeze_after").to_string(),
            "variable WIREBOUND_SESSION_FREEZE_AFTER"
        );
        assert_eq!(loaded.place("session.idle_timeout").to_string(), "w.toml:4");
        assert_eq!(loaded.place("session.preset"), Place::Default);
    }

    #[test]
    fn an_unknown_variable_of_ours_is_refused() {
        let variables = [("WIREBOUND_SESSION_MAX_WIRE".to_owned(), "2".to_owned())];
        let error = only(load(Sources::new(None, &variables, Vec::new())));
        assert_eq!(error.hint(), "did you mean `WIREBOUND_SESSION_MAX_WIRES`?");
        let variables = [("WIREBOUND_SESSION_MAX_WIRES".to_owned(), "many".to_owned())];
        let error = only(load(Sources::new(None, &variables, Vec::new())));
        assert_eq!(
            error.to_string(),
            "variable WIREBOUND_SESSION_MAX_WIRES: session.max_wires: `many` is no whole number"
        );
    }

    #[test]
    fn every_key_with_a_variable_can_be_set_by_it_to_its_default() {
        for key in keys() {
            let (Some(variable), Some(default)) = (key.variable(), key.default.clone()) else {
                continue;
            };
            let text = default.trim_matches(['"', '[', ']']).to_owned();
            let variables = [(variable.clone(), text)];
            let loaded = load(Sources::new(None, &variables, Vec::new()))
                .unwrap_or_else(|error| panic!("{variable}: {error:?}"));
            assert_eq!(loaded.config, Config::default(), "{variable}");
            assert_eq!(loaded.place(&key.path), Place::Variable(variable));
        }
    }
}
