//! What the bytes of a key are to a reader.

use std::{borrow::Cow, time::Duration};

use super::super::scripts::SEEN;
use crate::{
    blob::{self, Decoded, Stamps},
    remote::{Found, Got, Payload, Rejected},
};

/// What the bytes of a key were when they were asked for, which was `now` by the server's clock:
/// whether or not a value among them is of the current stamp.
pub(super) fn judge(bytes: Vec<u8>, now: Option<u64>) -> Judged {
    let seen = |bytes: &[u8]| Rejected(bytes.get(..SEEN).unwrap_or(bytes).to_vec());
    let (header, unpacked) = match blob::decode(&bytes, blob::MAX_DECOMPRESSED) {
        Decoded::Lease | Decoded::Hold => return Judged::Nothing,
        Decoded::Newer => return Judged::Newer,
        Decoded::Foreign => return Judged::Foreign(seen(&bytes)),
        Decoded::Value { header, payload: Cow::Borrowed(_) } => (header, None),
        Decoded::Value { header, payload: Cow::Owned(payload) } => (header, Some(payload)),
    };
    // While the server's time is not known, LEASE decides.
    let Some(now) = now else {
        return Judged::Nothing;
    };
    let payload = match unpacked {
        None => Payload::behind(header.len(), bytes),
        Some(payload) => Payload::unpacked(payload, seen(&bytes)),
    };
    let left = |until: u64| Duration::from_millis(until.saturating_sub(now));
    let since = |then: u64| Duration::from_millis(now.saturating_sub(then));
    Judged::Value(Judgement {
        stamps: header.stamps,
        is_servable: now < header.servable_until,
        pause: left(header.refresh_until),
        is_refreshed: header.token.is_some(),
        found: Found {
            payload,
            codec: header.codec,
            negative: header.negative,
            fingerprint: header.fingerprint,
            age: since(header.created),
            life: left(header.fresh_until),
            overdue: since(header.fresh_until),
            stale: left(header.stale_until),
            cost: Duration::from_micros(header.cost),
        },
    })
}

/// What the bytes of a key are to a reader.
#[allow(clippy::large_enum_variant, reason = "a hit is the large one, and costs no allocation")]
pub(super) enum Judged {
    /// Also a lease or a hold.
    Nothing,
    Value(Judgement),
    Newer,
    Foreign(Rejected),
}

pub(super) struct Judgement {
    stamps: Stamps,
    /// It counts as absent otherwise.
    is_servable: bool,
    /// For so long somebody refreshes it, or nobody does.
    pub(super) pause: Duration,
    pub(super) is_refreshed: bool,
    pub(super) found: Found,
}

/// The stamps that stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Current<'a> {
    pub(super) service: Option<u64>,
    /// `None` if one is lost or held: then no value is good.
    pub(super) tags: Option<&'a [u64]>,
}

impl Judgement {
    /// Whether these are its stamps: as many, and each the same.
    pub(super) fn is_of(&self, current: Current<'_>) -> bool {
        match (current, &*self.stamps) {
            (Current { service: Some(service), tags: Some(tags) }, [first, others @ ..]) => {
                service == *first && tags == others
            }
            _ => false,
        }
    }
}

impl Judged {
    /// What a reader gets, by the stamps that stand.
    pub(super) fn got(self, current: Current<'_>) -> Got {
        match self {
            Self::Value(value) if !value.is_of(current) => Got::Rejected(value.found.seen()),
            Self::Value(value) if !value.is_servable => Got::Nothing,
            Self::Value(value) => Got::Found(value.found),
            Self::Foreign(seen) => Got::Rejected(seen),
            Self::Nothing => Got::Nothing,
            Self::Newer => Got::Newer,
        }
    }
}
