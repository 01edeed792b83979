//! Checks assertions in another service, and knows at once which were called back.
//!
//! A gateway tells the services behind it who is there by signed assertions, which are good for minutes, whoever asks. A
//! [`Verifier`] checks one without a trip, and follows the gateway's feed of what was called back, so that a session that was
//! ended is refused by each service within moments. Where it does not know, it does not accept: it asks, or it refuses, as
//! the service chose ([`WhenStale`]).
//!
//! It needs the gateway's address, an API key of scope `feed` and, to ask, one of scope `introspect`. No other address is
//! ever spoken to. The time is the service's clock, which must be right to within the lease; `docs/verifier.md` says more.
//!
//! ```no_run
//! use std::time::Duration;
//! use wirebound_verify::{Refused, Verifier, WhenStale};
//!
//! # async fn run(feed_key: String, introspect_key: String, assertion: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder("https://gate.example", "https://orders.example")
//!     .feed_key(feed_key)
//!     .introspect_key(introspect_key)
//!     .policy(WhenStale::Ask)
//!     .lease(Duration::from_secs(10))
//!     .start()?;
//! verifier.ready().await;
//!
//! // For each request, with what stands in `Wirebound-Assertion`:
//! match verifier.check(assertion).await {
//!     Ok(checked) => println!("{} as {}", checked.claims.subject, checked.claims.role),
//!     Err(refused @ Refused::StoreUnavailable(_)) => println!("503: {refused}"),
//!     Err(refused) => println!("{}: {}", refused.status(), refused.name()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is refused at the start is told at the start:
//!
//! ```
//! use wirebound_verify::{NotBuilt, Verifier, WhenStale};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! const KEY: &str = "wbk_0123456789AB_0123456789abcdefghijABCDEFGHIJ0123456789abc000000";
//! let asking = Verifier::builder("https://gate.example", "https://orders.example")
//!     .feed_key(KEY)
//!     .policy(WhenStale::Ask)
//!     .start();
//! assert!(matches!(asking, Err(NotBuilt::IntrospectKey)), "it could not ask");
//!
//! let elsewhere = Verifier::builder("http://gate.example", "https://orders.example")
//!     .feed_key(KEY)
//!     .start();
//! assert!(matches!(elsewhere, Err(NotBuilt::Issuer(_))), "only over TLS");
//! # });
//! ```

mod ask;
mod backoff;
mod builder;
mod course;
mod follow;
mod keys;
mod known;
mod policy;
mod reach;
mod refused;
mod seen;
mod stream;
mod system;
mod verifier;

pub use builder::{Builder, NotBuilt, Trust, danger};
pub use course::Astray;
pub use policy::{Freshness, WhenStale};
pub use reach::Trouble;
pub use refused::{Refused, Unsure};
pub use system::SystemClock;
pub use verifier::{Checked, Knowledge, Verifier};

pub use wirebound::revocation::Place;
pub use wirebound::revocation::feed::NotHeard;
pub use wirebound_assertion::{Claims, Confirmation, Invalid};
