//! A network that does what a test says: a proxy before a server on this machine.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::{future::pending, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// What becomes of the bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They arrive.
    Pass,
    /// All connections are closed, and new ones refused.
    Cut,
    /// What the server says arrives so much later.
    Delay(Duration),
    /// The server is told everything, and what it says is lost.
    Drop,
    /// Nothing arrives in either direction; it does once the mode has changed.
    BlackHole,
    /// Nothing arrives in either direction, ever. Neither end learns it before the mode has
    /// changed: then the connections that have lost something are closed.
    Lose,
    /// What the server says arrives as bytes without a meaning.
    Garbage,
}

/// What a connection is for, by the first that its client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Commands are sent on it.
    Data,
    /// Messages come by it.
    Backplane,
}

impl Kind {
    fn of(first: &[u8]) -> Self {
        // The way that messages come by in order with answers.
        let signs: [&[u8]; 2] = [b"HELLO\r\n$1\r\n3\r\n", b"SUBSCRIBE\r\n"];
        let is_said = |sign: &&[u8]| first.windows(sign.len()).any(|said| said == *sign);
        if signs.iter().any(is_said) { Self::Backplane } else { Self::Data }
    }
}

/// The mode of each kind of connection.
#[derive(Debug, Clone, Copy)]
struct Modes {
    data: Mode,
    backplane: Mode,
}

impl Modes {
    fn of(self, kind: Kind) -> Mode {
        match kind {
            Kind::Data => self.data,
            Kind::Backplane => self.backplane,
        }
    }
}

/// A proxy that runs until it is dropped, on the runtime that it was started on.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    _place: TcpSocket,
    modes: watch::Sender<Modes>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Before the server on that port of this machine; passes everything at first.
    pub(crate) fn before(server: u16) -> Self {
        // It never listens: the port stays this one's while that is cut.
        let place = socket();
        place.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = place.local_addr().unwrap();
        let (modes, seen) = watch::channel(Modes { data: Mode::Pass, backplane: Mode::Pass });
        let accepting = tokio::spawn(accept(listen(address), address, server, seen));
        Self { port: address.port(), _place: place, modes, accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// From now on. What was delayed before is still delayed.
    pub(crate) fn set(&self, mode: Mode) {
        self.modes.send_replace(Modes { data: mode, backplane: mode });
    }

    /// As `set`, for connections of one kind.
    pub(crate) fn set_for(&self, kind: Kind, mode: Mode) {
        self.modes.send_modify(|modes| match kind {
            Kind::Data => modes.data = mode,
            Kind::Backplane => modes.backplane = mode,
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One of several that may have the same port.
fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    // Also while connections that were closed still occupy it.
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = socket();
    socket.bind(address).unwrap();
    socket.listen(1024).unwrap()
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    server: u16,
    mut modes: watch::Receiver<Modes>,
) {
    let mut listener = Some(listener);
    // Aborted with this task, which closes them.
    let mut connections = JoinSet::new();
    loop {
        let now = *modes.borrow_and_update();
        // Where one kind alone is cut, nobody knows yet what a new one is.
        if now.data == Mode::Cut && now.backplane == Mode::Cut {
            connections.shutdown().await;
            listener = None;
            if modes.changed().await.is_err() {
                return;
            }
            continue;
        }
        let listening = listener.get_or_insert_with(|| listen(address));
        tokio::select! {
            accepted = listening.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(connect(client, server, modes.clone()));
            },
            changed = modes.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn connect(client: TcpStream, server: u16, modes: watch::Receiver<Modes>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    // Both dropped together: a half-closed connection is no case of ours.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut first = vec![0; LENGTH];
    let Ok(length @ 1..) = from_client.read(&mut first).await else {
        return;
    };
    first.truncate(length);
    let weather = Weather { kind: Kind::of(&first), modes };
    let mut cut = weather.clone();
    tokio::select! {
        () = pump(first, from_client, to_server, Way::ToServer, weather.clone()) => {}
        () = pump(Vec::new(), from_server, to_client, Way::ToClient, weather) => {}
        _ = cut.wait_for(|mode| mode == Mode::Cut) => {}
    }
}

/// The mode of one connection.
#[derive(Debug, Clone)]
struct Weather {
    kind: Kind,
    modes: watch::Receiver<Modes>,
}

impl Weather {
    /// `None` if the proxy is gone.
    async fn wait_for(&mut self, is_so: impl Fn(Mode) -> bool) -> Option<Mode> {
        let kind = self.kind;
        let modes = self.modes.wait_for(|modes| is_so(modes.of(kind))).await;
        Some(modes.ok()?.of(kind))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// What is read at once.
const LENGTH: usize = 64 * 1024;

async fn pump(
    first: Vec<u8>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    mut weather: Weather,
) {
    let (later, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async {
        let mut bytes = first;
        loop {
            if bytes.is_empty() {
                bytes.resize(LENGTH, 0);
                let Ok(length @ 1..) = from.read(&mut bytes).await else {
                    return;
                };
                bytes.truncate(length);
            }
            // In the black hole until the mode changes.
            let Some(mode) = weather.wait_for(|mode| mode != Mode::BlackHole).await else {
                return;
            };
            let now = Instant::now();
            let bytes = std::mem::take(&mut bytes);
            let sent = match mode {
                Mode::Lose => return lose(&mut from, &mut weather).await,
                Mode::Delay(by) if way == Way::ToClient => later.send((now + by, bytes)),
                Mode::Drop if way == Way::ToClient => Ok(()),
                Mode::Garbage if way == Way::ToClient => {
                    later.send((now, b"\xff\x00?what\r\n".to_vec()))
                }
                _ => later.send((now, bytes)),
            };
            if sent.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}

/// Reads on, so that who writes notices nothing, until the mode changes.
async fn lose(from: &mut OwnedReadHalf, weather: &mut Weather) {
    let mut bytes = vec![0; LENGTH];
    let lost = async {
        while let Ok(1..) = from.read(&mut bytes).await {}
        // That it was closed is lost too.
        pending::<()>().await;
    };
    tokio::select! {
        () = lost => {}
        _ = weather.wait_for(|mode| mode != Mode::Lose) => {}
    }
}
