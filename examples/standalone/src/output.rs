use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use crate::logging;

/// Prints one contract line, at once.
pub(crate) fn line(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Says on standard error what is wrong, with its causes.
pub(crate) fn complain(wrong: &dyn Error, code: u8) -> ExitCode {
    let line = format!("error: {}", with_causes(wrong));
    if !logging::say(&line) {
        // If even this cannot be written, the exit code has to do.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    ExitCode::from(code)
}

/// An error with its causes, in one line. Some errors say their cause themselves: nothing is said twice.
pub(crate) fn with_causes(wrong: &dyn Error) -> String {
    let mut text = wrong.to_string();
    let mut cause = wrong.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = source.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
