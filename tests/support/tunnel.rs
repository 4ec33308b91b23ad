//! An HTTP proxy that knows one way (CONNECT, RFC 9110 §9.3.6), whatever name it is asked for.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A running proxy. Its threads end with their connections, the last one with the process.
pub(crate) struct Tunnel {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// Leads all who ask to `target`.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, asked) = (socket.local_addr().expect("an address"), Arc::<Mutex<Vec<String>>>::default());
        let noted = asked.clone();
        thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let noted = noted.clone();
                thread::spawn(move || drop(lead(stream, target, &noted)));
            }
        });
        Self { address, asked }
    }

    /// Whom its clients asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn lead(stream: TcpStream, target: SocketAddr, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let name = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or(&head).to_owned();
    asked.lock().expect("no panic").push(name);
    let upstream = TcpStream::connect(target)?;
    let (mut back, mut there) = (stream, upstream.try_clone()?);
    back.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let mut answers = upstream;
    let answering = thread::spawn(move || drop(io::copy(&mut answers, &mut back)));
    // What the reader holds already belongs to the tunnel.
    let _ = io::copy(&mut reader, &mut there);
    let _ = there.shutdown(std::net::Shutdown::Write);
    let _ = answering.join();
    Ok(())
}
