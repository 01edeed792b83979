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
const NAMES: [&str; 2] = ["*.w.test", "localhost"];

pub(super) enum Front {
    Gateway(Box<Protected>),
    Bare(Box<Bare>),
}

pub(super) struct Protected {
    gateway: Gateway,
    authority: Authority,
    /// The server's certificate and key; the gateway reads them again when it is started again.
    _files: tempfile::TempDir,
}

impl Front {
    pub(super) async fn start(before: &Before, members: &Members) -> Result<Self> {
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
        let authority = Authority::new()?;
        let files = tempfile::tempdir()?;
        let (certificate, key) = authority.files(&NAMES, files.path())?;
        let mut setting = Setting::new(program, &members.url());
        setting.config.clone_from(config);
        let [certificate, key] = [certificate, key].map(|f| f.display().to_string());
        setting.arguments = vec!["--cert".to_owned(), certificate, "--key".to_owned(), key];
        setting.arguments.extend(arguments.iter().cloned());
        let gateway = Gateway::start(setting).await?;
        Ok(Self::Gateway(Box::new(Protected {
            gateway,
            authority,
            _files: files,
        })))
    }

    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Gateway(p) => p.gateway.address(),
            Self::Bare(bare) => bare.address(),
        }
    }

    pub(super) fn ca(&self) -> PathBuf {
        match self {
            Self::Gateway(p) => p.authority.file(),
            Self::Bare(bare) => bare.ca(),
        }
    }

    pub(super) fn events(&self) -> Vec<Event> {
        match self {
            Self::Gateway(p) => p.gateway.events(),
            Self::Bare(_) => Vec::new(),
        }
    }

    /// Stops or kills the gateway and starts it again. Where there is none, nothing happens.
    pub(super) async fn restart(&mut self, kill: bool) -> Result<()> {
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

    pub(super) async fn stop(&mut self) -> Result<()> {
        match self {
            Self::Gateway(p) => p.gateway.stop().await,
            Self::Bare(_) => Ok(()),
        }
    }
}
