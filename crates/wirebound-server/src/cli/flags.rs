//! The flags that `serve` and `demo` share, each a key of the configuration.

use std::path::PathBuf;

use clap::Args;
use toml::Value;

use crate::config::Setting;

#[derive(Clone, Debug, Default, Args)]
pub(super) struct GatewayFlags {
    /// Where clients connect [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
    /// `edge` if the peers are the clients, `behind` if they are a proxy; needed for anything but loopback
    #[arg(long, value_name = "KIND")]
    pub(super) listen_kind: Option<String>,
    /// The app: http://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Option<String>,
    /// Keep these cookies of the app from the browser: `auto`, or a name or glob; may be repeated
    #[arg(long, value_name = "auto|NAME")]
    pub(super) armour: Vec<String>,
    /// Which proofs count: balanced, strict, portable, bearer [default: balanced]
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<String>,
    /// Where sessions are kept: `file:PATH` or `memory:` [default: file:sessions, in the data folder]
    #[arg(long, value_name = "URL")]
    pub(super) store: Option<String>,
    /// The folder of keys and sessions [default: $XDG_STATE_HOME/wirebound or ~/.local/state/wirebound]
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Certificate chain, PEM; without it a local authority is made
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Say where the local authority's certificate is and how to trust it, and stop
    #[arg(long)]
    pub(super) print_ca: bool,
    /// `text` or `json` [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
}

impl GatewayFlags {
    /// What was given, as settings of the configuration.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let text = |key, flag, value: &Option<String>| {
            value
                .as_ref()
                .map(|value| Setting::new(key, flag, value.as_str()))
        };
        let path = |key, flag, value: &Option<PathBuf>| {
            value
                .as_ref()
                .map(|value| Setting::new(key, flag, value.to_string_lossy().into_owned()))
        };
        let armour = (!self.armour.is_empty()).then(|| {
            let names: Vec<_> = self
                .armour
                .iter()
                .map(|name| Value::from(name.as_str()))
                .collect();
            Setting::new("armour.cookies", "--armour", names)
        });
        [
            text("listen.addr", "--listen", &self.listen),
            text("listen.kind", "--listen-kind", &self.listen_kind),
            text("upstream.url", "--upstream", &self.upstream),
            armour,
            text("session.preset", "--preset", &self.preset),
            text("store.url", "--store", &self.store),
            path("data_dir", "--data-dir", &self.data_dir),
            path("tls.cert", "--cert", &self.cert),
            path("tls.key", "--key", &self.key),
            text("log.format", "--log-format", &self.log_format),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
