//! Byte streams to exchanges and HTTP over them. Everything that touches the network goes through
//! a [`Connector`], so that a simulation can put its own network in place.

mod connector;
mod http;

pub use connector::{ByteStream, Connecting, Connector, SystemConnector, TlsError};
pub(crate) use http::{Receipt, deliver, request};
