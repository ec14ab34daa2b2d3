//! What the gateway takes from outside, so that tests and simulations can put their own in place.

use std::path::Path;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::net::{Connector, SystemConnector, TlsError};

/// Makes the connector of one exchange; the file holds further trusted certificates.
pub type MakeConnector =
    Arc<dyn Fn(Option<&Path>) -> Result<Arc<dyn Connector>, TlsError> + Send + Sync>;

/// The clock, the network and the randomness of a gateway.
#[derive(Clone)]
pub struct Environment {
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// The network.
    pub connector: MakeConnector,
    /// Seeds the jitter of reconnects; `None` draws a seed from the system.
    pub seed: Option<u64>,
}

impl Environment {
    /// The system's clock, network and randomness.
    pub fn system() -> Self {
        let connector = |ca_file: Option<&Path>| {
            SystemConnector::new(ca_file).map(|made| Arc::new(made) as Arc<dyn Connector>)
        };
        Self { clock: Arc::new(SystemClock), connector: Arc::new(connector), seed: None }
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("seed", &self.seed).finish_non_exhaustive()
    }
}
