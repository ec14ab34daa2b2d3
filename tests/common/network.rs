//! Networks: one that counts and times the attempts to connect, one with narrow sockets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use exchange_gateway::{ByteStream, Connecting, Connector, Environment, SystemConnector};
use tokio::net::TcpSocket;
use url::Url;

/// When which address was connected to.
#[derive(Clone, Default, Debug)]
pub struct Attempts(Arc<Mutex<Vec<(Instant, String)>>>);

impl Attempts {
    /// An environment of the system whose connections are counted here.
    pub fn environment(&self, seed: u64) -> Environment {
        println!("gateway seed {seed}");
        let attempts = self.clone();
        let make = move |ca_file: Option<&std::path::Path>| {
            let inner = SystemConnector::new(ca_file)?;
            Ok(Arc::new(Counting { inner, attempts: attempts.clone() }) as Arc<dyn Connector>)
        };
        Environment { connector: Arc::new(make), seed: Some(seed), ..Environment::system() }
    }

    /// The attempts over `ws` or `http` at one server since the start.
    pub fn of(&self, scheme: &str, port: u16) -> Vec<Instant> {
        let wanted = format!("{scheme}://127.0.0.1:{port}/");
        let all = self.0.lock().expect("nobody panicked");
        all.iter().filter(|(_, url)| url.starts_with(&wanted)).map(|(at, _)| *at).collect()
    }
}

#[derive(Debug)]
struct Counting {
    inner: SystemConnector,
    attempts: Attempts,
}

impl Connector for Counting {
    fn connect<'a>(&'a self, url: &'a Url) -> Connecting<'a> {
        self.attempts.0.lock().expect("nobody panicked").push((Instant::now(), url.to_string()));
        self.inner.connect(url)
    }
}

/// An environment whose sockets hold next to nothing that the exchange does not read.
pub fn narrow() -> Environment {
    let make = |_: Option<&std::path::Path>| Ok(Arc::new(Narrow) as Arc<dyn Connector>);
    Environment { connector: Arc::new(make), ..Environment::system() }
}

#[derive(Debug)]
struct Narrow;

impl Connector for Narrow {
    fn connect<'a>(&'a self, url: &'a Url) -> Connecting<'a> {
        Box::pin(async move {
            let port = url.port().ok_or(std::io::ErrorKind::InvalidInput)?;
            let socket = TcpSocket::new_v4()?;
            socket.set_send_buffer_size(4096)?;
            let stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }
}
