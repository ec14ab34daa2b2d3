//! A server that writes ready-made market messages as fast as they are read, so that it costs the
//! same whoever reads them.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};

use exchange_gateway::exchange::AdapterKind;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

/// Messages in a block; a flood is whole blocks.
pub(crate) const BLOCK: usize = 1000;

/// One server for one client.
pub(crate) struct Flood {
    pub(crate) address: SocketAddr,
    jobs: Sender<usize>,
}

impl Flood {
    /// Waits for one client, answers its subscriptions, and then writes on demand.
    pub(crate) fn start(adapter: AdapterKind, messages: &[String]) -> Self {
        assert_eq!(messages.len(), BLOCK);
        let block: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (jobs, waiting) = channel();
        std::thread::spawn(move || serve(&listener, adapter, &block, &waiting));
        Self { address, jobs }
    }

    /// Writes this many blocks.
    pub(crate) fn write(&self, blocks: usize) {
        self.jobs.send(blocks).expect("the server runs");
    }
}

fn serve(listener: &TcpListener, adapter: AdapterKind, block: &[u8], jobs: &Receiver<usize>) {
    let (stream, _) = listener.accept().expect("a client");
    stream.set_nodelay(true).expect("a socket option");
    let mut socket = tungstenite::accept(stream).expect("a WebSocket handshake");
    // Binance takes one message for all streams, Kraken one a channel.
    let subscriptions = if adapter == AdapterKind::Kraken { 2 } else { 1 };
    for _ in 0..subscriptions {
        let request = socket.read().expect("a subscription");
        socket.send(acknowledge(&request)).expect("the client reads");
    }
    while let Ok(blocks) = jobs.recv() {
        for _ in 0..blocks {
            if socket.get_mut().write_all(block).is_err() {
                return;
            }
        }
    }
    // The bench is over: unsubscriptions and the close are answered.
    while let Ok(message) = socket.read() {
        if message.is_text() && socket.send(acknowledge(&message)).is_err() {
            return;
        }
    }
}

/// The exchange's acknowledgement of a subscription or its end.
fn acknowledge(request: &Message) -> Message {
    let text = request.to_text().expect("a text message");
    let request: Value = serde_json::from_str(text).expect("a JSON message");
    let answer = match request.get("req_id") {
        None => json!({ "result": null, "id": request["id"] }),
        Some(number) => {
            let params = &request["params"];
            json!({
                "method": request["method"], "success": true, "req_id": number,
                "result": { "channel": params["channel"], "symbol": params["symbol"][0] },
            })
        }
    };
    Message::text(answer.to_string())
}

/// A text frame as a server writes it.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(length) if length < 126 => frame.push(length),
        _ => {
            let length = u16::try_from(text.len()).expect("a short message");
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(text.as_bytes());
    frame
}
