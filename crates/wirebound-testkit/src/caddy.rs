//! A real Caddy, which adds forwarding fields and keeps its connections.

use std::net::SocketAddr;

use anyhow::Result;

use crate::daemon::Daemon;

/// A running Caddy. Ended when dropped.
#[derive(Debug)]
pub struct Caddy(Daemon);

impl Caddy {
    /// Starts it with this text inside one site over plain HTTP.
    ///
    /// # Errors
    /// When it is not installed, refuses the configuration or does not listen in time.
    pub async fn start(site: &str) -> Result<Self> {
        let daemon = Daemon::start("caddy", |folder, address| {
            let text = format!(
                "{{\nadmin off\nauto_https off\ndefault_bind 127.0.0.1\n}}\n\
                 http://:{} {{\n{site}\n}}\n",
                address.port()
            );
            let file = folder.join("Caddyfile");
            std::fs::write(&file, text)?;
            let words = ["run", "--adapter", "caddyfile", "--config"];
            let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            words.push(file.display().to_string());
            Ok(words)
        });
        Ok(Self(daemon.await?))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What it printed, for a failing test's message.
    #[must_use]
    pub fn log(&self) -> String {
        self.0.log()
    }
}
