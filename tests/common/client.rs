//! A connection to Redis for what a test does there itself: the database that functions read, their
//! runs, and a cache by hand.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// One connection, and one command at a time.
#[derive(Debug)]
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    /// To the server of such a URL as tests configure: `redis://127.0.0.1:6379/0`.
    pub(crate) async fn connect(url: &str) -> Self {
        let address = url.strip_prefix("redis://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// The answer as text: none for a missing value. An error of the server fails the test.
    pub(crate) async fn command(&mut self, words: &[&str]) -> Option<String> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(command, "${}\r\n{word}\r\n", word.len());
        }
        self.0.write_all(command.as_bytes()).await.unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        let (kind, rest) = line.trim_end().split_at(1);
        match (kind, rest.parse::<usize>()) {
            ("$", Err(_)) => None,
            ("$", Ok(length)) => {
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).await.unwrap();
                bytes.truncate(length);
                Some(String::from_utf8(bytes).unwrap())
            }
            ("+" | ":", _) => Some(rest.to_owned()),
            _ => panic!("{words:?}: {line}"),
        }
    }

    /// The number that a command answers with; 0 for a missing value.
    pub(crate) async fn number(&mut self, words: &[&str]) -> u64 {
        self.command(words).await.map_or(0, |text| text.parse().unwrap())
    }
}

/// As many connections as are in use at once.
#[derive(Debug)]
pub(crate) struct Clients {
    url: String,
    idle: Mutex<Vec<Client>>,
}

impl Clients {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), idle: Mutex::default() }
    }

    /// As [`Client::number`].
    pub(crate) async fn number(&self, words: &[&str]) -> u64 {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut client = match idle {
            Some(client) => client,
            None => Client::connect(&self.url).await,
        };
        let number = client.number(words).await;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        number
    }
}
