//! Buffers that start on a cache line, on huge pages where they are large.

use std::alloc::{self, Layout};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::tuning::{HUGE_PAGE_BYTES, LINE_BYTES};

/// A zeroed buffer of plain numbers, aligned to a cache line, of a fixed length.
pub struct Aligned<T> {
    start: NonNull<T>,
    len: usize,
    /// What the allocator gave.
    block: NonNull<u8>,
    owns: PhantomData<T>,
}

/// Numbers for which all-zero bytes are a value.
pub trait Plain: bytemuck::Pod + Send + Sync {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for u8 {}
impl Plain for u32 {}

// SAFETY: the buffer owns its memory and T is plain data.
unsafe impl<T: Plain> Send for Aligned<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Plain> Sync for Aligned<T> {}

impl<T> Aligned<T> {
    /// What is asked of the allocator, and the alignment of the buffer inside of it.
    ///
    /// The allocator zeroes blocks of natural alignment lazily: pages of a large buffer are first touched, and so
    /// placed, by the worker that uses them. Hence the room to align it ourselves.
    ///
    /// None if the size overflows.
    fn layout(len: usize) -> Option<(Layout, usize)> {
        let bytes = len.checked_mul(size_of::<T>())?;
        let align = if bytes >= HUGE_PAGE_BYTES { HUGE_PAGE_BYTES } else { LINE_BYTES };
        Some((Layout::from_size_align(bytes.checked_add(align)?, align_of::<T>()).ok()?, align))
    }
}

impl<T: Plain> Aligned<T> {
    /// `len` zeros, if there is memory for them.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        if len == 0 {
            return Some(Self::default());
        }
        let (layout, align) = Self::layout(len)?;
        // SAFETY: the layout is not empty. Zero bytes are a value of T (`Plain`).
        let block = NonNull::new(unsafe { alloc::alloc_zeroed(layout) })?;
        // SAFETY: the block has `align` bytes more than the buffer, so an aligned buffer lies inside of it.
        let start = unsafe { block.add(block.align_offset(align)) };
        #[cfg(target_os = "linux")]
        if align == HUGE_PAGE_BYTES {
            // SAFETY: the range lies inside the block; advice cannot make it invalid, and a refusal does not matter.
            unsafe { libc::madvise(start.as_ptr().cast(), len * size_of::<T>(), libc::MADV_HUGEPAGE) };
        }
        Some(Self { start: start.cast(), len, block, owns: PhantomData })
    }

    /// The start of the memory, which never moves. No reference to the elements is made.
    pub fn start(&self) -> *mut T {
        self.start.as_ptr()
    }

    /// Elements, without making a reference to them.
    pub fn capacity(&self) -> usize {
        self.len
    }
}

impl<T: Plain> Default for Aligned<T> {
    fn default() -> Self {
        Self { start: NonNull::dangling(), len: 0, block: NonNull::dangling(), owns: PhantomData }
    }
}

impl<T> Drop for Aligned<T> {
    fn drop(&mut self) {
        if self.len > 0
            && let Some((layout, _)) = Self::layout(self.len)
        {
            // SAFETY: allocated in `try_zeroed` with the same layout.
            unsafe { alloc::dealloc(self.block.as_ptr(), layout) }
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
