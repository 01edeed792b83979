//! What `[assertion]` must fulfil: an assertion is a string that works for whoever holds it, for as long as it says.

use wirebound::Lifetime;

use super::findings::{Findings, quoted};
use crate::config::units::lifetime_text;
use crate::config::{BoundToIp, Config, Preset, SigningAlgorithm};

/// What is called back is remembered for as long as anything issued may live.
const MOST_LIFE: Lifetime = Lifetime::from_mins(15);
/// Shorter, and half of it is a moment.
const LEAST_LIFE: Lifetime = Lifetime::from_secs(30);
/// A service that fetched the keys just before a new one was published must fetch again before it signs.
const LEAST_AHEAD: Lifetime = Lifetime::from_mins(2);
const LONGEST_NAME: usize = 255;

impl Config {
    pub(super) fn check_assertion(&self, found: &mut Findings) {
        let assertion = &self.assertion;
        if assertion.lifetime > MOST_LIFE || assertion.lifetime < LEAST_LIFE {
            found.refuse(
                "assertion.lifetime",
                quoted(&lifetime_text(assertion.lifetime)),
                "an assertion is good for whoever holds it until it runs out, or is called back",
                "use 5m, the default, or anything from 30s to 15m",
            );
        }
        if assertion.publish_ahead < LEAST_AHEAD {
            found.refuse(
                "assertion.publish_ahead",
                quoted(&lifetime_text(assertion.publish_ahead)),
                "services keep the published keys for half of that, and would meet a key that they do not have",
                "use 1h, the default, or anything from 2m up",
            );
        }
        let least_period = assertion.publish_ahead.times(2);
        if assertion.rotate_every < least_period {
            found.refuse(
                "assertion.rotate_every",
                quoted(&lifetime_text(assertion.rotate_every)),
                "the next key would be published before this one signs",
                "make it at least twice `assertion.publish_ahead`",
            );
        }
        self.check_algorithm(found);
        self.check_assertion_cookie(found);
        self.check_parties(found);
    }

    fn check_algorithm(&self, found: &mut Findings) {
        if self.assertion.algorithm == SigningAlgorithm::Hs256 && self.assertion.upstream {
            found.refuse(
                "assertion.algorithm",
                "\"HS256\"",
                "`assertion.upstream` is on, and whoever can check what HS256 signed can make it",
                "use `EdDSA`, the default, or `ES256`",
            );
        }
    }

    fn check_assertion_cookie(&self, found: &mut Findings) {
        if !self.assertion.cookie {
            return;
        }
        match self.session.preset {
            Preset::Strict | Preset::Balanced => found.refuse(
                "assertion.cookie",
                true,
                "a copy of it works for as long as it says, and the presets `strict` and `balanced` promise that no copy does",
                "leave it out, or use `--preset portable`",
            ),
            Preset::Portable | Preset::Bearer => {}
        }
        if self.session_token.bound_to_ip != BoundToIp::Off {
            found.refuse(
                "assertion.cookie",
                true,
                "`session_token.bound_to_ip` holds a session to an address, and an assertion is held to none",
                "leave one of the two out",
            );
        }
        if !self.armour.cookies.is_empty() {
            found.refuse(
                "assertion.cookie",
                true,
                "cookies are armoured, and their vault is in the store, which would be asked all the same",
                "leave one of the two out",
            );
        }
    }

    fn check_parties(&self, found: &mut Findings) {
        if let Some(issuer) = &self.assertion.issuer
            && (!issuer.starts_with("https://")
                || issuer.len() > LONGEST_NAME
                || issuer.ends_with('/')
                || issuer.contains(['?', '#', ' ']))
        {
            found.refuse(
                "assertion.issuer",
                quoted(issuer),
                "services fetch the keys from below it",
                "write it as https://HOST or https://HOST:PORT, without a slash behind",
            );
        }
        if let Some(audience) = &self.assertion.audience
            && (audience.is_empty() || audience.len() > LONGEST_NAME)
        {
            found.refuse(
                "assertion.audience",
                quoted(audience),
                "it is empty, or longer than 255 bytes",
                "name the service, for example https://orders.example",
            );
        }
    }
}
