//! The book of guests: who goes first, and what is remembered of whoever went.

use super::*;

fn id(number: u32) -> SessionId {
    let mut bytes = [0; 10];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    SessionId::from_bytes(bytes)
}

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn the_newest_but_the_newcomer_goes_first() {
    let mut book = Book::default();
    for number in 0..4 {
        book.sit(id(number), at(u64::from(number)), None);
    }
    assert_eq!(newest(&book.by_age, id(3)), Some(id(2)));
    assert_eq!(newest(&book.by_age, id(9)), Some(id(3)));
    book.displace(id(2));
    assert_eq!(newest(&book.by_age, id(3)), Some(id(1)));
    assert!(book.is_void(&id(2), at(1)) && !book.is_void(&id(1), at(1)));
}

#[test]
fn sitting_down_twice_and_rising_twice_leave_nothing_behind() {
    let mut book = Book::default();
    let place = Some(place("2001:db8::1".parse().unwrap()));
    book.sit(id(1), at(1), place);
    book.sit(id(1), at(2), None);
    assert_eq!((book.seats.len(), book.by_age.len()), (1, 1));
    assert_eq!(book.rise(id(1)), Some(at(1)));
    assert_eq!(book.rise(id(1)), None);
    assert!(book.seats.is_empty() && book.by_age.is_empty() && book.places.is_empty());
}

#[test]
fn the_lines_of_one_network_are_one_place() {
    let of = |text: &str| place(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
}

#[test]
fn what_is_remembered_of_the_displaced_is_bounded_and_what_is_forgotten_is_void() {
    let mut book = Book::default();
    let many = u32::try_from(DISPLACED).unwrap() + 100;
    for number in 0..many {
        book.sit(id(number), at(1000 + u64::from(number)), None);
        book.displace(id(number));
    }
    assert_eq!(book.displaced.len(), DISPLACED);
    assert_eq!(book.displaced_ids.len(), DISPLACED);
    // The first ones are not remembered by name, so all cookies of their time are void; later ones are not.
    assert!(book.is_void(&id(0), at(999)) && book.is_void(&id(many), at(1099)));
    assert!(!book.is_void(&id(many), at(1100)));
    assert!(book.is_void(&id(many - 1), at(2_000_000)));
    // Who went longer ago than a sealed cookie lives is forgotten without any harm to others.
    let late = 10_000 + SEALED_LIFE.as_millis() * 2;
    book.sit(id(many), at(late), None);
    book.displace(id(many));
    assert_eq!(book.displaced.len(), 1);
    assert!(!book.is_void(&id(many + 1), at(late)));
}
