//! Posts alerts to a web server.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::config::{AlertsConfig, WebhookUrl};
use crate::exchange::{HttpRequest, Secret};
use crate::net::{self, Connector, Receipt};

pub(super) const CHANNEL: &str = "webhook";
/// The pause between attempts doubles up to this.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A receiver that wants to be left alone for longer is asked again after this all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

pub(super) struct Webhook {
    url: WebhookUrl,
    token: Option<Secret>,
    connector: Arc<dyn Connector>,
    timeout: Duration,
    retries: u32,
    pause: Duration,
}

/// What is told of the attempts while they go on.
pub(super) trait Attempts {
    fn attempt(&self);
    fn failed(&self, words: &str);
}

/// An attempt without success.
#[derive(Debug, PartialEq, Eq)]
struct Failed {
    words: String,
    /// Whether another attempt may help.
    again: bool,
    wanted_pause: Option<Duration>,
}

impl Webhook {
    pub(super) fn new(config: &AlertsConfig, connector: Arc<dyn Connector>) -> Option<Self> {
        Some(Self {
            url: config.webhook.clone()?,
            token: config.webhook_token.clone(),
            connector,
            timeout: config.webhook_timeout,
            retries: config.webhook_retries,
            pause: config.webhook_retry_pause,
        })
    }

    /// Posts the JSON, again and again if need be. Dropping the future abandons the attempt that is
    /// under way; the receiver may have got it.
    pub(super) async fn deliver(&self, json: &str, attempts: &impl Attempts) -> Result<(), String> {
        let mut pause = self.pause;
        let mut left = self.retries;
        loop {
            attempts.attempt();
            let Err(failed) = self.post(json).await else { return Ok(()) };
            if !failed.again || left == 0 {
                return Err(failed.words);
            }
            attempts.failed(&failed.words);
            left -= 1;
            let wanted = failed.wanted_pause.unwrap_or_default().min(RETRY_AFTER_MAX);
            sleep(pause.max(wanted)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn post(&self, json: &str) -> Result<(), Failed> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if let Some(token) = &self.token {
            headers.push(("authorization", format!("Bearer {}", token.expose())));
        }
        let url = self.url.expose().clone();
        let request = HttpRequest { method: "POST", url, headers, body: json.to_owned() };
        match net::deliver(self.connector.as_ref(), request, self.timeout).await {
            Ok(receipt) => judge(receipt),
            Err(failure) => {
                Err(Failed { words: failure.to_string(), again: true, wanted_pause: None })
            }
        }
    }
}

/// Whether the receiver took it. Its words are left out: they may repeat the token or the address.
fn judge(receipt: Receipt) -> Result<(), Failed> {
    let Receipt { status, retry_after: wanted_pause } = receipt;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let known = http::StatusCode::from_u16(status).ok();
    let name = known.and_then(|status| status.canonical_reason()).unwrap_or("unknown");
    let mut words = format!("HTTP status {status} ({name})");
    if (300..400).contains(&status) {
        words.push_str("; redirects are not followed: give the address itself");
    }
    // What the receiver does not want now it will not want later, but for its own troubles.
    let again = matches!(status, 408 | 425 | 429) || status >= 500;
    Err(Failed { words, again, wanted_pause })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;
    use url::Url;

    use super::*;
    use crate::net::{ByteStream, Connecting};

    /// Plays one answer a connection, and none when there are no more.
    #[derive(Debug)]
    struct Scripted {
        answers: Mutex<Vec<&'static str>>,
        began: Instant,
        asked_ms: Arc<Mutex<Vec<u128>>>,
    }

    impl Connector for Scripted {
        fn connect<'a>(&'a self, _: &'a Url) -> Connecting<'a> {
            self.asked_ms.lock().unwrap().push(self.began.elapsed().as_millis());
            let mut answers = self.answers.lock().unwrap();
            let answer = if answers.is_empty() { "" } else { answers.remove(0) };
            Box::pin(async move {
                if answer == "refused" {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    let _ = theirs.read(&mut request).await;
                    theirs.write_all(answer.as_bytes()).await.unwrap();
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                });
                Ok(Box::new(ours) as Box<dyn ByteStream>)
            })
        }
    }

    #[derive(Default)]
    struct Seen(RefCell<Vec<String>>);

    impl Attempts for Seen {
        fn attempt(&self) {
            self.0.borrow_mut().push("attempt".into());
        }

        fn failed(&self, words: &str) {
            self.0.borrow_mut().push(words.into());
        }
    }

    async fn post_to(answers: &[&'static str]) -> (Result<(), String>, Vec<u128>, Vec<String>) {
        let asked_ms = Arc::<Mutex<Vec<_>>>::default();
        let connector = Arc::new(Scripted {
            answers: Mutex::new(answers.to_vec()),
            began: Instant::now(),
            asked_ms: Arc::clone(&asked_ms),
        });
        let config = AlertsConfig {
            webhook: Some("https://alerts.example.com/secret-path".parse().unwrap()),
            webhook_token: Some(Secret::new("hush")),
            webhook_retries: 3,
            ..AlertsConfig::default()
        };
        let webhook = Webhook::new(&config, connector).unwrap();
        let seen = Seen::default();
        let result = webhook.deliver("{}", &seen).await;
        let asked_ms = asked_ms.lock().unwrap().clone();
        (result, asked_ms, seen.0.into_inner())
    }

    const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn attempts_are_repeated_with_growing_pauses_within_their_number() {
        let (result, asked_ms, _) = post_to(&[BROKEN, "refused", OK, OK]).await;
        assert_eq!((result, asked_ms), (Ok(()), vec![0, 500, 1500]));
        let (result, asked_ms, seen) = post_to(&[BROKEN; 9]).await;
        assert_eq!(result.unwrap_err(), "HTTP status 500 (Internal Server Error)");
        assert_eq!(asked_ms, [0, 500, 1500, 3500]);
        assert_eq!(seen.len(), 7, "the last failure is the result: {seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_ends_at_its_limit() {
        let (result, asked_ms, _) = post_to(&[""; 4]).await;
        let error = result.unwrap_err();
        assert_eq!(error, "no answer from alerts.example.com within 5000 ms");
        assert_eq!(asked_ms, [0, 5500, 11_500, 18_500]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_receiver_refuses_or_redirects_is_not_posted_again() {
        for (answer, expected) in [
            ("HTTP/1.1 404 Not Found\r\n\r\n", "HTTP status 404 (Not Found)"),
            ("HTTP/1.1 401 Unauthorized\r\n\r\n", "HTTP status 401 (Unauthorized)"),
            (
                "HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example.com/\r\n\r\n",
                "HTTP status 302 (Found); redirects are not followed: give the address itself",
            ),
        ] {
            let (result, asked_ms, _) = post_to(&[answer, OK]).await;
            assert_eq!((result, asked_ms), (Err(expected.to_owned()), vec![0]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_wants_a_pause_gets_it_within_bounds() {
        let busy = |pause: &'static str| pause;
        let soon = busy("HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\n\r\n");
        let late = busy("HTTP/1.1 503 Service Unavailable\r\nretry-after: 86400\r\n\r\n");
        let date = busy(
            "HTTP/1.1 408 Request Timeout\r\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n",
        );
        let (result, asked_ms, _) = post_to(&[soon, late, date, OK]).await;
        assert_eq!((result, asked_ms), (Ok(()), vec![0, 7000, 67_000, 69_000]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_whose_status_is_there_counts_and_half_a_status_does_not() {
        let (result, asked_ms, _) =
            post_to(&["HTTP/1.1 2", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal"]).await;
        assert_eq!((result, asked_ms), (Ok(()), vec![0, 500]));
    }
}
