use std::time::Instant;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::remote::Token;

/// Where a header with one stamp ends.
const ONE_STAMP: usize = 84;

const LIMIT: usize = 1 << 20;

fn header() -> Header {
    Header {
        created: 1_700_000_000_000,
        fresh_until: 1_700_000_060_000,
        stale_until: 1_700_000_120_000,
        servable_until: 1_700_000_180_000,
        refresh_until: 0,
        token: None,
        cost: 1_500,
        fingerprint: 0x0123_4567_89ab_cdef,
        stamps: Stamps::of_service(1_700_000_000_000_000),
        codec: Codec::Json,
        compression: Compression::None,
        negative: false,
        tagged: false,
    }
}

fn squeezed(compression: Compression) -> Header {
    Header { compression, ..header() }
}

fn built_in() -> impl Iterator<Item = Compression> {
    [Compression::Lz4, Compression::Zstd].into_iter().filter(|of| of.missing_feature().is_none())
}

/// Compresses well, and is longer than every threshold.
fn repetitive(length: usize) -> Vec<u8> {
    br#"{"id":42,"name":"Ada"},"#.iter().copied().cycle().take(length).collect()
}

/// A value that is compressed as the header says, with the length it claims.
fn forged(compression: Compression, length: u32, block: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    squeezed(compression).write(&mut blob);
    blob.extend_from_slice(&length.to_be_bytes());
    blob.extend_from_slice(block);
    blob
}

#[test]
fn the_layout_is_the_documented_one() {
    let stamps = Stamps::of_service(0x91).with_tag(0x92).unwrap();
    let header = Header {
        created: 0x11,
        fresh_until: 0x22,
        stale_until: 0x33,
        servable_until: 0x44,
        refresh_until: 0x55,
        token: Some(Token(0x6600_0000_0000_0000_0000_0000_0000_0066)),
        cost: 0x77,
        fingerprint: 0x88,
        stamps,
        codec: Codec::Postcard,
        compression: Compression::None,
        negative: true,
        tagged: true,
    };
    let blob = encode(&header, b"payload").unwrap();
    assert_eq!(blob[..4], [0x01, 1, 0b0011_0001, 2]);
    for (at, byte) in
        [(4, 0x11), (12, 0x22), (20, 0x33), (28, 0x44), (36, 0x55), (60, 0x77), (68, 0x88)]
    {
        assert_eq!(blob[at..at + 8], [0, 0, 0, 0, 0, 0, 0, byte], "at {at}");
    }
    assert_eq!(blob[44..60], [0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66]);
    assert_eq!(blob[76..92], [0, 0, 0, 0, 0, 0, 0, 0x91, 0, 0, 0, 0, 0, 0, 0, 0x92]);
    assert_eq!(blob[92..], *b"payload");
    assert_eq!(header.len(), 92);
}

#[test]
fn a_header_with_one_stamp_is_84_bytes() {
    assert_eq!(encode(&header(), b"").unwrap().len(), ONE_STAMP);
    assert_eq!(header().len(), ONE_STAMP);
}

#[test]
fn the_payload_of_an_uncompressed_value_is_not_copied() {
    let blob = encode(&header(), b"payload").unwrap();
    let Decoded::Value { payload: Cow::Borrowed(payload), .. } = decode(&blob, LIMIT) else {
        panic!("it was copied")
    };
    assert_eq!(payload, b"payload");
}

#[test]
fn the_awaited_flag_is_the_scripts_own() {
    let mut blob = encode(&header(), b"1").unwrap();
    let before = decode(&blob, LIMIT);
    assert!(matches!(before, Decoded::Value { .. }));
    let before = format!("{before:?}");
    blob[2] |= 1 << 6;
    assert_eq!(format!("{:?}", decode(&blob, LIMIT)), before);
}

#[test]
fn leases_and_holds_are_told_apart() {
    let lease = [[0, 1].as_slice(), &[7; 16]].concat();
    assert_eq!(decode(&lease, LIMIT), Decoded::Lease);
    let hold = [[2, 0].as_slice(), &[7; 24]].concat();
    assert_eq!(decode(&hold, LIMIT), Decoded::Hold);
    let contended = [[2, 1].as_slice(), &[7; 72]].concat();
    assert_eq!(decode(&contended, LIMIT), Decoded::Hold);
}

#[test]
fn a_lease_or_a_hold_of_another_length_is_foreign() {
    for length in (0..40).filter(|length| *length != 18) {
        let lease = [[0].as_slice(), &vec![7; length]].concat();
        assert_eq!(decode(&lease[..length], LIMIT), Decoded::Foreign, "a lease of {length}");
    }
    for length in (0..80).filter(|length| ![26, 50, 74].contains(length)) {
        let hold = [[2].as_slice(), &vec![7; length]].concat();
        assert_eq!(decode(&hold[..length], LIMIT), Decoded::Foreign, "a hold of {length}");
    }
}

#[test]
fn a_newer_format_is_newer_whatever_follows() {
    for format in 2..=255 {
        assert_eq!(decode(&[1, format], LIMIT), Decoded::Newer);
        let mut blob = encode(&header(), b"payload").unwrap();
        blob[1] = format;
        assert_eq!(decode(&blob, LIMIT), Decoded::Newer);
    }
}

#[test]
fn format_zero_is_foreign() {
    let mut blob = encode(&header(), b"payload").unwrap();
    blob[1] = 0;
    assert_eq!(decode(&blob, LIMIT), Decoded::Foreign);
}

#[test]
fn a_truncated_header_is_foreign() {
    let stamps = Stamps::of_service(1).with_tag(2).unwrap();
    let blob = encode(&Header { stamps, ..header() }, b"").unwrap();
    for length in 0..blob.len() {
        assert_eq!(decode(&blob[..length], LIMIT), Decoded::Foreign, "{length} bytes");
    }
}

#[test]
fn unknown_flags_are_foreign() {
    for flags in [0b10, 0b11, 0b1100, 1 << 7] {
        let mut blob = encode(&header(), b"payload").unwrap();
        blob[2] |= flags;
        assert_eq!(decode(&blob, LIMIT), Decoded::Foreign, "{flags:b}");
    }
}

#[test]
fn no_stamp_and_ten_stamps_are_foreign() {
    for count in [0, 10, 255] {
        let mut blob = encode(&header(), &[0; 4096]).unwrap();
        blob[3] = count;
        assert_eq!(decode(&blob, LIMIT), Decoded::Foreign, "{count} stamps");
    }
}

#[test]
fn there_is_room_for_the_stamps_of_eight_tags() {
    let mut stamps = Stamps::of_service(0);
    for tag in 1..=8 {
        stamps = stamps.with_tag(tag).unwrap();
    }
    assert_eq!(*stamps, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(stamps.with_tag(9), None);
}

#[test]
fn what_other_programs_store_is_foreign() {
    for foreign in ["", "{\"a\":1}", "null", "42", "\x01", "\x7fELF", "hello, world"] {
        assert_eq!(decode(foreign.as_bytes(), LIMIT), Decoded::Foreign, "{foreign}");
    }
}

#[test]
fn short_payloads_are_stored_as_they_are() {
    for (compression, threshold) in [(Compression::Lz4, 1024), (Compression::Zstd, 4096)] {
        if compression.missing_feature().is_some() {
            continue;
        }
        let of = |length| encode(&squeezed(compression), &repetitive(length)).unwrap().len();
        assert_eq!(of(threshold - 1), ONE_STAMP + threshold - 1);
        assert!(of(threshold) < ONE_STAMP + threshold / 2);
    }
}

#[test]
fn what_does_not_get_smaller_by_a_tenth_is_stored_as_it_is() {
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(64 << 10).collect();
    for compression in built_in() {
        let blob = encode(&squeezed(compression), &noise).unwrap();
        assert_eq!(blob, encode(&header(), &noise).unwrap());
    }
}

#[test]
fn a_compressed_value_is_read_back() {
    for compression in built_in() {
        let payload = repetitive(100_000);
        let blob = encode(&squeezed(compression), &payload).unwrap();
        assert!(blob.len() < payload.len() / 10);
        let expected =
            Decoded::Value { header: squeezed(compression), payload: Cow::Borrowed(&payload) };
        assert_eq!(decode(&blob, LIMIT), expected);
    }
}

#[test]
fn a_value_above_the_limit_is_not_compressed_where_nobody_could_read_it() {
    for compression in built_in() {
        let payload = vec![0; MAX_DECOMPRESSED + 1];
        let blob = encode(&squeezed(compression), &payload).unwrap();
        assert_eq!(blob.len(), ONE_STAMP + payload.len());
    }
}

#[test]
fn a_compression_that_is_not_built_in_is_an_error() {
    for compression in [Compression::Lz4, Compression::Zstd] {
        let encoded = encode(&squeezed(compression), b"short");
        match compression.missing_feature() {
            None => assert!(encoded.is_ok()),
            Some(feature) => {
                assert!(matches!(encoded, Err(EncodeError::Feature(of)) if of == feature));
                assert_eq!(decode(&forged(compression, 4, b"1234"), LIMIT), Decoded::Foreign);
            }
        }
    }
}

#[test]
fn a_bomb_that_tells_its_length_is_rejected() {
    for compression in built_in() {
        let payload = vec![0; LIMIT + 1];
        let blob = encode(&squeezed(compression), &payload).unwrap();
        assert!(blob.len() < 8 << 10);
        assert_eq!(decode(&blob, LIMIT), Decoded::Foreign);
        assert!(matches!(decode(&blob, LIMIT + 1), Decoded::Value { .. }));
    }
}

#[test]
fn a_bomb_that_lies_about_its_length_is_rejected() {
    for compression in built_in() {
        let blob = encode(&squeezed(compression), &vec![0; 8 << 20]).unwrap();
        let block = &blob[ONE_STAMP + 4..];
        for claimed in [0, 1, 100, 4096, 1 << 20, (8 << 20) - 1, (8 << 20) + 1, u32::MAX] {
            let forged = forged(compression, claimed, block);
            assert_eq!(decode(&forged, MAX_DECOMPRESSED), Decoded::Foreign, "{claimed}");
        }
    }
}

#[test]
fn a_few_bytes_that_claim_the_limit_are_rejected_before_anything_is_allocated() {
    // All of them would take minutes if each cleared 64 MiB.
    let started = Instant::now();
    for compression in built_in() {
        let blob = forged(compression, MAX_DECOMPRESSED as u32, &[0x1f; 64]);
        for _ in 0..10_000 {
            assert_eq!(decode(&blob, MAX_DECOMPRESSED), Decoded::Foreign);
        }
    }
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn a_compressed_value_that_lost_its_end_is_foreign() {
    for compression in built_in() {
        let blob = encode(&squeezed(compression), &repetitive(5_000)).unwrap();
        for length in 0..blob.len() {
            assert_eq!(decode(&blob[..length], LIMIT), Decoded::Foreign, "{length} bytes");
        }
    }
}

/// One of many bytes strings that a key may hold.
fn hostile(random: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let noise = |random: &mut fastrand::Rng, most| {
        let length = random.usize(..most);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect::<Vec<_>>()
    };
    let mut bytes = match random.u8(..8) {
        0 => noise(random, 40),
        // A header's beginning, then noise.
        1 | 2 => [[random.u8(..4), random.u8(..3)].as_slice(), &noise(random, 200)].concat(),
        3 => format!("{{\"id\":{},\"name\":\"x\"}}", random.u64(..)).into_bytes(),
        _ => seeds[random.usize(..seeds.len())].clone(),
    };
    if random.bool() && !bytes.is_empty() {
        bytes.truncate(random.usize(..bytes.len()));
    }
    for _ in 0..random.u8(..4) {
        if !bytes.is_empty() {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
        }
    }
    bytes
}

#[test]
fn a_million_hostile_inputs_are_decoded_without_a_panic() {
    let mut seeds = vec![
        [[0, 0].as_slice(), &[9; 16]].concat(),
        [[2, 0].as_slice(), &[9; 24]].concat(),
        [[2, 1].as_slice(), &[9; 48]].concat(),
        encode(&header(), b"{\"id\":42,\"name\":\"Ada\"}").unwrap(),
        encode(&header(), b"").unwrap(),
        encode(&Header { stamps: header().stamps.with_tag(5).unwrap(), ..header() }, b"1").unwrap(),
    ];
    for compression in built_in() {
        seeds.push(encode(&squeezed(compression), &repetitive(4_096)).unwrap());
    }
    let mut random = fastrand::Rng::with_seed(7);
    let mut counts = [0_u32; 5];
    for _ in 0..1_000_000 {
        let bytes = hostile(&mut random, &seeds);
        let (kind, bounded) = match decode(&bytes, 16 << 10) {
            Decoded::Value { header, payload } => {
                (0, payload.len() <= bytes.len().max(16 << 10) && !header.stamps.is_empty())
            }
            Decoded::Lease => (1, bytes.len() == 18 && bytes[0] == 0),
            Decoded::Hold => (2, bytes.len() > 2 && bytes.len() % 24 == 2 && bytes[0] == 2),
            Decoded::Newer => (3, bytes[0] == 1 && bytes[1] > 1),
            Decoded::Foreign => (4, true),
        };
        assert!(bounded, "{bytes:?}");
        counts[kind] += 1;
    }
    // Each of the states was met often enough to mean something.
    assert!(counts.iter().all(|count| *count > 5_000), "{counts:?}");
}

prop_compose! {
    fn headers()(
        times in prop::array::uniform5(any::<u64>()),
        token in any::<Option<u128>>(),
        (cost, fingerprint) in any::<(u64, u64)>(),
        stamps in prop::collection::vec(any::<u64>(), 1..=9),
        postcard in any::<bool>(),
        compression in prop::sample::select(
            built_in().chain([Compression::None]).collect::<Vec<_>>()
        ),
        (negative, tagged) in any::<(bool, bool)>(),
    ) -> Header {
        let [created, fresh_until, stale_until, servable_until, refresh_until] = times;
        let service = Stamps::of_service(stamps[0]);
        Header {
            created,
            fresh_until,
            stale_until,
            servable_until,
            refresh_until,
            token: token.filter(|token| *token != 0).map(Token),
            cost,
            fingerprint,
            stamps: stamps[1..].iter().fold(service, |all, tag| all.with_tag(*tag).unwrap()),
            codec: if postcard { Codec::Postcard } else { Codec::Json },
            compression,
            negative,
            tagged,
        }
    }
}

proptest! {
    #[test]
    fn every_value_is_read_back(
        header in headers(),
        payload in prop::collection::vec(any::<u8>(), 0..2_000),
        times in 1_usize..10,
    ) {
        // Repeated, it may get smaller.
        let payload = payload.repeat(times);
        let blob = encode(&header, &payload).unwrap();
        let Decoded::Value { header: read, payload: of } = decode(&blob, LIMIT) else {
            panic!("{header:?} is no value")
        };
        prop_assert!(read.compression == header.compression
            || read.compression == Compression::None);
        prop_assert_eq!(Header { compression: header.compression, ..read }, header);
        prop_assert_eq!(&*of, &payload[..]);
    }

    #[test]
    fn what_is_read_is_written_in_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = [[1, 1, 0, 1].as_slice(), &bytes].concat();
        if let Decoded::Value { header, payload } = decode(&bytes.clone(), LIMIT) {
            bytes[2] &= !(1 << 6);
            prop_assert_eq!(encode(&header, &payload).unwrap(), bytes);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    score: f64,
    tags: Vec<Option<char>>,
}

fn user() -> User {
    User { id: 42, name: "Ada \u{1f9c1}".into(), score: 0.1 + 0.2, tags: vec![Some('x'), None] }
}

fn codecs() -> impl Iterator<Item = Codec> {
    [Codec::Json, Codec::Postcard].into_iter().filter(|of| of.missing_feature().is_none())
}

#[test]
fn a_value_is_what_was_encoded() {
    for of in codecs() {
        let payload = codec::encode(of, &user()).unwrap();
        assert_eq!(codec::decode(of, &payload), Some(user()), "{of:?}");
    }
}

#[test]
fn trailing_bytes_are_no_value() {
    for of in codecs() {
        let mut payload = codec::encode(of, &user()).unwrap();
        payload.push(0);
        assert_eq!(codec::decode::<User>(of, &payload), None, "{of:?}");
    }
}

#[test]
fn a_payload_that_lost_its_end_is_no_value() {
    for of in codecs() {
        let payload = codec::encode(of, &user()).unwrap();
        for length in 0..payload.len() {
            assert_eq!(codec::decode::<User>(of, &payload[..length]), None, "{of:?}");
        }
    }
}

#[test]
fn a_value_that_serde_refuses_is_an_error_with_a_source() {
    struct Refuses;

    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it has no form"))
        }
    }

    for of in codecs() {
        let error = codec::encode(of, &Refuses).unwrap_err();
        assert!(matches!(error, EncodeError::Value(_)));
        assert!(error::Error::source(&error).is_some());
    }
}

#[test]
fn a_codec_that_is_not_built_in_is_an_error() {
    if Codec::Postcard.missing_feature() == Some("postcard") {
        let error = codec::encode(Codec::Postcard, &user()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it needs the feature `postcard` of `larder`, which is not enabled"
        );
        assert_eq!(codec::decode::<User>(Codec::Postcard, b"anything"), None);
    }
}

#[test]
fn a_short_payload_that_claims_a_long_list_is_no_value() {
    // The length comes first, and nothing is set aside for what cannot follow.
    assert_eq!(codec::decode::<Vec<u64>>(Codec::Postcard, &[0xff, 0xff, 0xff, 0xff, 0x0f]), None);
}
