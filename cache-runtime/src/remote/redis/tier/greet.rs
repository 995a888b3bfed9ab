//! What happens on a new connection before it is used.

use redis::Cmd;

use super::super::{
    connection::{Fresh, Greet, Greeting},
    failure::Failure,
    scripts::{self, Command, Policy},
    wire::{Request, text},
};

/// Meets a server: reads the service's stamp, makes one if there is none, and moves it if this
/// is not the server that was met last.
pub(super) struct Greeter {
    pub(super) service_key: String,
    pub(super) on_restart: Policy,
}

impl Greet for Greeter {
    fn greet<'a>(&'a self, fresh: &'a Fresh) -> Greeting<'a> {
        Box::pin(async move {
            let met = self.met(fresh).await?;
            // A login that may not ask who the server is changes nothing for those who may.
            let server = match fresh.server() {
                "" => met.as_deref().unwrap_or_default(),
                server => server,
            };
            let command =
                scripts::Service { key: &self.service_key, server, policy: self.on_restart };
            match fresh.run(Request::of(&command)).await {
                Ok(answer) => scripts::Service::answer(answer).map(drop).ok_or(Failure::Garbage),
                // It takes no writes: it can be read if there is nothing to write.
                Err(failure @ Failure::Refused("READONLY" | "OOM")) => {
                    let is_known = met.as_deref() == Some(server);
                    if is_known { Ok(()) } else { Err(failure) }
                }
                Err(failure) => Err(failure),
            }
        })
    }
}

impl Greeter {
    /// The server that was met last.
    async fn met(&self, fresh: &Fresh) -> Result<Option<String>, Failure> {
        let read = Cmd::new().arg("HGET").arg(&self.service_key).arg("server").take();
        match fresh.run(Request::Command(read)).await {
            Ok(answer) => Ok(text(&answer).map(str::to_owned)),
            // The script makes it a hash again.
            Err(Failure::Refused("WRONGTYPE")) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}
