//! What the app counts, asked by a plain client.

use hyper::client::conn::http1;
use tokio::net::TcpStream;

use super::*;

async fn ask(
    members: &Members,
    method: &str,
    path: &str,
    sid: &str,
    body: &str,
) -> Response<Incoming> {
    let stream = TcpStream::connect(members.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "a.test")
        .header(COOKIE, format!("other=1; {COOKIE_NAME}={sid}"))
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    sender.send_request(request).await.unwrap()
}

async fn signed_in(members: &Members) -> String {
    let answer = ask(members, "POST", "/login", "", "name=alice").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly"));
    let sid = cookie
        .strip_prefix("sid=")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    sid.to_owned()
}

#[tokio::test]
async fn a_member_is_served_and_nobody_else() {
    let members = Members::start().await.unwrap();
    let sid = signed_in(&members).await;
    assert_eq!(
        ask(&members, "GET", "/m/api", &sid, "").await.status(),
        StatusCode::OK
    );
    assert_eq!(
        ask(&members, "GET", "/m/api", "forged", "").await.status(),
        StatusCode::UNAUTHORIZED
    );
    let counts = members.app().counts();
    assert_eq!((counts.sign_ins, counts.member, counts.lost()), (1, 1, 1));
}

#[tokio::test]
async fn a_thief_is_counted_apart_and_seen_when_served() {
    let members = Members::start().await.unwrap();
    let sid = signed_in(&members).await;
    ask(&members, "GET", "/m/api?thief=1", "", "").await;
    ask(&members, "GET", "/m/api?thief=2", &sid, "").await;
    let counts = members.app().counts();
    assert_eq!(
        (counts.thief_asked, counts.thief_served, counts.lost()),
        (2, 1, 0)
    );
}

#[tokio::test]
async fn a_post_that_arrives_twice_is_seen() {
    let members = Members::start().await.unwrap();
    let sid = signed_in(&members).await;
    for id in ["a", "b", "a"] {
        ask(&members, "POST", &format!("/m/api?id={id}"), &sid, "x").await;
    }
    assert_eq!(members.app().counts().doubled(), 1);
}

#[tokio::test]
async fn a_cut_answer_ends_early() {
    let members = Members::start().await.unwrap();
    let sid = signed_in(&members).await;
    let answer = ask(&members, "GET", "/m/cut", &sid, "").await;
    assert_eq!(answer.headers()["content-length"], "1000000");
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn the_mark_tells_the_apps_answers_from_the_gateways() {
    let members = Members::start().await.unwrap();
    for path in ["/", "/m/api", "/none"] {
        assert!(
            ask(&members, "GET", path, "", "")
                .await
                .headers()
                .contains_key(MARK),
            "{path}"
        );
    }
}
