//! `[alerts]`: who is told what cannot wait, and how.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use super::checks::Check;
use super::effective::{duration, plain, quote, section, string};
use super::file::{Given, named_secret, readable, set};
use super::reader::{Reader, Section};
use super::{Config, Fault};
use crate::exchange::Secret;

const WEBHOOK_HELP: &str = "write it like \"https://alerts.example.com/hook\"";
const COMMAND_HELP: &str = "write the program and its arguments like [\"/usr/bin/page\", \"-u\"]";

/// Who is told what cannot wait. Alerts are always in the log and in the report; a webhook and a
/// command are beside that, and each is tried for every alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertsConfig {
    /// Where each alert is posted as JSON. Default none. `https`, or `http` to this machine.
    /// Whoever reads it learns order ids, positions and this machine's name.
    pub webhook: Option<WebhookUrl>,
    /// Sent as `Authorization: Bearer …`, printable ASCII. Default none.
    pub webhook_token: Option<Secret>,
    /// One attempt to post, from connecting to the answer's status. Default 5 s, from 10 ms to
    /// 1 min. A receiver slower than this gets the alert again.
    pub webhook_timeout: Duration,
    /// How often an attempt that failed is repeated, 0 to 20. Default 6, which with the default
    /// pause spans half a minute. At zero one lost packet loses the alert.
    pub webhook_retries: u32,
    /// The pause before the first repetition, from 10 ms to 1 min; it doubles up to 30 s. Default
    /// 500 ms. What a `Retry-After` asks for, up to a minute, is waited for if it is longer.
    pub webhook_retry_pause: Duration,
    /// PEM file of certificate authorities to trust beside the usual ones. Default none.
    pub ca_file: Option<PathBuf>,
    /// Allow `http://` to another machine than this one. Default false: alerts and the token would
    /// be readable on the way.
    pub allow_insecure: bool,
    /// A program and its arguments, started without a shell for each alert, with the JSON on its
    /// standard input. Default none (empty). It has the gateway's environment and rights.
    pub command: Vec<String>,
    /// What one run of the command may take; then it is killed, with all that it started. Default
    /// 10 s, from 10 ms to 5 min.
    pub command_timeout: Duration,
    /// The same alert (kind, exchange and words) is delivered once in this time; what comes in
    /// between is logged and counted. Default 5 min, up to a day; zero delivers each.
    pub repeat_after: Duration,
    /// A connection that was live and has not been for this long is an alert. Default 1 min, from
    /// 10 ms to a day. Short values tell of every hiccup of the network.
    pub exchange_lost_after: Duration,
    /// What a shutdown, all its work done, waits at most for alerts that are still on their way; it
    /// never waits beyond its deadline, and not at all without such an alert. Default 2 s, up to a
    /// minute. At zero, alerts raised late are cut off.
    pub shutdown_wait: Duration,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            webhook: None,
            webhook_token: None,
            webhook_timeout: Duration::from_secs(5),
            webhook_retries: 6,
            webhook_retry_pause: Duration::from_millis(500),
            ca_file: None,
            allow_insecure: false,
            command: Vec::new(),
            command_timeout: Duration::from_secs(10),
            repeat_after: Duration::from_secs(300),
            exchange_lost_after: Duration::from_secs(60),
            shutdown_wait: Duration::from_secs(2),
        }
    }
}

/// A webhook's address. Many hold a secret in their path, so that only scheme, host and port are
/// ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// Takes the address as it is; [`Config::validate`] checks it.
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// The whole address, with what may be secret in it.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl FromStr for WebhookUrl {
    type Err = url::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Url::parse(text).map(Self)
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        let bare = url.path() == "/" && url.query().is_none();
        f.write_str(if bare { "/" } else { "/<redacted>" })
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({self})")
    }
}

pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &mut Section<'t>, into: &mut AlertsConfig) {
    let mut s = reader.section(root, "alerts");
    let s = &mut s;
    into.webhook = webhook(reader, s);
    into.webhook_token = match token(reader, s) {
        Given::Value(token) => Some(token),
        Given::Nothing | Given::Faulty => None,
    };
    set(&mut into.webhook_timeout, reader.duration(s, "webhook_timeout"));
    let retries = reader.count(s, "webhook_retries");
    let retries = retries.map(|retries| u32::try_from(retries).unwrap_or(u32::MAX));
    set(&mut into.webhook_retries, retries);
    set(&mut into.webhook_retry_pause, reader.duration(s, "webhook_retry_pause"));
    into.ca_file = readable(reader, s, "ca_file");
    set(&mut into.allow_insecure, reader.flag(s, "allow_insecure"));
    if s.get("command").is_some() {
        let words = reader.texts(s, "command", COMMAND_HELP);
        let words = words.map(|words| words.into_iter().map(|(_, _, word)| word.to_owned()));
        set(&mut into.command, words.map(Iterator::collect));
        if into.command.is_empty() {
            let fault = Fault::new(s.key("command"), "it names no program").help(COMMAND_HELP);
            reader.fault_of_check(fault);
        }
    }
    set(&mut into.command_timeout, reader.duration(s, "command_timeout"));
    set(&mut into.repeat_after, reader.duration(s, "repeat_after"));
    set(&mut into.exchange_lost_after, reader.duration(s, "exchange_lost_after"));
    set(&mut into.shutdown_wait, reader.duration(s, "shutdown_wait"));
    reader.close(s);
}

/// The address: in the file, or named there if it is a secret.
fn webhook<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>) -> Option<WebhookUrl> {
    let inline = reader.text(s, "webhook", WEBHOOK_HELP);
    let named = named_secret(reader, s, "webhook_env", "webhook_file");
    let (key, text) = match (inline, named) {
        (Some((text, _)), Given::Nothing) => (s.key("webhook"), text.to_owned()),
        (Some(_), _) => {
            let problem = "the webhook is given twice";
            reader.fault_of_key(Fault::new(s.key("webhook"), problem).help("remove one"));
            return None;
        }
        (None, Given::Value(secret)) => {
            let by_env = s.get("webhook_env").is_some();
            let name = if by_env { "webhook_env" } else { "webhook_file" };
            (s.key(name), secret.expose().to_owned())
        }
        (None, Given::Nothing | Given::Faulty) => return None,
    };
    match text.parse() {
        Ok(url) => Some(url),
        Err(error) => {
            let problem = format!("no address: {error}");
            reader.fault_of_key(Fault::new(key, problem).help(WEBHOOK_HELP));
            None
        }
    }
}

fn token<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>) -> Given {
    super::file::secret(reader, s, ["webhook_token", "webhook_token_env", "webhook_token_file"])
}

impl Check {
    pub(super) fn alerts(&mut self, config: &Config) {
        const MS: Duration = Duration::from_millis(1);
        const MINUTE: Duration = Duration::from_secs(60);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let alerts = &config.alerts;
        if let Some(webhook) = &alerts.webhook {
            let schemes = ["https", "http"];
            self.url("alerts.webhook", webhook.expose(), schemes, alerts.allow_insecure);
        }
        if let Some(token) = &alerts.webhook_token {
            let token = token.expose();
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let problem = "it is empty or has characters that no header can carry";
                self.fault("alerts.webhook_token", problem, "use printable ASCII without spaces");
            }
        }
        if alerts.command.first().is_some_and(String::is_empty) {
            self.fault("alerts.command", "it names no program", COMMAND_HELP);
        }
        self.duration("alerts.webhook_timeout", alerts.webhook_timeout, 10 * MS..=MINUTE);
        let retries = usize::try_from(alerts.webhook_retries).unwrap_or(usize::MAX);
        self.count("alerts.webhook_retries", retries, 0..=20);
        self.duration("alerts.webhook_retry_pause", alerts.webhook_retry_pause, 10 * MS..=MINUTE);
        self.duration("alerts.command_timeout", alerts.command_timeout, 10 * MS..=5 * MINUTE);
        self.duration("alerts.repeat_after", alerts.repeat_after, Duration::ZERO..=DAY);
        self.duration("alerts.exchange_lost_after", alerts.exchange_lost_after, 10 * MS..=DAY);
        self.duration("alerts.shutdown_wait", alerts.shutdown_wait, Duration::ZERO..=MINUTE);
    }
}

pub(super) fn warnings(alerts: &AlertsConfig, warnings: &mut Vec<Fault>) {
    if alerts.webhook_token.is_some() && alerts.webhook.is_none() {
        let fault = Fault::new("alerts.webhook_token", "no webhook is given that it could go to");
        warnings.push(fault.help("set alerts.webhook, or remove the token"));
    }
    if alerts.allow_insecure {
        warnings.push(Fault::new("alerts.allow_insecure", "unencrypted alerts are allowed"));
    }
}

pub(super) fn effective(text: &mut String, alerts: &AlertsConfig) {
    section(text, "alerts");
    match &alerts.webhook {
        Some(webhook) => string(text, "webhook", &webhook.to_string()),
        None => text.push_str("# webhook: none\n"),
    }
    if let Some(token) = &alerts.webhook_token {
        string(text, "webhook_token", &token.to_string());
    }
    duration(text, "webhook_timeout", alerts.webhook_timeout);
    plain(text, "webhook_retries", alerts.webhook_retries);
    duration(text, "webhook_retry_pause", alerts.webhook_retry_pause);
    if let Some(file) = &alerts.ca_file {
        string(text, "ca_file", &file.to_string_lossy());
    }
    plain(text, "allow_insecure", alerts.allow_insecure);
    if alerts.command.is_empty() {
        text.push_str("# command: none\n");
    } else {
        let words: Vec<_> = alerts.command.iter().map(|word| quote(word)).collect();
        plain(text, "command", format!("[{}]", words.join(", ")));
    }
    duration(text, "command_timeout", alerts.command_timeout);
    duration(text, "repeat_after", alerts.repeat_after);
    duration(text, "exchange_lost_after", alerts.exchange_lost_after);
    duration(text, "shutdown_wait", alerts.shutdown_wait);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED_ONLY: &str = "[exchanges.kraken]\ninstruments = [\"BTC-USD\"]\ntrading = false\n";

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOOK" => Some("https://hooks.example.com/services/T0/hush\n".into()),
            "HOOK_TOKEN" => Some("token-hush".into()),
            "NO_URL" => Some("hush".into()),
            "SPACED" => Some("two words".into()),
            _ => None,
        }
    }

    fn parsed(section: &str) -> Result<Config, String> {
        let text = format!("[alerts]\n{section}\n{FEED_ONLY}");
        let config = super::super::file::read(&text, "gateway.toml", &environment);
        config.map_err(|error| error.to_string())
    }

    #[test]
    fn what_may_be_secret_comes_from_elsewhere_and_is_never_printed() {
        let config = parsed(
            "webhook_env = \"HOOK\"\nwebhook_token_env = \"HOOK_TOKEN\"\n\
             command = [\"page\", \"-u\"]\nexchange_lost_after = \"5s\"",
        );
        let config = config.unwrap();
        let webhook = config.alerts.webhook.as_ref().unwrap();
        assert_eq!(webhook.expose().path(), "/services/T0/hush");
        assert_eq!(config.alerts.webhook_token.as_ref().unwrap().expose(), "token-hush");
        assert_eq!(config.alerts.exchange_lost_after, Duration::from_secs(5));
        let shown = format!("{:?}\n{}", config.alerts, config.effective_toml());
        assert!(!shown.contains("hush"), "{shown}");
        for line in [
            "webhook = \"https://hooks.example.com/<redacted>\"",
            "webhook_token = \"<redacted>\"",
            "command = [\"page\", \"-u\"]",
            "repeat_after = \"5m\"",
        ] {
            assert!(shown.contains(&format!("\n{line}\n")), "{line} is not in {shown}");
        }
        let plain: WebhookUrl = "http://127.0.0.1:9093".parse().unwrap();
        assert_eq!(plain.to_string(), "http://127.0.0.1:9093/");
    }

    #[test]
    fn every_fault_names_its_key_and_remedy_and_no_secret() {
        for (section, expected) in [
            (
                "webhook = \"http://example.com/hush\"",
                ":2:11: alerts.webhook: http:// to another machine is not encrypted; use https://, or \
                 set allow_insecure = true",
            ),
            (
                "webhook = \"ftp://example.com/hush\"",
                ":2:11: alerts.webhook: `ftp` is the wrong scheme",
            ),
            ("webhook = \"hush\"", ":2:11: alerts.webhook: no address: "),
            (
                "webhook = \"https://me:hush@example.com/\"",
                ":2:11: alerts.webhook: it holds a user name or password",
            ),
            ("webhook_env = \"NO_URL\"", ":2:15: alerts.webhook_env: no address: "),
            (
                "webhook_env = \"NONE\"",
                ":2:15: alerts.webhook_env: the environment variable NONE is not set",
            ),
            (
                "webhook = \"https://example.com/\"\nwebhook_env = \"HOOK\"",
                ":2:11: alerts.webhook: the webhook is given twice; remove one",
            ),
            (
                "webhook_token = \"hush\"",
                ":2:17: alerts.webhook_token: a secret must not stand in the configuration",
            ),
            (
                "webhook_token_env = \"SPACED\"",
                "alerts.webhook_token: it is empty or has characters that no header can carry",
            ),
            ("command = []", ":2:11: alerts.command: it names no program; write the program"),
            ("command = [\"\"]", ":2:11: alerts.command: it names no program"),
            ("command = \"page\"", ":2:11: alerts.command: expected a list, found text"),
            (
                "webhook_retries = 21",
                ":2:19: alerts.webhook_retries: 21 is out of range; use 0 to 20",
            ),
            (
                "exchange_lost_after = \"0s\"",
                ":2:23: alerts.exchange_lost_after: 0s is out of range",
            ),
            (
                "shutdown_wait = \"2m\"",
                ":2:17: alerts.shutdown_wait: 2m is out of range; use 0s to 1m",
            ),
            ("ca_file = \"/no/such\"", ":2:11: alerts.ca_file: /no/such cannot be read: "),
            ("webhok = \"x\"", ":2:1: alerts.webhok: unknown key; did you mean `webhook`?"),
        ] {
            let faults = parsed(section).unwrap_err();
            assert_eq!(faults.lines().count(), 1, "{section}: {faults}");
            assert!(faults.contains(expected), "{section}: {faults}");
            assert!(!faults.contains("hush"), "{section}: {faults}");
        }
        let to_this_machine = parsed("webhook = \"http://localhost:9093/hook\"");
        assert!(to_this_machine.unwrap().warnings().is_empty());
        let config = parsed("webhook = \"http://example.com/\"\nallow_insecure = true").unwrap();
        assert_eq!(config.warnings()[0].key, "alerts.allow_insecure");
        let config = parsed("webhook_token_env = \"HOOK_TOKEN\"").unwrap();
        assert_eq!(config.warnings()[0].key, "alerts.webhook_token");
    }
}
