//! A real nginx: what an operator may have in front of the gateway, or between it and its clients.

use std::net::SocketAddr;

use anyhow::Result;

use crate::daemon::Daemon;

/// A running nginx, one process. Ended when dropped.
#[derive(Debug)]
pub struct Nginx(Daemon);

impl Nginx {
    /// Starts it with this text inside its `http` block, where `LISTEN` stands for its address.
    ///
    /// # Errors
    /// When it is not installed, refuses the configuration or does not listen in time.
    pub async fn start(http: &str) -> Result<Self> {
        let daemon = Daemon::start("nginx", |folder, address| {
            let inside = http.replace("LISTEN", &address.to_string());
            // The whole text is ours: nothing of the machine's own configuration is read.
            let text = format!(
                "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr warn;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\naccess_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\n\
                 fastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n{inside}\n}}\n"
            );
            let file = folder.join("nginx.conf");
            std::fs::write(&file, text)?;
            let words = ["-e", "stderr", "-p"];
            let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            words.extend([folder.display().to_string(), "-c".to_owned()]);
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
