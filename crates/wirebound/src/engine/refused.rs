//! Refusals, told: whoever answers one says so here, once, and a flood of them is one event a minute.
//!
//! What is told of the session besides (a contest, a theft, a phantom) is told where it is judged.

use super::Engine;
use crate::event::{Event, Named, Side};
use crate::time::Timestamp;
use crate::verdict::Refusal;

impl Engine {
    /// Tells of a request that was refused, or whose cookie counted as none: once a minute for each session or API key and
    /// reason, and for all who named neither together. What cannot be decided concerns nobody alone. Without a clock there
    /// is no minute, and each is told. `true`: it was told.
    pub fn tell_refused(
        &self,
        named: Named,
        refusal: Refusal,
        side: Side,
        now: Option<Timestamp>,
    ) -> bool {
        let named = if refusal == Refusal::StoreUnavailable {
            Named::Nobody
        } else {
            named
        };
        let rung = match now {
            Some(now) => self.refusals.ring(named, refusal.name(), now),
            None => Some(0),
        };
        let Some(unreported) = rung else { return false };
        self.tell(Event::Refused {
            named,
            refusal,
            side,
            unreported,
        });
        true
    }
}
