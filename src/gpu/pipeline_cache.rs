//! Compiled pipelines on disk, where the device can hand them out: a later start on the same driver
//! need not compile them again. Whatever goes wrong here costs that time and no more.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::caps::hands_out_pipelines;

/// Bytes of the hash that a file begins with.
const HASH: usize = 32;
/// A longer file is not read: drivers only ever add to it, so it begins anew.
const MOST_BYTES: u64 = 64 << 20;

/// What the driver has compiled, and the file that keeps it.
#[derive(Debug)]
pub(super) struct PipelineCache {
    /// To be named when a pipeline is made.
    pub cache: wgpu::PipelineCache,
    file: PathBuf,
    /// The hash of what the file has; `None` if there is none that is whole.
    kept: Mutex<Option<[u8; HASH]>>,
}

impl PipelineCache {
    /// The pipelines that `directory` has for the device; `None` if the device hands none out.
    pub async fn open(device: &wgpu::Device, directory: &Path) -> Option<Self> {
        if !hands_out_pipelines(device) {
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

    /// Writes what the driver has by now, unless the file has it.
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

/// A cache that begins with `data`. What is of another version of the driver or of wgpu is left
/// aside; what is of another device is an error.
async fn make(
    device: &wgpu::Device,
    data: Option<&[u8]>,
) -> Result<wgpu::PipelineCache, wgpu::Error> {
    let label = Some("lfm2-wgpu");
    let desc = wgpu::PipelineCacheDescriptor { label, data, fallback: true };
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // SAFETY: the contract is that `get_data` gave the data once. Only `keep` writes such files,
    // from that and with its hash, which `read` has checked.
    #[allow(unsafe_code)]
    let cache = unsafe { device.create_pipeline_cache(&desc) };
    scope.pop().await.map_or(Ok(cache), Err)
}

/// A file's hash and what follows it, if that is whole.
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

/// Writes beside the file and renames, so that nobody ever reads half of it.
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

    /// Compiles a kernel and keeps it.
    fn start(directory: &Path) -> Device {
        let device = device(directory);
        let kernel = KERNELS.iter().find(|k| k.name == "moe_combine").unwrap();
        let variants = (kernel.variants)(device.caps());
        pollster::block_on(device.compile(&variants, &|_, _| ())).unwrap();
        device.keep_pipelines();
        device
    }

    /// The cache's file, and whether something was found in it; `None` on an adapter without.
    fn cache(device: &Device) -> Option<&PipelineCache> {
        let cache = device.inner.pipeline_cache.as_ref();
        assert!(cache.is_some() || !device.adapter().is_software(), "lavapipe has the feature");
        cache
    }

    fn found(device: &Device) -> bool {
        cache(device).is_some_and(|c| c.kept.lock().unwrap().is_some())
    }

    #[test]
    fn a_second_start_finds_what_the_first_kept() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("not").join("there yet");
        assert!(!found(&device(&inner)));
        let first = start(&inner);
        let Some(made) = cache(&first) else { return };
        let bytes = fs::read(&made.file).unwrap();
        assert_eq!(bytes[HASH..], made.cache.get_data().unwrap());
        assert!(found(&device(&inner)));
        // Nothing new, nothing written; no file of another name is left.
        fs::remove_file(&made.file).unwrap();
        first.keep_pipelines();
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_left_aside_and_replaced() {
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

    /// Whole, but of another device, driver or version of wgpu, by each byte of wgpu's header.
    #[test]
    fn a_file_of_another_device_is_left_aside() {
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
    fn a_directory_that_cannot_be_written_costs_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = start(&file.path().join("below a file"));
        device.check().unwrap();
        assert!(!found(&device));
    }
}
