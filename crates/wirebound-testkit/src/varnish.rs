//! A real Varnish: a cache that speaks plain HTTP on both sides.

use std::net::SocketAddr;

use anyhow::Result;

use crate::daemon::Daemon;

/// A running Varnish. Ended when dropped.
#[derive(Debug)]
pub struct Varnish(Daemon);

impl Varnish {
    /// Starts it before the server at `behind`, with these further subroutines of its language.
    ///
    /// # Errors
    /// When it is not installed, refuses the configuration or does not listen in time.
    pub async fn start(behind: SocketAddr, subroutines: &str) -> Result<Self> {
        let daemon = Daemon::start("varnishd", |folder, address| {
            let (host, port) = (behind.ip(), behind.port());
            let text = format!(
                "vcl 4.1;\nbackend default {{ .host = \"{host}\"; .port = \"{port}\"; }}\n{subroutines}\n"
            );
            let file = folder.join("cache.vcl");
            std::fs::write(&file, text)?;
            let words = ["-F", "-j", "none", "-T", "none", "-s", "malloc,16m", "-a"];
            let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            words.extend([address.to_string(), "-f".to_owned()]);
            words.push(file.display().to_string());
            words.extend(["-n".to_owned(), folder.join("work").display().to_string()]);
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
