use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::directory;
use crate::program::output;

/// Fills `target` with a new server's data: a copy of a template, which is made once for each `recipe` (the program's version, and how the data is
/// made) and kept. `make` fills an empty directory. Processes that need a template at the same time make one.
pub(crate) fn fill(target: &Path, kind: &str, recipe: impl Hash, make: impl FnOnce(&Path)) {
    let template = template(kind, recipe, make);
    output(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(target));
}

fn template(kind: &str, recipe: impl Hash, make: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let path = directory::root().join(format!("template-{kind}-{:016x}", hasher.finish()));
    let lock = directory::open_lock(&path.with_extension("lock"));
    lock.lock().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if !path.exists() {
        make_whole(&path, make);
    }
    let _ = lock.unlock();
    path
}

/// A template appears whole or not at all, also if the process that makes it is killed.
fn make_whole(path: &Path, make: impl FnOnce(&Path)) {
    let unfinished = path.with_extension("new");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir(&unfinished).unwrap_or_else(|error| panic!("{}: {error}", unfinished.display()));
    make(&unfinished);
    fs::rename(&unfinished, path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
