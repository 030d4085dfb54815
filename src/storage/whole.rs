//! Files that are there whole or not at all.
//!
//! What is written goes to a temporary file in the same folder, which then takes the place of the target. Its name is
//! random and it is created exclusively, so that no two writers share it and nothing is written through a link that
//! somebody has laid there. The writer holds a lock on it: a file of this kind whose lock is free has lost its writer,
//! and the next one that writes the same target removes it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

const SUFFIX: &str = ".tmp";
/// Symbolic links that may follow each other, as on Linux.
const LINKS: usize = 40;
/// Numbers of errors that the system would give if it were asked in another way.
const DENIED: i32 = 13;
const IS_A_DIRECTORY: i32 = 21;

pub(super) fn io_error(path: &Path, error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::OutOfMemory && error.raw_os_error().is_none() {
        return Error::Memory { bytes: super::CHUNK };
    }
    Error::Io { path: path.display().to_string(), problem: error.to_string(), code: error.raw_os_error() }
}

/// Writes a file: temporary file in the same folder, fsync, rename, fsync of the folder.
///
/// Symbolic links are followed; mode and, where the system allows it, owner stay. Other hard links to the old file keep
/// the old contents.
///
/// # Errors
/// The system's; the target is write-protected or no regular file. The old file is then untouched.
pub fn write(path: &Path, contents: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    write_at(path, contents).map_err(|error| io_error(path, &error))
}

fn write_at(path: &Path, contents: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let target = followed(path)?;
    let old = existing(&target)?;
    let name = target.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The name itself may be as long as names can be.
    let prefix = format!(".gridnn-{:08x}-", crc32fast::hash(name.as_encoded_bytes()));
    clear(folder, &prefix);
    let mut file = create(folder, &prefix, old.is_none())?;
    contents(file.as_file_mut())?;
    if let Some(old) = old {
        keep(file.as_file(), &old)?;
    }
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|failed| failed.error)?;
    // A folder can be opened and synced on Unix only; elsewhere the rename itself is durable enough.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Where symbolic links lead, to a file that need not be there.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links follow each other"))
}

/// What is known about the file that will be replaced.
fn existing(target: &Path) -> io::Result<Option<fs::Metadata>> {
    let old = match fs::symlink_metadata(target) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    check_regular(&old)?;
    if old.permissions().readonly() {
        return Err(io::Error::from_raw_os_error(DENIED)); // a rename would not ask, nor does the system ask root
    }
    File::options().write(true).open(target)?; // whatever else forbids to write
    Ok(Some(old))
}

/// Refuses what is no regular file: it cannot be replaced, and to open a pipe waits for somebody at its other end.
pub(super) fn check_regular(found: &fs::Metadata) -> io::Result<()> {
    if found.is_dir() {
        Err(io::Error::from_raw_os_error(IS_A_DIRECTORY))
    } else if found.is_file() {
        Ok(())
    } else {
        Err(io::Error::other("not a regular file, but a pipe, a socket or a device"))
    }
}

/// A new temporary file that this process holds the lock of.
fn create(folder: &Path, prefix: &str, new: bool) -> io::Result<NamedTempFile> {
    loop {
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix).suffix(SUFFIX).rand_bytes(12);
        // Opened here, because tempfile's own way puts a message in the place of the system's number of an error.
        let file = builder.make_in(folder, |path| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            #[cfg(unix)]
            {
                use std::os::unix::fs::OpenOptionsExt;
                // Without what the umask forbids; one that replaces another gets its mode later.
                options.mode(if new { 0o666 } else { 0o600 });
            }
            #[cfg(not(unix))]
            let _ = new; // a mode is Unix's
            options.open(path)
        })?;
        // Where a file system has no locks, nothing is cleared either.
        let _ = file.as_file().lock();
        // Another writer may have found it before it was locked, and have removed it.
        if fs::symlink_metadata(file.path()).is_ok() {
            return Ok(file);
        }
    }
}

/// Gives a file the mode of the one that it replaces, and its owner where that is allowed.
fn keep(file: &File, old: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            // Only root may give files away; what stays is a file of the writer's own.
            let _ = fchown(file, Some(old.uid()), Some(old.gid()));
        }
    }
    file.set_permissions(old.permissions())
}

/// Removes temporary files whose writer is gone. What fails does not matter: the next save tries again.
fn clear(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(SUFFIX));
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = File::options().read(true).write(true).open(entry.path()) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}
