//! Alarms that do not flood: one is told per session (or of none), kind and minute, the rest are numbers.

use std::collections::HashMap;
use std::sync::PoisonError;

use crate::ids::SessionId;
use crate::sync::Mutex;
use crate::time::{Lifetime, Timestamp};

/// Counts alarms per session, so that one is told in a minute and the rest are numbers.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Mutex<HashMap<(Option<SessionId>, &'static str), Rung>>);

/// When it was last told, and how many were not told since.
type Rung = (Timestamp, u32);

/// How many sessions with alarms are remembered.
const ALARMS: usize = 4096;
const ALARM_EVERY: Lifetime = Lifetime::from_mins(1);

impl Alarms {
    /// Whether to tell of this session, or of what concerns none, and how many were not told since the last.
    pub(crate) fn ring(
        &self,
        session: impl Into<Option<SessionId>>,
        what: &'static str,
        now: Timestamp,
    ) -> Option<u32> {
        let session = session.into();
        let mut rung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rung.len() >= ALARMS {
            rung.retain(|_, (at, _)| now.since(*at) < ALARM_EVERY);
        }
        match rung.get_mut(&(session, what)) {
            Some((at, silent)) if now.since(*at) < ALARM_EVERY => {
                *silent = silent.saturating_add(1);
                None
            }
            Some(entry) => {
                let silent = entry.1;
                *entry = (now, 0);
                Some(silent)
            }
            None => {
                if rung.len() < ALARMS {
                    rung.insert((session, what), (now, 0));
                }
                Some(0)
            }
        }
    }
}
