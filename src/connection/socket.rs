//! One WebSocket: what arrives, as plain events, and writes that never block reading.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::poll_fn;
use futures::{FutureExt as _, Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
use url::Url;

use crate::net::ByteStream;

/// Larger buffers are zero-filled at every read and cost microseconds on a lone frame.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// What arrived.
#[derive(Debug)]
pub(super) enum Arrival {
    Text(Utf8Bytes),
    Binary {
        bytes: usize,
    },
    Ping,
    Pong,
    /// The peer's close frame; reading goes on until [`End`](Self::End).
    Close {
        code: Option<u16>,
        reason: String,
    },
    /// All that was written has been handed to the system.
    Flushed,
    /// The peer ended the stream after the close frames.
    End,
    /// The stream broke, or what came is no WebSocket message.
    Failed(Error),
}

pub(super) struct Socket {
    stream: WebSocketStream<Counted>,
    unflushed: bool,
    written: u64,
}

impl Socket {
    /// Makes the WebSocket handshake over a connected stream.
    pub(super) async fn handshake(
        url: &Url,
        stream: Box<dyn ByteStream>,
        max_message_bytes: usize,
    ) -> Result<Self, Error> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        let stream = Counted { stream, reads: 0 };
        let (stream, _response) =
            tokio_tungstenite::client_async_with_config(url.as_str(), stream, Some(config)).await?;
        Ok(Self { stream, unflushed: false, written: 0 })
    }

    /// How often the system has handed over bytes. While it stays the same, all that arrives was
    /// in one read.
    pub(super) fn reads(&self) -> u64 {
        self.stream.get_ref().reads
    }

    /// Whether something written has not been handed to the system yet. While it is so, nothing
    /// more should be written.
    pub(super) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// How many text messages have been queued so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Queues a text message.
    pub(super) fn write(&mut self, text: String) -> Result<(), Error> {
        self.written += 1;
        self.put(Message::Text(text.into()))
    }

    /// Queues a ping frame.
    pub(super) fn ping(&mut self) -> Result<(), Error> {
        self.put(Message::Ping(Bytes::from_static(b"gateway")))
    }

    /// Queues a close frame. Nothing may be written after it.
    pub(super) fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Error> {
        let frame =
            CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from_static(reason) };
        self.put(Message::Close(Some(frame)))
    }

    /// The answer to the peer's close frame, which is queued by itself, is to be flushed.
    pub(super) fn answers_close(&mut self) {
        self.unflushed = true;
    }

    fn put(&mut self, message: Message) -> Result<(), Error> {
        self.unflushed = true;
        // The sink is ready unless an earlier write met a full socket buffer; then the message is
        // appended to its own buffer all the same.
        let _ = poll_fn(|cx| Pin::new(&mut self.stream).poll_ready(cx)).now_or_never();
        Pin::new(&mut self.stream).start_send(message)
    }

    /// Hands what is written to the system as far as it takes it at once; tells whether that was
    /// all.
    pub(super) fn flush_now(&mut self) -> Result<bool, Error> {
        match poll_fn(|cx| self.poll_flush(cx)).now_or_never() {
            Some(result) => result.map(|()| true),
            None => Ok(false),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_ready() {
            self.unflushed = false;
        }
        result
    }

    /// The next arrival; flushes meanwhile. Cancel safe.
    pub(super) async fn next(&mut self) -> Arrival {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next arrival if there is one now.
    pub(super) fn next_now(&mut self) -> Option<Arrival> {
        self.next().now_or_never()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if self.unflushed {
            match self.poll_flush(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Arrival::Flushed),
                // A write may fail because the peer has closed: what it sent before is still read.
                Poll::Ready(Err(_)) | Poll::Pending => {}
            }
        }
        loop {
            let message = match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Arrival::End),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Arrival::Failed(error)),
                Poll::Ready(Some(Ok(message))) => message,
            };
            return Poll::Ready(match message {
                Message::Text(text) => Arrival::Text(text),
                Message::Binary(bytes) => Arrival::Binary { bytes: bytes.len() },
                Message::Ping(_) => Arrival::Ping,
                Message::Pong(_) => Arrival::Pong,
                Message::Close(frame) => Arrival::Close {
                    code: frame.as_ref().map(|frame| frame.code.into()),
                    reason: frame.map(|frame| frame.reason.to_string()).unwrap_or_default(),
                },
                Message::Frame(_) => continue,
            });
        }
    }
}

/// Counts the reads of a stream.
struct Counted {
    stream: Box<dyn ByteStream>,
    reads: u64,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if result.is_ready() {
            self.reads += 1;
        }
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
