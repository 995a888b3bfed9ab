//! Reads of values, with the stamps that they are compared with where these are not known.

use std::{pin::pin, time::Duration};

use redis::{Cmd, Pipeline, Value};
use tokio::time::{Instant, sleep_until};

use super::{
    super::{
        connection::after,
        failure::Failure,
        race::{Either, race},
        stamps::{self, Standing, TagKeys},
        wire::{self, Request, number},
    },
    Inner, first,
    judge::{Current, Judged, judge},
    left,
};
use crate::{
    error::Error,
    remote::{Got, ReadOf, ReadStamps, Tags},
};

impl Inner {
    pub(super) async fn get(
        &self,
        key: &str,
        tags: &Tags,
        within: Duration,
    ) -> Result<(Got, ReadStamps), Error> {
        let sent = Instant::now();
        let mut get = Cmd::with_capacity(2, 3 + key.len());
        get.arg("GET").arg(key);
        let known = self.connection.up().and_then(|live| {
            let reading = live.reading();
            let age = sent.saturating_duration_since(reading.sent);
            let now = reading.server_millis(sent);
            let tags = tags.known().filter(|_| age <= self.max_staleness)?;
            Some((live, Current { service: reading.stamp, tags: Some(tags) }, now))
        });
        let Some((live, current, now)) = known else {
            return Box::pin(self.get_with_stamps(get, tags, sent, within)).await;
        };
        let begun = self.connection.begin()?;
        let mut wire = live.wire.clone();
        let answered = {
            let sending = pin!(wire.send_packed_command(&get));
            match race(sending, sleep_until(after(sent, within))).await {
                Either::First(answered) => Some(wire::answer(answered)),
                Either::Second(()) => None,
            }
        };
        let value = self.connection.end(&begun, &live, within, answered);
        drop(begun);
        let Some(bytes) = bytes(value)? else {
            return Ok((Got::Nothing, None));
        };
        match judge(bytes, Some(now)) {
            // What is known here may be older than the value.
            Judged::Value(value) if !value.is_of(current) => {
                let within = left(within, sent);
                let (service, read) = Box::pin(self.current_stamps(tags, within)).await?;
                let current = Current { service, tags: read.as_deref() };
                Ok((Judged::Value(value).got(current), read))
            }
            judged => Ok((judged.got(current), None)),
        }
    }

    /// The value and the stamps on the same way.
    async fn get_with_stamps(
        &self,
        get: Cmd,
        tags: &Tags,
        sent: Instant,
        within: Duration,
    ) -> Result<(Got, ReadStamps), Error> {
        let mut all = Pipeline::new();
        // In this order: of a value that is newer than its stamps nobody could tell that it is.
        all.add_command(get);
        let keys = tags.keys();
        let tags = TagKeys::of(&keys);
        for command in self.read_stamps(&tags) {
            all.add_command(command);
        }
        let answer = self.connection.run(Request::Pipeline(all), within).await?;
        let (value, stamps) = first(answer)?;
        let service = self.noted_service(stamps.first(), sent)?;
        let read = tags.read(stamps.get(1)).of_all(&keys)?;
        let value = match value {
            Value::ServerError(error) => Err(Failure::of_server(&error)),
            value => Ok(value),
        };
        let Some(bytes) = bytes(value)? else {
            return Ok((Got::Nothing, read));
        };
        // Without one before, there is a connection by now.
        let judged = judge(bytes, self.server_millis(sent));
        let current = Current { service, tags: read.as_deref() };
        Ok((judged.got(current), read))
    }

    pub(super) async fn get_all(
        &self,
        reads: Vec<ReadOf>,
        within: Duration,
    ) -> Vec<Result<(Got, ReadStamps), Error>> {
        if reads.is_empty() {
            return Vec::new();
        }
        match self.try_get_all(&reads, within).await {
            Ok(answers) => answers.into_iter().map(|answer| answer.map_err(Error::from)).collect(),
            Err(failure) => reads.iter().map(|_| Err(failure.into())).collect(),
        }
    }

    async fn try_get_all(
        &self,
        reads: &[ReadOf],
        within: Duration,
    ) -> Result<Vec<Result<(Got, ReadStamps), Failure>>, Failure> {
        let sent = Instant::now();
        let known = self.connection.reading().filter(|reading| {
            let age = sent.saturating_duration_since(reading.sent);
            age <= self.max_staleness
        });
        // The tags of those whose stamps are read on the same way.
        let keys = |ReadOf { tags, .. }: &ReadOf| {
            let is_known = tags.known().is_some() && (known.is_some() || !tags.is_empty());
            if is_known { None } else { Some(tags.keys()) }
        };
        let keys: Vec<_> = reads.iter().map(keys).collect();
        let tags = TagKeys::of(keys.iter().flatten().flatten());
        let mut all = Pipeline::new();
        all.add_command(stamps::mget(reads.iter().map(|read| read.key.as_str())));
        let is_known = known.is_some() && keys.iter().all(Option::is_none);
        if !is_known {
            // In this order: of a value that is newer than its stamps nobody could tell that it is.
            for command in self.read_stamps(&tags) {
                all.add_command(command);
            }
        }
        let (values, read) = first(self.connection.run(Request::Pipeline(all), within).await?)?;
        let values = match values {
            Value::Array(values) if values.len() == reads.len() => values,
            Value::ServerError(error) => return Err(Failure::of_server(&error)),
            _ => return Err(Failure::Garbage),
        };
        let service = match known.filter(|_| is_known) {
            Some(reading) => reading.stamp,
            None => self.noted_service(read.first(), sent)?,
        };
        let standing = tags.read(read.get(1));
        let now = self.server_millis(sent);
        let mut doubtful = Vec::new();
        let answer = |(at, value): (usize, Value)| {
            let judged = match bytes(Ok(value))? {
                Some(bytes) => judge(bytes, now),
                None => Judged::Nothing,
            };
            let Some(keys) = &keys[at] else {
                let current = Current { service, tags: reads[at].tags.known() };
                return Ok(match judged {
                    // What is known here may be older than the value.
                    Judged::Value(value) if !value.is_of(current) => {
                        doubtful.push((at, value));
                        (Got::Nothing, None)
                    }
                    judged => (judged.got(current), None),
                });
            };
            let read = standing.of_all(keys)?;
            Ok((judged.got(Current { service, tags: read.as_deref() }), read))
        };
        let mut answers: Vec<_> = values.into_iter().enumerate().map(answer).collect();
        if !doubtful.is_empty() {
            let keys: Vec<_> = doubtful.iter().map(|(at, _)| reads[*at].tags.keys()).collect();
            let standing =
                self.standing(&TagKeys::of(keys.iter().flatten()), left(within, sent)).await;
            for ((at, value), keys) in doubtful.into_iter().zip(&keys) {
                let standing = standing.as_ref().map_err(|failure| *failure);
                answers[at] = standing.and_then(|(service, tags)| {
                    let read = tags.of_all(keys)?;
                    let current = Current { service: *service, tags: read.as_deref() };
                    Ok((Judged::Value(value).got(current), read))
                });
            }
        }
        Ok(answers)
    }

    /// The service's stamp, and those of these tags.
    async fn standing<'a>(
        &self,
        tags: &TagKeys<'a>,
        within: Duration,
    ) -> Result<(Option<u64>, Standing<'a>), Failure> {
        let sent = Instant::now();
        let mut all = Pipeline::new();
        for command in self.read_stamps(tags) {
            all.add_command(command);
        }
        let (service, read) = first(self.connection.run(Request::Pipeline(all), within).await?)?;
        Ok((self.noted_service(Some(&service), sent)?, tags.read(read.first())))
    }

    async fn current_stamps(
        &self,
        tags: &Tags,
        within: Duration,
    ) -> Result<(Option<u64>, ReadStamps), Failure> {
        let keys = tags.keys();
        let (service, tags) = self.standing(&TagKeys::of(&keys), within).await?;
        Ok((service, tags.of_all(&keys)?))
    }

    fn read_stamp(&self) -> Cmd {
        Cmd::new().arg("HGET").arg(&self.service_key).arg("stamp").take()
    }

    /// The service's, and those of tags that are kept there.
    pub(super) fn read_stamps(&self, tags: &TagKeys<'_>) -> Vec<Cmd> {
        [self.read_stamp()].into_iter().chain(tags.mget()).collect()
    }

    pub(super) fn noted_service(
        &self,
        answer: Option<&Value>,
        sent: Instant,
    ) -> Result<Option<u64>, Failure> {
        let stamp = match answer {
            None => return Err(Failure::Garbage),
            Some(Value::ServerError(error)) => return Err(Failure::of_server(error)),
            Some(answer) => number(answer),
        };
        self.connection.note(stamp, sent);
        Ok(stamp)
    }
}

/// The bytes of a key, none for a list of another program; `None` for no key.
fn bytes(answered: Result<Value, Failure>) -> Result<Option<Vec<u8>>, Failure> {
    match answered {
        Ok(Value::Nil) => Ok(None),
        Ok(Value::BulkString(bytes)) => Ok(Some(bytes)),
        Err(Failure::Refused("WRONGTYPE")) => Ok(Some(Vec::new())),
        Ok(_) => Err(Failure::Garbage),
        Err(failure) => Err(failure),
    }
}
