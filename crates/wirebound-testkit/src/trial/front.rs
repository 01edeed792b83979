//! What stands in front of the app during a trial, gateway or nothing, behind one face.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use super::Before;
use crate::authority::Authority;
use crate::bare::Bare;
use crate::gateway::{Event, Gateway, Setting};
use crate::members::Members;

/// Names that the certificate is for: made-up hosts, so that each sign-in can be a first visit.
pub(crate) const NAMES: [&str; 2] = ["*.w.test", "localhost"];

pub(crate) enum Front {
    Gateway(Box<Protected>),
    Bare(Box<Bare>),
}

pub(crate) struct Protected {
    gateway: Gateway,
    authority: Authority,
    /// The server's certificate and key; the gateway reads them again when it is started again.
    _files: tempfile::TempDir,
}

impl Protected {
    /// The gateway with a certificate for the trial's names; all else is the setting's.
    pub(crate) async fn start(setting: Setting) -> Result<Self> {
        Self::under(Authority::new()?, setting).await
    }

    /// The same, with a certificate of an authority that others have certificates of too.
    pub(crate) async fn under(authority: Authority, mut setting: Setting) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let (certificate, key) = authority.files(&NAMES, files.path())?;
        let [certificate, key] = [certificate, key].map(|f| f.display().to_string());
        let own = ["--cert".to_owned(), certificate, "--key".to_owned(), key];
        setting.arguments.splice(0..0, own);
        let gateway = Gateway::start(setting).await?;
        Ok(Self {
            gateway,
            authority,
            _files: files,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.authority.file()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.gateway.events()
    }
}

impl Front {
    pub(crate) async fn start(before: &Before, members: &Members) -> Result<Self> {
        let Before::Gateway {
            program,
            config,
            arguments,
        } = before
        else {
            return Ok(Self::Bare(Box::new(
                Bare::start(members.app(), &NAMES).await?,
            )));
        };
        let mut setting = Setting::new(program, &members.url());
        setting.config.clone_from(config);
        setting.arguments.clone_from(arguments);
        Ok(Self::Gateway(Box::new(Protected::start(setting).await?)))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Gateway(p) => p.address(),
            Self::Bare(bare) => bare.address(),
        }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        match self {
            Self::Gateway(p) => p.ca(),
            Self::Bare(bare) => bare.ca(),
        }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        match self {
            Self::Gateway(p) => p.events(),
            Self::Bare(_) => Vec::new(),
        }
    }

    /// What the gateway logged; nothing where there is none.
    pub(crate) fn log_text(&self) -> String {
        match self {
            Self::Gateway(p) => p.gateway.log_text(),
            Self::Bare(_) => String::new(),
        }
    }

    /// Stops or kills the gateway and starts it again. Where there is none, nothing happens.
    pub(crate) async fn restart(&mut self, kill: bool) -> Result<()> {
        let Self::Gateway(protected) = self else {
            return Ok(());
        };
        let gateway = &mut protected.gateway;
        if kill {
            gateway.kill().await?;
        } else {
            gateway.stop().await?;
        }
        gateway.start_again().await
    }

    /// Starts the gateway after [`Self::stop`].
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        match self {
            Self::Gateway(p) => p.gateway.start_again().await,
            Self::Bare(_) => Ok(()),
        }
    }

    /// The gateway's data folder; where there is no gateway, none.
    pub(crate) fn data(&self) -> PathBuf {
        match self {
            Self::Gateway(p) => p.gateway.folder(),
            Self::Bare(_) => PathBuf::new(),
        }
    }

    pub(crate) async fn stop(&mut self) -> Result<()> {
        match self {
            Self::Gateway(p) => p.gateway.stop().await,
            Self::Bare(_) => Ok(()),
        }
    }
}
