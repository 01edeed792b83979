//! Every way in which somebody else's words could pass for the app's.

use http::header::HeaderName;

use super::*;

const OK: StatusCode = StatusCode::OK;

fn nonce() -> Nonce {
    Nonce::new([7; 16])
}

fn head(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    headers
}

fn with_nonce(fields: &[(&str, &str)]) -> Result<Vouched, Fault> {
    let nonce = nonce();
    let mut headers = head(fields);
    headers.insert("wirebound-re", nonce.as_str().parse().unwrap());
    read(OK, &headers, Some(&nonce))
}

fn vouching() -> Vouching {
    Vouching::new(
        &["POST /login", "GET /sso/callback"],
        &["guest", "user", "admin"],
        "user",
    )
    .unwrap()
}

#[test]
fn an_app_vouches_with_the_nonce_of_this_request() {
    let login = |subject: &[u8], role: Option<&str>| {
        Ok(Vouched::Login {
            subject: subject.to_vec(),
            role: role.map(str::to_owned),
        })
    };
    for (fields, expect) in [
        (&[("wirebound-login", "alice")][..], login(b"alice", None)),
        (
            &[("wirebound-login", "alice"), ("wirebound-role", "user")],
            login(b"alice", Some("user")),
        ),
        (
            &[("wirebound-login", "a%20b%3B%00%ff")],
            login(b"a b;\x00\xff", None),
        ),
        (
            &[("wirebound-elevate", "admin")],
            Ok(Vouched::Elevate {
                role: "admin".to_owned(),
            }),
        ),
        (
            &[("wirebound-logout", "session")],
            Ok(Vouched::Logout(Reach::Session)),
        ),
        (
            &[("wirebound-logout", "others")],
            Ok(Vouched::Logout(Reach::Others)),
        ),
        (
            &[("wirebound-logout", "all")],
            Ok(Vouched::Logout(Reach::All)),
        ),
        (&[], Ok(Vouched::Nothing { disbelieved: 0 })),
    ] {
        assert_eq!(with_nonce(fields), expect, "{fields:?}");
    }
}

#[test]
fn a_response_header_chosen_by_a_user_on_any_path_is_not_believed() {
    let headers = head(&[
        ("wirebound-login", "admin"),
        ("wirebound-role", "admin"),
        ("wirebound-re", "x"),
    ]);
    assert_eq!(
        read(OK, &headers, None),
        Ok(Vouched::Nothing { disbelieved: 2 })
    );
}

#[test]
fn a_wrong_or_missing_or_shortened_nonce_is_not_believed() {
    let nonce = nonce();
    let right = nonce.as_str().to_owned();
    let (short, upper) = (
        right.get(..31).unwrap(),
        right.to_uppercase().replace('7', "8"),
    );
    for re in ["", "x", short, &upper, &format!("{right}0")] {
        let headers = head(&[("wirebound-login", "admin"), ("wirebound-re", re)]);
        assert_eq!(
            read(OK, &headers, Some(&nonce)),
            Ok(Vouched::Nothing { disbelieved: 1 }),
            "{re}"
        );
    }
    let headers = head(&[("wirebound-login", "admin")]);
    assert_eq!(
        read(OK, &headers, Some(&nonce)),
        Ok(Vouched::Nothing { disbelieved: 1 })
    );
}

#[test]
fn the_nonce_of_another_request_is_not_believed() {
    let (mine, other) = (Nonce::new([1; 16]), Nonce::new([2; 16]));
    let headers = head(&[
        ("wirebound-login", "admin"),
        ("wirebound-re", other.as_str()),
    ]);
    assert_eq!(
        read(OK, &headers, Some(&mine)),
        Ok(Vouched::Nothing { disbelieved: 1 })
    );
}

#[test]
fn an_informational_or_cached_head_is_not_believed() {
    let nonce = nonce();
    let headers = head(&[
        ("wirebound-login", "admin"),
        ("wirebound-re", nonce.as_str()),
    ]);
    for status in [
        StatusCode::NOT_MODIFIED,
        StatusCode::EARLY_HINTS,
        StatusCode::CONTINUE,
    ] {
        assert_eq!(
            read(status, &headers, Some(&nonce)),
            Ok(Vouched::Nothing { disbelieved: 1 })
        );
    }
}

#[test]
fn a_role_injected_into_the_subject_is_a_fault() {
    for login in [
        "alice; role=admin",
        "alice, admin",
        "alice admin",
        "alice=1",
        "\"alice\"",
        "al/ice",
        "%",
        "%4",
        "%zz",
        "alice%",
    ] {
        assert_eq!(
            with_nonce(&[("wirebound-login", login)]),
            Err(Fault::Bytes(LOGIN)),
            "{login}"
        );
    }
    let nonce = nonce();
    let mut headers = head(&[("wirebound-re", nonce.as_str())]);
    headers.insert(
        "wirebound-login",
        http::HeaderValue::from_bytes(b"al\xc3\xa9").unwrap(),
    );
    assert_eq!(read(OK, &headers, Some(&nonce)), Err(Fault::Bytes(LOGIN)));
}

#[test]
fn two_lines_of_any_field_are_a_fault() {
    for name in [LOGIN, ROLE, ELEVATE, LOGOUT] {
        let fields = [(name, "user"), (name, "user")];
        assert_eq!(with_nonce(&fields), Err(Fault::Twice(name)));
    }
    let nonce = nonce();
    let headers = head(&[
        ("wirebound-re", nonce.as_str()),
        ("wirebound-re", "x"),
        ("wirebound-login", "alice"),
    ]);
    assert_eq!(read(OK, &headers, Some(&nonce)), Err(Fault::Twice(RE)));
}

#[test]
fn a_role_that_is_no_plain_word_is_a_fault() {
    for role in ["", "Admin", "user,admin", "user admin", "user;x"] {
        let fields = [("wirebound-login", "a"), ("wirebound-role", role)];
        assert_eq!(with_nonce(&fields), Err(Fault::Bytes(ROLE)), "{role}");
    }
    assert_eq!(
        with_nonce(&[("wirebound-logout", "everything")]),
        Err(Fault::Bytes(LOGOUT))
    );
}

#[test]
fn fields_that_contradict_each_other_are_a_fault() {
    for fields in [
        &[("wirebound-role", "user")][..],
        &[("wirebound-login", "a"), ("wirebound-logout", "all")],
        &[("wirebound-login", "a"), ("wirebound-elevate", "user")],
        &[("wirebound-elevate", "user"), ("wirebound-role", "user")],
        &[("wirebound-elevate", "user"), ("wirebound-logout", "all")],
    ] {
        assert_eq!(with_nonce(fields), Err(Fault::Contradiction), "{fields:?}");
    }
}

#[test]
fn a_subject_has_one_to_255_bytes() {
    let subject = |length: usize| with_nonce(&[("wirebound-login", &"%41".repeat(length))]);
    assert!(subject(1).is_ok() && subject(255).is_ok());
    assert_eq!(subject(256), Err(Fault::SubjectLength));
    assert_eq!(subject(0), Err(Fault::SubjectLength));
    let plain = "a".repeat(256);
    assert_eq!(
        with_nonce(&[("wirebound-login", &plain)]),
        Err(Fault::SubjectLength)
    );
}

#[test]
fn a_role_above_the_bound_is_refused_also_by_elevation() {
    let vouching = vouching();
    let login = |role: &str| Vouched::Login {
        subject: b"a".to_vec(),
        role: Some(role.to_owned()),
    };
    assert!(vouching.within(login("user")).is_ok());
    assert_eq!(vouching.within(login("admin")), Err(Fault::RoleAboveMax));
    assert_eq!(vouching.within(login("root")), Err(Fault::RoleUnknown));
    assert_eq!(
        vouching.within(Vouched::Elevate {
            role: "admin".to_owned()
        }),
        Err(Fault::RoleAboveMax)
    );
    assert!(vouching.within(Vouched::Logout(Reach::All)).is_ok());
}

#[test]
fn only_the_exact_method_and_path_vouch() {
    let vouching = vouching();
    assert!(vouching.covers(&Method::POST, "/login"));
    assert!(vouching.covers(&Method::GET, "/sso/callback"));
    for (method, path) in [
        (Method::GET, "/login"),
        (Method::POST, "/login/"),
        (Method::POST, "/LOGIN"),
        (Method::POST, "/x/login"),
        (Method::POST, "//login"),
        (Method::POST, "/login;x"),
        (Method::POST, "/%6cogin"),
    ] {
        assert!(!vouching.covers(&method, path), "{method} {path}");
    }
    assert!(!Vouching::default().covers(&Method::POST, "/login"));
}

#[test]
fn a_list_entry_that_could_match_more_than_it_says_is_refused() {
    for entry in [
        "/login",
        "POST login",
        "post /login",
        "POST /login*",
        "POST /a//b",
        "POST /../a",
        "ANY /a",
        "POST /a?b",
    ] {
        assert!(
            Vouching::new(&[entry], &["user"], "user").is_err(),
            "{entry}"
        );
    }
    assert!(Vouching::new(&[], &["user"], "admin").is_err());
}

#[test]
fn a_nonce_does_not_print() {
    let nonce = nonce();
    assert_eq!(nonce.as_str().len(), 32);
    assert_eq!(format!("{nonce:?}"), "Nonce(..)");
}
