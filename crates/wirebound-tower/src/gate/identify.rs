//! Whose a request is: the wire is asked, then the store.

use core::time::Duration;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Version};
use wirebound::engine::{
    Accepted, Authorized, Caller, Client, EchoToken, Offer, Outcome, Sign, request_key,
};
use wirebound::sequence::Again;
use wirebound::store::StoreError;
use wirebound::{
    Authority, Control, Need, NotOurs, Presented, Refusal, Secret, Timestamp, Verified, Visit,
};

use super::Gate;
use super::assertion::ByClaim;
use super::depart::to_its_end;
use super::endpoints;
use crate::cookies::Shown;
use crate::csrf;
use crate::wired::Wired;

/// Fields by which somebody in the middle gives himself away.
const FORWARDING: [&str; 15] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cdn-loop",
    "fastly-client-ip",
    "x-azure-clientip",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-original-forwarded-for",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-forwarded",
];

/// Longest time a cookie's session may be looked for before the answer is "cannot say".
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of a request before it goes in.
#[derive(Debug)]
pub(super) enum Identity {
    /// Proved.
    Known {
        accepted: Accepted,
        echoes_returned: bool,
        /// The cookie that it showed.
        presented: Arc<Presented>,
    },
    /// Proved, but the route asks for more.
    NotAllowed {
        accepted: Accepted,
        echoes_returned: bool,
        refusal: Refusal,
    },
    /// Known by what an assertion claims.
    Claimed { verified: Verified, visit: Visit },
    /// Nobody, or a cookie that counts as none.
    Nobody {
        refusal: Option<Refusal>,
        told: bool,
    },
    /// Let the jar speak.
    Challenge(String),
    /// On to a connection with tickets.
    HandOn { grants: bool },
    /// No.
    Refused { refusal: Refusal, told: bool },
}

/// A request's head, read once.
pub(super) struct Read {
    pub(super) authority: String,
    pub(super) websocket: bool,
    pub(super) surprise: bool,
    pub(super) need: Need,
    /// The authority as sessions and server names are compared with it.
    pub(super) host: Authority,
    pub(super) safe: bool,
    /// A browser reads its answer as a document or by a script: it may carry a secret that nobody asked for.
    pub(super) takes_secret: bool,
    pub(super) get: bool,
    /// Its client can follow a 307 to the same URL.
    pub(super) can_follow: bool,
}

impl Read {
    pub(super) fn of(gate: &Gate, wired: &Wired, parts: &Parts) -> Result<Self, Refusal> {
        let authority = authority(parts).ok_or(Refusal::Malformed)?;
        let websocket = is_websocket(parts);
        let surprise = csrf::is_surprise(&parts.method, &parts.headers, &authority, websocket);
        Ok(Self {
            surprise: surprise && !gate.lets_surprise_pass(parts, wired),
            need: if endpoints::is_for_machines(gate, parts.uri.path()) {
                Need::NOTHING
            } else {
                (gate.0.needs)(parts)
            },
            host: Authority::of(&authority),
            safe: parts.method.is_safe(),
            takes_secret: !websocket && takes_secret(parts),
            get: parts.method == Method::GET,
            can_follow: !websocket && !csrf::is_read_elsewhere(&parts.headers, &authority),
            websocket,
            authority,
        })
    }
}

/// The one authority a request names: `:authority`, or its only `Host`.
fn authority(parts: &Parts) -> Option<String> {
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let host = hosts.next().map(|host| host.to_str().ok());
    if hosts.next().is_some() {
        return None;
    }
    let named = parts.uri.authority().map(http::uri::Authority::as_str);
    match (named, host) {
        (Some(named), None) => Some(named.to_owned()),
        (Some(named), Some(Some(host))) if named.eq_ignore_ascii_case(host) => {
            Some(named.to_owned())
        }
        (None, Some(Some(host))) if !host.is_empty() => Some(host.to_owned()),
        _ => None,
    }
}

/// Names a request, for counting its tries; hashed on the slow path only.
fn request_of(parts: &Parts) -> [u8; 8] {
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    request_key(parts.method.as_str(), target)
}

/// A WebSocket handshake: an upgrade on HTTP/1.1, an extended CONNECT on HTTP/2 (RFC 8441).
fn is_websocket(parts: &Parts) -> bool {
    let upgrade = parts.headers.get(http::header::UPGRADE);
    parts.method == Method::CONNECT
        || upgrade.is_some_and(|value| {
            value
                .as_bytes()
                .to_ascii_lowercase()
                .windows(9)
                .any(|part| part == b"websocket")
        })
}

/// Not images, scripts, styles, fonts and media, which race each other and may come from a cache; nothing that was
/// fetched ahead of time.
fn takes_secret(parts: &Parts) -> bool {
    let said = |name: &str| parts.headers.get(name).map(http::HeaderValue::as_bytes);
    let dest = said("sec-fetch-dest");
    let read = matches!(
        dest,
        None | Some(b"document" | b"nested-document" | b"iframe" | b"frame" | b"empty")
    );
    let ahead = said("sec-purpose").or_else(|| said("purpose")).is_some();
    let part = parts.headers.contains_key(http::header::RANGE);
    read && !ahead && !part && parts.method != Method::HEAD
}

/// What a client says of itself on every request that it makes.
const CLIENT: [&str; 5] = [
    "user-agent",
    "accept-language",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
];

impl Gate {
    /// The cross-site check runs in shadow: told, not enforced.
    fn lets_surprise_pass(&self, parts: &Parts, wired: &Wired) -> bool {
        let passes = self.engine().policy().is_shadowed(Control::Csrf);
        if passes {
            super::service::tell_surprise(wired, parts, true);
        }
        passes
    }

    /// Rule 2 of lineage, before anything else: a request is answered on a connection of its own host only.
    pub(super) fn is_misdirected(&self, wired: &Wired, read: &Read) -> bool {
        // A proxy in front asks for all its hosts over connections of its own.
        if self.engine().policy().tickets.again == Again::Client {
            return false;
        }
        // Without a server name only an address can be meant; a name here is the sign of a proxy, handled as one.
        wired.host.as_ref().is_some_and(|host| *host != read.host)
    }

    /// Signs that somebody in the middle shares this connection among people. A new one is written down first.
    ///
    /// `Other`: no sign yet, but the request's client calls itself otherwise than before, and the wire proves nothing
    /// for it.
    pub(super) async fn look_for_signs(
        &self,
        wired: &Wired,
        parts: &Parts,
        read: &Read,
        now: Timestamp,
    ) -> Result<Client, StoreError> {
        if !self.engine().policy().preset.binds_wires() {
            // What hangs on no wire is mixed up by no one who shares it.
            return Ok(Client::Same);
        }
        let client = parts.headers.get(http::header::USER_AGENT);
        let client = match client.and_then(|value| value.to_str().ok()) {
            Some(client) => self.0.engine.client(&wired.wire, client),
            None => Client::Same,
        };
        let turns = (client == Client::InTurn).then_some(Sign::TwoClients);
        if let Some(sign) = sign(wired, parts, &read.host).or(turns)
            && self.0.engine.mark_shared(&wired.wire, sign)
        {
            self.0.engine.keep_mark(&wired.wire, now).await?;
        }
        Ok(client)
    }

    /// The client of a request, where it is told apart by what it says of itself and not by its wire.
    pub(super) fn client_of(&self, wired: &Wired, parts: &Parts) -> Caller {
        let by_wire = self.engine().policy().preset.binds_wires() && wired.wire.lineage().is_some();
        if by_wire {
            return Caller::WIRE;
        }
        let said = CLIENT.map(|name| {
            let value = parts.headers.get(name);
            value.map(http::HeaderValue::as_bytes).unwrap_or_default()
        });
        let [agent, ..] = said;
        Caller {
            holder: self.engine().keys().client(&said),
            name: Some(String::from_utf8_lossy(agent).into()),
        }
    }

    /// Whose the request is.
    pub(super) async fn identify(
        &self,
        wired: &Arc<Wired>,
        parts: &Parts,
        read: &Read,
        shown: &Shown<'_>,
        (client, who): (Client, &Caller),
        now: Timestamp,
    ) -> Result<Identity, StoreError> {
        let engine = &self.0.engine;
        match self.by_claim(wired, read, shown, now).await? {
            ByClaim::NotAsked => {}
            ByClaim::In(verified, visit) => return Ok(Identity::Claimed { verified, visit }),
            ByClaim::Refused(refusal) => {
                // Its signature was ours where it says so.
                let told = refusal != Refusal::Unauthenticated;
                return Ok(refused(read, refusal, told));
            }
            ByClaim::TwoKinds => {
                return Ok(Identity::Refused {
                    refusal: Refusal::Malformed,
                    told: false,
                });
            }
        }
        let Some(text) = shown.session else {
            return Ok(nobody(read, None, false));
        };
        let presented = match engine.read_at(text, &read.host) {
            Ok(presented) => Arc::new(presented),
            Err(NotOurs::Malformed | NotOurs::MadeUp | _) => {
                return Ok(nobody(read, Some(Refusal::Unauthenticated), false));
            }
        };
        let echoes = engine.open_echoes(shown.echoes(), now);
        let other_client = client == Client::Other;
        if !read.surprise
            && !other_client
            && let Authorized::Accepted(verified) =
                engine.authorize_at(&wired.wire, &presented, &read.host, now)
            && self.meets_need(read, &verified)
        {
            let echoes_returned = self.bring_back(wired, &verified, &echoes, now).await?;
            let accepted = Accepted {
                verified,
                nonce_spent: false,
                newcomer: false,
                visit: None,
            };
            return Ok(Identity::Known {
                accepted,
                echoes_returned,
                presented,
            });
        }
        let mut offer = Offer {
            presented: &presented,
            nonce: shown.hand_over.and_then(Secret::parse),
            echoes: &echoes,
            request: request_of(parts),
            can_follow: read.can_follow,
            held: false,
            surprise: read.surprise,
            other_client,
            client: who.clone(),
            authority: &read.host,
            need: read.need,
        };
        let mut now = now;
        loop {
            match self.prove(wired, &presented, &offer, now).await? {
                Outcome::Hold(joining, longest) => {
                    let longest = Duration::from_millis(longest.as_millis());
                    // Joined or not: it is judged again.
                    drop(tokio::time::timeout(longest.min(PATIENCE), joining.joined()).await);
                    offer.held = true;
                    now = self.now().unwrap_or(now);
                }
                Outcome::Accepted(accepted) => {
                    let echoes_returned = self
                        .bring_back(wired, &accepted.verified, &echoes, now)
                        .await?;
                    return Ok(Identity::Known {
                        accepted,
                        echoes_returned,
                        presented,
                    });
                }
                Outcome::NotAllowed(accepted, refusal) => {
                    let echoes_returned = self
                        .bring_back(wired, &accepted.verified, &echoes, now)
                        .await?;
                    return Ok(Identity::NotAllowed {
                        accepted,
                        echoes_returned,
                        refusal,
                    });
                }
                Outcome::HandOn { grants } => return Ok(Identity::HandOn { grants }),
                Outcome::Challenge(nonce) => return Ok(Identity::Challenge(nonce)),
                Outcome::Refused { refusal, told } => return Ok(refused(read, refusal, told)),
            }
        }
    }

    /// Goes to its end, also when the client hangs up meanwhile: what is shown may end a session, and then whatever streams
    /// to it must hear of it. The first request with a sealed cookie makes its session: a page that is left early would else
    /// leave one that no wire holds, and nobody could prove.
    async fn prove(
        &self,
        wired: &Arc<Wired>,
        presented: &Arc<Presented>,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let (engine, on) = (Arc::clone(&self.0.engine), Arc::clone(wired));
        let (presented, authority) = (Arc::clone(presented), offer.authority.clone());
        let nonce = offer.nonce.as_ref().map(Secret::duplicate);
        let echoes = offer.echoes.to_vec();
        let (request, can_follow, held) = (offer.request, offer.can_follow, offer.held);
        let (surprise, other_client, need) = (offer.surprise, offer.other_client, offer.need);
        let client = offer.client.clone();
        to_its_end(async move {
            let offer = Offer {
                presented: &presented,
                nonce,
                echoes: &echoes,
                request,
                can_follow,
                held,
                surprise,
                other_client,
                client,
                authority: &authority,
                need,
            };
            engine.prove(&on.wire, &offer, now).await
        })
        .await?
    }

    fn meets_need(&self, read: &Read, verified: &Verified) -> bool {
        let (role, strength) = (verified.role(), verified.strength());
        let above_user = self.engine().policy().above_user;
        read.need.met_by(role, role, strength, above_user).is_ok()
    }

    async fn bring_back(
        &self,
        wired: &Wired,
        verified: &Verified,
        echoes: &[EchoToken],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if echoes.is_empty() {
            return Ok(false);
        }
        self.0
            .engine
            .bring_back(&wired.wire, verified, echoes, now)
            .await?;
        Ok(true)
    }
}

/// Nothing was offered, or nothing of ours.
fn nobody(read: &Read, refusal: Option<Refusal>, told: bool) -> Identity {
    if read.surprise {
        return Identity::Refused {
            refusal: Refusal::CsrfSurprise,
            told,
        };
    }
    if read.need.is_nothing() {
        Identity::Nobody { refusal, told }
    } else {
        Identity::Refused {
            refusal: refusal.unwrap_or(Refusal::Unauthenticated),
            told,
        }
    }
}

/// An unproved cookie never makes a request worse off than no cookie; what cannot follow a 307 is asked to try again.
fn refused(read: &Read, refusal: Refusal, told: bool) -> Identity {
    let try_again = refusal == Refusal::NotProven && read.websocket;
    // Ended, blocked and expired are judged before where it comes from, but only where something is asked for.
    let first = matches!(
        refusal,
        Refusal::PhantomSession(_) | Refusal::SessionExpired(_) | Refusal::Blocked
    );
    if read.surprise && first && !read.need.is_nothing() {
        return Identity::Refused { refusal, told };
    }
    if refusal.counts_as_no_cookie() && !try_again {
        return nobody(read, Some(refusal), told);
    }
    Identity::Refused { refusal, told }
}

/// What gives a connection away by one request alone.
fn sign(wired: &Wired, parts: &Parts, host: &Authority) -> Option<Sign> {
    if parts.version < Version::HTTP_11 {
        return Some(Sign::OldHttp);
    }
    if has_forwarding(&parts.headers) {
        return Some(Sign::ForwardingHeader);
    }
    let is_name = host.as_str().parse::<std::net::IpAddr>().is_err();
    (wired.connection.sni.is_none() && is_name).then_some(Sign::NoServerName)
}

fn has_forwarding(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        // The letters that these names begin with: most fields of most heads have others.
        name.starts_with(['x', 'v', 'f', 'c', 't'])
            && (name.starts_with("x-forwarded-") || FORWARDING.contains(&name))
    })
}
