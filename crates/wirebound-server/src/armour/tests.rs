//! What passes, what does not, and what an operator hears of it.

use proptest::prelude::*;

use super::*;

fn at(path: &str) -> Place<'_> {
    Place::new("app.example", path, false, 1000)
}

fn cookies(line: &str) -> HeaderMap {
    HeaderMap::from_iter([(COOKIE, line.parse().unwrap())])
}

fn answer(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(SET_COOKIE, line.parse().unwrap());
    }
    headers
}

fn auto() -> Armour {
    Armour::new(Names::parse(&["auto"]).unwrap())
}

fn signed_in(armour: &Armour) -> Vault {
    let mut headers = answer(&["my_sid=real; HttpOnly; Path=/"]);
    armour
        .take(&mut headers, &Vault::default(), &at("/"))
        .unwrap()
        .vault
}

fn sent(armour: &Armour, line: &str, vault: Option<&Vault>) -> String {
    let mut headers = cookies(line);
    armour.rebuild(&mut headers, vault, &at("/"));
    headers
        .get(COOKIE)
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

#[test]
fn the_browser_never_gets_an_armoured_cookie_and_the_upstream_gets_it_back() {
    let armour = auto();
    let mut headers = answer(&["sessionid=abc; HttpOnly; Path=/", "csrftoken=x; Path=/"]);
    let taken = armour
        .take(&mut headers, &Vault::default(), &at("/login"))
        .unwrap();
    assert_eq!(
        headers.get_all(SET_COOKIE).iter().collect::<Vec<_>>(),
        ["csrftoken=x; Path=/"]
    );
    assert_eq!(
        (taken.removed, taken.batch.first, taken.notices.len()),
        (1, true, 0)
    );
    let back = sent(
        &armour,
        "csrftoken=x; __Host-wirebound=w1.a.b",
        Some(&taken.vault),
    );
    assert_eq!(back, "sessionid=abc; csrftoken=x");
    assert_eq!(sent(&armour, "csrftoken=x", None), "csrftoken=x");
}

#[test]
fn a_deletion_without_httponly_is_still_the_armoured_cookies() {
    let armour = auto();
    let vault = signed_in(&armour);
    let mut headers =
        answer(&["my_sid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/"]);
    let taken = armour.take(&mut headers, &vault, &at("/logout")).unwrap();
    assert!(taken.batch.gone && taken.vault.is_empty() && headers.is_empty());
}

#[test]
fn a_clients_copy_of_an_armoured_name_never_passes_in_any_spelling() {
    let armour = auto();
    let vault = signed_in(&armour);
    for copy in [
        "my_sid=stolen",
        "my.sid=stolen",
        "my-sid=stolen",
        "my sid=stolen",
        "my[sid=stolen",
        "my_sid[]=stolen",
        "MY_SID=stolen",
        "my%5Fsid=stolen",
        "my%255fsid=stolen",
        "my_sid =stolen",
        "my_sid",
        "=my_sid=stolen",
        "$Version=1; my_sid=stolen",
        "x=\"; my_sid=stolen; y=\"",
        "x=1,my_sid=stolen",
        "x=1, my.sid=stolen",
    ] {
        assert_eq!(sent(&armour, copy, None), "", "{copy} without a proof");
        assert_eq!(
            sent(&armour, copy, Some(&vault)),
            "my_sid=real",
            "{copy} with a proof"
        );
    }
    let mut headers = HeaderMap::new();
    headers.insert(
        COOKIE,
        HeaderValue::from_bytes(b"\xe2\x80\x80my_sid=stolen; \xa0my_sid=stolen").unwrap(),
    );
    armour.rebuild(&mut headers, None, &at("/"));
    assert!(headers.is_empty());
}

#[test]
fn a_session_id_stolen_before_the_gateway_came_does_not_pass() {
    let armour = auto();
    for copy in [
        "sessionid=x",
        "JSESSIONID=x",
        "PHPSESSID=x",
        "connect.sid=x",
        "remember_me=x",
        ".AspNetCore.Cookies=x",
        "wordpress_logged_in_0123=x",
        "_shop_session=x",
    ] {
        assert_eq!(sent(&armour, copy, None), "", "{copy}");
    }
    assert_eq!(
        sent(&armour, "theme=dark; csrftoken=y", None),
        "theme=dark; csrftoken=y"
    );
}

#[test]
fn names_seen_armoured_are_known_after_a_restart() {
    let before = auto();
    signed_in(&before);
    let after = auto();
    assert_eq!(sent(&after, "my_sid=stolen", None), "my_sid=stolen");
    assert!(after.remember(before.seen().iter().map(String::as_str)));
    assert_eq!(sent(&after, "my_sid=stolen", None), "");
}

#[test]
fn listed_names_and_patterns_are_armoured_from_the_start() {
    let armour = Armour::new(Names::parse(&["app.sid", "remember_*"]).unwrap());
    for copy in [
        "app.sid=x",
        "app_sid=x",
        "remember_web_1=x",
        "REMEMBER-ME=x",
    ] {
        assert_eq!(sent(&armour, copy, None), "", "{copy}");
    }
    let mut headers = answer(&["app.sid=1", "other=2; HttpOnly"]);
    let taken = armour
        .take(&mut headers, &Vault::default(), &at("/"))
        .unwrap();
    assert_eq!(taken.removed, 1);
    let name = "other".to_owned();
    assert_eq!(
        taken.notices,
        [Notice::Unarmoured {
            name,
            wider_domain: false
        }]
    );
    assert!(
        armour
            .take(&mut headers, &Vault::default(), &at("/"))
            .unwrap()
            .notices
            .is_empty(),
        "once per name"
    );
    for bad in ["", "a b", "a=b", "a;b", "[a]", "a{b}"] {
        assert!(Names::parse(&[bad]).is_err(), "{bad}");
    }
}

#[test]
fn a_cookie_for_other_hosts_as_well_is_left_and_spoken_of() {
    let armour = auto();
    let mut headers = answer(&["sso=1; HttpOnly; Domain=example"]);
    let taken = armour
        .take(&mut headers, &Vault::default(), &at("/"))
        .unwrap();
    assert_eq!((taken.removed, headers.len()), (0, 1));
    assert_eq!(
        taken.notices,
        [Notice::Unarmoured {
            name: "sso".to_owned(),
            wider_domain: true
        }]
    );
    let wide = "sessionid=1; HttpOnly; Domain=example";
    assert_eq!(sent(&armour, "sessionid=1", None), "");
    armour
        .take(&mut answer(&[wide]), &Vault::default(), &at("/"))
        .unwrap();
    assert_eq!(
        sent(&armour, "sessionid=1", None),
        "sessionid=1",
        "the app could not sign in otherwise"
    );
    let listed = Armour::new(Names::parse(&["sessionid"]).unwrap());
    let taken = listed
        .take(&mut answer(&[wide]), &Vault::default(), &at("/"))
        .unwrap();
    assert_eq!(
        (
            taken.removed,
            sent(&listed, "sessionid=2", Some(&taken.vault))
        ),
        (1, "sessionid=1".to_owned())
    );
}

#[test]
fn old_copies_are_expired_at_first_sight() {
    let armour = auto();
    let mut headers = cookies("sessionid=old; theme=dark; sessionid=older; session%69d=x");
    let rebuilt = armour.rebuild(&mut headers, None, &at("/"));
    assert_eq!(rebuilt.stale, ["sessionid", "session%69d"]);
    assert_eq!(rebuilt.dropped, 3);
    let mut out = HeaderMap::new();
    expire(&mut out, &rebuilt.stale[..1], "app.example", true);
    assert_eq!(
        out.get_all(SET_COOKIE).iter().collect::<Vec<_>>(),
        [
            "sessionid=; Path=/; Max-Age=0; HttpOnly; Secure",
            "sessionid=; Path=/; Domain=app.example; Max-Age=0; HttpOnly; Secure"
        ]
    );
}

#[test]
fn a_vaulted_value_in_the_head_is_a_leak() {
    let armour = auto();
    let mut headers = answer(&["sessionid=0123456789abcdef; HttpOnly"]);
    headers.insert("x-debug-session", "id=0123456789abcdef".parse().unwrap());
    let taken = armour
        .take(&mut headers, &Vault::default(), &at("/"))
        .unwrap();
    assert_eq!(
        taken.notices,
        [Notice::Leak {
            name: "sessionid".to_owned()
        }]
    );
}

#[test]
fn an_answer_over_a_bound_is_refused_with_the_name() {
    let armour = auto();
    let mut headers = answer(&[&format!("sessionid={}; HttpOnly", "x".repeat(5000))]);
    let refused = armour
        .take(&mut headers, &Vault::default(), &at("/"))
        .unwrap_err();
    assert_eq!(refused, TooMuch::Cookie("sessionid".to_owned()));
}

#[test]
fn an_app_with_endless_names_cannot_fill_the_memory() {
    let armour = auto();
    let mut full = false;
    for number in 0..REMEMBERED * 2 {
        let mut headers = answer(&[&format!("n{number}=1; HttpOnly")]);
        let taken = armour
            .take(&mut headers, &Vault::default(), &at("/"))
            .unwrap();
        assert_eq!(taken.removed, 1);
        full |= taken.notices.contains(&Notice::TooManyNames);
    }
    assert!(full);
    assert_eq!(armour.seen().len(), REMEMBERED);
}

#[test]
fn without_armour_cookies_pass_as_they_are_but_ours_never() {
    let armour = Armour::new(Names::parse(&[]).unwrap());
    assert_eq!(
        sent(&armour, "sessionid=1; q=\"a\"; wirebound=x", None),
        "sessionid=1; q=\"a\""
    );
    let mut headers = answer(&["sessionid=1; HttpOnly"]);
    let taken = armour
        .take(&mut headers, &Vault::default(), &at("/"))
        .unwrap();
    assert_eq!(
        (taken.removed, headers.len(), taken.notices.len()),
        (0, 1, 0)
    );
}

proptest! {
    /// Whatever surrounds it and however it is spelt, the vaulted name reaches the upstream once: with the vault's value.
    #[test]
    fn the_upstream_sees_the_vaults_value_alone(
        before in "[a-z]{1,5}=[ -~&&[^;]]{0,12}",
        separator in prop::sample::select(vec![".", "_", "-", " ", "[", "%5f", "%2E", "%20", "+"]),
        upper in any::<bool>(),
        after in "[ -~]{0,20}",
    ) {
        let armour = auto();
        let vault = signed_in(&armour);
        let name = format!("my{separator}sid");
        let name = if upper { name.to_uppercase() } else { name };
        let line = sent(&armour, &format!("{before}; {name}=stolen-value; {after}"), Some(&vault));
        prop_assert!(line.starts_with("my_sid=real"), "{}", line);
        prop_assert!(!line.contains("stolen-value"), "{}", line);
    }
}
