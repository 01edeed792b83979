//! Each rule once: what is refused, with key, line and reason, and what passes.

use super::*;
use crate::config::{Sources, load};
use std::path::Path;

fn problems(text: &str) -> Vec<String> {
    let loaded = load(Sources::new(
        Some((Path::new("w.toml"), text)),
        &[],
        Vec::new(),
    ))
    .unwrap();
    loaded
        .check()
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_default_is_good() {
    assert_eq!(Config::default().check(), Ok(()));
}

#[test]
fn what_weakens_protection_is_refused_with_key_and_line() {
    for (text, start) in [
        (
            "[session_token]\nlength_bytes = 31",
            "w.toml:2: session_token.length_bytes = 31 is refused",
        ),
        (
            "[session_token]\nlength_bytes = 64",
            "w.toml:2: session_token.length_bytes = 64 is not there yet",
        ),
        (
            "[session_token]\nstorage = \"local_storage\"",
            "w.toml:2: session_token.storage = \"local_storage\" is refused",
        ),
        (
            "[session_token]\nexpiry_seconds = 0",
            "w.toml:2: session_token.expiry_seconds = 0 is refused",
        ),
        (
            "[session_token]\nexpiry_seconds = 2592001",
            "w.toml:2: session_token.expiry_seconds = 2592001 is refused",
        ),
        (
            "[session_token]\nrotation_on_privilege_escalation = false",
            "w.toml:2: session_token.rotation_on_privilege_escalation = false is refused",
        ),
        (
            "[session_token]\nrotation_on_privilege_escalation = false\n[danger]\nkeep_secret_on_privilege_escalation = true",
            "w.toml:2: session_token.rotation_on_privilege_escalation = false is not there yet",
        ),
        (
            "[arrival]\ncross_site_post = [\"acs\"]",
            "w.toml:2: arrival.cross_site_post = \"acs\" is refused",
        ),
        (
            "[arrival]\ncross_site_post = [\"/.wirebound/logout\"]",
            "w.toml:2: arrival.cross_site_post = \"/.wirebound/logout\" is refused",
        ),
        (
            "[[routes]]\npath = \"/a\"\ntitle = \"A\"",
            "w.toml:3: routes[0].title = \"A\" is refused",
        ),
        (
            "[session_token]\nsamesite = \"None\"",
            "w.toml:2: session_token.samesite = \"None\" is refused",
        ),
        (
            "[session_token]\nsecure_flag = false\n[listen]\naddr = \"192.0.2.1:443\"\nkind = \"edge\"",
            "w.toml:2: session_token.secure_flag = false is refused",
        ),
        (
            "[listen]\naddr = \"0.0.0.0:443\"",
            "w.toml:2: listen.addr = 0.0.0.0:443 is refused: it is not loopback",
        ),
        (
            "[listen]\nkind = \"behind\"",
            "w.toml:2: listen.kind = \"behind\" is refused: the presets",
        ),
        (
            "[session]\nadvance_interval = \"5s\"",
            "w.toml:2: session.advance_interval = \"5s\" is refused: a ticket is good",
        ),
        (
            "[session]\nout_of_sequence_status = 200",
            "w.toml:2: session.out_of_sequence_status = 200 is refused",
        ),
        (
            "[session]\nshadow = [\"all\"]",
            "w.toml:2: session.shadow = \"all\" is refused: there is no such control",
        ),
        (
            "[listen]\nkind = \"behind\"\n[session]\npreset = \"portable\"\n[session_token]\nbound_to_ip = \"exact\"",
            "w.toml:6: session_token.bound_to_ip",
        ),
        (
            "[session]\nidle_timeout = \"15d\"",
            "w.toml:2: session.idle_timeout = \"15d\" is refused",
        ),
        (
            "[armour]\ncookies = \"auto\"\nimport_until = \"soon\"",
            "w.toml:3: armour.import_until = \"soon\" is refused",
        ),
        (
            "[armour]\nimport_until = \"2027-01-31\"",
            "w.toml:2: armour.import_until = \"2027-01-31\" is refused",
        ),
        (
            "[armour]\nmax_guests = 3",
            "w.toml:2: armour.max_guests = 3 is refused",
        ),
        (
            "[session]\nidle_timeout = \"0s\"",
            "w.toml:2: session.idle_timeout = \"0s\" is refused",
        ),
        (
            "[session]\nabsolute_timeout = \"500d\"",
            "w.toml:2: session.absolute_timeout = \"500d\" is refused",
        ),
        (
            "[session]\nmax_wires = 0",
            "w.toml:2: session.max_wires = 0 is refused",
        ),
        (
            "[session.max_sessions.admin]\nmax = 0",
            "w.toml:2: session.max_sessions.admin.max = 0 is refused",
        ),
        (
            "[session.max_sessions.root]\nmax = 1",
            "w.toml:1: session.max_sessions.root = \"root\" is not there yet",
        ),
        ("[tls]\ncert = \"a.pem\"", "tls.key is not set"),
        ("[tls]\nkey = \"a.key\"", "tls.cert is not set"),
        (
            "[upstream]\nurl = \"http://a:1/x\"",
            "w.toml:2: upstream.url = \"http://a:1/x\" is refused",
        ),
        (
            "[upstream]\nurl = \"http://u@a:1\"",
            "w.toml:2: upstream.url = \"http://u@a:1\" is refused",
        ),
        (
            "[upstream]\nurl = \"127.0.0.1:3000\"",
            "w.toml:2: upstream.url = ",
        ),
        (
            "[armour]\ncookies = [\"auto\", \"x\"]",
            "w.toml:2: armour.cookies = \"auto,x\" is refused",
        ),
        (
            "[armour]\ncookies = \"a b\"",
            "w.toml:2: armour.cookies = \"a b\" is refused",
        ),
        (
            "[armour]\ncookies = \"[\"",
            "w.toml:2: armour.cookies = \"[\" is refused",
        ),
        (
            "[armour.login]\npath = \"login\"",
            "w.toml:2: armour.login.path = \"login\" is refused",
        ),
        (
            "[vouch]\npaths = [\"/login\"]",
            "w.toml:2: vouch.paths = \"/login\" is refused",
        ),
        (
            "[vouch]\nmax_role = \"god\"",
            "w.toml:2: vouch.max_role = \"god\" is not there yet",
        ),
        (
            "[login]\nurl = \"//evil.example\"",
            "w.toml:2: login.url = \"//evil.example\" is refused",
        ),
        (
            "[[routes]]\npath = \"/a/../b\"",
            "w.toml:2: routes[0].path = \"/a/../b\" is refused",
        ),
        (
            "[[routes]]\npath = \"/a\"\npublic = true\nrole = \"user\"",
            "w.toml:3: routes[0].public = true is refused",
        ),
        (
            "[[routes]]\npath = \"/a\"\n[[routes]]\npath = \"/a\"",
            "w.toml:4: routes[1].path = \"/a\" is refused",
        ),
        (
            "[limits]\nheader_size = \"1KiB\"",
            "w.toml:2: limits.header_size = \"1KiB\" is refused",
        ),
        (
            "[limits]\nmax_streams = 0",
            "w.toml:2: limits.max_streams = 0 is refused",
        ),
        (
            "[store]\nurl = \"redis://a\"",
            "w.toml:2: store.url = \"redis://a\" is not there yet",
        ),
        (
            "[store]\nurl = \"sessions\"",
            "w.toml:2: store.url = \"sessions\" is refused",
        ),
        (
            "[log]\nfilter = \"a=b=c\"",
            "w.toml:2: log.filter = \"a=b=c\" is refused",
        ),
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found.first().unwrap().starts_with(start), "{found:?}");
    }
}

#[test]
fn danger_by_name_and_honest_values_pass() {
    for text in [
        "[session_token]\nsamesite = \"None\"\n[danger]\nsamesite_none = true",
        "[session_token]\nsecure_flag = false",
        "[listen]\naddr = \"0.0.0.0:443\"\nkind = \"edge\"",
        "[upstream]\nurl = \"http://127.0.0.1:3000\"",
        "[upstream]\nurl = \"http://[::1]:3000/\"",
        "[armour]\ncookies = \"auto\"",
        "[armour]\ncookies = [\"sessionid\", \"auth_*\"]",
        "[vouch]\npaths = [\"POST /login\"]\nmax_role = \"admin\"",
        "[store]\nurl = \"memory:\"",
        "[session_token]\nbound_to_ip = \"prefix\"",
        "[session_token]\nbound_to_ip = \"exact\"",
        "[session_token]\nbound_to_ip = \"log\"",
        "[upstream]\norigin = \"client\"",
        "[arrival]\nbounce = false\ncross_site_post = [\"/saml/acs\"]",
        "[[routes]]\npath = \"/a\"\nlisted = true\ntitle = \"A\"",
        "[[routes]]\npath = \"/admin\"\nrole = \"admin\"\nstrength = \"wire\"",
    ] {
        assert_eq!(problems(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_store_is_a_file_or_memory() {
    assert_eq!(
        StoreUrl::parse("file:x/y"),
        Some(StoreUrl::File("x/y".into()))
    );
    assert_eq!(
        StoreUrl::parse("file:///x"),
        Some(StoreUrl::File("/x".into()))
    );
    assert_eq!(StoreUrl::parse("memory:"), Some(StoreUrl::Memory));
    assert_eq!(StoreUrl::parse("file:"), None);
}

#[test]
fn a_moment_is_read_as_rfc_3339_writes_it_and_nothing_else_is() {
    let millis = |text: &str| moment(text).map(wirebound::Timestamp::as_millis);
    for (text, expected) in [
        ("1970-01-02", 86_400_000),
        ("2028-02-29", 1_835_395_200_000),
        ("2028-02-29T12:00:00Z", 1_835_438_400_000),
        ("2028-02-29t14:00:00.25+02:00", 1_835_438_400_000),
        ("2028-02-29 10:30:00-01:30", 1_835_438_400_000),
    ] {
        assert_eq!(millis(text), Some(expected), "{text}");
    }
    for text in [
        "",
        "tomorrow",
        "2027-02-29",
        "2027-13-01",
        "2027-00-01",
        "2027-01-00",
        "27-01-01",
        "2027-1-1",
        "2027/01/01",
        "2027-01-01T12:00",
        "2027-01-01T12:00:00",
        "2027-01-01T24:00:00Z",
        "2027-01-01T12:00:00.Z",
        "2027-01-01T12:00:00+2:00",
        "2027-01-01T12:00:00Zulu",
        "1969-12-31",
        "2027-01-01\u{e9}",
    ] {
        assert_eq!(millis(text), None, "{text}");
    }
}
