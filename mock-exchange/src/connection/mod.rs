//! One WebSocket connection: its queue, its byte stream and its loop.

mod driver;
mod peer;
mod stream;

pub(crate) use driver::{Driver, Ended};
pub(crate) use peer::{Disturbance, Outgoing, Peer};
pub(crate) use stream::FaultStream;
pub use stream::{ByteStream, Listener};
