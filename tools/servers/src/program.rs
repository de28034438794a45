use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that a fixture needs, and how one comes by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// The variable that names a server to use instead.
    pub(crate) variable: Option<&'static str>,
}

impl Program {
    /// # Panics
    ///
    /// If there is no such program.
    pub(crate) fn path(self) -> PathBuf {
        self.find().unwrap_or_else(|| panic!("{}", self.advice()))
    }

    /// Where it is, if this machine has it.
    pub(crate) fn find(self) -> Option<PathBuf> {
        directories().map(|directory| directory.join(self.name)).find(|path| path.is_file())
    }

    pub(crate) fn command(self) -> Command {
        Command::new(self.path())
    }

    /// What the program says of its version.
    pub(crate) fn version(self) -> String {
        output(self.command().arg("--version"))
    }

    fn advice(self) -> String {
        let Self { name, package, variable } = self;
        let instead = variable.map(|variable| {
            format!(", or have {variable} name a server (a test that kills its server needs the program)")
        });
        let instead = instead.unwrap_or_default();
        format!(
            "no program {name} on this machine: run .ci/servers, or install Debian's package {package}{instead}"
        )
    }
}

/// Runs a command that takes a moment, and gives what it printed.
///
/// # Panics
///
/// If it fails, with what it said.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complained}", output.status);
    said
}

/// `PATH`, and where Debian keeps servers away from it; the newest PostgreSQL first.
fn directories() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let system = ["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from);
    postgres_versions().into_iter().chain(path).chain(system)
}

fn postgres_versions() -> Vec<PathBuf> {
    let versions = fs::read_dir(Path::new("/usr/lib/postgresql")).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(
        expected = "no program imaginaryd on this machine: run .ci/servers, or install Debian's package imaginary, or have IM_TEST_X name"
    )]
    fn a_missing_program_says_what_to_do() {
        Program { name: "imaginaryd", package: "imaginary", variable: Some("IM_TEST_X") }.path();
    }
}
