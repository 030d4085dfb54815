//! Files: named tensors and text in the safetensors format, written so that a crash leaves the old file or the new one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

pub use safetensors::Dtype;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::error::{Error, Result};

/// A tensor as it is in a file: type, shape, little-endian bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// The elements.
    pub bytes: Vec<u8>,
}

/// Tensors by name.
pub type Tensors = Vec<(String, Tensor)>;

fn io_error(path: &Path, error: &std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), problem: error.to_string(), code: error.raw_os_error() }
}

fn format_error(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::FileFormat { path: path.display().to_string(), problem: problem.to_string() }
}

/// Writes a file: temporary file in the same folder, fsync, rename, fsync of the folder.
///
/// # Errors
/// The system's, with the old file untouched.
pub fn save(path: &Path, tensors: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)
            .map_err(|error| format_error(path, format!("tensor {name}: {error}")))?;
        views.push((name.as_str(), view));
    }
    let mut bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|error| format_error(path, error))?;
    sort_header(&mut bytes).map_err(|error| format_error(path, error))?;
    write_atomically(path, &bytes).map_err(|error| io_error(path, &error))
}

/// Sorts the entries of the header, which a hash map has put into another order in every process: the same model
/// shall give the same bytes.
fn sort_header(bytes: &mut [u8]) -> serde_json::Result<()> {
    let Some((len, rest)) = bytes.split_first_chunk_mut::<8>() else { return Ok(()) };
    let header = &mut rest[..u64::from_le_bytes(*len) as usize];
    // An object of serde_json is a sorted map. Only the order changes, so the length stays.
    let sorted = serde_json::to_vec(&serde_json::from_slice::<serde_json::Value>(header)?)?;
    header[..sorted.len()].copy_from_slice(&sorted);
    Ok(())
}

fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().ok_or_else(|| std::io::Error::other("the path names no file"))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(hidden);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The first error is the one that tells; a temporary file that cannot be removed either changes nothing.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // A folder can be opened and synced on Unix only; elsewhere the rename itself is durable enough.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Reads a file.
///
/// # Errors
/// It cannot be read, or is damaged, truncated or of another format.
pub fn load(path: &Path) -> Result<(Tensors, HashMap<String, String>)> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|error| io_error(path, &error))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| format_error(path, error))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(&bytes).map_err(|error| format_error(path, error))?;
    let tensors = file
        .iter()
        .map(|(name, view)| {
            let (dtype, shape) = (view.dtype(), view.shape().to_vec());
            (name.to_string(), Tensor { dtype, shape, bytes: view.data().to_vec() })
        })
        .collect();
    Ok((tensors, metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("gridnn-storage-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn example() -> (Vec<(String, Tensor)>, HashMap<String, String>) {
        let bytes = [1.0f32, -2.5].iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = Tensor { dtype: Dtype::F32, shape: vec![2, 1], bytes };
        (vec![("a/b".to_string(), tensor)], HashMap::from([("format".to_string(), "1".to_string())]))
    }

    #[test]
    fn a_file_comes_back_as_it_was() {
        let path = folder("back").join("x.gridnn");
        let (tensors, metadata) = example();
        save(&path, &tensors, metadata.clone()).unwrap();
        save(&path, &tensors, metadata.clone()).unwrap();
        assert_eq!(load(&path).unwrap(), (tensors, metadata));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn the_same_contents_are_the_same_bytes() {
        let path = folder("order").join("x.gridnn");
        let (mut tensors, _) = example();
        tensors.push(("a/\"quoted\" \u{e4}".to_string(), tensors[0].1.clone()));
        let mut files = std::collections::HashSet::new();
        for _ in 0..8 {
            // Each map has a hash function of its own.
            let metadata: HashMap<_, _> =
                (0..8).map(|i| (format!("key {i}"), format!("{{\"value\": \"{i}\\n\"}}"))).collect();
            save(&path, &tensors, metadata.clone()).unwrap();
            assert_eq!(load(&path).unwrap().1, metadata);
            files.insert(fs::read(&path).unwrap());
        }
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn damaged_files_are_errors() {
        let path = folder("damage").join("x.gridnn");
        let (tensors, metadata) = example();
        save(&path, &tensors, metadata).unwrap();
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            assert!(matches!(load(&path), Err(Error::FileFormat { .. })), "{len} bytes");
        }
        let mut header = whole.clone();
        header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        fs::write(&path, &header).unwrap();
        assert!(matches!(load(&path), Err(Error::FileFormat { .. })));
    }

    #[test]
    fn a_missing_folder_is_the_systems_error() {
        let path = folder("missing").join("no").join("x.gridnn");
        let (tensors, metadata) = example();
        assert!(matches!(save(&path, &tensors, metadata), Err(Error::Io { code: Some(2), .. })));
        assert!(matches!(load(&path), Err(Error::Io { code: Some(2), .. })));
    }
}
