//! What is written to standard error: lines for people, or one flat JSON object a line for machines.
//!
//! Events are records of the target `wirebound::event` with a field `event`. Nothing here knows a secret:
//! fields are written as they come, so no call site may pass one.

use core::fmt;
use std::io::{IsTerminal as _, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use wirebound::Clock;

use crate::certificates::facts::date_text;
use crate::config::{Log, LogFormat};
use crate::failure::Failure;
use crate::system::SystemClock;

/// The target of records that are events, not chatter.
pub const EVENT_TARGET: &str = "wirebound::event";

/// Starts logging to standard error for the whole process.
///
/// # Errors
///
/// When the filter makes no sense, or logging was started before.
pub fn start(log: &Log) -> Result<(), Failure> {
    let filter: EnvFilter = log.filter.parse().map_err(|error| {
        Failure::config(
            format!("log.filter = \"{}\" makes no sense: {error}", log.filter),
            "write a level such as `info`",
        )
    })?;
    let started = match log.format {
        LogFormat::Json => tracing_subscriber::registry()
            .with(filter)
            .with(JsonLines::new(std::io::stderr, SystemClock::new()))
            .try_init(),
        LogFormat::Text => tracing_subscriber::registry()
            .with(filter)
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false),
            )
            .try_init(),
    };
    started.map_err(|_| Failure::failed("logging was started twice"))
}

/// Writes each record as one flat JSON object: `{"ts":..,"level":..,"event":..,...}`.
///
/// Fields of the spans around it stand in the same object; the record's own win.
#[derive(Debug)]
pub struct JsonLines<W, C> {
    writer: W,
    clock: C,
}

impl<W, C> JsonLines<W, C> {
    /// To this writer, with the time of this clock.
    #[must_use]
    pub const fn new(writer: W, clock: C) -> Self {
        Self { writer, clock }
    }
}

/// The fields of one span or record.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

/// Keys of our own, that a field may not overwrite.
const OWN_KEYS: [&str; 3] = ["ts", "level", "target"];

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let name = if OWN_KEYS.contains(&name) {
            format!("{name}_")
        } else {
            name.to_owned()
        };
        self.0.insert(name, value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

impl<S, W, C> Layer<S> for JsonLines<W, C>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
    C: Clock + 'static,
{
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::span::Id,
        context: Context<'_, S>,
    ) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(
        &self,
        id: &tracing::span::Id,
        values: &tracing::span::Record<'_>,
        context: Context<'_, S>,
    ) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Map::new();
        let ts = self
            .clock
            .now()
            .map_or(Value::Null, |now| timestamp_text(now).into());
        line.insert("ts".to_owned(), ts);
        line.insert(
            "level".to_owned(),
            event
                .metadata()
                .level()
                .as_str()
                .to_ascii_lowercase()
                .into(),
        );
        if event.metadata().target() != EVENT_TARGET {
            line.insert("target".to_owned(), event.metadata().target().into());
        }
        for span in context
            .event_scope(event)
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.extend(fields.0.clone());
            }
        }
        let mut own = Fields::default();
        event.record(&mut own);
        line.extend(own.0);
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // A log that cannot be written must not end what it reports on.
        let _unwritten = self.writer.make_writer().write_all(text.as_bytes());
    }
}

/// RFC 3339 in UTC with milliseconds.
fn timestamp_text(at: wirebound::Timestamp) -> String {
    let millis = at.as_millis().checked_rem(1000).unwrap_or(0);
    let seconds = date_text(at);
    match seconds.strip_suffix('Z') {
        Some(bare) => format!("{bare}.{millis:03}Z"),
        None => seconds,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use wirebound::Timestamp;

    use super::*;

    #[derive(Debug)]
    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Option<Timestamp> {
            Some(Timestamp::from_millis(1_790_000_000_042))
        }
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_flat_line() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = JsonLines::new(move || writer.clone(), Fixed);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("wire", wire = 7_u64, level = "mine");
            let _entered = span.enter();
            tracing::info!(target: EVENT_TARGET, event = "signed_in", subject = "al\"ice\n", role = %"user");
            tracing::debug!(target: "x", "plain");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let first: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(
            first,
            serde_json::json!({
                "ts": "2026-09-21T14:13:20.042Z", "level": "info", "event": "signed_in",
                "subject": "al\"ice\n", "role": "user", "wire": 7, "level_": "mine",
            })
        );
        let second: Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(second["message"], "plain");
        assert_eq!(second["target"], "x");
    }
}
