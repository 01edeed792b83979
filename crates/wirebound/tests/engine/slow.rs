//! Slow requests: a pause between what was judged and what is written, while the session ends. And long work, beside which
//! requests go on.

use crate::strict;
use crate::world::client;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use std::sync::Arc;

use futures_executor::block_on;
use wirebound::engine::{Authorized, Offer, Scope};
use wirebound::revocation::{Entry, Revoked, TokenId};
use wirebound::store::{Durability, Space, Store, Version};
use wirebound::{Authority, By, Ending, Lifetime, Need, Policy, Refusal, Role, Stock};

use crate::store::{At, Behind, Paused};
use crate::world::{Answer, Ask, HOST, World, plain, sign_in, subject};

fn over(store: &Arc<Paused>) -> World {
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    World::new(strict(), store)
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_logout_stands_against_a_slow_request_that_was_read_before_it() {
    for at in [
        At::Load(Space::Session),
        At::Load(Space::Identity),
        At::Commit,
        At::Committed,
    ] {
        let store = Paused::new();
        let mut w = over(&store);
        let owner = w.settle("alice", Role::USER);
        let cookie = w.browser.cookie.clone();
        let verified = w.get(&owner, &cookie).verified().unwrap().clone();
        // A wire that joins with a new root, so that proving it writes.
        let (slow, root) = (
            w.resumed(w.browser.family.unwrap()),
            w.browser.family.unwrap(),
        );
        let presented = w.engine.read(cookie.as_bytes()).unwrap();
        let authority = Authority::of(HOST);
        let offer = plain(&presented, &authority);
        store.pause(at);
        let mut proving = pin!(w.engine.prove(&slow.wire, &offer, w.now));
        let first = poll(proving.as_mut());
        let mut logout = pin!(w.engine.logout(&verified, Scope::Session, w.now));
        let mut ended = poll(logout.as_mut());
        store.release();
        if first.is_pending() {
            drop(block_on(proving));
        }
        if ended.is_pending() {
            ended = Poll::Ready(block_on(logout));
        }
        assert!(matches!(ended, Poll::Ready(Ok(1))), "{at:?}: {ended:?}");
        for line in [&owner, &slow, &w.resumed(root)] {
            let answer = w.get(line, &cookie);
            assert_eq!(
                answer.refusal(),
                Some(Refusal::PhantomSession(Ending::Logout)),
                "{at:?}"
            );
        }
        assert_eq!(w.engine.connected(), 0, "{at:?}: nothing is left in memory");
        assert!(w.engine.recall(&presented, w.now).is_none(), "{at:?}");
    }
}

#[test]
fn a_late_vault_write_of_an_ended_session_is_refused() {
    let store = Paused::new();
    let mut w = over(&store);
    let line = w.full();
    let mut request = sign_in("alice", Role::USER);
    request.vault = Some(b"sessionid=1".to_vec());
    let signed_in = block_on(w.engine.sign_in(&line.wire, request, None, w.now)).unwrap();
    let id = signed_in.verified.session();
    let vault = block_on(w.engine.open_vault(id)).unwrap().unwrap();
    assert_eq!(vault.expose(), b"sessionid=1");
    store.pause(At::Commit);
    let mut late =
        pin!(
            w.engine
                .change_vault(id, vault.version, b"sessionid=2", Durability::Durable)
        );
    assert!(poll(late.as_mut()).is_pending());
    assert_eq!(
        block_on(w.engine.logout(&signed_in.verified, Scope::Session, w.now)).unwrap(),
        1
    );
    store.release();
    assert!(!block_on(late).unwrap(), "refused by the store");
    assert!(block_on(w.engine.open_vault(id)).unwrap().is_none());
    let again = w
        .engine
        .change_vault(id, Version::FIRST, b"x", Durability::Durable);
    assert!(!block_on(again).unwrap());
}

#[test]
fn whoever_hangs_up_during_a_logout_does_not_keep_the_session_alive_in_memory() {
    for at in [At::Commit, At::Committed] {
        let store = Paused::new();
        let mut w = over(&store);
        let line = w.settle("alice", Role::USER);
        let cookie = w.browser.cookie.clone();
        let verified = w.get(&line, &cookie).verified().unwrap().clone();
        let watch = w.engine.watch(verified.session()).unwrap();
        store.pause(at);
        {
            let mut logout = Box::pin(w.engine.logout(&verified, Scope::Session, w.now));
            assert!(poll(logout.as_mut()).is_pending());
        }
        store.release();
        assert!(
            watch.now().is_some(),
            "{at:?}: its streams are judged again"
        );
        let presented = w.engine.read(cookie.as_bytes()).unwrap();
        let hot = w.engine.authorize(&line.wire, &presented, w.now);
        assert!(matches!(hot, Authorized::Ask), "{at:?}: the store is asked");
        let lives = block_on(w.engine.session(verified.session(), w.now))
            .unwrap()
            .is_some();
        assert_eq!(lives, at == At::Commit);
        assert_eq!(w.get(&line, &cookie).is_in(), lives, "{at:?}");
    }
}

#[test]
fn a_hung_up_eviction_leaves_no_second_admin_in_memory() {
    let store = Paused::new();
    let mut w = over(&store);
    block_on(w.engine.set_ceiling(&subject("root"), Role::ADMIN, w.now)).unwrap();
    let (old, new) = (w.full(), w.full());
    let cookie = w
        .sign_in(&old, "root", Role::ADMIN)
        .cookie
        .expose()
        .to_owned();
    store.pause(At::Committed);
    {
        let request = sign_in("root", Role::ADMIN);
        let mut cut = Box::pin(w.engine.sign_in(&new.wire, request, None, w.now));
        assert!(poll(cut.as_mut()).is_pending());
    }
    store.release();
    assert_eq!(
        w.get(&old, &cookie).refusal(),
        Some(Refusal::PhantomSession(Ending::Evicted))
    );
}

#[test]
fn an_owner_who_hangs_up_while_a_graft_is_cut_off_leaves_it_nothing() {
    for at in [At::Commit, At::Committed] {
        let store = Paused::new();
        let mut w = World::new(Policy::default(), Arc::clone(&store) as Arc<dyn Store>);
        drop(w.settle("alice", Role::USER));
        let cookie = w.browser.cookie.clone();
        let mut echoes = Vec::new();
        let (session, thief) = loop {
            let line = w.full();
            let ask = Ask {
                echoes: &echoes,
                ..Ask::new(&cookie)
            };
            match w.ask(&line, &ask) {
                Answer::Challenge(text) => echoes.push(text),
                answer => break (answer.verified().unwrap().session(), line),
            }
        };
        assert_eq!(
            thief.wire.attached_by(session),
            Some((By::Ticket, Stock::Graft))
        );
        let owner = w.resumed(w.browser.family.unwrap());
        let presented = w.engine.read(cookie.as_bytes()).unwrap();
        let authority = Authority::of(HOST);
        let offer = plain(&presented, &authority);
        store.pause(at);
        {
            let mut cut = Box::pin(w.engine.prove(&owner.wire, &offer, w.now));
            assert!(poll(cut.as_mut()).is_pending(), "{at:?}");
        }
        store.release();
        assert!(!w.get(&thief, &cookie).is_in(), "{at:?}");
        assert!(thief.plug.is_closed(), "{at:?}");
        assert!(w.get(&owner, &cookie).is_in(), "{at:?}: and she goes on");
    }
}

#[test]
fn an_echo_that_is_brought_back_too_late_revives_nothing() {
    let store = Paused::new();
    let mut w = over(&store);
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let verified = w.get(&owner, &cookie).verified().unwrap().clone();
    let (stranger, root) = w.granted();
    let Answer::Challenge(text) = w.get(&stranger, &cookie) else {
        panic!()
    };
    let tokens = w.engine.open_echoes([text.as_bytes()].into_iter(), w.now);
    store.pause(At::Load(Space::Session));
    let mut late = pin!(w.engine.bring_back(&owner.wire, &verified, &tokens, w.now));
    assert!(poll(late.as_mut()).is_pending());
    let mut logout = pin!(w.engine.logout(&verified, Scope::Session, w.now));
    let waits = poll(logout.as_mut());
    store.release();
    drop(block_on(late));
    if waits.is_pending() {
        block_on(logout).unwrap();
    }
    assert!(!w.get(&w.resumed(root), &cookie).is_in());
    assert_eq!(block_on(w.engine.workload()).unwrap(), 0);
}

#[test]
fn a_sibling_that_is_dropped_while_its_session_is_replaced_holds_nothing() {
    let store = Paused::new();
    let mut w = over(&store);
    let line = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let sibling = w.resumed(w.browser.family.unwrap());
    assert!(w.get(&sibling, &cookie).is_in());
    let verified = w.get(&line, &cookie).verified().unwrap().clone();
    store.pause(At::Load(Space::Identity));
    let request = sign_in("alice", Role::USER);
    let mut replacing = Box::pin(
        w.engine
            .sign_in(&line.wire, request, Some(&verified), w.now),
    );
    assert!(poll(replacing.as_mut()).is_pending());
    drop(sibling);
    store.release();
    let signed_in = block_on(replacing.as_mut()).unwrap();
    drop(replacing);
    drop(line);
    assert_eq!(w.engine.connected(), 0, "no wire, no session in memory");
    assert!(w.engine.watch(signed_in.verified.session()).is_none());
}

#[test]
fn who_hangs_up_while_his_proof_is_written_does_not_make_his_next_request_fail() {
    let store = Behind::new();
    let mut w = World::new(strict(), Arc::clone(&store) as Arc<dyn Store>);
    let line = w.settle("alice", Role::USER);
    let old = w.browser.cookie.clone();
    let verified = w.get(&line, &old).verified().unwrap().clone();
    let cookie = w.renew(&line, &verified, &old, &client("browser")).unwrap();
    let presented = w.engine.read(cookie.as_bytes()).unwrap();
    let authority = Authority::of(HOST);
    let offer = Offer {
        presented: &presented,
        nonce: None,
        echoes: &[],
        request: [1; 8],
        can_follow: true,
        held: false,
        surprise: false,
        other_client: false,
        client: client("browser"),
        authority: &authority,
        need: Need::NOTHING,
    };
    // The first request with the new secret is to be written down; the browser goes to another page meanwhile.
    store.fall_behind();
    {
        let mut cut = pin!(w.engine.prove(&line.wire, &offer, w.now));
        assert!(poll(cut.as_mut()).is_pending());
    }
    let answer = w.get(&line, &cookie);
    assert!(answer.is_in(), "{answer:?}");
}

/// How often work let others have their turn.
fn turns<T>(work: impl Future<Output = T>) -> usize {
    let mut work = pin!(work);
    let mut turns = 0;
    while poll(work.as_mut()).is_pending() {
        turns += 1;
    }
    turns
}

/// A store that answers at once is asked page after page: without a pause, a filter of millions kept a whole gateway from
/// taking anybody in.
#[test]
fn work_that_reads_many_pages_lets_others_have_their_turn_between_them() {
    let policy = Policy {
        assertions: Some(Lifetime::from_mins(16)),
        ..strict()
    };
    let mut w = crate::with(policy);
    let until = w.now.after(Lifetime::from_hours(1));
    let token = |number: u64| TokenId::from_bytes(u128::from(number).to_le_bytes());
    for number in 0..1_000 {
        block_on(w.engine.revoke_token(token(number), until)).unwrap();
    }
    assert_eq!(turns(w.engine.recall_revocations(w.now)), 3, "recalled");
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    // So many that a filter is made.
    for number in 0..70_000 {
        let what = Revoked::Token(token(number));
        w.engine.revocations().put(Entry { what, until });
    }
    w.step(Lifetime::from_mins(1));
    assert_eq!(turns(w.engine.tidy_revocations(w.now)), 3, "gathered");
    assert!(w.engine.revocations().filter_bytes() > 0, "control");
    w.step(Lifetime::from_hours(2));
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    w.step(Lifetime::from_mins(1));
    assert_eq!(turns(w.engine.tidy_revocations(w.now)), 4, "swept");
}
