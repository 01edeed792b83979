//! Planted secrets: nothing that is printed, told or stored holds one, in any spelling.

use crate::strict;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_executor::block_on;
use wirebound::store::{MemoryStore, Space, Store};
use wirebound::{
    Engine, Entropy, EntropyError, Keys, Lifetime, NodeSecret, Policy, Role, Secret, Timestamp,
};

use crate::world::{Answer, Ask, Dice, World, sign_in, subject};

/// Remembers every secret-sized draw.
struct Planted {
    dice: Dice,
    drawn: Mutex<Vec<[u8; 32]>>,
}

impl core::fmt::Debug for Planted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Planted(..)")
    }
}

impl Entropy for Planted {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.dice.fill(bytes)?;
        if let Ok(secret) = <[u8; 32]>::try_from(&*bytes) {
            self.drawn.lock().unwrap().push(secret);
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    vec![
        secret.to_vec(),
        hex(secret).into_bytes(),
        hex(secret).to_uppercase().into_bytes(),
        STANDARD.encode(secret).into_bytes(),
        URL_SAFE_NO_PAD.encode(secret).into_bytes(),
        format!("{secret:?}").into_bytes(),
    ]
}

fn holds(text: &[u8], secret: &[u8]) -> bool {
    spellings(secret).iter().any(|spelling| {
        text.windows(spelling.len())
            .any(|window| window == spelling)
    })
}

#[test]
fn no_debug_no_event_no_error_and_no_stored_value_holds_a_secret() {
    let entropy = Arc::new(Planted {
        dice: Dice::seeded(77),
        drawn: Mutex::default(),
    });
    let node = [0x5au8; 32];
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut w = World::new(strict(), Arc::clone(&store));
    w.engine = Arc::new(Engine::new(
        Arc::clone(&store),
        Keys::new(&NodeSecret::new(1, Secret::from_bytes(node)), None),
        strict(),
        Arc::clone(&entropy) as Arc<dyn Entropy>,
        Arc::clone(&w.log) as _,
    ));
    let mut shown = String::new();
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let line = w.full();
    let mut request = sign_in("alice", Role::USER);
    let app_cookie = *b"sessionid=THE-APPS-OWN-SECRET-0123";
    request.vault = Some(app_cookie.to_vec());
    let signed_in = block_on(w.engine.sign_in(&line.wire, request, None, w.now)).unwrap();
    let cookie = signed_in.cookie.expose().to_owned();
    shown += &format!("{signed_in:?}");
    let (next, _) = w.granted();
    let ask = Ask {
        nonce: signed_in.hand_over.as_ref(),
        ..Ask::new(&cookie)
    };
    shown += &format!("{:?}", w.ask(&next, &ask));
    let raised = w.elevate(&next, &signed_in.verified, Role::ADMIN);
    shown += &format!("{raised:?}");
    let tickets = [cookie.clone(), raised.unwrap().cookie.expose().to_owned()].map(|cookie| {
        let ticket = cookie.rsplit('.').next().unwrap();
        URL_SAFE_NO_PAD.decode(ticket).unwrap()
    });
    let presented = w.engine.read(cookie.as_bytes()).unwrap();
    let stranger = w.full();
    let Answer::Challenge(echo) = w.get(&stranger, &cookie) else {
        panic!()
    };
    let tokens = w.engine.open_echoes([echo.as_bytes()].into_iter(), w.now);
    w.insist(&cookie, None);
    let vault = block_on(w.engine.open_vault(signed_in.verified.session())).unwrap();
    shown += &format!(
        "{:?}{presented:?}{tokens:?}{vault:?}{next:?}{:?}{:?}{:?}{:?}{:?}",
        w.engine,
        w.engine.keys(),
        w.store,
        block_on(w.engine.sessions_of(&subject("alice"), w.now)),
        block_on(w.engine.identity(&subject("alice"))),
        w.engine.watch(signed_in.verified.session()),
    );
    shown += &format!("{:?}", NodeSecret::new(1, Secret::from_bytes(node)));
    for bad in [
        "",
        "w1.x.y",
        &cookie[1..],
        &format!("w1.{}", "A".repeat(66)),
    ] {
        if let Err(error) = w.engine.read(bad.as_bytes()) {
            shown += &format!("{error}{error:?}");
        }
    }
    let mut haystacks = vec![shown.into_bytes()];
    for event in w.log.all() {
        haystacks.push(format!("{event:?}{}", event.name()).into_bytes());
    }
    let mut values = 0;
    for space in Space::ALL {
        let all = block_on(store.due(space, Timestamp::NEVER, None, 1_000)).unwrap();
        for (_, key) in all {
            let stored = block_on(store.load(&key)).unwrap().unwrap();
            haystacks.push(key.name().to_vec());
            haystacks.push(stored.value);
            values += 1;
        }
    }
    assert!(values >= 3, "session, identity and vault are stored");
    let mut secrets: Vec<Vec<u8>> = entropy
        .drawn
        .lock()
        .unwrap()
        .iter()
        .map(|secret| secret.to_vec())
        .collect();
    assert!(!secrets.is_empty(), "the nonce");
    secrets.extend(tickets);
    secrets.push(node.to_vec());
    secrets.push(app_cookie.to_vec());
    secrets.push(cookie.into_bytes());
    for secret in &secrets {
        for haystack in &haystacks {
            assert!(
                !holds(haystack, secret),
                "{} holds a secret",
                String::from_utf8_lossy(&haystack[..haystack.len().min(200)])
            );
        }
    }
    assert!(
        holds(format!("x{}y", hex(&secrets[0])).as_bytes(), &secrets[0]),
        "the search finds what is there"
    );
}

#[test]
fn a_record_that_no_key_reads_stops_neither_the_sweep_nor_a_sign_in() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let limit = wirebound::MaxSessions {
        role: Role::USER,
        count: 1,
        on_limit: wirebound::OnLimit::EvictOldest,
    };
    let mut w = World::new(
        Policy {
            max_sessions: vec![limit],
            ..strict()
        },
        Arc::clone(&store),
    );
    let line = w.full();
    let id = w.sign_in(&line, "alice", Role::USER).verified.session();
    let key = wirebound::store::Key::new(Space::Session, id.as_bytes());
    let stored = block_on(store.load(&key)).unwrap().unwrap();
    let spoilt = wirebound::store::Change::Put {
        key,
        expect: wirebound::store::Expect::At(stored.version),
        value: b"written by somebody else".to_vec(),
        due: w.now,
    };
    block_on(store.commit(vec![spoilt], wirebound::store::Durability::Durable)).unwrap();
    let other = w.full();
    w.sign_in(&other, "alice", Role::USER);
    w.step(Lifetime::from_hours(8));
    let swept = block_on(w.engine.sweep(w.now)).unwrap();
    assert_eq!((swept.sessions, swept.unreadable), (1, 1));
}

#[test]
fn a_record_that_no_key_reads_does_not_keep_others_from_being_written_down() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut w = World::new(strict(), Arc::clone(&store));
    let lines: Vec<_> = (0..8).map(|_| w.full()).collect();
    let sessions: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(number, line)| {
            w.sign_in(line, &format!("subject {number}"), Role::USER)
                .verified
                .session()
        })
        .collect();
    w.step(Lifetime::from_hours(1));
    let now = w.now;
    for line in &lines {
        // Used at this moment, on the hot path only: the store has not heard of it.
        let handle = w.engine.authorize_wire(&line.wire, now);
        assert!(handle.is_ok());
    }
    let key = wirebound::store::Key::new(Space::Session, sessions[0].as_bytes());
    let stored = block_on(store.load(&key)).unwrap().unwrap();
    let spoilt = wirebound::store::Change::Put {
        key,
        expect: wirebound::store::Expect::At(stored.version),
        value: b"written by somebody else".to_vec(),
        due: now,
    };
    block_on(store.commit(vec![spoilt], wirebound::store::Durability::Durable)).unwrap();
    drop(lines);
    assert_eq!(block_on(w.engine.tidy(now)).unwrap(), 7);
}
