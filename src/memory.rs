//! Memory that is asked for fallibly: a lack of it is [`Error::Memory`] and never the end of the process.
//!
//! Everything whose size depends on what a user gives is allocated here, or by `Shared::zeroed`. Where a result can be
//! returned, a lack is one. Inside of algorithms, whose plans and tasks return none, [`demand`] unwinds with a lack;
//! [`catch`] at the doors, and the thread pool for its tasks, make an error of it. No message is printed meanwhile.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use crate::error::{Error, Result};
use crate::kernels::{Aligned, Plain};

/// What a call unwinds with if there is not enough memory.
struct Lack {
    bytes: usize,
}

/// The error for `len` elements that there is no room for.
pub fn lack<T>(len: usize) -> Error {
    Error::Memory { bytes: len.saturating_mul(size_of::<T>()) }
}

/// An aligned buffer of `len` zeros.
///
/// # Errors
/// The memory cannot be had.
pub fn zeroed<T: Plain>(len: usize) -> Result<Aligned<T>> {
    Aligned::try_zeroed(len).ok_or_else(|| lack::<T>(len))
}

/// An empty vector with room for `len` elements.
///
/// # Errors
/// The memory cannot be had.
pub fn with_room<T>(len: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(len).map_err(|_| lack::<T>(len))?;
    Ok(vector)
}

/// `len` times the same value.
///
/// # Errors
/// The memory cannot be had.
pub fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>> {
    let mut vector = with_room(len)?;
    vector.resize(len, value);
    Ok(vector)
}

/// A copy of some elements.
///
/// # Errors
/// The memory cannot be had.
pub fn copied<T: Clone>(values: &[T]) -> Result<Vec<T>> {
    let mut vector = with_room(values.len())?;
    vector.extend_from_slice(values);
    Ok(vector)
}

/// What an iterator yields.
///
/// # Errors
/// The memory cannot be had.
pub fn collect<T>(values: impl IntoIterator<Item = T>) -> Result<Vec<T>> {
    let values = values.into_iter();
    let mut vector = with_room(values.size_hint().0)?;
    for value in values {
        make_room(&mut vector)?;
        vector.push(value);
    }
    Ok(vector)
}

/// Makes room for some more elements, and for as many again.
///
/// # Errors
/// The memory cannot be had.
pub fn reserve<T>(vector: &mut Vec<T>, more: usize) -> Result<()> {
    vector.try_reserve(more).map_err(|_| lack::<T>(vector.len().saturating_add(more)))
}

/// Makes room for one more element, and at once for as many as there are.
///
/// # Errors
/// The memory cannot be had.
pub fn make_room<T>(vector: &mut Vec<T>) -> Result<()> {
    if vector.len() < vector.capacity() {
        return Ok(());
    }
    let more = vector.len().max(4);
    vector.try_reserve_exact(more).map_err(|_| lack::<T>(vector.len() + more))
}

/// Gives a vector another length; new elements are `value`.
///
/// # Errors
/// The memory cannot be had.
pub fn resize<T: Clone>(vector: &mut Vec<T>, len: usize, value: T) -> Result<()> {
    vector.try_reserve_exact(len.saturating_sub(vector.len())).map_err(|_| lack::<T>(len))?;
    vector.resize(len, value);
    Ok(())
}

/// The value, or unwinds with the lack of memory: for the inside of algorithms, which return no results.
///
/// # Panics
/// The error is another one, which the functions of this module do not have.
pub fn demand<R>(result: Result<R>) -> R {
    match result {
        Ok(value) => value,
        Err(Error::Memory { bytes }) => panic::resume_unwind(Box::new(Lack { bytes })),
        Err(error) => panic!("{error}"),
    }
}

/// Makes a buffer of at least `len` zeros of one that is too short. Unwinds like [`demand`].
pub fn grow<T: Plain>(buffer: &mut Aligned<T>, len: usize) {
    if buffer.capacity() < len {
        // The old one goes first: both together may be more than there is.
        *buffer = Aligned::default();
        *buffer = demand(zeroed(len));
    }
}

/// The lack of memory that a panic stands for, if it is one.
pub fn of_panic(payload: &(dyn Any + Send)) -> Option<Error> {
    payload.downcast_ref::<Lack>().map(|&Lack { bytes }| Error::Memory { bytes })
}

/// Runs `work`; a lack of memory that unwinds out of it becomes the error. What `work` changes has to be in order at
/// every point where it asks for memory.
///
/// # Errors
/// Those of `work`, and [`Error::Memory`].
pub fn catch<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| match of_panic(&*payload) {
        Some(error) => Err(error),
        None => panic::resume_unwind(payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_MUCH: usize = usize::MAX / 32;

    #[test]
    fn a_lack_is_an_error() {
        let lacks = |error: Error| matches!(error, Error::Memory { .. });
        assert!(lacks(zeroed::<f32>(TOO_MUCH).unwrap_err()));
        assert!(lacks(filled(0u64, TOO_MUCH).unwrap_err()));
        assert!(lacks(resize(&mut vec![1u8], usize::MAX, 0).unwrap_err()));
        assert!(lacks(collect(0..TOO_MUCH).unwrap_err()));
        assert!(lacks(catch(|| Ok(demand(filled(0u64, TOO_MUCH)))).unwrap_err()));
    }

    #[test]
    fn what_fits_is_there() {
        assert_eq!(collect((0..100).filter(|i| i % 7 == 0)).unwrap().len(), 15);
        assert_eq!(copied(&[1, 2, 3]).unwrap(), [1, 2, 3]);
        let mut buffer = zeroed::<f32>(3).unwrap();
        grow(&mut buffer, 5);
        assert_eq!(buffer.len(), 5);
        assert_eq!(catch(|| Ok(7)), Ok(7));
    }
}
