//! What outlives the process: the state directory and the last ticks in it.

mod directory;
mod last_ticks;

pub use directory::{StateDirectory, StateError};
pub use last_ticks::SavedTicks;
