use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// What files of one kind take on a disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) count: u64,
    /// Up to each file's last byte that is not zero: without what was only set aside.
    pub(crate) written: u64,
    /// The blocks that the file system gave them.
    pub(crate) allocated: u64,
}

/// The file system's unit, whatever its blocks are: stat(2).
const UNIT: u64 = 512;

/// The files in a directory and under it, by their names from there, in which `*` stands for any number.
pub(crate) fn files_in(directory: &Path) -> io::Result<BTreeMap<String, Files>> {
    let mut all = BTreeMap::new();
    collect(directory, "", &mut all)?;
    Ok(all)
}

fn collect(directory: &Path, prefix: &str, all: &mut BTreeMap<String, Files>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", without_numbers(&entry.file_name().to_string_lossy()));
        // A server may remove what was just listed.
        let outcome = match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), &format!("{name}/"), all),
            _ => add(&entry.path(), all.entry(name).or_default()),
        };
        match outcome {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

fn add(path: &Path, files: &mut Files) -> io::Result<()> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    files.count += 1;
    files.written += written(&file, about.len())?;
    files.allocated += about.blocks() * UNIT;
    Ok(())
}

/// How much of a file lies before its last byte that is not zero.
fn written(file: &File, len: u64) -> io::Result<u64> {
    let mut block = vec![0; 1 << 16];
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let block = &mut block[..usize::try_from(end - start).expect("no more than a block")];
        file.read_exact_at(block, start)?;
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Puts one `*` for each run of digits.
fn without_numbers(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        match letter {
            '0'..='9' if out.ends_with('*') => {}
            '0'..='9' => out.push('*'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_only_set_aside_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("000.log")).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(b"abc", 100_000).unwrap();
        let files = files_in(directory.path()).unwrap()["*.log"];
        assert_eq!((files.count, files.written), (1, 100_003));
        assert!(files.allocated < 1 << 20);
    }

    #[test]
    fn files_that_differ_by_numbers_are_counted_together_also_in_directories() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("log");
        fs::create_dir(&deep).unwrap();
        fs::write(deep.join("0001.seg"), "ab").unwrap();
        fs::write(deep.join("0002.seg"), "abc").unwrap();
        let all = files_in(directory.path()).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["log/*.seg"]);
        assert_eq!((all["log/*.seg"].count, all["log/*.seg"].written), (2, 5));
    }
}
