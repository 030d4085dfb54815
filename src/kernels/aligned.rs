//! Buffers that start on a cache line, on huge pages where they are large.

use std::alloc::{self, Layout};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A cache line: no vector load of an aligned panel crosses one.
const LINE: usize = 64;
/// A huge page: from this size on, page faults and TLB misses would show.
const HUGE: usize = 2 << 20;

/// A zeroed buffer of plain numbers, aligned to a cache line, of a fixed length.
pub struct Aligned<T> {
    start: NonNull<T>,
    len: usize,
    owns: PhantomData<T>,
}

/// Numbers for which all-zero bytes are a value.
pub trait Plain: Copy + Send + Sync + 'static {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for u8 {}
impl Plain for u32 {}

// SAFETY: the buffer owns its memory and T is plain data.
unsafe impl<T: Plain> Send for Aligned<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Plain> Sync for Aligned<T> {}

impl<T> Aligned<T> {
    fn layout(len: usize) -> Layout {
        let bytes = len.checked_mul(size_of::<T>()).expect("buffer size overflows");
        let align = if bytes >= HUGE { HUGE } else { LINE };
        Layout::from_size_align(bytes, align).expect("buffer size overflows")
    }
}

impl<T: Plain> Aligned<T> {
    /// `len` zeros. Aborts if there is no memory; for sizes that a user chooses there is [`Aligned::try_zeroed`].
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).unwrap_or_else(|| alloc::handle_alloc_error(Self::layout(len)))
    }

    /// `len` zeros, if there is memory for them.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        if len == 0 {
            return Some(Self { start: NonNull::dangling(), len, owns: PhantomData });
        }
        let layout = Self::layout(len);
        // SAFETY: the layout is not empty.
        let bytes = unsafe { alloc::alloc(layout) };
        let start = NonNull::new(bytes.cast::<T>())?;
        #[cfg(target_os = "linux")]
        if layout.align() == HUGE {
            // SAFETY: the range was just allocated; advice cannot make it invalid, and a refusal does not matter.
            unsafe { libc::madvise(bytes.cast(), layout.size(), libc::MADV_HUGEPAGE) };
        }
        // SAFETY: the allocation has this size; zero bytes are a value of T (`Plain`).
        unsafe { bytes.write_bytes(0, layout.size()) };
        Some(Self { start, len, owns: PhantomData })
    }

    /// The start of the memory, which never moves. No reference to the elements is made.
    pub fn start(&self) -> *mut T {
        self.start.as_ptr()
    }

    /// Elements, without making a reference to them.
    pub fn capacity(&self) -> usize {
        self.len
    }

    /// A copy of a slice.
    pub fn copy_of(values: &[T]) -> Self {
        let mut buffer = Self::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl<T: Plain> Default for Aligned<T> {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl<T> Drop for Aligned<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `zeroed` with the same layout.
            unsafe { alloc::dealloc(self.start.as_ptr().cast(), Self::layout(self.len)) }
        }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised elements, or a dangling pointer with length 0.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
