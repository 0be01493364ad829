//! Makes the header of the C API from capi/src/abi.rs.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Writes the header.
pub fn write_header() -> Outcome<()> {
    fs::write(path(), header()?)?;
    Ok(())
}

/// Fails if the header differs from the one that would be written.
pub fn check_header() -> Outcome<()> {
    match fs::read_to_string(path())? == header()? {
        true => Ok(()),
        false => Err("capi/include/lfm2.h is not up to date: run `cargo xtask capi-header`".into()),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../capi")
}

fn path() -> PathBuf {
    root().join("include/lfm2.h")
}

fn header() -> Outcome<String> {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml"))?;
    let builder = cbindgen::Builder::new().with_config(config).with_src(root().join("src/abi.rs"));
    let mut text = Vec::new();
    builder.generate()?.write(&mut text);
    Ok(String::from_utf8(text)?)
}
