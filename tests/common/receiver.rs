//! A real HTTP server that takes alerts, or does not, as it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Sends this, and closes.
    Say(&'static str),
    /// Sends this byte by byte with a pause between, and closes.
    SaySlowly(&'static str, Duration),
    /// Says nothing and keeps the connection.
    Hang,
}

pub const OK: Answer = Answer::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
pub const BROKEN: Answer =
    Answer::Say("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n");

/// One request, read whole.
#[derive(Clone, Debug)]
pub struct Post {
    pub at: Instant,
    pub head: String,
    pub json: Value,
}

impl Post {
    pub fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_else(|| panic!("{key} is text: {}", self.json))
    }
}

/// The server. It ends when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    _serving: JoinSet<()>,
}

impl Receiver {
    /// Gives these answers one after the other; the last one again and again.
    pub async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let posts = Arc::<Mutex<Vec<Post>>>::default();
        let (kept, mut answers) = (Arc::clone(&posts), answers.to_vec());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let last = answers.len() == 1;
                let answer = if last { answers[0].clone() } else { answers.remove(0) };
                connections.spawn(serve(stream, answer, Arc::clone(&kept)));
            }
        });
        Self { address, posts, _serving: serving }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything posted so far.
    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().expect("nobody panicked").clone()
    }

    /// What was posted of one kind.
    pub fn of(&self, kind: &str) -> Vec<Post> {
        self.posts().into_iter().filter(|post| post.json["kind"] == kind).collect()
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, posts: Arc<Mutex<Vec<Post>>>) {
    let mut request = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        if body.len() >= length.expect("a request says how long it is") {
            break (head.to_owned(), body.to_owned());
        }
    };
    let json = serde_json::from_str(&body).expect("the body is JSON");
    posts.lock().expect("nobody panicked").push(Post { at: Instant::now(), head, json });
    // Whoever does not wait for the end of the answer hangs up.
    match answer {
        Answer::Say(text) => _ = stream.write_all(text.as_bytes()).await,
        Answer::SaySlowly(text, pause) => {
            for byte in text.bytes() {
                tokio::time::sleep(pause).await;
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        }
        Answer::Hang => std::future::pending().await,
    }
}
