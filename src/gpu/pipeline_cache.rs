//! Compiled pipelines on disk, if the device exports them: a later start on the same driver does not
//! compile them again. An error here costs only that time.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::caps::exports_pipelines;

/// Bytes of the hash at the beginning of a file.
const HASH: usize = 32;
/// Most bytes of a file. Drivers only ever add to it, so a longer one is not read and is replaced.
const MOST_BYTES: u64 = 64 << 20;

/// The pipelines that the driver has compiled, and their file.
#[derive(Debug)]
pub(super) struct PipelineCache {
    /// The driver's cache, passed with each new pipeline.
    pub cache: wgpu::PipelineCache,
    file: PathBuf,
    /// Hash of the file's content; `None` without a valid file.
    kept: Mutex<Option<[u8; HASH]>>,
}

impl PipelineCache {
    /// Opens the cache of the device in `directory`; `None` if the device exports no pipelines.
    pub async fn open(device: &wgpu::Device, directory: &Path) -> Option<Self> {
        if !exports_pipelines(device) {
            return None;
        }
        let file = directory.join(wgpu::util::pipeline_cache_key(&device.adapter_info())?);
        let found = match read(&file) {
            Ok(found) => Some(found),
            Err(e) => {
                log::debug!("{}: {e}; pipelines are compiled anew", file.display());
                None
            }
        };
        if let Some((hash, data)) = found {
            match make(device, Some(&data)).await {
                Ok(cache) => return Some(Self { cache, file, kept: Mutex::new(Some(hash)) }),
                Err(e) => log::info!("{}: {e}; pipelines are compiled anew", file.display()),
            }
        }
        let cache = make(device, None).await.ok()?;
        Some(Self { cache, file, kept: Mutex::new(None) })
    }

    /// Writes the driver's current pipelines, unless the file already has them.
    pub fn keep(&self) {
        let Some(data) = self.cache.get_data() else { return };
        let hash: [u8; HASH] = Sha256::digest(&data).into();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept == Some(hash) {
            return;
        }
        match write(&self.file, &hash, &data) {
            Ok(()) => *kept = Some(hash),
            Err(e) => log::info!("{}: {e}; compiled pipelines are not kept", self.file.display()),
        }
    }
}

/// A cache that starts with `data`. wgpu ignores data of another version of the driver or of itself; data
/// of another device is an error.
async fn make(
    device: &wgpu::Device,
    data: Option<&[u8]>,
) -> Result<wgpu::PipelineCache, wgpu::Error> {
    let label = Some("lfm2-wgpu");
    let desc = wgpu::PipelineCacheDescriptor { label, data, fallback: true };
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // SAFETY: the contract is that the data came from `get_data`. Only `keep` writes these files, from
    // `get_data` and with a hash, which `read` has checked.
    #[allow(unsafe_code)]
    let cache = unsafe { device.create_pipeline_cache(&desc) };
    scope.pop().await.map_or(Ok(cache), Err)
}

/// A file's hash and the data after it, if the hash is correct.
fn read(file: &Path) -> io::Result<([u8; HASH], Vec<u8>)> {
    let damaged = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(damaged("is too long"));
    }
    match bytes.split_first_chunk::<HASH>() {
        Some((hash, data)) if Sha256::digest(data)[..] == hash[..] => Ok((*hash, data.to_vec())),
        _ => Err(damaged("is damaged")),
    }
}

/// Writes to a file beside it and renames that, so that a reader never sees half a file.
fn write(file: &Path, hash: &[u8; HASH], data: &[u8]) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let beside = file.with_extension(std::process::id().to_string());
    let written = fs::File::create(&beside)
        .and_then(|mut f| f.write_all(hash).and_then(|()| f.write_all(data)))
        .and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Device, DeviceOptions};
    use crate::kernels::KERNELS;

    fn device(directory: &Path) -> Device {
        let pipeline_cache = Some(directory.to_owned());
        let options = DeviceOptions { pipeline_cache, ..Default::default() };
        pollster::block_on(Device::request(&options)).unwrap()
    }

    /// Compiles a kernel and writes the cache.
    fn start(directory: &Path) -> Device {
        let device = device(directory);
        let kernel = KERNELS.iter().find(|k| k.name == "moe_combine").unwrap();
        let variants = (kernel.variants)(device.caps());
        pollster::block_on(device.compile(&variants, &|_, _| ())).unwrap();
        device.keep_pipelines();
        device
    }

    /// The device's cache; `None` on an adapter without the feature.
    fn cache(device: &Device) -> Option<&PipelineCache> {
        let cache = device.inner.pipeline_cache.as_ref();
        assert!(cache.is_some() || !device.adapter().is_software(), "lavapipe has the feature");
        cache
    }

    fn found(device: &Device) -> bool {
        cache(device).is_some_and(|c| c.kept.lock().unwrap().is_some())
    }

    #[test]
    fn a_second_start_finds_the_pipelines_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("not").join("there yet");
        assert!(!found(&device(&inner)));
        let first = start(&inner);
        let Some(made) = cache(&first) else { return };
        let bytes = fs::read(&made.file).unwrap();
        assert_eq!(bytes[HASH..], made.cache.get_data().unwrap());
        assert!(found(&device(&inner)));
        // Without new pipelines nothing is written. No temporary file is left.
        fs::remove_file(&made.file).unwrap();
        first.keep_pipelines();
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_ignored_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let first = start(directory.path());
        let Some(made) = cache(&first) else { return };
        let whole = fs::read(&made.file).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let short = whole[..whole.len() - 1].to_vec();
        for (what, bytes) in
            [("flipped", flipped), ("short", short), ("hash only", whole[..HASH].to_vec())]
        {
            fs::write(&made.file, bytes).unwrap();
            assert!(!found(&device(directory.path())), "{what}");
            start(directory.path()).check().unwrap();
            assert!(found(&device(directory.path())), "{what}");
        }
        fs::write(&made.file, Vec::new()).unwrap();
        fs::File::options().write(true).open(&made.file).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(!found(&device(directory.path())), "too long");
    }

    /// A valid file of another device, driver or version of wgpu: each byte of wgpu's header is changed.
    #[test]
    fn a_file_of_another_device_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let first = start(directory.path());
        let Some(made) = cache(&first) else { return };
        let whole = fs::read(&made.file).unwrap();
        for i in HASH..HASH + 64 {
            let mut foreign = whole.clone();
            foreign[i] ^= 1;
            let hash = Sha256::digest(&foreign[HASH..]);
            foreign[..HASH].copy_from_slice(&hash);
            fs::write(&made.file, &foreign).unwrap();
            start(directory.path()).check().unwrap();
            assert!(fs::read(&made.file).unwrap() == whole, "byte {i}");
        }
    }

    #[test]
    fn a_device_works_with_a_directory_that_cannot_be_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = start(&file.path().join("below a file"));
        device.check().unwrap();
        assert!(!found(&device));
    }
}
