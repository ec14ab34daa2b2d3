//! The log file: one JSON object a line, with the fields of the event and of the spans around it
//! side by side, so that `jq 'select(.exchange == "kraken")'` finds everything of an exchange.
//!
//! A thread writes the lines, so that a disk that hangs stalls nothing; each is on its way to the
//! file a moment after the logging call, and [`JsonLog::close`] waits for the last.

use std::fmt::{self, Write as _};
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::spool::{Spool, Work};

/// Lines that may wait for the disk, some MiB.
const WAITING: usize = 16_384;

/// Where the lines go: the file, and the standard error from the first failure on.
#[derive(Clone)]
pub(crate) struct JsonLog {
    lines: Spool<String>,
}

impl JsonLog {
    /// Opens the file for appending, with its directory.
    pub(crate) fn open(path: &Path, notice: fn(&str)) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = append_to(path)?;
        let place = Place::of(&file.metadata()?);
        Ok(Self::new(path, Box::new(file), place, notice))
    }

    fn new(
        path: &Path,
        file: Box<dyn Write + Send>,
        place: Option<Place>,
        notice: fn(&str),
    ) -> Self {
        let writer = LogWriter { path: path.to_owned(), file: Some(file), place, notice };
        Self { lines: Spool::start("log-file", WAITING, writer) }
    }

    fn write(&self, line: String) {
        // What does not fit is counted, and told in the file.
        _ = self.lines.put(line);
    }

    /// Waits up to `limit` until every line so far is written, and returns how many were not.
    pub(crate) fn settle(&self, limit: Duration) -> u64 {
        self.lines.settle(limit)
    }

    /// The same, and takes no more.
    pub(crate) fn close(&self, limit: Duration) -> u64 {
        self.lines.close(limit)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    #[cfg(unix)]
    #[expect(clippy::unnecessary_wraps, reason = "other systems do not tell")]
    fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Self> {
        None
    }
}

struct LogWriter {
    path: PathBuf,
    /// Absent once it has failed.
    file: Option<Box<dyn Write + Send>>,
    /// Which file that is, where the system tells.
    place: Option<Place>,
    notice: fn(&str),
}

impl LogWriter {
    /// Whether the file has lost its name: what is written to it is lost, or goes where a log was
    /// put away. A file that cannot be looked at is taken for the same.
    fn has_moved(&self) -> bool {
        match (self.place, std::fs::metadata(&self.path)) {
            (None, _) => false,
            (place, Ok(metadata)) => place != Place::of(&metadata),
            (_, Err(error)) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.has_moved() {
            let file = append_to(&self.path)?;
            self.place = Place::of(&file.metadata()?);
            self.file = Some(Box::new(file));
            let begun = own_line("the log file before this one was moved or removed", "");
            self.write_all(&begun)?;
        }
        self.write_all(line)
    }

    /// One call a line, so that two processes appending to one file do not tear lines.
    fn write_all(&mut self, line: &str) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()))
    }
}

/// A line of the log about itself. `fields` begins with a comma if there are any.
fn own_line(message: &str, fields: &str) -> String {
    let time = jiff::Timestamp::now();
    format!(
        "{{\"time\":\"{time}\",\"level\":\"ERROR\",\"target\":\"exchange_gateway::log\",\
         \"message\":\"{message}\"{fields}}}\n"
    )
}

impl Work for LogWriter {
    type Item = String;

    fn work(&mut self, line: String) -> io::Result<()> {
        if self.file.is_none() {
            (self.notice)(line.trim_end());
            return Ok(());
        }
        if let Err(error) = self.write(&line) {
            self.file = None;
            let path = self.path.display();
            (self.notice)(&format!(
                "the log file {path} cannot be written ({error}); the log goes on here"
            ));
            (self.notice)(line.trim_end());
        }
        Ok(())
    }

    fn lost(&mut self, count: u64) -> io::Result<()> {
        let count = format!(",\"count\":{count}");
        self.work(own_line("log lines lost: the file was too slow", &count))
    }
}

struct SpanFields(Map<String, Value>);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for JsonLog {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut Collect(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Collect(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Map::new();
        // Inner spans overwrite outer ones, and the event overwrites all.
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(SpanFields(outer)) = span.extensions().get() {
                for (name, value) in outer {
                    fields.insert(name.clone(), value.clone());
                }
            }
        }
        event.record(&mut Collect(&mut fields));
        let message = fields.remove("message").unwrap_or_else(|| "".into());
        let (time, level) = (jiff::Timestamp::now(), metadata.level());
        let target = Value::from(metadata.target());
        // What every line has comes first, for those who read it by eye.
        let mut line = format!(
            "{{\"time\":\"{time}\",\"level\":\"{level}\",\"target\":{target},\"message\":{message}"
        );
        for (name, value) in fields {
            _ = write!(line, ",{}:{value}", Value::from(name));
        }
        line.push_str("}\n");
        self.write(line);
    }
}

struct Collect<'m>(&'m mut Map<String, Value>);

impl Collect<'_> {
    fn insert(&mut self, field: &Field, value: Value) {
        // A field must not pass for what every line has.
        let name = match field.name() {
            name @ ("time" | "level" | "target") => format!("{name}_"),
            name => name.to_owned(),
        };
        self.0.insert(name, value);
    }
}

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_line_holds_the_fields_of_its_event_and_of_the_spans_around_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/gateway.log");
        let log = JsonLog::open(&path, |_| ()).unwrap();
        let subscriber = tracing_subscriber::registry().with(log.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _outer = tracing::info_span!("exchange", exchange = "kraken", level = 7).entered();
            let _inner = tracing::info_span!("connection", connection = %"market").entered();
            tracing::warn!(target: "exchange_gateway::stage", elapsed_ms = 12_u64, "the {}", "end");
        });
        assert_eq!(log.close(Duration::from_secs(20)), 0);
        let text = std::fs::read_to_string(&path).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "the end");
        assert_eq!(line["target"], "exchange_gateway::stage");
        assert_eq!((&line["level"], &line["level_"]), (&"WARN".into(), &7.into()));
        assert_eq!(line["exchange"], "kraken");
        assert_eq!(line["connection"], "market");
        assert_eq!(line["elapsed_ms"], 12);
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }

    static NOTICES: AtomicUsize = AtomicUsize::new(0);

    struct Full(Arc<AtomicUsize>);

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_file_that_fails_is_left_for_the_standard_error_with_one_notice() {
        let writes = Arc::new(AtomicUsize::new(0));
        let log = JsonLog::new(Path::new("full.log"), Box::new(Full(writes.clone())), None, |_| {
            NOTICES.fetch_add(1, Ordering::Relaxed);
        });
        log.write("one\n".to_owned());
        log.write("two\n".to_owned());
        assert_eq!(log.close(Duration::from_secs(20)), 0);
        assert_eq!(writes.load(Ordering::Relaxed), 1);
        assert_eq!(NOTICES.load(Ordering::Relaxed), 3, "the notice and two lines");
    }

    #[cfg(unix)]
    #[test]
    fn a_log_file_that_is_put_away_is_followed_by_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("gateway.log"), directory.path().join("old.log"));
        let log = JsonLog::open(&path, |_| ()).unwrap();
        log.write("one\n".to_owned());
        assert_eq!(log.settle(Duration::from_secs(20)), 0);
        std::fs::rename(&path, &old).unwrap();
        log.write("two\n".to_owned());
        assert_eq!(log.close(Duration::from_secs(20)), 0);
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
        let text = std::fs::read_to_string(&path).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let first: Value = serde_json::from_str(first).unwrap();
        assert_eq!(first["message"], "the log file before this one was moved or removed");
        assert_eq!(rest, "two\n");
    }
}
