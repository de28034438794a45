//! From `proto/im/v1/*.proto` to one Rust file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use prost_build::Module;
use protox::prost_reflect::prost_types::FileDescriptorProto;
use thiserror::Error;

/// The protobuf package, and the folder of its files.
const PACKAGE: &str = "im.v1";

/// Why no code came out, or not the committed one.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The committed code is not what the `.proto` files give.
    #[error("{} is stale: run `cargo codegen` and commit the result", .0.display())]
    Stale(PathBuf),
    /// A `.proto` file is wrong.
    #[error("{0}")]
    Proto(#[from] protox::Error),
    /// A file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The files declare nothing.
    #[error("no message in package {PACKAGE}")]
    Empty,
}

/// Where the generated code is committed.
pub(crate) fn target() -> PathBuf {
    im_proto().join("src/generated").join(format!("{PACKAGE}.rs"))
}

/// What the `.proto` files give.
pub(crate) fn code() -> Result<String, Error> {
    let module = Module::from_protobuf_package_name(PACKAGE);
    let requests = files()?.into_iter().map(|file| (module.clone(), file)).collect();
    config().generate(requests)?.remove(&module).ok_or(Error::Empty)
}

/// The `.proto` files, parsed.
pub(crate) fn files() -> Result<Vec<FileDescriptorProto>, Error> {
    let root = im_proto().join("proto");
    let descriptors = protox::compile(proto_files(&root.join("im/v1"))?, [&root])?;
    Ok(descriptors.file)
}

fn config() -> prost_build::Config {
    let mut config = prost_build::Config::new();
    // A body's `bytes` are slices of the buffer that was read.
    config.bytes(["."]);
    // im-proto writes these two by hand, to keep the token out of logs.
    config.skip_debug([".im.v1.AuthRequest", ".im.v1.LogoutRequest"]);
    config
}

/// In order of name, so that the same files always give the same code.
fn proto_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("proto")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn im_proto() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("codegen lies in im-proto")
}
