//! A network that does what a test says: a proxy before a server on this machine.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::SocketAddr,
    time::Duration,
};

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
    /// What the server says arrives as bytes without a meaning.
    Garbage,
}

/// A proxy that runs until it is dropped, on the runtime that it was started on.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Before the server on that port of this machine; passes everything at first.
    pub(crate) async fn before(server: u16) -> Self {
        let listener = loop {
            // Not one of the ports that the system gives to connections: it would be taken while
            // this one is cut.
            let random = RandomState::new().build_hasher().finish();
            let port = 10_000 + (random % 20_000) as u16;
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
                break listener;
            }
        };
        let address = listener.local_addr().unwrap();
        let (mode, seen) = watch::channel(Mode::Pass);
        let accepting = tokio::spawn(accept(listener, address, server, seen));
        Self { port: address.port(), mode, accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// From now on. What was delayed before is still delayed.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    server: u16,
    mut mode: watch::Receiver<Mode>,
) {
    let mut listener = Some(listener);
    // Aborted with this task, which closes them.
    let mut connections = JoinSet::new();
    loop {
        if *mode.borrow_and_update() == Mode::Cut {
            connections.shutdown().await;
            listener = None;
            if mode.changed().await.is_err() {
                return;
            }
            continue;
        }
        let listening = listener.get_or_insert_with(|| {
            // Connections that were closed may still occupy the port.
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(address).unwrap();
            socket.listen(1024).unwrap()
        });
        tokio::select! {
            accepted = listening.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(connect(client, server, mode.clone()));
            },
            changed = mode.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn connect(client: TcpStream, server: u16, mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    // Both dropped together: a half-closed connection is no case of ours.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, Way::ToServer, mode.clone()) => {}
        () = pump(from_server, to_client, Way::ToClient, mode) => {}
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    mut mode: watch::Receiver<Mode>,
) {
    let (later, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            // In the black hole until the mode changes.
            let Ok(mode) = mode.wait_for(|mode| *mode != Mode::BlackHole).await.map(|mode| *mode)
            else {
                return;
            };
            let now = Instant::now();
            let bytes = bytes[..length].to_vec();
            let sent = match mode {
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
