//! The jar against RFC 6265, its bounds, and its bytes.

use proptest::prelude::*;

use super::*;
use crate::armour::form::BadForm;
use crate::armour::line;

fn lines(texts: &[&str], now: u64) -> Vec<Line> {
    texts
        .iter()
        .map(|text| line::read(text.as_bytes(), now).unwrap())
        .collect()
}

fn at(path: &str, now: u64) -> Place<'_> {
    Place::new("app.example:8443", path, false, now)
}

fn sent(vault: &Vault, path: &str, now: u64) -> String {
    let pairs: Vec<String> = vault
        .matching(&at(path, now))
        .iter()
        .map(|c| {
            format!(
                "{}={}",
                String::from_utf8_lossy(&c.name),
                String::from_utf8_lossy(c.value.expose())
            )
        })
        .collect();
    pairs.join("; ")
}

#[test]
fn one_name_on_two_paths_is_two_cookies_and_the_longer_path_comes_first() {
    let mut vault = Vault::default();
    vault
        .take(
            lines(
                &["sid=root; Path=/", "sid=admin; Path=/admin", "b=2; Path=/"],
                0,
            ),
            &at("/", 0),
        )
        .unwrap();
    assert_eq!(sent(&vault, "/", 0), "sid=root; b=2");
    assert_eq!(sent(&vault, "/admin/users", 0), "sid=admin; sid=root; b=2");
    assert_eq!(sent(&vault, "/administration", 0), "sid=root; b=2");
    vault
        .take(lines(&["sid=new; Path=/"], 0), &at("/", 0))
        .unwrap();
    assert_eq!(sent(&vault, "/", 0), "sid=new; b=2");
}

#[test]
fn a_cookie_without_a_path_gets_the_default_one() {
    let mut vault = Vault::default();
    vault
        .take(lines(&["a=1"], 0), &at("/accounts/login", 0))
        .unwrap();
    assert_eq!(sent(&vault, "/accounts/me", 0), "a=1");
    assert_eq!(sent(&vault, "/", 0), "");
    assert_eq!(default_path("/login"), "/");
    assert_eq!(default_path("/"), "/");
}

#[test]
fn a_domain_that_is_not_the_hosts_is_ignored() {
    let mut vault = Vault::default();
    for domain in ["evil.example", "pp.example", "x.app.example"] {
        let batch = vault
            .take(lines(&[&format!("a=1; Domain={domain}")], 0), &at("/", 0))
            .unwrap();
        assert!(vault.is_empty() && !batch.dirty, "{domain}");
    }
    vault
        .take(lines(&["a=1; Domain=.APP.example"], 0), &at("/", 0))
        .unwrap();
    assert_eq!(vault.len(), 1);
    assert!(!domain_match("10.0.0.1", "0.0.1"));
}

#[test]
fn expiry_is_heard_and_the_last_deletion_signs_out() {
    let mut vault = Vault::default();
    let first = vault
        .take(lines(&["a=1; Max-Age=10", "b=2"], 100), &at("/", 100))
        .unwrap();
    assert_eq!(
        (first.first, first.changed, first.gone, first.life),
        (true, true, false, Life::Until(110))
    );
    assert_eq!(sent(&vault, "/", 109), "a=1; b=2");
    assert_eq!(sent(&vault, "/", 110), "b=2");
    let one = vault
        .take(lines(&["a=; Max-Age=0"], 101), &at("/", 101))
        .unwrap();
    assert_eq!(
        (one.changed, one.gone, one.life),
        (true, false, Life::Browser)
    );
    let swapped = vault
        .take(lines(&["b=; Max-Age=0", "c=3"], 102), &at("/", 102))
        .unwrap();
    assert!(!swapped.gone && swapped.changed);
    let last = vault
        .take(
            lines(&["c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], 103),
            &at("/", 103),
        )
        .unwrap();
    assert!(last.gone && vault.is_empty());
    let never = vault
        .take(lines(&["d=1", "d=; Max-Age=0"], 104), &at("/", 104))
        .unwrap();
    assert!(!never.gone && !never.first && !never.dirty);
}

#[test]
fn a_cookie_that_merely_expires_is_no_sign_out_by_the_app() {
    let mut vault = Vault::default();
    vault
        .take(lines(&["a=1; Max-Age=10"], 100), &at("/", 100))
        .unwrap();
    let later = vault.take(Vec::new(), &at("/", 200)).unwrap();
    assert!(vault.is_empty());
    assert_eq!(
        (later.dirty, later.changed, later.gone),
        (true, false, false)
    );
}

#[test]
fn a_batch_says_what_changed() {
    let mut vault = Vault::default();
    let place = |unsafe_method| Place::new("a", "/", unsafe_method, 100);
    let set = |vault: &mut Vault, text: &str, unsafe_method| {
        vault
            .take(lines(&[text], 100), &place(unsafe_method))
            .unwrap()
    };
    assert!(set(&mut vault, "a=1; Max-Age=5", true).after_unsafe);
    let same = set(&mut vault, "a=1; Max-Age=5", true);
    assert_eq!(
        (same.dirty, same.changed, same.after_unsafe, same.first),
        (false, false, false, false)
    );
    let slid = set(&mut vault, "a=1; Max-Age=9", true);
    assert_eq!(
        (slid.dirty, slid.changed, slid.life),
        (true, false, Life::Until(109))
    );
    let changed = set(&mut vault, "a=2; Max-Age=9", false);
    assert_eq!((changed.changed, changed.after_unsafe), (true, false));
}

#[test]
fn a_batch_over_a_bound_changes_nothing_and_names_the_cookie() {
    let mut vault = Vault::default();
    vault.take(lines(&["keep=1"], 0), &at("/", 0)).unwrap();
    let before = vault.clone();
    let large = format!("big={}", "x".repeat(COOKIE_BYTES));
    assert_eq!(
        vault.take(lines(&["b=1", &large], 0), &at("/", 0)),
        Err(TooMuch::Cookie("big".to_owned()))
    );
    let many: Vec<String> = (0..COOKIES).map(|i| format!("c{i}=1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        vault.take(lines(&many, 0), &at("/", 0)),
        Err(TooMuch::Cookies("c15".to_owned()))
    );
    let heavy: Vec<String> = (0..5)
        .map(|i| format!("h{i}={}", "x".repeat(4000)))
        .collect();
    let heavy: Vec<&str> = heavy.iter().map(String::as_str).collect();
    assert_eq!(
        vault.take(lines(&heavy, 0), &at("/", 0)),
        Err(TooMuch::Bytes("h4".to_owned()))
    );
    assert_eq!(vault, before);
}

#[test]
fn bytes_that_were_never_written_are_refused() {
    let mut vault = Vault::default();
    vault
        .take(lines(&["a=1; Max-Age=10", "b=2; Path=/x"], 0), &at("/", 0))
        .unwrap();
    let bytes = vault.to_bytes();
    assert_eq!(Vault::from_bytes(&bytes), Ok(vault));
    assert_eq!(Vault::from_bytes(&[]), Err(BadForm::Short));
    for cut in 1..bytes.len() {
        assert_eq!(
            Vault::from_bytes(&bytes[..cut]),
            Err(BadForm::Short),
            "{cut}"
        );
    }
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        Vault::from_bytes(&changed)
    };
    assert_eq!(with(0, 0), Err(BadForm::Version));
    assert_eq!(with(0, 2), Err(BadForm::Version));
    assert_eq!(with(2, 4), Err(BadForm::Content));
    let trailing = [bytes.as_slice(), &[0]].concat();
    assert_eq!(Vault::from_bytes(&trailing), Err(BadForm::Trailing));
    let one = &Vault::from_bytes(&bytes).unwrap().to_bytes()[2..];
    let twice = [&[1, 4][..], one, one].concat();
    assert_eq!(Vault::from_bytes(&twice), Err(BadForm::Content));
}

#[test]
fn a_vaulted_value_does_not_print() {
    let mut vault = Vault::default();
    vault
        .take(lines(&["a=planted-secret"], 0), &at("/", 0))
        .unwrap();
    assert!(!format!("{vault:?}").contains("planted"));
}

/// A plain model: one map from (name, path) to (value, end), and one clock.
type Model = std::collections::BTreeMap<(Vec<u8>, String), (Vec<u8>, Option<u64>)>;

fn operation() -> impl Strategy<Value = (String, u64)> {
    let line = (
        prop::sample::select(vec!["a", "b", "sessionid"]),
        "[a-z0-9]{0,6}",
        prop::option::of(prop::sample::select(vec!["/", "/x", "/x/y"])),
        prop::option::of(-1_i64..20),
    );
    (line, 0_u64..8).prop_map(|((name, value, path, age), step)| {
        let mut text = format!("{name}={value}; HttpOnly");
        if let Some(path) = path {
            text.push_str(&format!("; Path={path}"));
        }
        if let Some(age) = age {
            text.push_str(&format!("; Max-Age={age}"));
        }
        (text, step)
    })
}

proptest! {
    #[test]
    fn the_jar_agrees_with_a_plain_model(operations in prop::collection::vec(operation(), 0..40)) {
        let mut vault = Vault::default();
        let mut model = Model::new();
        let mut now = 1000;
        for (text, step) in operations {
            now = u64::saturating_add(now, step);
            let line = line::read(text.as_bytes(), now).unwrap();
            let key = (line.name.clone(), line.path.clone().unwrap_or_else(|| "/".to_owned()));
            let value = (line.value.expose().to_vec(), line.expires);
            model.retain(|_, (_, end)| end.is_none_or(|end| end > now));
            let before = model.clone();
            if line.expires.is_some_and(|end| end <= now) { model.remove(&key); } else { model.insert(key, value); }
            let batch = vault.take(vec![line], &Place::new("app.example", "/login", false, now)).unwrap();
            let plain = |model: &Model| -> Vec<_> {
                model.iter().map(|(key, (value, _))| (format!("{key:?}"), value.clone())).collect()
            };
            prop_assert_eq!(batch.changed, plain(&before) != plain(&model));
            prop_assert_eq!(vault.len(), model.len());
            for path in ["/", "/x", "/x/y/z", "/xy"] {
                let place = Place::new("app.example", path, false, now);
                let mut got: Vec<_> = vault.matching(&place).iter()
                    .map(|c| (c.name.clone(), c.path.clone(), c.value.expose().to_vec())).collect();
                let lengths: Vec<usize> = got.iter().map(|(_, path, _)| path.len()).collect();
                prop_assert!(lengths.is_sorted_by(|a, b| a >= b));
                got.sort();
                let mut want: Vec<_> = model.iter()
                    .filter(|((_, cookie), _)| match cookie.as_str() {
                        "/" => true,
                        cookie => path == cookie || path.starts_with(&format!("{cookie}/")),
                    })
                    .map(|((name, path), (value, _))| (name.clone(), path.clone(), value.clone())).collect();
                want.sort();
                prop_assert_eq!(got, want);
            }
            prop_assert_eq!(Vault::from_bytes(&vault.to_bytes()).unwrap(), vault.clone());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _any = line::read(&bytes, 7);
        let mut versioned = vec![1];
        versioned.extend(&bytes);
        if let Ok(vault) = Vault::from_bytes(&versioned) {
            prop_assert_eq!(vault.to_bytes(), versioned);
        }
    }
}
