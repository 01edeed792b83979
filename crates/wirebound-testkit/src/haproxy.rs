//! A real HAProxy: a proxy that adds nothing, or one that passes TCP through.

use std::net::SocketAddr;

use anyhow::Result;

use crate::daemon::Daemon;

/// A running HAProxy. Ended when dropped.
#[derive(Debug)]
pub struct Haproxy(Daemon);

impl Haproxy {
    /// Starts it with these sections, where `LISTEN` stands for its address.
    ///
    /// # Errors
    /// When it is not installed, refuses the configuration or does not listen in time.
    pub async fn start(sections: &str) -> Result<Self> {
        let daemon = Daemon::start("haproxy", |folder, address| {
            let file = folder.join("haproxy.cfg");
            std::fs::write(&file, sections.replace("LISTEN", &address.to_string()))?;
            let words = ["-db", "-f"];
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
