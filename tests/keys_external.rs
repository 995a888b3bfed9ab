//! Key parts of other crates, by the features of their names.

#![cfg(all(feature = "uuid", feature = "chrono", feature = "time"))]

use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc};
use larder::{KeyPart, cached};
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};
use uuid::Uuid;

#[cached(ttl = 60, key = "one:{value}", skip(T))]
async fn one<T: KeyPart + fmt::Debug>(value: T) -> String {
    format!("{value:?}")
}

fn assert_told_apart<T: KeyPart + Copy + PartialEq + fmt::Debug>(values: &[T]) {
    for left in values {
        for right in values {
            let [of_left, of_right] = [one(*left).key(), one(*right).key()];
            assert_eq!(left == right, of_left == of_right, "{left:?}, {right:?}: {of_left}");
            assert!(!of_left["one:".len()..].contains([':', '{', '}']), "{of_left}");
        }
    }
}

#[test]
fn a_uuid_is_written_as_people_write_it() {
    let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    assert_eq!(one(id).key(), "one:01234567-89ab-cdef-0123-456789abcdef");
    assert_told_apart(&[id, Uuid::nil(), Uuid::max()]);
}

#[test]
fn moments_of_chrono_are_told_apart() {
    let day = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();
    let before = NaiveDate::from_ymd_opt(-2026, 3, 1).unwrap();
    assert_told_apart(&[day, before, day.succ_opt().unwrap(), NaiveDate::MIN, NaiveDate::MAX]);

    let second = NaiveTime::from_hms_opt(23, 59, 59).unwrap();
    let leap = NaiveTime::from_hms_nano_opt(23, 59, 59, 1_000_000_000).unwrap();
    assert_told_apart(&[second, leap, NaiveTime::MIN]);
    assert_told_apart(&[day.and_time(second), day.and_time(leap), before.and_time(second)]);
    let deltas = [TimeDelta::zero(), TimeDelta::nanoseconds(-1), TimeDelta::nanoseconds(1)];
    assert_told_apart(&deltas);
    assert_told_apart(&[TimeDelta::milliseconds(-1500), TimeDelta::milliseconds(-1499)]);

    let moment: DateTime<Utc> = day.and_time(second).and_utc();
    assert_told_apart(&[moment, moment + TimeDelta::nanoseconds(1)]);
}

#[test]
fn one_moment_at_two_offsets_is_two_keys_in_chrono() {
    let moment = DateTime::<Utc>::UNIX_EPOCH;
    let at = |hours| moment.with_timezone(&FixedOffset::east_opt(hours * 3600).unwrap());
    // They are equal, but a function may well show them, and then they are not.
    assert_eq!(at(0), at(1));
    assert_ne!(one(at(0)).key(), one(at(1)).key());
    assert_eq!(one(at(0)).key(), one(moment).key());
}

#[test]
fn moments_of_time_are_told_apart() {
    let day = Date::from_calendar_date(2026, Month::March, 1).unwrap();
    let before = Date::from_calendar_date(-2026, Month::March, 1).unwrap();
    assert_told_apart(&[day, before, day.next_day().unwrap(), Date::MIN, Date::MAX]);

    let second = Time::from_hms(23, 59, 59).unwrap();
    assert_told_apart(&[second, Time::from_hms_nano(23, 59, 59, 1).unwrap(), Time::MIDNIGHT]);
    assert_told_apart(&[
        PrimitiveDateTime::new(day, second),
        PrimitiveDateTime::new(before, second),
        PrimitiveDateTime::new(day, Time::MIDNIGHT),
    ]);
    assert_told_apart(&[Duration::ZERO, Duration::nanoseconds(-1), Duration::MIN, Duration::MAX]);
    let offset = |hours| UtcOffset::from_hms(hours, 0, 0).unwrap();
    assert_told_apart(&[UtcOffset::UTC, offset(1), offset(-1)]);
}

#[test]
fn one_moment_at_two_offsets_is_two_keys_in_time() {
    let moment = OffsetDateTime::UNIX_EPOCH;
    let at = |hours| moment.to_offset(UtcOffset::from_hms(hours, 0, 0).unwrap());
    assert_eq!(at(0), at(1));
    assert_ne!(one(at(0)).key(), one(at(1)).key());
}
