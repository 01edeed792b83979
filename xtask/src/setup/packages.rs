//! What the apps stand on that the gateway is tried with, from the registries of their languages: Django and Flask
//! in a virtual environment, beside what the Python service in `examples` stands on, Express in a folder of its own. Versions
//! are fixed, down to the last.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use crate::root;
use crate::run::{find, silent, typed};

/// Django and Flask, each with all that it stands on.
const PYTHON_PACKAGES: [&str; 10] = [
    "django==5.2.19",
    "asgiref==3.9.1",
    "sqlparse==0.5.3",
    "flask==3.1.3",
    "blinker==1.9.0",
    "click==8.5.1",
    "itsdangerous==2.2.0",
    "jinja2==3.1.6",
    "markupsafe==3.0.4",
    "werkzeug==3.1.9",
];

/// What the service in Python stands on, as whoever tries it installs it.
const PYTHON_SERVICE: &str = "examples/verifier-python/requirements.txt";

/// Where the Express app and its lock file are.
const EXPRESS: &str = "crates/wirebound-testkit/apps/express";

/// What npm needs to install; the app itself is run from where it is.
const NODE_FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// Makes the virtual environment, unless it is there with just these versions.
///
/// # Errors
/// When it cannot be made, or a package cannot be had.
pub(crate) fn python(bar: &ProgressBar) -> Result<()> {
    let folder = root().join("target/real/venv");
    let python = folder.join("bin/python");
    let service = root().join(PYTHON_SERVICE);
    let wanted = std::fs::read_to_string(&service)
        .with_context(|| service.display().to_string())?
        + &PYTHON_PACKAGES.join("\n");
    let note = Note(folder.join("wirebound-setup.txt"));
    if note.tells(&wanted) && python.is_file() {
        return Ok(());
    }
    bar.set_message("a Python environment");
    if let Err(error) = environment(&folder) {
        bail!(
            "{error:#}\nOn Debian the package python3-venv may be missing: apt-get install python3-venv"
        );
    }
    bar.set_message(format!("Python packages: {}", PYTHON_PACKAGES.join(" ")));
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet"]);
    install
        .arg("--disable-pip-version-check")
        .args(PYTHON_PACKAGES)
        .arg("-r")
        .arg(&service);
    silent(&mut install).with_context(|| format!("to try by hand: {}", typed(&install)))?;
    note.write(&wanted)
}

fn environment(folder: &Path) -> Result<()> {
    let python = find("python3").unwrap_or_else(|| PathBuf::from("python3"));
    silent(
        Command::new(python)
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )
}

/// Installs what Express's lock file names, unless that was done already.
///
/// # Errors
/// When a file cannot be copied or npm fails.
pub(crate) fn node(bar: &ProgressBar) -> Result<()> {
    let folder = root().join("target/real/express");
    let lock = root().join(EXPRESS).join("package-lock.json");
    let wanted = std::fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
    let note = Note(folder.join("wirebound-setup.txt"));
    if note.tells(&wanted) && folder.join("node_modules/express").is_dir() {
        return Ok(());
    }
    bar.set_message("Node packages: express, express-session");
    std::fs::create_dir_all(&folder)?;
    for file in NODE_FILES {
        std::fs::copy(root().join(EXPRESS).join(file), folder.join(file))?;
    }
    let mut install = Command::new("npm");
    install.args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]);
    silent(install.current_dir(&folder)).with_context(|| {
        format!(
            "to try by hand, in {}: {}",
            folder.display(),
            typed(&install)
        )
    })?;
    note.write(&wanted)
}

/// Tells a later run what is installed. Written last: a run that was broken off does everything again.
struct Note(PathBuf);

impl Note {
    fn tells(&self, wanted: &str) -> bool {
        std::fs::read_to_string(&self.0).is_ok_and(|had| had == wanted)
    }

    fn write(&self, wanted: &str) -> Result<()> {
        std::fs::write(&self.0, wanted).with_context(|| self.0.display().to_string())
    }
}
