//! The load generator: a few connections per router, with one request under way on each.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use crate::clock;

const CONNECTIONS: usize = 8;
const REQUEST: &[u8] = b"GET /items/7 HTTP/1.1\r\nhost: localhost:3000\r\nuser-agent: bench/1\r\n\
    accept: */*\r\naccept-encoding: gzip\r\nx-request-id: 0192d1e4-7c1a-7b3e-9f58-3a1c5d2e4b60\r\n\r\n";

/// The account of the thread that serves.
pub(super) struct ServerThread(PathBuf);

impl ServerThread {
    /// The processor time it has had so far, its system calls included.
    pub(super) fn cpu(&self) -> io::Result<Duration> {
        let text = std::fs::read_to_string(&self.0)?;
        let ns = text.split_ascii_whitespace().next().and_then(|ns| ns.parse().ok());
        ns.map(Duration::from_nanos).ok_or_else(|| invalid("the kernel keeps no account"))
    }
}

/// Connections to one router.
pub(super) struct Client {
    pub(super) name: String,
    connections: Vec<BufReader<TcpStream>>,
}

/// Reads what a server prints at its start, and connects to all of its routers.
pub(super) fn connect(server: &mut Child) -> io::Result<(ServerThread, Vec<Client>)> {
    let output = server.stdout.take().ok_or_else(|| invalid("the server's output is not read"))?;
    let mut lines = BufReader::new(output).lines();
    let account = lines.next().ok_or_else(|| invalid("the server did not start"))??;
    let mut clients = Vec::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let (port, name) = line.split_once(' ').ok_or_else(|| invalid(&line))?;
        let port: u16 = port.parse().map_err(|_| invalid(&line))?;
        let connect = |_| {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            Ok(BufReader::new(stream))
        };
        let connections = (0..CONNECTIONS).map(connect).collect::<io::Result<_>>()?;
        clients.push(Client { name: name.to_owned(), connections });
    }
    Ok((ServerThread(account.into()), clients))
}

impl Client {
    /// Sends so many requests and reads their responses; returns how long each took.
    pub(super) fn send(&mut self, requests: u32) -> io::Result<Vec<Duration>> {
        let mut latencies = Vec::with_capacity(requests as usize);
        let mut sent = [clock::now(); CONNECTIONS];
        while latencies.len() < requests as usize {
            for (connection, sent) in self.connections.iter_mut().zip(&mut sent) {
                *sent = clock::now();
                connection.get_mut().write_all(REQUEST)?;
            }
            for (connection, sent) in self.connections.iter_mut().zip(&sent) {
                read_response(connection)?;
                latencies.push(clock::now().duration_since(*sent));
            }
        }
        Ok(latencies)
    }
}

fn read_response(connection: &mut BufReader<TcpStream>) -> io::Result<()> {
    let (mut line, mut length) = (String::new(), 0);
    connection.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(invalid(&line));
    }
    while !line.trim_end().is_empty() {
        line.clear();
        connection.read_line(&mut line)?;
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| invalid(&line))?;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}
