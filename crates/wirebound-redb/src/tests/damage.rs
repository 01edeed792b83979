//! Bytes that change under the store: an error or the right answer, never a wrong one.

use std::sync::Arc;

use wirebound::store::{Key, Space, Version};
use wirebound_testkit::store_contract::{Asked, at, make, put};

use super::tape::{CACHE, Recorder};
use crate::RedbStore;
use crate::disk::Refused;

fn key(name: u64) -> Key {
    Key::new(Space::Session, format!("{name:05}").as_bytes())
}

fn filled() -> Recorder {
    let recorder = Recorder::with_empty_store();
    let store = Asked(Arc::new(recorder.store()));
    for batch in 0..10 {
        let makes = (0..40)
            .map(|name| make(&key(batch * 40 + name), &[0x5a; 300], at(name)))
            .collect();
        store.commit(makes);
    }
    for name in 0..50 {
        store.commit(vec![put(&key(name * 3), 1, &[0xa5; 200], at(name))]);
    }
    recorder
}

#[test]
fn wrong_bytes_anywhere_in_the_file_are_an_error_or_change_nothing() {
    let recorder = filled();
    let expected = Asked(Arc::new(recorder.store())).everything();
    let sound = recorder.live();
    let (mut refused, mut same) = (0, 0);
    let mut dice = 7_u64;
    let mut roll = |below: usize| {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(dice >> 33).unwrap() % below
    };
    // Most of the file is empty: half of the damage is aimed at what is written.
    let written: Vec<usize> = (0..sound.len()).filter(|at| sound[*at] != 0).collect();
    for number in 0..600 {
        let mut image = sound.clone();
        let length = 1 << roll(13);
        let from = if number % 2 == 0 {
            roll(image.len())
        } else {
            written[roll(written.len())]
        };
        for byte in image.iter_mut().skip(from).take(length) {
            *byte ^= u8::try_from(1 + roll(255)).unwrap();
        }
        let damaged = Recorder::on(image.clone());
        match RedbStore::on(Box::new(damaged.clone()), CACHE) {
            Ok(store) => {
                assert_eq!(
                    Asked(Arc::new(store)).everything(),
                    expected,
                    "{length} bytes from {from}"
                );
                same += 1;
            }
            Err(Refused::Corrupt(_) | Refused::Io(_) | Refused::Format(_) | Refused::Foreign) => {
                assert_eq!(damaged.position(), 0, "a refused file was written to");
                assert_eq!(damaged.live(), image);
                refused += 1;
            }
            Err(Refused::Locked) => panic!("nobody holds it"),
        }
    }
    println!("{refused} refused, {same} the same");
    assert!(
        refused > 100 && same > 100,
        "{refused} refused, {same} the same"
    );
}

#[test]
fn a_file_that_was_cut_short_is_refused_and_left_alone() {
    let sound = filled().live();
    for part in 1..20 {
        let image = sound[..sound.len() * part / 20].to_vec();
        let cut = Recorder::on(image.clone());
        assert!(RedbStore::on(Box::new(cut.clone()), CACHE).is_err());
        assert_eq!(cut.live(), image);
    }
}

#[test]
fn two_rows_of_one_key_are_refused() {
    use redb::{Database, TableDefinition};
    let recorder = filled();
    let rows = TableDefinition::<u64, &[u8]>::new("rows");
    let mut second = Vec::new();
    let due = at(1);
    crate::row::encode(9_999, &key(7), Version::FIRST, due, b"x", &mut second);
    let database = Database::builder()
        .create_with_backend(recorder.clone())
        .unwrap();
    let write = database.begin_write().unwrap();
    write
        .open_table(rows)
        .unwrap()
        .insert(9_999, second.as_slice())
        .unwrap();
    write.commit().unwrap();
    drop(database);
    let before = recorder.live();
    let refused = RedbStore::on(Box::new(recorder.clone()), CACHE).unwrap_err();
    assert!(matches!(refused, Refused::Corrupt(found) if found.contains("two rows")));
    assert_eq!(recorder.live(), before);
}
