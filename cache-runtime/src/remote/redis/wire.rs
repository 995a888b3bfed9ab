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
    /// As `Script`, several times, and other commands on the same way: answered with an array, with the
    /// errors of the single commands in it. An error of all calls of the script is the answer to all.
    Scripts {
        script: &'static Script,
        before: Vec<Cmd>,
        calls: Vec<Cmd>,
        behind: Vec<Cmd>,
    },
}

impl Request {
    pub(crate) fn of(command: &impl Command) -> Self {
        Self::Script(command.script(), command.by_sha())
    }

    /// All of these, which are one and the same script, and other commands behind them on the same way.
    pub(crate) fn all<C: Command>(commands: &[C], behind: Vec<Cmd>) -> Option<Self> {
        Self::scripts(Vec::new(), commands, behind)
    }

    /// The same, with the other commands before them.
    pub(crate) fn after<C: Command>(before: Vec<Cmd>, commands: &[C]) -> Option<Self> {
        Self::scripts(before, commands, Vec::new())
    }

    fn scripts<C: Command>(before: Vec<Cmd>, commands: &[C], behind: Vec<Cmd>) -> Option<Self> {
        let script = commands.first()?.script();
        let calls = commands.iter().map(Command::by_sha).collect();
        Some(Self::Scripts { script, before, calls, behind })
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
        Request::Pipeline(pipeline) => many(&mut wire, &pipeline).await.map(Value::Array),
        Request::Script(script, call) => match answer(wire.send_packed_command(&call).await) {
            Err(Failure::Refused("NOSCRIPT")) => {
                answer(wire.send_packed_command(&whole(script, &call)).await)
            }
            answered => answered,
        },
        Request::Scripts { script, before, calls, behind } => {
            let all = pipeline(before.iter().chain(&calls).chain(&behind));
            let mut answers = many(&mut wire, &all).await?;
            let of_calls = &mut answers[before.len()..before.len() + calls.len()];
            // Of those that ran nothing is to be repeated.
            let again: Vec<_> = (0..calls.len()).filter(|at| is_unknown(&of_calls[*at])).collect();
            if !again.is_empty() {
                let calls: Vec<_> = again.iter().map(|at| whole(script, &calls[*at])).collect();
                let repeated = many(&mut wire, &pipeline(&calls)).await?;
                for (at, answer) in again.into_iter().zip(repeated) {
                    of_calls[at] = answer;
                }
            }
            let refused = of_calls.iter().map(|answer| match answer {
                Value::ServerError(error) => Some(Failure::of_server(error)),
                _ => None,
            });
            match refused.collect::<Option<Vec<_>>>().as_deref() {
                Some([failure, ..]) => Err(*failure),
                _ => Ok(Value::Array(answers)),
            }
        }
    }
}

/// Whether the server did not know the script.
fn is_unknown(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "NOSCRIPT")
}

fn pipeline<'a>(commands: impl IntoIterator<Item = &'a Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command.clone());
    }
    pipeline
}

/// An answer to each.
async fn many(wire: &mut Wire, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
    let count = commands.len();
    let answers = wire.send_packed_commands(commands, 0, count).await;
    let answers = answers.map_err(|error| Failure::of_client(&error))?;
    if answers.len() == count { Ok(answers) } else { Err(Failure::Garbage) }
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
