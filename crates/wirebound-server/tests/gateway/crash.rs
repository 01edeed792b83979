//! `kill -9` in the middle of sign-ins and sign-outs: what was acknowledged stands, what was ended stays ended.

use std::sync::{Arc, Mutex};

use crate::app::App;
use crate::client::{Ask, Client, Http, OURS, sign_in};
use crate::process::{Gateway, until, within};

const VOUCHED: &str = "[vouch]\npaths = [\"POST /login\", \"POST /logout\"]\n";

/// What one client knows of itself when the gateway dies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Known {
    /// It asked for something and was not answered.
    #[default]
    Nothing,
    In,
    Out,
}

/// Signs in and out until the gateway is gone.
async fn go_on(
    client: Client,
    name: String,
    state: Arc<Mutex<Vec<Known>>>,
    number: usize,
) -> Vec<String> {
    let mut ended = Vec::new();
    let say = |known: Known| state.lock().unwrap()[number] = known;
    for round in 0.. {
        say(Known::Nothing);
        match client.try_ask(&sign_in(&name)).await {
            Ok(answer) => assert_eq!(answer.status, 303),
            Err(_) => break,
        }
        say(Known::In);
        if client.try_follow(Ask::get("/me")).await.is_err() {
            break;
        }
        let cookie = client.cookie(OURS).unwrap();
        // Every second client stays signed in after a while.
        if number.is_multiple_of(2) && round >= number / 2 {
            break;
        }
        say(Known::Nothing);
        match client.try_ask(&Ask::post("/logout", "x=1")).await {
            Ok(answer) => assert_eq!(answer.status, 303),
            Err(_) => break,
        }
        say(Known::Out);
        ended.push(cookie);
    }
    ended
}

#[tokio::test]
async fn a_kill_in_the_middle_loses_nothing_acknowledged_and_revives_nothing_ended() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    let clients: Vec<Client> = (0..24)
        .map(|number| {
            let http = if number % 3 == 0 {
                Http::One
            } else {
                Http::Two
            };
            Client::new(&gateway, http)
        })
        .collect();
    let mut seen = [0, 0, 0];
    for life in 0..3 {
        let state = Arc::new(Mutex::new(vec![Known::Nothing; clients.len()]));
        let tasks: Vec<_> = clients
            .iter()
            .enumerate()
            .map(|(number, client)| {
                let name = format!("person{number}");
                tokio::spawn(go_on(client.clone(), name, Arc::clone(&state), number))
            })
            .collect();
        let ended = || gateway.events("session_ended").len();
        let already = ended();
        until("a crowd", || ended() > already + 40).await;
        gateway.kill().await;
        let mut over = Vec::new();
        for task in tasks {
            over.push(within("a client", task).await.unwrap());
        }
        gateway.start_again().await;
        let known = state.lock().unwrap().clone();
        for (number, client) in clients.iter().enumerate() {
            client.hang_up().await;
            let me = client.get("/me").await.body;
            let own = format!("app=person{number} subject=person{number} role=user");
            let nobody = "app=nobody subject= role=";
            match known[number] {
                Known::In => assert_eq!(me, own, "life {life}, client {number} was signed in"),
                Known::Out => assert_eq!(me, nobody, "life {life}, client {number} was signed out"),
                Known::Nothing => assert!(me == own || me == nobody, "{me}"),
            }
            seen[match known[number] {
                Known::In => 0,
                Known::Out => 1,
                Known::Nothing => 2,
            }] += 1;
            for cookie in over[number].iter().rev().take(3) {
                let ask = Ask::get("/me").cookies(&format!("{OURS}={cookie}"));
                let body = client.other_connection().follow(ask).await.body;
                assert_eq!(body, nobody, "an ended session is back");
            }
        }
    }
    eprintln!(
        "at the kills: {} signed in, {} signed out, {} unanswered",
        seen[0], seen[1], seen[2]
    );
    assert!(seen[0] > 0, "somebody was signed in");
}

#[tokio::test]
async fn tickets_carry_a_session_over_a_restart_and_without_them_it_is_not_proved() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    for http in [Http::One, Http::Two] {
        let keeps = Client::new(&gateway, http);
        keeps.sign_in("alice").await;
        let forgets = Client::new(&gateway, http).without_tickets();
        forgets.follow(sign_in("bob")).await;
        assert!(forgets.get("/me").await.body.starts_with("app=bob"));
        let thief = keeps.thief(&gateway);
        gateway.kill().await;
        gateway.start_again().await;
        for client in [&keeps, &forgets] {
            client.hang_up().await;
        }
        assert_eq!(
            thief.get("/me").await.body,
            "app=nobody subject= role=",
            "a copy is worth nothing, also before the owner is back"
        );
        let resumed = within("connect", keeps.try_connect()).await.unwrap();
        assert!(resumed.resumed, "the ticket keys outlive the process");
        let me = keeps.get("/me").await.body;
        assert_eq!(me, "app=alice subject=alice role=user");
        assert_eq!(forgets.get("/me").await.body, "app=nobody subject= role=");
        assert_eq!(thief.get("/me").await.body, "app=nobody subject= role=");
    }
}
