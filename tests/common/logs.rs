//! What the gateway logs, as tests read it.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// One line: its level, its target, its message and fields as ` name=value`.
#[derive(Clone, Debug)]
pub struct Line {
    pub level: Level,
    pub target: String,
    pub text: String,
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());
static INSTALLED: OnceLock<()> = OnceLock::new();

/// Begins to keep what is logged by every test of this process. A test must look for its own
/// lines, by an order's id or an exchange's name.
pub fn keep() {
    INSTALLED.get_or_init(|| {
        let subscriber = tracing_subscriber::registry().with(Keep);
        tracing::subscriber::set_global_default(subscriber).expect("nobody else sets one");
    });
}

/// The lines so far that contain every one of these texts.
pub fn with(texts: &[&str]) -> Vec<Line> {
    let all = lines();
    all.iter().filter(|line| texts.iter().all(|text| line.text.contains(text))).cloned().collect()
}

fn lines() -> MutexGuard<'static, Vec<Line>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Keep;

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || !metadata.target().starts_with("exchange_gateway") {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let target = metadata.target().to_owned();
        lines().push(Line { level: *metadata.level(), target, text: text.0 });
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {}={value}", field.name());
    }
}
