//! Random lives of two subjects against a model that is plain enough to be right.

use crate::strict;
use std::collections::BTreeMap;

use futures_executor::block_on;
use proptest::prelude::*;
use wirebound::engine::Scope;
use wirebound::{Lifetime, Policy, Role, SessionId, Timestamp, Verified};

use crate::with;
use crate::world::{Ask, Line, World, subject};

const NAMES: [&str; 2] = ["alice", "bob"];

#[derive(Clone, Debug)]
enum Step {
    SignIn {
        who: usize,
        admin: bool,
    },
    /// On any wire, with any session's cookie.
    Ask {
        line: usize,
        session: usize,
    },
    /// On a wire, with the cookie of its own session.
    Own {
        line: usize,
    },
    Drop {
        line: usize,
    },
    Resume {
        session: usize,
    },
    /// A thief: a fresh connection with a copied cookie.
    Steal {
        session: usize,
    },
    Logout {
        session: usize,
    },
    LogoutAll {
        session: usize,
    },
    Elevate {
        session: usize,
    },
    Ceiling {
        who: usize,
        admin: bool,
    },
    Block {
        who: usize,
        blocked: bool,
    },
    Remove {
        who: usize,
    },
    Wait {
        minutes: u64,
    },
    Restart,
    Sweep,
    Tidy,
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..8usize;
    prop_oneof![
        4 => (0..2usize, any::<bool>()).prop_map(|(who, admin)| Step::SignIn { who, admin }),
        8 => (n.clone(), n.clone()).prop_map(|(line, session)| Step::Ask { line, session }),
        8 => n.clone().prop_map(|line| Step::Own { line }),
        2 => n.clone().prop_map(|line| Step::Drop { line }),
        4 => n.clone().prop_map(|session| Step::Resume { session }),
        2 => n.clone().prop_map(|session| Step::Steal { session }),
        2 => n.clone().prop_map(|session| Step::Logout { session }),
        1 => n.clone().prop_map(|session| Step::LogoutAll { session }),
        3 => n.prop_map(|session| Step::Elevate { session }),
        2 => (0..2usize, any::<bool>()).prop_map(|(who, admin)| Step::Ceiling { who, admin }),
        1 => (0..2usize, any::<bool>()).prop_map(|(who, blocked)| Step::Block { who, blocked }),
        1 => (0..2usize).prop_map(|who| Step::Remove { who }),
        3 => (1..200u64).prop_map(|minutes| Step::Wait { minutes }),
        1 => Just(Step::Restart),
        1 => Just(Step::Sweep),
        1 => Just(Step::Tidy),
    ]
}

struct Known {
    who: usize,
    cookies: Vec<String>,
    family: wirebound::Root,
    ended: bool,
    admin_until: Option<Timestamp>,
    last: Timestamp,
    absolute: Timestamp,
}

/// What is known without an engine.
struct Model {
    sessions: Vec<(SessionId, Known)>,
    /// Which session a wire was proved for.
    lines: Vec<(Line, BTreeMap<SessionId, ()>, wirebound::Root)>,
    ceiling: [Role; 2],
    blocked: [bool; 2],
}

struct Run {
    w: World,
    m: Model,
}

impl Run {
    fn new() -> Self {
        let policy = Policy {
            freeze_after: 0,
            ..strict()
        };
        let model = Model {
            sessions: Vec::new(),
            lines: Vec::new(),
            ceiling: [Role::ADMIN; 2],
            blocked: [false; 2],
        };
        let w = with(policy);
        for name in NAMES {
            block_on(w.engine.set_ceiling(&subject(name), Role::ADMIN, w.now)).unwrap();
        }
        Self { w, m: model }
    }

    fn session(&self, at: usize) -> Option<usize> {
        (!self.m.sessions.is_empty()).then(|| at % self.m.sessions.len())
    }

    fn is_over(&self, at: usize) -> bool {
        let known = &self.m.sessions[at].1;
        let idle = self.w.now.since(known.last) >= strict().idle;
        known.ended || idle || self.w.now >= known.absolute
    }

    fn role(&self, at: usize) -> Role {
        let known = &self.m.sessions[at].1;
        let raised = known.admin_until.is_some_and(|until| self.w.now < until);
        let own = if raised { Role::ADMIN } else { Role::USER };
        own.min(self.m.ceiling[known.who])
    }

    fn end_where(&mut self, which: impl Fn(&Known) -> bool) {
        for (_, known) in &mut self.m.sessions {
            known.ended |= which(known);
        }
    }

    fn evict_admins(&mut self, who: usize, but: Option<SessionId>) {
        for at in 0..self.m.sessions.len() {
            let (id, known) = &self.m.sessions[at];
            if known.who == who && Some(*id) != but && self.role(at) == Role::ADMIN {
                self.m.sessions[at].1.ended = true;
            }
        }
    }

    /// A request; what the model says must be what the engine says.
    fn ask(&mut self, line: usize, at: usize) {
        let (id, known) = &self.m.sessions[at];
        let (line, proved, root) = &self.m.lines[line];
        let cookie = known.cookies.last().unwrap().clone();
        let answer = self.w.ask(
            line,
            &Ask {
                held: true,
                ..Ask::new(&cookie)
            },
        );
        let may = !self.is_over(at)
            && !self.m.blocked[known.who]
            && (proved.contains_key(id) || *root == known.family);
        assert_eq!(answer.is_in(), may, "{answer:?}");
        if let Some(verified) = answer.verified() {
            assert_eq!(verified.session(), *id);
            assert_eq!(verified.subject(), &subject(NAMES[known.who]));
            assert_eq!(verified.role(), self.role(at));
            assert!(verified.role() <= self.m.ceiling[known.who]);
            let now = self.w.now;
            self.m.sessions[at].1.last = now;
        } else if self.is_over(at) {
            self.m.sessions[at].1.ended = true;
        }
    }

    fn verified(&self, at: usize) -> Option<(Line, Verified)> {
        let known = &self.m.sessions[at].1;
        let line = self.w.resumed(known.family);
        let answer = self.w.get(&line, known.cookies.last().unwrap());
        answer.verified().cloned().map(|verified| (line, verified))
    }

    fn take(&mut self, step: &Step) {
        let now = self.w.now;
        match *step {
            Step::SignIn { who, admin } => {
                let role = if admin { Role::ADMIN } else { Role::USER };
                let (line, family) = self.w.granted();
                let done = self.w.try_sign_in(&line, NAMES[who], role, None);
                assert_eq!(done.is_err(), self.m.blocked[who]);
                let Ok(signed_in) = done else { return };
                let admin = admin && self.m.ceiling[who] == Role::ADMIN;
                if admin {
                    self.evict_admins(who, None);
                }
                let id = signed_in.verified.session();
                let known = Known {
                    who,
                    cookies: vec![signed_in.cookie.expose().to_owned()],
                    family,
                    ended: false,
                    admin_until: admin.then(|| now.after(Lifetime::from_hours(2))),
                    last: now,
                    absolute: signed_in.absolute,
                };
                self.m.sessions.push((id, known));
                self.m
                    .lines
                    .push((line, BTreeMap::from([(id, ())]), family));
            }
            Step::Ask { line, session } => {
                if let Some(at) = self.session(session)
                    && !self.m.lines.is_empty()
                {
                    self.ask(line % self.m.lines.len(), at);
                }
            }
            Step::Own { line } => {
                if !self.m.lines.is_empty() {
                    let line = line % self.m.lines.len();
                    let family = self.m.lines[line].2;
                    let own = |(_, known): &(SessionId, Known)| known.family == family;
                    let at = self.m.sessions.iter().position(own).unwrap();
                    self.ask(line, at);
                }
            }
            Step::Drop { line } => {
                if !self.m.lines.is_empty() {
                    let at = line % self.m.lines.len();
                    drop(self.m.lines.swap_remove(at));
                }
            }
            Step::Resume { session } => {
                if let Some(at) = self.session(session) {
                    let family = self.m.sessions[at].1.family;
                    self.m
                        .lines
                        .push((self.w.resumed(family), BTreeMap::new(), family));
                    self.ask(self.m.lines.len() - 1, at);
                }
            }
            Step::Steal { session } => {
                if let Some(at) = self.session(session) {
                    let cookie = self.m.sessions[at].1.cookies.last().unwrap().clone();
                    assert!(!self.w.insist(&cookie, None).is_in());
                    if self.is_over(at) {
                        self.m.sessions[at].1.ended = true;
                    }
                }
            }
            Step::Logout { session } => self.logout(session, Scope::Session),
            Step::LogoutAll { session } => self.logout(session, Scope::All),
            Step::Elevate { session } => {
                let Some(at) = self.session(session) else {
                    return;
                };
                let Some((line, verified)) = self.verified(at) else {
                    return;
                };
                self.m.sessions[at].1.last = now;
                let who = self.m.sessions[at].1.who;
                let raised = self.w.elevate(&line, &verified, Role::ADMIN);
                assert_eq!(raised.is_ok(), self.m.ceiling[who] == Role::ADMIN);
                if let Ok(raised) = raised {
                    self.evict_admins(who, Some(verified.session()));
                    let cookie = raised.cookie.expose().to_owned();
                    let answer = self.w.get(&line, &cookie);
                    assert_eq!(answer.role(), Some(Role::ADMIN));
                    let known = &mut self.m.sessions[at].1;
                    known.cookies.push(cookie);
                    known.admin_until = Some(raised.until);
                }
            }
            Step::Ceiling { who, admin } => {
                let role = if admin { Role::ADMIN } else { Role::USER };
                block_on(self.w.engine.set_ceiling(&subject(NAMES[who]), role, now)).unwrap();
                self.m.ceiling[who] = role;
            }
            Step::Block { who, blocked } => {
                block_on(
                    self.w
                        .engine
                        .set_blocked(&subject(NAMES[who]), blocked, now),
                )
                .unwrap();
                self.m.blocked[who] = blocked;
                if blocked {
                    self.end_where(|known| known.who == who);
                }
            }
            Step::Remove { who } => {
                block_on(self.w.engine.remove(&subject(NAMES[who]), now)).unwrap();
                self.end_where(|known| known.who == who);
                (self.m.ceiling[who], self.m.blocked[who]) = (Role::USER, false);
            }
            Step::Wait { minutes } => self.w.step(Lifetime::from_mins(minutes)),
            Step::Restart => {
                block_on(self.w.engine.tidy(now)).unwrap();
                self.m.lines.clear();
                block_on(self.w.engine.tidy(now)).unwrap();
                self.w.restart();
            }
            Step::Sweep => {
                block_on(self.w.engine.sweep(now)).unwrap();
                for at in 0..self.m.sessions.len() {
                    self.m.sessions[at].1.ended |= self.is_over(at);
                }
            }
            Step::Tidy => {
                block_on(self.w.engine.tidy(now)).unwrap();
            }
        }
    }

    fn logout(&mut self, session: usize, scope: Scope) {
        let Some(at) = self.session(session) else {
            return;
        };
        let Some((_line, verified)) = self.verified(at) else {
            return;
        };
        block_on(self.w.engine.logout(&verified, scope, self.w.now)).unwrap();
        let (who, id) = (self.m.sessions[at].1.who, self.m.sessions[at].0);
        for (other, known) in &mut self.m.sessions {
            known.ended |= *other == id || (scope == Scope::All && known.who == who);
        }
    }

    /// What must hold after every step.
    fn check(&self) {
        for (who, name) in NAMES.iter().enumerate() {
            let live = block_on(self.w.engine.sessions_of(&subject(name), self.w.now)).unwrap();
            let admins = live
                .iter()
                .filter(|session| session.role == Role::ADMIN)
                .count();
            assert!(admins <= 1, "{name}: {admins} admins");
            let expected = (0..self.m.sessions.len())
                .filter(|at| self.m.sessions[*at].1.who == who && !self.is_over(*at))
                .count();
            assert_eq!(live.len(), expected, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_two_subjects_do_the_engine_says_what_the_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
            run.check();
        }
    }
}
