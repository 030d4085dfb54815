//! Whether a result would be written over an operand, whatever objects NumPy thinks the memory belongs to.

use std::ops::Range;

use ndarray::ArrayViewD;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The addresses from the first to the last byte of an array.
pub(super) fn extent<T>(array: &ArrayViewD<'_, T>) -> Range<usize> {
    let start = array.as_ptr() as usize;
    if array.is_empty() {
        return start..start;
    }
    let (mut low, mut high) = (0isize, 0isize);
    for (&n, &stride) in array.shape().iter().zip(array.strides()) {
        let reach = (n as isize - 1) * stride * size_of::<T>() as isize;
        if reach < 0 {
            low += reach;
        } else {
            high += reach;
        }
    }
    start.wrapping_add_signed(low)..start.wrapping_add_signed(high) + size_of::<T>()
}

fn meet<N: Ord + Copy>(a: &Range<N>, b: &Range<N>) -> bool {
    a.start.max(b.start) < a.end.min(b.end)
}

/// Refuses a result `object` at `to` that shares memory with one of the operands.
pub(super) fn refuse_overlap(
    object: &Bound<'_, PyAny>,
    to: &Range<usize>,
    operands: &[Range<usize>],
) -> PyResult<()> {
    let same = operands.iter().any(|operand| meet(to, operand));
    if same || (!operands.is_empty() && is_foreign(object) && shares_file(to, operands)) {
        return Err(shared());
    }
    Ok(())
}

pub(super) fn shared() -> PyErr {
    PyValueError::new_err("out: expected an array that shares no memory with the operands")
}

/// Whether memory comes from elsewhere than NumPy: a mapped file for instance.
fn is_foreign(object: &Bound<'_, PyAny>) -> bool {
    let mut owner = object.clone();
    while let Ok(base) = owner.getattr("base") {
        if base.is_none() {
            return false;
        }
        owner = base;
    }
    true
}

/// Bytes of a file that memory shows.
struct Mapped {
    file: (String, String),
    bytes: Range<usize>,
    shared: bool,
}

/// Whether writing at addresses changes bytes of a file that an operand shows at other addresses. Only Linux tells.
fn shares_file(to: &Range<usize>, operands: &[Range<usize>]) -> bool {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return false };
    let targets: Vec<Mapped> = mapped(&maps, to).into_iter().filter(|part| part.shared).collect();
    let meets = |part: &Mapped| targets.iter().any(|t| t.file == part.file && meet(&t.bytes, &part.bytes));
    !targets.is_empty() && operands.iter().any(|operand| mapped(&maps, operand).iter().any(meets))
}

/// What of files is at addresses, by the lines `start-end permissions offset device inode path`.
fn mapped(maps: &str, addresses: &Range<usize>) -> Vec<Mapped> {
    let part = |line: &str| -> Option<Mapped> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let hex = |text: &str| usize::from_str_radix(text, 16).ok();
        let (start, end) = (hex(start)?, hex(end)?);
        let permissions = words.next()?;
        let offset = hex(words.next()?)?;
        let file = (words.next()?.to_string(), words.next()?.to_string());
        let (from, to) = (addresses.start.max(start), addresses.end.min(end));
        (from < to && file.1 != "0").then(|| Mapped {
            file,
            bytes: offset + (from - start)..offset + (to - start),
            shared: permissions.ends_with('s'),
        })
    };
    maps.lines().filter_map(part).collect()
}
