//! Whoever runs the process kills it when it takes too long to end: whether a shutdown fits into that.

use std::time::Duration;

use super::{Config, Fault, format_duration};

/// After the deadline the program tells what it can and ends, in this time at most.
pub(crate) const EXIT_GRACE: Duration = Duration::from_secs(2);

/// What runs the process, and kills it some time after it has asked it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervisor {
    /// `docker stop` and Compose: 10 s unless told otherwise.
    Docker,
    /// A pod: 30 s unless told otherwise, less what a `preStop` hook takes.
    Kubernetes,
    /// A service: 90 s unless told otherwise.
    Systemd,
}

impl Supervisor {
    /// All of them, the least patient first.
    pub const ALL: [Self; 3] = [Self::Docker, Self::Kubernetes, Self::Systemd];

    /// The default of what it waits before it kills.
    pub fn grace(self) -> Duration {
        Duration::from_secs(match self {
            Self::Docker => 10,
            Self::Kubernetes => 30,
            Self::Systemd => 90,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Kubernetes => "Kubernetes",
            Self::Systemd => "systemd",
        }
    }

    /// The setting that makes it wait so many seconds.
    fn setting(self, seconds: u64) -> String {
        match self {
            Self::Docker => format!("--stop-timeout {seconds} or stop_grace_period: {seconds}s"),
            Self::Kubernetes => format!("terminationGracePeriodSeconds: {seconds}"),
            Self::Systemd => format!("TimeoutStopSec={seconds}"),
        }
    }
}

impl Config {
    /// Warns if a shutdown that takes all its time would be killed by one of these, unless that is told
    /// to wait longer, and says which setting to change.
    pub fn supervisor_warning(&self, supervisors: &[Supervisor]) -> Option<Fault> {
        let whole = self.shutdown.deadline.saturating_add(EXIT_GRACE);
        let seconds = whole.as_secs() + u64::from(whole.subsec_nanos() > 0);
        let impatient: Vec<_> =
            supervisors.iter().copied().filter(|one| one.grace() < whole).collect();
        let least = impatient.iter().map(|one| one.grace()).min()?;
        let told = impatient.iter().map(|one| {
            let (name, grace) = (one.name(), format_duration(one.grace()));
            format!("{name} kills after {grace} (there set {})", one.setting(seconds))
        });
        let problem = format!(
            "with {} to end afterwards the process may take {}, and {}",
            format_duration(EXIT_GRACE),
            format_duration(whole),
            told.collect::<Vec<_>>().join(", ")
        );
        let help = format!(
            "or lower it to {}, and the phases with it",
            format_duration(least.saturating_sub(EXIT_GRACE))
        );
        Some(Fault::new("shutdown.deadline", problem).help(help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(deadline_ms: u64) -> Option<String> {
        let mut config = Config::default();
        config.shutdown.deadline = Duration::from_millis(deadline_ms);
        let warning = config.supervisor_warning(&Supervisor::ALL)?;
        Some(format!("{}: {}; {}", warning.key, warning.problem, warning.help?))
    }

    #[test]
    fn whoever_would_kill_the_process_is_named_with_the_setting_to_change() {
        assert_eq!(warning(8_000), None);
        let docker = warning(8_001).unwrap();
        assert!(
            docker.contains("Docker kills after 10s (there set --stop-timeout 11 or"),
            "{docker}"
        );
        assert!(docker.ends_with("; or lower it to 8s, and the phases with it"), "{docker}");
        assert!(!docker.contains("Kubernetes"), "{docker}");
        let two = warning(28_500).unwrap();
        assert!(
            two.contains("Kubernetes kills after 30s (there set terminationGracePeriodSeconds: 31")
        );
        assert!(!two.contains("systemd"), "{two}");
        let all = warning(3_600_000).unwrap();
        assert!(
            all.contains("systemd kills after 1m 30s (there set TimeoutStopSec=3602)"),
            "{all}"
        );
        let mut config = Config::default();
        config.shutdown.deadline = Duration::from_secs(3600);
        assert_eq!(config.supervisor_warning(&[]), None);
    }
}
