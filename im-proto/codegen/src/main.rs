//! Regenerates im-proto's protobuf code: `cargo codegen` writes it, `cargo codegen --check` exits 1 if
//! the committed code is not what the `.proto` files give. It needs no `protoc`.

mod generate;
#[cfg(test)]
mod schema;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write(),
        ["--check"] => check(),
        _ => {
            say("usage: cargo codegen [--check]");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<(), generate::Error> {
    let code = generate::code()?;
    fs::write(generate::target(), code)?;
    Ok(())
}

fn check() -> Result<(), generate::Error> {
    let target = generate::target();
    let committed = fs::read_to_string(&target).unwrap_or_default();
    if committed == generate::code()? { Ok(()) } else { Err(generate::Error::Stale(target)) }
}

/// A lost standard error leaves the exit code to say it.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "codegen: {text}");
}
