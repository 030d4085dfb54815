//! Files: named tensors and text in the safetensors format, written so that a crash leaves the old file or the new one.
//!
//! Nothing holds a tensor twice: they are written from where they are and read to where they go. A checksum (CRC-32) of
//! the whole file is part of the metadata; files of version 0.1.0 have none.

mod foreign;
mod whole;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytemuck::Pod;
pub use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde_json::{Map, Value, json};

use crate::arrays::{Source, each};
use crate::error::{Error, Result};
use whole::io_error;
pub use whole::write;

/// Keys of the metadata, both or none of which are there: a damage to either name is found.
const KIND: (&str, &str) = ("checksum", "crc32");
const DIGITS: &str = "crc32";
/// What stands in place of the checksum while it is computed.
const NO_DIGITS: &str = "00000000";
/// Bytes of a header at most, as in the format's own library.
const LONGEST_HEADER: u64 = 100_000_000;
/// Axes of a tensor at most, as in NumPy 1.
const MOST_AXES: usize = 32;
/// Bytes that are summed up and written, or read and summed up, at a time: the sum finds them in the cache.
const CHUNK: usize = 1 << 18;

fn format_error(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::FileFormat { path: path.display().to_string(), problem: problem.to_string() }
}

/// A number as it is in files: as in memory, which has its lowest byte first on every system that gridnn supports.
pub trait Plain: Pod {
    /// Its type there.
    const DTYPE: Dtype;
}

const _: () = assert!(cfg!(target_endian = "little"), "files hold numbers with the lowest byte first");

macro_rules! plain {
    ($($variant:ident: $type:ty),*) => {
        $(impl Plain for $type {
            const DTYPE: Dtype = Dtype::$variant;
        })*
    };
}
plain!(U8: u8, I8: i8, U16: u16, I16: i16, U32: u32, I32: i32, U64: u64, I64: i64, F32: f32, F64: f64);

fn dtype_of<T: Plain>(_: &[T]) -> Dtype {
    T::DTYPE
}

/// Writes a file, see [`write`]. The same tensors and texts give the same bytes.
///
/// # Errors
/// The system's, with the old file untouched.
pub fn save(
    path: &Path,
    tensors: &[(String, Source<'_>)],
    mut metadata: HashMap<String, String>,
) -> Result<()> {
    let mut order: Vec<_> =
        tensors.iter().map(|(name, source)| (each!(source.values, v => dtype_of(v)), name, source)).collect();
    // Wide types first, so that all are aligned.
    order.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    metadata.insert(KIND.0.into(), KIND.1.into());
    metadata.insert(DIGITS.into(), NO_DIGITS.into());
    // An object of serde_json is a sorted map, whatever the order of the hash map.
    let mut entries = Map::from_iter([("__metadata__".to_string(), json!(metadata))]);
    let mut end = 0;
    for (dtype, name, source) in &order {
        let begin = end;
        end += each!(source.values, v => size_of_val(v));
        let entry = json!({"dtype": dtype, "shape": source.shape, "data_offsets": [begin, end]});
        entries.insert((*name).clone(), entry);
    }
    let mut header =
        serde_json::to_vec(&Value::Object(entries)).map_err(|error| format_error(path, error))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    write(path, |file| {
        let mut hasher = crc32fast::Hasher::new();
        let mut put = |file: &mut File, bytes: &[u8]| {
            hasher.update(bytes);
            file.write_all(bytes)
        };
        put(file, &(header.len() as u64).to_le_bytes())?;
        put(file, &header)?;
        for (_, _, source) in &order {
            let bytes: &[u8] = each!(source.values, values => bytemuck::cast_slice(values));
            bytes.chunks(CHUNK).try_for_each(|part| put(file, part))?;
        }
        let place = digits(&header).ok_or_else(|| io::Error::other("no place for the checksum"))?;
        file.seek(SeekFrom::Start(8 + place as u64))?;
        file.write_all(format!("{:08x}", hasher.finalize()).as_bytes())
    })
}

/// Where the checksum is in a header. Quotes within texts are escaped, so there is one place at most.
fn digits(header: &[u8]) -> Option<usize> {
    let before = format!("\"{DIGITS}\":\"");
    let place = header.windows(before.len()).position(|part| part == before.as_bytes())? + before.len();
    (place + NO_DIGITS.len() < header.len()).then_some(place)
}

/// A tensor that a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
}

/// A file that is being read: entries and texts are known and fit its size, tensors follow one after the other.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    /// The tensors, in the order in which they must be read.
    pub entries: Vec<Entry>,
    /// The texts, without the checksum.
    pub metadata: HashMap<String, String>,
    checksum: Option<u32>,
    hasher: crc32fast::Hasher,
}

impl Reader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// It cannot be read, or is damaged, truncated or of another format.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |error: io::Error| io_error(path, &error);
        let found = fs::metadata(path).map_err(io)?;
        whole::check_regular(&found).map_err(io)?;
        let mut file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut start = Vec::new();
        (&mut file).take(16).read_to_end(&mut start).map_err(io)?;
        let damaged = |problem: String| format_error(path, foreign::name(&start).unwrap_or(problem));
        let Some((size, _)) = start.split_first_chunk::<8>() else {
            return Err(damaged(format!("{len} bytes are no model file: it is empty or truncated")));
        };
        let size = u64::from_le_bytes(*size);
        if size > LONGEST_HEADER || size > len - 8 {
            let problem = format!("not a file of gridnn, or truncated: {len} bytes, of which {size} header");
            return Err(damaged(problem));
        }
        file.seek(SeekFrom::Start(8)).map_err(io)?;
        let mut header = Vec::new();
        header.try_reserve_exact(size as usize).map_err(|_| Error::Memory { bytes: size as usize })?;
        header.resize(size as usize, 0);
        file.read_exact(&mut header).map_err(io)?;
        let parsed: Metadata = serde_json::from_slice(&header)
            .map_err(|error| damaged(format!("the header is damaged: {error}")))?;
        if len - 8 - size != parsed.data_len() as u64 {
            let (want, got) = (parsed.data_len(), len - 8 - size);
            return Err(damaged(format!("{got} bytes of tensors instead of {want}: truncated or damaged")));
        }
        let mut metadata = parsed.metadata().clone().unwrap_or_default();
        let checksum = match (metadata.remove(KIND.0), metadata.remove(DIGITS)) {
            (None, None) => None,
            (Some(kind), Some(text)) if kind == KIND.1 => {
                let place = digits(&header).filter(|&at| header[at..].starts_with(text.as_bytes()));
                // As it was written: other spellings of the number are damages too.
                let value = u32::from_str_radix(&text, 16).ok().filter(|x| format!("{x:08x}") == text);
                let (Some(place), Some(value)) = (place, value) else {
                    return Err(damaged("the checksum is damaged".into()));
                };
                header[place..place + NO_DIGITS.len()].copy_from_slice(NO_DIGITS.as_bytes());
                Some(value)
            }
            _ => return Err(damaged("the checksum is damaged, or of a kind that is not known".into())),
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&size.to_le_bytes());
        hasher.update(&header);
        let mut order: Vec<_> = parsed.tensors().into_iter().collect();
        order.sort_by(|a, b| a.1.data_offsets.cmp(&b.1.data_offsets).then_with(|| a.0.cmp(&b.0)));
        let mut entries = Vec::with_capacity(order.len());
        for (name, info) in order {
            check_shape(&info.shape)
                .map_err(|problem| format_error(path, format!("tensor {name} {problem}")))?;
            entries.push(Entry { name, dtype: info.dtype, shape: info.shape.clone() });
        }
        Ok(Self { path: path.to_path_buf(), file, entries, metadata, checksum, hasher })
    }

    /// Reads the elements of the next tensor.
    ///
    /// # Errors
    /// The system's.
    pub fn read<T: Plain>(&mut self, out: &mut [T]) -> Result<()> {
        for part in bytemuck::cast_slice_mut::<T, u8>(out).chunks_mut(CHUNK) {
            self.file.read_exact(part).map_err(|error| io_error(&self.path, &error))?;
            self.hasher.update(part);
        }
        Ok(())
    }

    /// Compares the checksum, after all tensors.
    ///
    /// # Errors
    /// Something in the file has changed since it was written.
    pub fn finish(self) -> Result<()> {
        let found = self.hasher.finalize();
        match self.checksum {
            Some(checksum) if checksum != found => Err(format_error(
                &self.path,
                format!("damaged: its checksum is {found:08x}, and was {checksum:08x} when it was written"),
            )),
            _ => Ok(()),
        }
    }
}

/// Refuses what NumPy has no arrays of.
fn check_shape(shape: &[usize]) -> std::result::Result<(), String> {
    if shape.len() > MOST_AXES {
        return Err(format!("has {} axes; at most {MOST_AXES} are possible", shape.len()));
    }
    // An axis of 0 makes no other one smaller: NumPy counts without it.
    let bytes = shape.iter().filter(|&&n| n != 0).try_fold(8usize, |len, &n| len.checked_mul(n));
    match bytes {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(()),
        _ => Err(format!("has shape {shape:?}, which is too large for any memory")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrays::Values;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("gridnn-storage-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn tensor(name: &str) -> (String, Source<'static>) {
        (name.to_string(), Source { values: Values::F32(&[1.0, -2.5]), shape: vec![2, 1] })
    }

    fn texts() -> HashMap<String, String> {
        HashMap::from([("format".to_string(), "1".to_string())])
    }

    type Found = (Vec<[f32; 2]>, HashMap<String, String>);

    fn load(path: &Path) -> Result<Found> {
        let mut reader = Reader::open(path)?;
        let mut found = Vec::new();
        for _ in 0..reader.entries.len() {
            let mut values = [0.0; 2];
            reader.read(&mut values)?;
            found.push(values);
        }
        let metadata = std::mem::take(&mut reader.metadata);
        reader.finish()?;
        Ok((found, metadata))
    }

    #[test]
    fn a_file_comes_back_as_it_was() {
        let path = folder("back").join("x.gridnn");
        save(&path, &[tensor("a/b")], texts()).unwrap();
        save(&path, &[tensor("a/b")], texts()).unwrap();
        assert_eq!(load(&path).unwrap(), (vec![[1.0, -2.5]], texts()));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn the_same_contents_are_the_same_bytes() {
        let path = folder("order").join("x.gridnn");
        let tensors = [tensor("a/b"), tensor("a/\"quoted\" \u{e4}")];
        let mut files = std::collections::HashSet::new();
        for _ in 0..8 {
            // Each map has a hash function of its own.
            let metadata: HashMap<_, _> =
                (0..8).map(|i| (format!("key {i}"), format!("{{\"crc32\":\"{i}\\n\"}}"))).collect();
            save(&path, &tensors, metadata.clone()).unwrap();
            assert_eq!(load(&path).unwrap().1, metadata);
            files.insert(fs::read(&path).unwrap());
        }
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn damaged_files_are_errors() {
        let path = folder("damage").join("x.gridnn");
        save(&path, &[tensor("a/b")], texts()).unwrap();
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            assert!(matches!(load(&path), Err(Error::FileFormat { .. })), "{len} bytes");
        }
        for bit in 0..8 * whole.len() {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(load(&path).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_missing_folder_is_the_systems_error() {
        let path = folder("missing").join("no").join("x.gridnn");
        assert!(matches!(save(&path, &[tensor("a")], texts()), Err(Error::Io { code: Some(2), .. })));
        assert!(matches!(load(&path), Err(Error::Io { code: Some(2), .. })));
    }
}
