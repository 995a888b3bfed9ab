//! Where a server is and how to log in, from the URL that a cache is configured with.
//!
//! No text from here contains a part of the URL: where a password is written in the wrong place,
//! any part may be it.

use std::{fmt, path::PathBuf};

use crate::error::ConfigError;

/// A server and a login.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp { host: String, port: u16 },
    Socket(PathBuf),
}

const DEFAULT_PORT: u16 = 6379;

impl Address {
    /// Reads `redis://[[user]:password@]host[:port][/database]` or
    /// `unix:///path[?db=1&user=…&pass=…]`, with percent-encoding where a character would mean
    /// something else.
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| error(FORMS))?;
        // What comes after it is for nobody here, and a password with a bare `#` would be cut.
        if rest.contains('#') {
            return Err(error("has a `#`; write it `%23`"));
        }
        match scheme.to_ascii_lowercase().as_str() {
            "redis" => tcp(rest),
            "unix" | "redis+unix" if cfg!(unix) => socket(rest),
            "unix" | "redis+unix" => Err(error("asks for a socket, which this system has not")),
            "rediss" | "valkeys" => {
                Err(error("asks for TLS, which is not supported in this version; use `redis://`"))
            }
            "redis-sentinel" | "rediss-sentinel" | "redis+sentinel" | "rediss+sentinel" => Err(
                error("asks for Sentinel, which is not supported in this version; name a server"),
            ),
            "redis-cluster" | "rediss-cluster" | "redis+cluster" | "rediss+cluster" => Err(error(
                "asks for Cluster, which is not supported in this version; name a server",
            )),
            _ => Err(error(FORMS)),
        }
    }
}

const FORMS: &str =
    "takes `redis://user:password@host:port/database` or `unix:///path?db=0&user=…&pass=…`";

fn error(problem: &str) -> ConfigError {
    ConfigError::new("redis", problem)
}

fn tcp(rest: &str) -> Result<Address, ConfigError> {
    if rest.contains('?') {
        return Err(error(
            "has a `?`; a `redis://` URL has no parameters, and in a password write `%3F`",
        ));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, server) = match authority.rsplit_once('@') {
        Some((login, server)) => (Some(login), server),
        None => (None, authority),
    };
    let (user, password) = match login {
        Some(login) => {
            let (user, password) = login
                .split_once(':')
                .ok_or_else(|| error("has a user without a password; write `user:password@`"))?;
            (decode(user)?, decode(password)?)
        }
        None => (None, None),
    };
    let (host, port) = split_port(server)?;
    if server.contains(',') {
        return Err(error(
            "names several servers, which is not supported in this version; name one",
        ));
    }
    let port = match port {
        Some(port) => match port.parse() {
            Ok(port @ 1..) => port,
            _ => return Err(error("has a port that is not a number from 1 to 65535")),
        },
        None => DEFAULT_PORT,
    };
    let host = decode(host)?.ok_or_else(|| error("names no host"))?;
    let database = if path.is_empty() { 0 } else { database(path)? };
    checked(Address { place: Place::Tcp { host, port }, user, password, database })
}

/// The host without the brackets of an IPv6 address, and the port.
fn split_port(server: &str) -> Result<(&str, Option<&str>), ConfigError> {
    if let Some(rest) = server.strip_prefix('[') {
        let (host, rest) =
            rest.split_once(']').ok_or_else(|| error("has a `[` without its `]`"))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(error("has something between `]` and the port")),
        };
    }
    match server.split_once(':') {
        Some((_, port)) if port.contains(':') && !server.contains(',') => {
            Err(error("has an IPv6 address without brackets; write `[::1]:6379`"))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((server, None)),
    }
}

fn socket(rest: &str) -> Result<Address, ConfigError> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') {
        return Err(error("has no absolute path to a socket; write `unix:///path`"));
    }
    let path = decode(path)?.unwrap_or_default();
    let mut address =
        Address { place: Place::Socket(path.into()), user: None, password: None, database: 0 };
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "db" => address.database = database(value)?,
            "user" => address.user = decode(value)?,
            "pass" => address.password = decode(value)?,
            _ => return Err(error("has a parameter other than `db`, `user` and `pass`")),
        }
    }
    checked(address)
}

/// A login has a password: a user alone could not log in.
fn checked(address: Address) -> Result<Address, ConfigError> {
    if address.user.is_some() && address.password.is_none() {
        return Err(error("has a user without a password"));
    }
    Ok(address)
}

fn database(text: &str) -> Result<u32, ConfigError> {
    text.strip_suffix('/')
        .unwrap_or(text)
        .parse()
        .map_err(|_| error("has a database that is not a number"))
}

/// What percent-encoded text stands for; `None` for no text.
fn decode(text: &str) -> Result<Option<String>, ConfigError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push((high << 4 | low) as u8),
            _ => return Err(error("has a `%` without two hexadecimal digits; write it `%25`")),
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| error("is not UTF-8 when decoded"))?;
    Ok((!text.is_empty()).then_some(text))
}

/// Without the login.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = if self.password.is_some() { "***@" } else { "" };
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => {
                write!(f, "redis://{login}[{host}]:{port}/{}", self.database)
            }
            Place::Tcp { host, port } => {
                write!(f, "redis://{login}{host}:{port}/{}", self.database)
            }
            Place::Socket(path) => {
                write!(f, "unix://{login}{}?db={}", path.display(), self.database)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_address(host: &str, port: u16) -> Address {
        let place = Place::Tcp { host: host.to_owned(), port };
        Address { place, user: None, password: None, database: 0 }
    }

    #[test]
    fn a_host_alone_is_enough() {
        assert_eq!(Address::parse("redis://cache").unwrap(), tcp_address("cache", 6379));
        assert_eq!(Address::parse("redis://cache/").unwrap(), tcp_address("cache", 6379));
        assert_eq!(Address::parse("REDIS://10.0.0.1:7000").unwrap(), tcp_address("10.0.0.1", 7000));
        assert_eq!(Address::parse("redis://[::1]:7000/0").unwrap(), tcp_address("::1", 7000));
        assert_eq!(Address::parse("redis://[::1]").unwrap(), tcp_address("::1", 6379));
    }

    #[test]
    fn a_login_and_a_database_are_read() {
        let address = Address::parse("redis://joe:p%40ss%2Fw%C3%B6rd@cache:7000/3").unwrap();
        assert_eq!(
            address,
            Address {
                user: Some("joe".to_owned()),
                password: Some("p@ss/wörd".to_owned()),
                database: 3,
                ..tcp_address("cache", 7000)
            }
        );
        let address = Address::parse("redis://:pa:ss@word@cache").unwrap();
        assert_eq!((address.user, address.password.as_deref()), (None, Some("pa:ss@word")));
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_has_its_login_in_parameters() {
        for scheme in ["unix", "redis+unix"] {
            let url = format!("{scheme}:///run/re%20dis.sock?db=2&user=joe&pass=s%26cret");
            assert_eq!(
                Address::parse(&url).unwrap(),
                Address {
                    place: Place::Socket("/run/re dis.sock".into()),
                    user: Some("joe".to_owned()),
                    password: Some("s&cret".to_owned()),
                    database: 2,
                }
            );
        }
    }

    #[test]
    fn what_this_version_cannot_do_is_said() {
        for (url, part) in [
            ("rediss://cache", "TLS"),
            ("redis-sentinel://cache", "Sentinel"),
            ("redis+cluster://cache", "Cluster"),
            ("redis://a:1,b:2", "several servers"),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert_eq!(error.setting, "redis");
            assert!(error.problem.contains(part), "{url}: {error}");
            assert!(error.problem.contains("not supported in this version"), "{url}: {error}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_not_repeated() {
        for url in [
            "",
            "hunter2",
            "hunter2://cache",
            "redis:hunter2@cache",
            "redis://",
            "redis://:hunter2@",
            "redis://hunter2@cache",
            "redis://joe:@hunter2:7000",
            "redis://joe:hunter2/3@cache",
            "redis://joe:hunter2?3@cache",
            "redis://joe:hunter2#3@cache",
            "redis://joe:hunter2%@cache",
            "redis://joe:hunter2%ff@cache",
            "redis://joe:hunter2@cache:0",
            "redis://joe:hunter2@cache:65536",
            "redis://joe:hunter2@cache/hunter2",
            "redis://joe:hunter2@cache/-1",
            "redis://cache?password=hunter2",
            "redis://joe:hunter2@::1",
            "redis://joe:hunter2@[::1",
            "redis://joe:hunter2@[::1]x:1",
            "rediss://joe:hunter2@cache",
            "unix://hunter2",
            "unix:///run/redis.sock?user=hunter2",
            "unix:///run/redis.sock?password=hunter2",
            "unix:///run/redis.sock?db=hunter2",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_login_is_not_printed() {
        for url in ["redis://hunter2:hunter2@cache:1/2", "redis://:hunter2@[::1]"] {
            let text = format!("{:?}", Address::parse(url).unwrap());
            assert!(!text.contains("hunter2") && text.contains("***@"), "{text}");
        }
        assert_eq!(format!("{:?}", Address::parse("redis://a").unwrap()), "redis://a:6379/0");
    }
}
