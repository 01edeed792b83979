//! What the tests need beside the toolchain: browsers, servers, makers of load, and what four real apps and a service in
//! Python stand on.
//!
//! Every part is looked for before anything is installed, so that a second run is quick and works
//! without a network.

use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

mod packages;
mod programs;

/// A part and how to install it.
type Part = (&'static str, fn(&ProgressBar) -> Result<()>);

const PARTS: [Part; 3] = [
    ("programs", programs::install),
    ("Django, Flask and PyJWT", packages::python),
    ("Express", packages::node),
];

/// Installs what is missing.
///
/// # Errors
/// When something is missing that cannot be installed here; the text says what to do by hand.
pub(crate) fn setup() -> Result<()> {
    let bar = ProgressBar::new(u64::try_from(PARTS.len())?);
    bar.set_style(ProgressStyle::with_template(
        "{spinner} [{pos}/{len}] {wide_msg}",
    )?);
    bar.enable_steady_tick(Duration::from_millis(100));
    for (name, install) in PARTS {
        bar.set_message(name);
        install(&bar)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("setup: everything is here");
    Ok(())
}
