use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// Prints one contract line, at once.
pub(crate) fn line(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Says on standard error what is wrong, with its causes. Some errors say their cause themselves: nothing is said twice.
pub(crate) fn complain(wrong: &dyn Error, code: u8) -> ExitCode {
    let mut text = format!("error: {wrong}");
    let mut cause = wrong.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = source.source();
    }
    // If even this cannot be written, the exit code has to do.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(code)
}
