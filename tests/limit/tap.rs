//! What a server answers, as it passes by: when it has granted what, by its own clock.
//!
//! A script about a limit answers with whether it was done and with the microsecond in which it was
//! decided. So nothing here depends on when a process hears of it.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Between a process and the server, until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Tap {
    port: u16,
    grants: Arc<Mutex<Vec<u64>>>,
}

impl Tap {
    /// Before the server on that port of this machine.
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let tap = Self { port: listener.local_addr().unwrap().port(), grants: Arc::default() };
        let grants = Arc::clone(&tap.grants);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (mut from_client, to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
                tokio::spawn(listen(from_server, to_client, Arc::clone(&grants)));
            }
        });
        tap
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The moments of all grants that went by, in microseconds.
    pub(crate) fn grants(&self) -> Vec<u64> {
        self.grants.lock().unwrap().clone()
    }
}

async fn listen(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, grants: Arc<Mutex<Vec<u64>>>) {
    let (mut bytes, mut heard) = (vec![0; 64 * 1024], Some(Vec::new()));
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if let Some(unread) = &mut heard {
            unread.extend_from_slice(&bytes[..length]);
            match understand(unread, &grants) {
                Ok(read) => drop(unread.drain(..read)),
                // Messages come by a connection of another protocol.
                Err(Unknown) => heard = None,
            }
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

struct Unknown;

/// Notes the grants in all replies that are whole, and says how long these are.
fn understand(bytes: &[u8], grants: &Mutex<Vec<u64>>) -> Result<usize, Unknown> {
    let mut read = 0;
    let mut numbers = Vec::new();
    while let Some(length) = reply(&bytes[read..], &mut numbers)? {
        read += length;
        // Of a bucket, and of windows.
        if let [1, millis, micros, _, _] | [1, millis, micros, _, _, _] = numbers[..]
            && micros / 1000 == millis
        {
            grants.lock().unwrap().push(micros);
        }
        numbers.clear();
    }
    Ok(read)
}

/// How long the reply is that the bytes begin with, if it is whole, and the numbers in it.
fn reply(bytes: &[u8], numbers: &mut Vec<u64>) -> Result<Option<usize>, Unknown> {
    let Some(end) = bytes.windows(2).position(|end| end == b"\r\n") else {
        return Ok(None);
    };
    let line = std::str::from_utf8(&bytes[1..end]).unwrap_or_default();
    let mut length = end + 2;
    match (bytes[0], line.parse::<i64>()) {
        (b'+' | b'-', _) | (b'$' | b'*', Ok(..0)) => {}
        (b':', Ok(number)) => numbers.push(number.try_into().unwrap_or_default()),
        (b'$', Ok(text)) => {
            length += usize::try_from(text).unwrap_or_default() + 2;
            if bytes.len() < length {
                return Ok(None);
            }
        }
        (b'*', Ok(parts)) => {
            for _ in 0..parts {
                match reply(&bytes[length..], numbers)? {
                    Some(part) => length += part,
                    None => return Ok(None),
                }
            }
        }
        _ => return Err(Unknown),
    }
    Ok(Some(length))
}
