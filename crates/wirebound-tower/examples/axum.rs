//! An axum app that keeps its sessions on wires: `cargo run -p wirebound-tower --example axum`, then
//! `curl -k -b jar -c jar -L -d name=ada https://localhost:8443/login`. The same jar in a second curl is a copy.
//!
//! Everything is in memory and the certificate is made at the start: for looking at, not for building on.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example reads the clock and says where it listens"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use rustls::crypto::aws_lc_rs as crypto;
use wirebound::engine::Scope;
use wirebound::store::MemoryStore;
use wirebound::{
    Clock, Engine, Entropy, EntropyError, Keys, NodeSecret, Policy, Secret, Subject, Timestamp,
};
use wirebound_tower::gate::{
    Arrival, Gate, GateParts, Intent, Session, SignInIntent, no_machines, open_to_all, serve,
};
use wirebound_tower::listen::{Limits, Listener};
use wirebound_tower::tls::{Grants, Renewals, TicketKeys, Tls, TlsParts};
use wirebound_tower::{LogWitness, cookies::Names, refusal::Answers};

#[derive(Debug)]
struct System;

impl Clock for System {
    fn now(&self) -> Option<Timestamp> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(Timestamp::from_millis(u64::try_from(now.as_millis()).ok()?))
    }
}

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        let random = crypto::default_provider().secure_random;
        random.fill(bytes).map_err(|_| EntropyError::new())
    }
}

/// Believes everybody. A real app checks a password or a passkey here, and then says who it is.
async fn login(form: String) -> Response {
    let name = form.strip_prefix("name=").unwrap_or("somebody");
    let mut response = Redirect::to("/me").into_response();
    if let Ok(subject) = Subject::new(name.as_bytes()) {
        let intent = Intent::SignIn(SignInIntent::new(subject));
        response.extensions_mut().insert(intent);
    }
    response
}

async fn logout() -> Response {
    let mut response = Redirect::to("/").into_response();
    let intent = Intent::SignOut(Scope::Session);
    response.extensions_mut().insert(intent);
    response
}

/// Only a request that was proved to belong to a session comes here.
async fn me(Session(verified): Session) -> String {
    format!(
        "you are {}, by {}\n",
        verified.subject(),
        verified.strength().name()
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new()
        .route("/", get(|| async { "POST name=ada to /login\n" }))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/me", get(me));

    let (clock, entropy) = (Arc::new(System), Arc::new(System));
    let now = clock.now().ok_or("the clock cannot say")?;
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key =
        rustls::pki_types::PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
    let key = crypto::sign::any_supported_type(&key)?;
    let chain = vec![certificate.cert.der().clone()];
    let certified = rustls::sign::CertifiedKey::new(chain, key);
    let (grants, renewals) = (Arc::new(Grants::new()), Arc::new(Renewals::new()));
    let tls = Tls::new(TlsParts {
        listener: "edge".to_owned(),
        certificates: Arc::new(rustls::sign::SingleCertAndKey::from(certified)),
        keys: Arc::new(TicketKeys::generate(now, entropy.as_ref())?),
        grants: Arc::clone(&grants),
        renewals: Arc::clone(&renewals),
        clock: Arc::<System>::clone(&clock),
        entropy: Arc::<System>::clone(&entropy),
    })?;
    let secret = NodeSecret::new(1, Secret::draw(entropy.as_ref())?);
    let gate = Gate::new(GateParts {
        engine: Arc::new(Engine::new(
            Arc::new(MemoryStore::new()),
            Keys::new(&secret, None),
            Policy::default(),
            entropy,
            Arc::new(LogWitness::new()),
        )),
        clock,
        grants,
        renewals,
        names: Names::secure(),
        answers: Answers::default(),
        needs: open_to_all(),
        scopes: no_machines(),
        arrival: Arrival::default(),
        assertions: None,
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8443").await?;
    println!("https://localhost:8443/");
    let listener = Listener::new(listener, Arc::new(tls), Limits::default());
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, gate, app, stop).await;
    Ok(())
}
