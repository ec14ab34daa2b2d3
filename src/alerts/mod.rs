//! Tells a person what cannot wait: to the log, a webhook and a command.
