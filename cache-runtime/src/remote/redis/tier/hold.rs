//! Holds of writers, and how they end.

use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::{
    super::{
        failure::Failure,
        scripts::{self, Answer},
        stamps::{Grant, TagKeys},
        wire::Request,
    },
    Inner, answer_of, left,
};
use crate::{
    error::Error,
    remote::{Hold, Settlement},
    sync::lock,
};

impl Inner {
    pub(super) async fn hold(
        &self,
        holds: &[Hold],
        term: Duration,
        still: bool,
    ) -> Vec<Result<(), Error>> {
        let sent = Instant::now();
        let not_after = self.not_after(sent, self.budget);
        let messages: Vec<_> = holds.iter().map(|hold| self.changed(&hold.key)).collect();
        let commands: Vec<_> = holds
            .iter()
            .zip(&messages)
            .map(|(Hold { key, token, .. }, message)| scripts::Hold {
                key,
                token: *token,
                term,
                not_after,
                is_renewal: still,
                channel: &self.service_key,
                message,
            })
            .collect();
        let keys = TagKeys::of(holds.iter().flat_map(|hold| &hold.tags));
        let mut first = None;
        let (answers, stamp, standing, at) = loop {
            // Before it, what a value is to carry: what is bumped once the hold has begun outdates it.
            let before = self.read_stamps(&keys);
            let count = before.len();
            let Some(request) = Request::after(before, &commands) else {
                return Vec::new();
            };
            let answered = self.connection.run(request, left(self.budget, sent)).await;
            let at = Instant::now();
            let (stamps, answers) = match answered {
                Ok(Value::Array(mut stamps)) if stamps.len() == count + holds.len() => {
                    let answers = stamps.split_off(count);
                    (stamps, answers)
                }
                answered => {
                    // They are held, but what they store nobody could tell from what is older.
                    if let Some((answers, stamp, at)) = first {
                        break (answers, stamp, keys.read(None), at);
                    }
                    let failure = answered.err().unwrap_or(Failure::Garbage);
                    return holds.iter().map(|_| Err(failure.into())).collect();
                }
            };
            // What cannot be read keeps a value from being stored, and no hold from being one.
            let stamp = self.noted_service(stamps.first(), sent).ok().flatten();
            let mut standing = keys.read(stamps.get(1));
            if first.is_none() && keys.iter().any(|key| standing.of(key).is_missing()) {
                // Held once more when they are made: from then on a bump is seen.
                self.seed(&keys, &mut standing, left(self.budget, sent)).await;
                first = Some((answers, stamp, at));
                continue;
            }
            break (answers, stamp, standing, at);
        };
        let held = |(hold, answer): (&Hold, Value)| {
            let read = standing.of_all(&hold.tags).ok().flatten();
            let tags = read.map(|read| hold.tags.iter().cloned().zip(read).collect());
            let Answer { now, outcome } = answer_of::<scripts::Hold<'_>>(answer)?;
            match outcome {
                scripts::Held::Late => Err(Error::Timeout { budget: self.budget }),
                // What it began with is what its value is to be stored with.
                scripts::Held::Alone | scripts::Held::Contended if still => Ok(()),
                scripts::Held::Alone | scripts::Held::Contended => {
                    self.grant(hold.token, Grant { stamp, tags, server: now, at });
                    Ok(())
                }
            }
        };
        holds.iter().zip(answers).map(held).collect()
    }

    pub(super) async fn settle(&self, settlements: Vec<Settlement>) -> Vec<Result<bool, Error>> {
        let mut kept = Vec::new();
        let encoded = |settlement: &Settlement| {
            // Without what its hold has read it is an invalidation.
            let grant = lock(&self.grants).remove(&settlement.hold.token)?;
            let value = settlement.value.as_ref()?;
            let encoded = self.encoded(&grant, value)?;
            kept.extend(self.kept.keep(&grant.tags?, value.servable()));
            Some((encoded, value.servable()))
        };
        let values: Vec<_> = settlements.iter().map(encoded).collect();
        let messages: Vec<_> =
            settlements.iter().map(|settlement| self.changed(&settlement.hold.key)).collect();
        let commands: Vec<_> = settlements
            .iter()
            .zip(&values)
            .zip(&messages)
            .map(|((Settlement { hold, .. }, value), message)| scripts::Settle {
                key: &hold.key,
                token: hold.token,
                value: match value {
                    Some((Ok(bytes), life)) => Some((bytes, *life)),
                    Some((Err(_), _)) | None => None,
                },
                channel: &self.service_key,
                message,
            })
            .collect();
        let (answers, _) = self.run_all(&commands, kept, self.budget).await;
        let answers = answers.into_iter().map(|answer| answer.map_err(Error::from));
        let settled = |((answer, value), settlement): ((_, _), &Settlement)| match (answer, value) {
            // It was not stored, and whoever put it learns why.
            (Ok(_), Some((Err(error), _))) => Err(error),
            // Nor was this, though its writer may have been alone.
            (Ok(_), None) if settlement.value.is_some() => Ok(false),
            (answer, _) => answer,
        };
        answers.zip(values).zip(&settlements).map(settled).collect()
    }
}
