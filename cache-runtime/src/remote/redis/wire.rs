//! One connection, and what can be sent over it.

use std::future::Future;

use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, Value,
    aio::MultiplexedConnection,
};
use tokio::{net::TcpStream, task::JoinHandle};

use super::{
    failure::Failure,
    scripts::{Command, Script},
    url::{Address, Place},
};

/// What is sent in one go.
#[derive(Clone)]
pub(crate) enum Request {
    Command(Cmd),
    /// Answered with an array, with the errors of the single commands in it.
    Pipeline(Pipeline),
    /// `EVALSHA`, and `EVAL` where the server does not know the script.
    Script(&'static Script, Cmd),
    /// As `Script`, and a command behind it on the same way: answered with an array of two, where
    /// an error of the command is an element, and one of the script is the answer to all.
    ScriptAnd(&'static Script, Cmd, Cmd),
}

impl Request {
    pub(crate) fn of(command: &impl Command) -> Self {
        Self::Script(command.script(), command.by_sha())
    }

    /// A call of a script, and a command on the same way.
    pub(crate) fn and(self, command: Cmd) -> Self {
        match self {
            Self::Script(script, call) => Self::ScriptAnd(script, call, command),
            other => other,
        }
    }
}

/// A call of a script by its name as a call with the script itself, for a server that has not
/// seen it.
fn whole(script: &Script, call: &Cmd) -> Cmd {
    let mut whole = Cmd::new();
    whole.arg("EVAL").arg(script.body);
    for argument in call.args_iter().skip(2) {
        if let redis::Arg::Simple(argument) = argument {
            whole.arg(argument);
        }
    }
    whole
}

/// A connection; a copy of it is the same.
pub(super) type Wire = MultiplexedConnection;

/// What reads and writes for a connection. Aborted when it is dropped: every command under way
/// fails then.
#[derive(Debug)]
pub(super) struct Driver(Option<JoinHandle<()>>);

impl Driver {
    /// Returns when the connection is gone.
    pub(super) async fn ended(&mut self) {
        if let Some(task) = &mut self.0 {
            // A driver does not panic, and if it did it would have ended as well.
            let _ = task.await;
            self.0 = None;
        }
    }

    /// Lets the commands under way come to their end.
    pub(super) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Takes what the server sends unasked, in order with its answers; must not block.
pub(super) type OnPush = Box<dyn Fn(PushInfo) + Send + Sync>;

/// Connects and logs in, without a limit in time. With `on_push` by RESP3.
pub(super) async fn open(
    address: &Address,
    on_push: Option<OnPush>,
) -> Result<(Wire, Driver), Failure> {
    let mut login = RedisConnectionInfo::default()
        .set_db(i64::from(address.database))
        .set_lib_name("larder", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &address.user {
        login = login.set_username(user);
    }
    if let Some(password) = &address.password {
        login = login.set_password(password);
    }
    // Every command has a deadline of its own here.
    let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
    if let Some(on_push) = on_push {
        login = login.set_protocol(ProtocolVersion::RESP3);
        config = config.set_push_sender(move |push| {
            on_push(push);
            Ok::<(), ()>(())
        });
    }
    match &address.place {
        Place::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await;
            let stream = stream.map_err(|_| Failure::Unavailable)?;
            // A command is small and has a caller that waits for it. Where it cannot be set it is
            // slower, no more.
            let _ = stream.set_nodelay(true);
            spawn(Wire::new_with_config(&login, stream, config)).await
        }
        #[cfg(unix)]
        Place::Socket(path) => {
            let stream = tokio::net::UnixStream::connect(path).await;
            let stream = stream.map_err(|_| Failure::Unavailable)?;
            spawn(Wire::new_with_config(&login, stream, config)).await
        }
        #[cfg(not(unix))]
        Place::Socket(_) => Err(Failure::Unavailable),
    }
}

async fn spawn<D: Future<Output = ()> + Send + 'static>(
    opening: impl Future<Output = redis::RedisResult<(Wire, D)>>,
) -> Result<(Wire, Driver), Failure> {
    let (wire, driver) = opening.await.map_err(|error| Failure::of_client(&error))?;
    Ok((wire, Driver(Some(tokio::spawn(driver)))))
}

/// Sends and waits for the answer, without a limit in time. Goes on in the server when it is
/// dropped, if it was sent.
pub(super) async fn send(mut wire: Wire, request: Request) -> Result<Value, Failure> {
    match request {
        Request::Command(command) => answer(wire.send_packed_command(&command).await),
        // In a place of its own, so that the state of the one command that a hit sends is small.
        other => Box::pin(send_other(wire, other)).await,
    }
}

async fn send_other(mut wire: Wire, request: Request) -> Result<Value, Failure> {
    match request {
        Request::Command(command) => answer(wire.send_packed_command(&command).await),
        Request::Pipeline(pipeline) => {
            let count = pipeline.len();
            let answers = wire.send_packed_commands(&pipeline, 0, count).await;
            answers.map(Value::Array).map_err(|error| Failure::of_client(&error))
        }
        Request::Script(script, call) => match answer(wire.send_packed_command(&call).await) {
            Err(Failure::Refused("NOSCRIPT")) => {
                answer(wire.send_packed_command(&whole(script, &call)).await)
            }
            answered => answered,
        },
        Request::ScriptAnd(script, call, command) => {
            match both(&mut wire, call.clone(), &command).await {
                Err(Failure::Refused("NOSCRIPT")) => {
                    both(&mut wire, whole(script, &call), &command).await
                }
                answered => answered,
            }
        }
    }
}

async fn both(wire: &mut Wire, call: Cmd, command: &Cmd) -> Result<Value, Failure> {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(call).add_command(command.clone());
    match wire.send_packed_commands(&pipeline, 0, 2).await {
        Ok(answers) => match answers.first() {
            Some(Value::ServerError(error)) => Err(Failure::of_server(error)),
            _ => Ok(Value::Array(answers)),
        },
        Err(error) => Err(Failure::of_client(&error)),
    }
}

pub(super) fn answer(answered: redis::RedisResult<Value>) -> Result<Value, Failure> {
    match answered {
        Ok(Value::ServerError(error)) => Err(Failure::of_server(&error)),
        Ok(value) => Ok(value),
        Err(error) => Err(Failure::of_client(&error)),
    }
}

/// The text of an answer.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// A number, which some commands answer as a number and some as text.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => text(value)?.parse().ok(),
    }
}
