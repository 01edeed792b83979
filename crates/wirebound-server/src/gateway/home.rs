//! The app's answer on its way home: its armoured cookies go into the vault, what it vouched for becomes an intent.

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, Response};
use wirebound::engine::{Import, Scope};
use wirebound::{Lifetime, Role, Strength, Subject};
use wirebound_tower::caches::lost_its_cookie;
use wirebound_tower::gate::{Intent, SignInIntent};

use super::app::{App, Passage};
use super::cargo::{Cargo, Kept, NotKept};
use super::failed::Failed;
use crate::armour::{self, Life, Notice, Taken, Value, Vault};
use crate::config::role_named;
use crate::vouch::{Reach, Vouched};

/// What an answer says of its visitor, whether a cookie changed or not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    Nothing,
    /// A guest did something, and the app took it.
    Deed,
    /// It was what the operator named as the app's sign-in.
    SignIn,
}

impl App {
    /// The app's answer: its armoured cookies go into the vault, what it vouched for becomes an intent.
    pub(super) async fn home<B>(
        &self,
        mut response: Response<B>,
        vouched: Vouched,
        passage: &Passage,
    ) -> Result<Response<B>, Failed> {
        let vouched = self.0.vouching.within(vouched).map_err(Failed::Vouching)?;
        if let Vouched::Nothing { disbelieved: 1.. } = vouched {
            tracing::warn!(target: "wirebound::event", event = "vouching_disbelieved", path = %passage.path);
        }
        let nothing = matches!(vouched, Vouched::Nothing { .. })
            && Self::brings_nothing(response.headers(), passage);
        let taken = if nothing {
            None
        } else {
            self.take(response.headers_mut(), passage).await?
        };
        armour::expire(
            response.headers_mut(),
            &passage.stale,
            passage.place().host,
            self.0.secure,
        );
        let status = response.status();
        let answered = status.is_redirection() || (passage.is_unsafe && status.is_success());
        let at_login = self.0.login_path.as_deref() == Some(passage.path.as_str());
        // An app that keeps its cookie through the sign-in shows nothing of it: the first thing that a guest did and the
        // app took counts as one.
        let guest = passage
            .access
            .verified()
            .is_some_and(|who| who.role() == Role::GUEST);
        let imported = passage
            .access
            .verified()
            .is_some_and(|who| who.strength() == Strength::Bearer);
        let shows = match answered {
            // Whoever shows a copy of the app's cookie is answered there as one who is signed in.
            true if at_login && !imported => Shows::SignIn,
            true if guest && passage.is_unsafe => Shows::Deed,
            _ => Shows::Nothing,
        };
        if let Some(intent) = self.intent(vouched, taken, shows, passage)? {
            response.extensions_mut().insert(intent);
        }
        Ok(response)
    }

    /// Most answers set no cookie: with a vault that needs no tidying there is nothing to be taken.
    fn brings_nothing(headers: &HeaderMap, passage: &Passage) -> bool {
        let cargo = passage.cargo.as_ref();
        !headers.contains_key(SET_COOKIE)
            && cargo.is_none_or(|cargo| cargo.is_fresh(passage.place().now))
    }

    async fn take(
        &self,
        headers: &mut HeaderMap,
        passage: &Passage,
    ) -> Result<Option<Taken>, Failed> {
        if !self.0.armoured {
            return Ok(None);
        }
        let kept = match (&passage.cargo, passage.access.verified()) {
            (Some(cargo), Some(verified)) => {
                let (engine, session) = (&self.0.engine, verified.session());
                cargo
                    .take(engine, session, &self.0.armour, headers, &passage.place())
                    .await?
            }
            _ => {
                let taken = self
                    .0
                    .armour
                    .take(headers, &Vault::default(), &passage.place());
                Kept::Done(Box::new(taken.map_err(NotKept::TooMuch)?))
            }
        };
        let Kept::Done(taken) = kept else {
            return Ok(None);
        };
        taken.notices.iter().for_each(|said| self.notice(said));
        if taken.removed > 0 {
            // An answer that lost its cookie would look fit for a shared cache.
            lost_its_cookie(headers);
        }
        Ok(Some(*taken))
    }

    fn intent(
        &self,
        vouched: Vouched,
        taken: Option<Taken>,
        shows: Shows,
        passage: &Passage,
    ) -> Result<Option<Intent>, Failed> {
        let signed_in = passage.access.verified().is_some();
        Ok(match vouched {
            Vouched::Login { subject, role } => {
                let subject = Subject::new(&subject).map_err(|_| Failed::Subject)?;
                let mut intent = self.sign_in(subject, taken, passage);
                intent.role = role.as_deref().and_then(role_named).unwrap_or(Role::USER);
                Some(Intent::SignIn(intent))
            }
            Vouched::Elevate { role } => {
                let role = role_named(&role).unwrap_or(Role::USER);
                Some(Intent::Elevate {
                    role,
                    lifetime: self.0.engine.policy().admin_role,
                })
            }
            Vouched::Logout(reach) => Some(Intent::SignOut(match reach {
                Reach::Session => Scope::Session,
                Reach::Others => Scope::Others,
                Reach::All => Scope::All,
            })),
            Vouched::Nothing { .. } => match taken {
                Some(taken) if signed_in && taken.batch.gone => {
                    Some(Intent::SignOut(Scope::Session))
                }
                // An app that keeps its cookie through the sign-in shows no change: the secret changes all the same.
                _ if signed_in && shows == Shows::SignIn => Some(Intent::Confirm),
                _ if signed_in && shows == Shows::Deed => Some(Intent::Renew),
                Some(taken) if signed_in && taken.batch.changed && taken.batch.after_unsafe => {
                    Some(Intent::Renew)
                }
                // The first armoured cookie makes the session; its subject has no name.
                Some(taken) if !signed_in && taken.batch.first => {
                    let intent = self.sign_in(self.nameless()?, Some(taken), passage);
                    // What answers a safe request may be given to every visitor.
                    Some(if passage.is_unsafe || shows == Shows::SignIn {
                        Intent::SignIn(intent)
                    } else {
                        Intent::Guest(intent)
                    })
                }
                _ => None,
            },
        })
    }

    fn sign_in(&self, subject: Subject, taken: Option<Taken>, passage: &Passage) -> SignInIntent {
        let mut intent = SignInIntent::new(subject);
        let vault = taken.map_or_else(Vault::default, |taken| taken.vault);
        if let Life::Until(until) = vault.life() {
            // Ours is kept exactly when the app's is, and lives as long as it does, idle or not.
            let now = passage.access.now().as_millis() / 1000;
            let life = Lifetime::from_secs(until.saturating_sub(now));
            intent.persistent = true;
            let idle = self.0.idle.map_or(life, |most| most.min(life));
            (intent.idle, intent.absolute) = (Some(idle), Some(life));
        }
        intent.vault = self.0.armoured.then(|| vault.to_bytes());
        intent
    }

    /// For the day of the change: cookies of the app that the browser has from before sign in once.
    pub(super) async fn take_in(&self, parts: &Parts, passage: &mut Passage) -> Result<(), Failed> {
        let access = &passage.access;
        // With a cookie of ours, proved or not, this browser is past that day.
        let ours = access.verified().is_some() || access.refusal().is_some();
        // A machine is nobody's browser.
        let ours = ours || access.key().is_some();
        let Some(until) = self
            .0
            .import_until
            .filter(|until| access.now() < *until && !ours)
        else {
            return Ok(());
        };
        let claimed = self.0.armour.claimed(&parts.headers);
        let host = passage.place().host.to_owned();
        if claimed.is_empty() || Vault::of_claimed(&claimed, &host).is_err() {
            return Ok(());
        }
        let text =
            |(name, value): &(String, Value)| [name.as_bytes(), b"=", value.expose()].concat();
        let import = Import {
            cookies: claimed.iter().map(text).collect(),
            until,
        };
        let mut intent = SignInIntent::new(self.nameless()?);
        // The app has said nothing of who this is, and may say that it is nobody.
        intent.role = Role::GUEST;
        let seal = move |fresh: &[usize]| {
            let fresh: Vec<_> = fresh
                .iter()
                .filter_map(|at| claimed.get(*at).cloned())
                .collect();
            Vault::of_claimed(&fresh, &host)
                .unwrap_or_default()
                .to_bytes()
        };
        let imported = access.import(intent, import, seal).await;
        let imported = imported.map_err(Failed::store("no cookie of before can be taken in"))?;
        if imported && let Some(verified) = access.verified() {
            passage.cargo = Cargo::of(access.gate(), verified.session());
        }
        Ok(())
    }

    /// A subject that nobody named.
    fn nameless(&self) -> Result<Subject, Failed> {
        let name = self
            .random()?
            .iter()
            .fold(String::from("a:"), |name, byte| format!("{name}{byte:02x}"));
        Subject::new(name.as_bytes()).map_err(|_| Failed::Subject)
    }

    pub(super) fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Unarmoured { name, wider_domain } => {
                tracing::warn!(target: "wirebound::event", event = "unarmoured_cookie", name = %name.escape_default(), wider_domain);
            }
            Notice::Leak { name } if self.0.armour.is_first_leak(name) => {
                tracing::warn!(target: "wirebound::event", event = "armour_leak", name = %name.escape_default());
            }
            Notice::Leak { .. } => {}
            Notice::TooManyNames => {
                tracing::warn!(target: "wirebound::event", event = "too_many_cookie_names");
            }
        }
    }
}
