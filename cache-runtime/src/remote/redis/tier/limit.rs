//! Steps of limits.

use super::{
    super::scripts::{self, Stepped},
    Inner,
};
use crate::{
    error::Error,
    limit::{Limited, Method},
    remote::Limiting,
};

impl Inner {
    pub(super) async fn limit(&self, ask: Limiting<'_>) -> Result<Limited, Error> {
        let Limiting { key, rule, step } = ask;
        match rule.0 {
            Method::Gcra(rule) => {
                let answer = self.run(&scripts::Gcra { key, rule, step }).await?;
                let Stepped { is_done, now, left } = answer.outcome;
                Ok(rule.stand(left, is_done, step, now))
            }
            Method::Window(rule) => {
                let answer = self.run(&scripts::Window { key, rule, step }).await?;
                let Stepped { is_done, now, left } = answer.outcome;
                Ok(rule.stand(left, is_done, step, now))
            }
        }
    }
}
