//! A medium that remembers every step, so that power can be cut after any of them; that can fail, or stand still.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use redb::StorageBackend;

use crate::RedbStore;
use crate::disk;
use crate::medium::Medium;

/// Small, so that pages are really written and read.
pub(super) const CACHE: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// What goes wrong, and at which step from now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) after: usize,
    pub(super) kind: io::ErrorKind,
    pub(super) of_syncs: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tape {
    /// What was on the disk when the recording began.
    base: Vec<u8>,
    live: Vec<u8>,
    steps: Vec<Step>,
    fault: Option<Fault>,
    failed: usize,
    still: bool,
    /// Whether somebody wants to step while all stands still.
    waits: bool,
}

/// Bytes in memory, with their history.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<(Mutex<Tape>, Condvar)>);

/// As long as it is there, a step waits before it happens.
pub(super) struct Still<'a>(&'a Recorder);

impl Still<'_> {
    /// Returns when somebody wants to step.
    pub(super) fn until_a_step_waits(&self) {
        let (tape, turned) = &*self.0.0;
        // A bound for a store that is stuck: nothing is judged by how long it takes.
        let (tape, _) = turned
            .wait_timeout_while(tape.lock().unwrap(), Duration::from_secs(60), |tape| {
                !tape.waits
            })
            .unwrap();
        assert!(tape.waits, "the store wrote nothing");
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.0.tape().still = false;
        self.0.0.1.notify_all();
    }
}

impl Recorder {
    /// On a disk that holds these bytes, all synced.
    pub(super) fn on(base: Vec<u8>) -> Self {
        let tape = Tape {
            live: base.clone(),
            base,
            ..Tape::default()
        };
        Self(Arc::new((Mutex::new(tape), Condvar::new())))
    }

    /// The disk as the next process finds it if this one is killed now: nothing is lost, and what was not
    /// synced is not synced yet.
    pub(super) fn after_a_kill(base: Vec<u8>, unsynced: &[Step]) -> Self {
        let killed = Self::on(base);
        {
            let mut tape = killed.tape();
            for step in unsynced {
                tape.step(step.clone()).unwrap();
            }
        }
        killed
    }

    /// Lets nothing happen on the disk until what it gives is dropped.
    pub(super) fn still(&self) -> Still<'_> {
        let mut tape = self.tape();
        tape.still = true;
        tape.waits = false;
        drop(tape);
        Still(self)
    }

    fn step(&self, step: Step) -> io::Result<()> {
        let (tape, turned) = &*self.0;
        let mut tape = turned
            .wait_while(tape.lock().unwrap(), |tape| {
                if tape.still {
                    tape.waits = true;
                    turned.notify_all();
                }
                tape.still
            })
            .unwrap();
        tape.step(step)
    }

    /// With an empty store on it, and nothing recorded yet.
    pub(super) fn with_empty_store() -> Self {
        let maker = Self::default();
        disk::create(&maker, CACHE).unwrap();
        Self::on(maker.live())
    }

    pub(super) fn store(&self) -> RedbStore {
        RedbStore::on(Box::new(self.clone()), CACHE).unwrap()
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.0.0.lock().unwrap()
    }

    pub(super) fn live(&self) -> Vec<u8> {
        self.tape().live.clone()
    }

    /// How many steps there were.
    pub(super) fn position(&self) -> usize {
        self.tape().steps.len()
    }

    pub(super) fn fail(&self, fault: Option<Fault>) {
        let mut tape = self.tape();
        tape.fault = fault;
        tape.failed = 0;
    }

    /// How many steps failed.
    pub(super) fn failed(&self) -> usize {
        self.tape().failed
    }

    /// For every moment: the number of steps made, what was synced by then, and the steps that were not.
    pub(super) fn moments(&self, mut see: impl FnMut(usize, &[u8], &[Step])) {
        let (mut image, steps) = {
            let tape = self.tape();
            (tape.base.clone(), tape.steps.clone())
        };
        let mut synced = 0;
        for position in 0..=steps.len() {
            see(position, &image, &steps[synced..position]);
            if let Some(Step::Sync) = steps.get(position) {
                for step in &steps[synced..position] {
                    apply(&mut image, step);
                }
                synced = position + 1;
            }
        }
    }

    /// Every image that a loss of power could leave, for every moment from `from` on.
    ///
    /// What was synced is there. Of what was not, any part may be: nothing, everything, everything but one
    /// step, one step alone, a part of the last write, and some parts at random.
    pub(super) fn images(&self, from: usize, mut see: impl FnMut(usize, &str, Vec<u8>)) {
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
        self.moments(|position, synced, unsynced| {
            if position >= from {
                for (name, kept) in losses(unsynced, &mut dice) {
                    let mut cut = synced.to_vec();
                    for step in &kept {
                        apply(&mut cut, step);
                    }
                    see(position, &name, cut);
                }
            }
        });
    }
}

/// The ways in which steps that were not synced may be lost.
fn losses(unsynced: &[Step], dice: &mut u64) -> Vec<(String, Vec<Step>)> {
    let mut ways = vec![("none of it".to_owned(), Vec::new())];
    let Some((last, before)) = unsynced.split_last() else {
        return ways;
    };
    ways.push(("all of it".to_owned(), unsynced.to_vec()));
    ways.push(("the last step alone".to_owned(), vec![last.clone()]));
    if !before.is_empty() {
        ways.push(("all but the first".to_owned(), unsynced[1..].to_vec()));
        ways.push((
            "backwards".to_owned(),
            unsynced.iter().rev().cloned().collect(),
        ));
    }
    if let Step::Write(offset, bytes) = last {
        // A sector is written whole or not at all: the unit in which a write is torn.
        for at in [1, 64, 512, bytes.len() / 2, bytes.len().saturating_sub(512)] {
            if at > 0 && at < bytes.len() {
                let head = Step::Write(*offset, bytes[..at].to_vec());
                let tail = Step::Write(offset + u64::try_from(at).unwrap(), bytes[at..].to_vec());
                let with = |step: Step| [before, &[step]].concat();
                ways.push((format!("its head of {at}"), with(head)));
                ways.push((format!("its tail from {at}"), with(tail.clone())));
                ways.push((format!("its tail from {at} alone"), vec![tail]));
            }
        }
    }
    for _ in 0..2 {
        let kept = unsynced
            .iter()
            .filter(|_| {
                *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (*dice >> 40) & 1 == 0
            })
            .cloned()
            .collect();
        ways.push(("some of it".to_owned(), kept));
    }
    ways
}

fn apply(image: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(offset, bytes) => {
            let from = usize::try_from(*offset).unwrap();
            let to = from + bytes.len();
            if image.len() < to {
                image.resize(to, 0);
            }
            image[from..to].copy_from_slice(bytes);
        }
        Step::SetLen(len) => image.resize(usize::try_from(*len).unwrap(), 0),
        Step::Sync => {}
    }
}

impl Tape {
    fn step(&mut self, step: Step) -> io::Result<()> {
        if let Some(fault) = &mut self.fault
            && fault.of_syncs == matches!(step, Step::Sync)
        {
            if fault.after == 0 {
                self.failed += 1;
                return Err(fault.kind.into());
            }
            fault.after -= 1;
        }
        apply(&mut self.live, &step);
        self.steps.push(step);
        Ok(())
    }
}

impl Medium for Recorder {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.clone()))
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.tape().live.len()).unwrap())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let tape = self.tape();
        let from = usize::try_from(offset).unwrap();
        let bytes = tape
            .live
            .get(from..from + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(Step::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(Step::Write(offset, data.to_vec()))
    }
}
