//! Alarms that do not flood: one is told per session or API key (or of none), kind and minute, the rest are numbers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::PoisonError;

use crate::ids::SessionId;
use crate::sync::Mutex;
use crate::time::{Lifetime, Timestamp};

/// Counts alarms per session (or whatever else is named), so that one is told in a minute and the rest are numbers.
#[derive(Debug)]
pub(crate) struct Alarms<Of = SessionId>(Mutex<HashMap<(Option<Of>, &'static str), Rung>>);

/// When it was last told, and how many were not told since.
type Rung = (Timestamp, u32);

/// How many of those with alarms are remembered.
const ALARMS: usize = 4096;
const ALARM_EVERY: Lifetime = Lifetime::from_mins(1);

impl<Of> Default for Alarms<Of> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Of: Eq + Hash> Alarms<Of> {
    /// Whether to tell of this one, or of what concerns none, and how many were not told since the last.
    pub(crate) fn ring(
        &self,
        of: impl Into<Option<Of>>,
        what: &'static str,
        now: Timestamp,
    ) -> Option<u32> {
        let named = (of.into(), what);
        let mut rung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rung.len() >= ALARMS {
            rung.retain(|_, (at, _)| now.since(*at) < ALARM_EVERY);
        }
        match rung.get_mut(&named) {
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
                    rung.insert(named, (now, 0));
                }
                Some(0)
            }
        }
    }
}
