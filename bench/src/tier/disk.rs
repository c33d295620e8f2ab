//! The folder that the servers' files lie in, and what is beneath it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::BenchError;

/// A folder of this process in another one; it is removed with what is in it when dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn create(on: &Path) -> Result<Self, BenchError> {
        let on = on.canonicalize().map_err(BenchError::io(format!("looking for {}", on.display())))?;
        let path = on.join(format!(".torc-bench-tier-{}", std::process::id()));
        fs::create_dir(&path).map_err(BenchError::io(format!("making the folder {}", path.display())))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The name of a file in it.
    pub(super) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A folder in it, which may exist.
    pub(super) fn folder(&self, name: &str) -> Result<String, BenchError> {
        let path = self.0.join(name);
        fs::create_dir_all(&path).map_err(BenchError::io(format!("making the folder {}", path.display())))?;
        Ok(path.display().to_string())
    }

    /// Removes a file or a folder in it, if there.
    pub(super) fn remove(&self, name: &str) {
        let path = self.0.join(name);
        // What stays is found again by who makes it anew, and goes with the folder.
        let _ = fs::remove_dir_all(&path);
        let _ = fs::remove_file(&path);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

/// File system, device and the device's own cache, as far as the kernel tells.
pub(super) fn describe(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let Some((device, kind)) = mount(&mounts, path) else {
        return "unknown".into();
    };
    let name = device.rsplit('/').next().unwrap_or(device);
    let cache = fs::read_to_string(format!("/sys/class/block/{name}/queue/write_cache"));
    let cache = cache.map_or(String::new(), |words| format!(", whose cache is told to be {}", words.trim()));
    format!("{kind} on {device}{cache}")
}

/// Device and kind of the file system of `path`, from `/proc/self/mounts`; of several at one place the last one counts.
fn mount<'a>(mounts: &'a str, path: &Path) -> Option<(&'a str, &'a str)> {
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        path.starts_with(place).then_some((place.len(), device, kind))
    });
    lines.max_by_key(|(len, ..)| *len).map(|(_, device, kind)| (device, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_is_found() {
        let mounts = "/dev/a / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/b /data xfs rw 0 0\n/dev/c /data xfs ro 0 0\n";
        assert_eq!(mount(mounts, Path::new("/data/x")), Some(("/dev/c", "xfs")));
        assert_eq!(mount(mounts, Path::new("/database")), Some(("/dev/a", "ext4")));
        assert_eq!(mount("", Path::new("/")), None);
    }

    #[test]
    fn a_scratch_folder_goes_with_its_files() {
        let scratch = Scratch::create(&std::env::temp_dir()).unwrap();
        let inner = scratch.folder("inner").unwrap();
        fs::write(scratch.file("file"), "x").unwrap();
        let path = scratch.path().to_owned();
        scratch.remove("file");
        assert!(!path.join("file").exists() && Path::new(&inner).exists());
        drop(scratch);
        assert!(!path.exists());
    }
}
