//! A hop on this machine that adds one header to each request: the suite cannot send a client's key. The direct run goes through a hop
//! too, without the header, so that like is compared with like.
//!
//! One request for each connection (`Connection: close`); bytes pass as they come, in both directions, until one side is gone.

use std::io::{self, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Longest head of a request.
const HEAD: usize = 64 << 10;

/// A running hop. It ends with the process: its threads wait for connections that nobody makes any more.
pub struct Hop {
    address: SocketAddr,
}

impl Hop {
    /// Listens on a free port of this machine and passes everything to `target`, with `header` added.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(target: SocketAddr, header: Option<String>) -> io::Result<Hop> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let header = header.clone();
                thread::spawn(move || {
                    // A side that breaks off is what the suite tests, too.
                    let _ = pass(client, target, header.as_deref());
                });
            }
        });
        Ok(Hop { address })
    }

    /// The address of a path behind the hop.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn pass(mut client: TcpStream, target: SocketAddr, header: Option<&str>) -> io::Result<()> {
    let Some((head, rest)) = read_head(&mut client)? else { return Ok(()) };
    let mut server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    server.write_all(&rewritten(&head, header))?;
    server.write_all(&rest)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let upwards = thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let _ = io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = upwards.join();
    Ok(())
}

/// The head with its empty line, and what came behind it. `None` when the client left.
fn read_head(client: &mut TcpStream) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = head.split_off(end + 4);
            return Ok(Some((head, rest)));
        }
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            _ if head.len() > HEAD => return Err(io::ErrorKind::InvalidData.into()),
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
}

fn rewritten(head: &[u8], header: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 256);
    let mut lines = head.split_inclusive(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"\r\n"));
    out.extend_from_slice(lines.next().unwrap_or_default());
    for line in lines {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if !name.eq_ignore_ascii_case(b"connection") {
            out.extend_from_slice(line);
        }
    }
    for added in header.into_iter().chain(["Connection: close", ""]) {
        out.extend_from_slice(added.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}
