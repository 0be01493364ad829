//! Files and directories: reading them, refusing some without opening them, and changes during use.

use std::fs::{self, OpenOptions};
use std::sync::Arc;

use lfm2_wgpu::formats::{
    ByteSource, BytesSource, Checkpoint, FileSource, ModelFiles, SourceError, read_small,
};

use super::bad_safetensors::file;
use super::refused::refused;

fn read(source: &dyn ByteSource, offset: u64, len: usize) -> Result<Vec<u8>, SourceError> {
    let mut bytes = vec![0; len];
    pollster::block_on(source.read_at(offset, &mut bytes))?;
    Ok(bytes)
}

#[test]
fn the_same_bytes_from_file_and_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, b"0123456789").unwrap();
    let sources: [Box<dyn ByteSource>; 3] = [
        Box::new(FileSource::open(&path).unwrap()),
        Box::new(BytesSource::from_static("f", b"0123456789")),
        Box::new(BytesSource::shared("f", Arc::from(&b"0123456789"[..]))),
    ];
    for source in &sources {
        assert_eq!((source.len(), source.is_empty()), (10, false));
        assert_eq!(read(&**source, 3, 4).unwrap(), b"3456");
        assert_eq!(read(&**source, 10, 0).unwrap(), b"");
        for (offset, len) in [(0, 11), (10, 1), (9, 2), (u64::MAX, 1), (u64::MAX, 0)] {
            let case = format!("{len} at {offset}");
            let words = ["f: ", "the file has 10"];
            refused(&case, &words, || read(&**source, offset, len));
        }
        assert_eq!(pollster::block_on(read_small(&**source, 10)).unwrap(), b"0123456789");
        refused("a small file", &["f: is 10 bytes long", "at most 9"], || {
            pollster::block_on(read_small(&**source, 9))
        });
    }
}

#[test]
fn a_file_cut_short_while_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let header = r#"{"a":{"dtype":"U8","shape":[100],"data_offsets":[0,100]}}"#;
    fs::write(&path, file(header, 100)).unwrap();
    let files = Arc::new(ModelFiles::directory(dir.path()).unwrap());
    let checkpoint = pollster::block_on(Checkpoint::open(files)).unwrap();
    let source = FileSource::open(&path).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(80).unwrap();
    refused(
        "source",
        &[
            "model.safetensors: cut short",
            "50 bytes at offset 60",
            "165 bytes when opened",
            "ends at 80",
        ],
        || read(&source, 60, 50),
    );
    assert_eq!(read(&source, 70, 10).unwrap(), [0; 10]);
    let slice = lfm2_wgpu::formats::TensorSlice {
        tensor: 0,
        offset: 0,
        rows: 1,
        cols: 100,
        element_type: checkpoint.tensors()[0].element_type,
    };
    refused("tensor", &["model.safetensors: cut short"], || {
        pollster::block_on(checkpoint.read(&slice, 50, &mut [0; 50]))
    });
}

#[test]
fn pieces_outside_of_a_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let header = r#"{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},
                     "b":{"dtype":"F16","shape":[4],"data_offsets":[8,16]}}"#;
    fs::write(dir.path().join("model.safetensors"), file(header, 16)).unwrap();
    let files = Arc::new(ModelFiles::directory(dir.path()).unwrap());
    let checkpoint = pollster::block_on(Checkpoint::open(files)).unwrap();
    let slice = lfm2_wgpu::formats::TensorSlice {
        tensor: 0,
        offset: 0,
        rows: 2,
        cols: 2,
        element_type: checkpoint.tensors()[0].element_type,
    };
    let read = |slice, at, len| {
        let mut bytes = vec![0; len];
        pollster::block_on(checkpoint.read(&slice, at, &mut bytes))
    };
    read(slice, 1, 6).unwrap();
    let name = ["model.safetensors: ", "tensor \"a\""];
    refused("beyond the slice", &name, || read(slice, 1, 8));
    refused("from beyond", &name, || read(slice, u64::MAX, 2));
    let wide = lfm2_wgpu::formats::TensorSlice { rows: 3, ..slice };
    refused("beyond the tensor", &name, || read(wide, 0, 2));
    let far = lfm2_wgpu::formats::TensorSlice { offset: u64::MAX, ..slice };
    refused("offset", &name, || read(far, 0, 2));
    let huge = lfm2_wgpu::formats::TensorSlice { rows: usize::MAX, cols: usize::MAX, ..slice };
    refused("huge", &name, || read(huge, 0, 2));
    let other = lfm2_wgpu::formats::TensorSlice { tensor: 2, ..slice };
    refused("no such tensor", &["no tensor number 2"], || read(other, 0, 2));
}

#[test]
fn names_that_lead_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("model");
    fs::create_dir(&inside).unwrap();
    fs::write(dir.path().join("secret"), "x").unwrap();
    fs::write(inside.join("file"), "x").unwrap();
    let files = ModelFiles::directory(&inside).unwrap();
    assert!(files.open("file").unwrap().is_some());
    assert!(files.open("absent").unwrap().is_none());
    refused("absent", &["model/absent: no such file"], || files.require("absent"));
    let absolute = dir.path().join("secret").display().to_string();
    for name in [
        "",
        ".",
        "..",
        "../secret",
        "a/../../secret",
        "./file",
        "/etc/passwd",
        &absolute,
        "..\\secret",
        "c:secret",
        "file\0",
        "fi\nle",
    ] {
        refused(name, &["plain file name"], || files.open(name));
    }
}

#[test]
fn places_that_are_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, "x").unwrap();
    refused("a file", &["/f: is not a directory"], || ModelFiles::directory(&path));
    let absent = dir.path().join("g");
    refused("nothing", &["/g: no such file"], || ModelFiles::directory(&absent));
    refused("a device", &["/dev/zero: is not a directory"], || ModelFiles::directory("/dev/zero"));
}

/// None of these is opened: opening a pipe would wait for a writer forever.
#[cfg(unix)]
#[test]
fn what_is_not_a_regular_file() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    fs::create_dir(path("directory")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    symlink("/dev/zero", path("zero")).unwrap();
    symlink("/dev/tty", path("tty")).unwrap();
    symlink(path("pipe"), path("link to a pipe")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    symlink("loop", path("loop")).unwrap();
    let files = ModelFiles::directory(dir.path()).unwrap();
    for (name, word) in [
        ("pipe", "is a pipe, need a regular file"),
        ("link to a pipe", "is a pipe"),
        ("directory", "is a directory"),
        ("socket", "is a socket"),
        ("zero", "is a device"),
        ("tty", "is a device"),
        ("dangling", "link to a file that does not exist"),
        ("loop", "cannot open it"),
    ] {
        refused(name, &[&format!("/{name}: "), word], || files.open(name));
    }
}

/// The same for every file of a checkpoint.
#[cfg(unix)]
#[test]
fn checkpoints_of_pipes_and_devices() {
    use std::os::unix::fs::symlink;
    for name in ["model.safetensors", "model.safetensors.index.json", "shard"] {
        let dir = tempfile::tempdir().unwrap();
        symlink("/dev/zero", dir.path().join(name)).unwrap();
        if name == "shard" {
            let index = r#"{"weight_map": {"a": "shard"}}"#;
            fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        }
        let files = Arc::new(ModelFiles::directory(dir.path()).unwrap());
        refused(name, &[name, "is a device"], || pollster::block_on(Checkpoint::open(files)));
    }
}

/// For a header with false sizes nothing is allocated, and a sparse file takes no more memory than the longest
/// header.
#[test]
fn a_sparse_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, (15_u64 << 20).to_le_bytes()).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(3 << 40).unwrap();
    let files = Arc::new(ModelFiles::directory(dir.path()).unwrap());
    super::refused::refused_within("sparse", 17 << 20, &["does not start with '{'"], || {
        pollster::block_on(Checkpoint::open(files))
    });
}
