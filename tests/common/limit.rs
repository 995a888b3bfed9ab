//! Limits of the server.

use larder::{
    __private::{Limited, Limiting},
    Error,
};

use super::{At, Process, Verb};

impl Process {
    pub(super) async fn step(&self, ask: Limiting<'_>) -> Result<Limited, Error> {
        let Limiting { key, rule, step } = ask;
        self.log("LIMIT", key);
        self.pass(Verb::Limit, At::Sent).await?;
        let limited = {
            let now = self.server.micros();
            let taken = &mut self.server.world.lock().unwrap().taken;
            let (left, limited) = rule.decide(taken.remove(key), step, now);
            taken.extend(left.map(|state| (key.to_owned(), state)));
            limited
        };
        self.pass(Verb::Limit, At::Answered).await?;
        Ok(limited)
    }
}
