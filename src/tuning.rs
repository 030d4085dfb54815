//! One table of what machines are like, and of where work begins to pay: constants that several modules go by.
//!
//! A constant of a single algorithm stays with it, where its reason is. What is here either says the same thing in many
//! places (a cache line) or weighs work against the same costs (a ticket, a wake-up, a line from memory).
//!
//! Measured on two cores of a server with AVX-512 (48 KiB of L1, 1 to 2 MiB of L2, 33 MiB of the last level), with
//! `cargo bench` and `make record`; `docs/performance.md` has the costs of a ticket, a wake-up and a phase. None of them
//! changes a result: where work is cut decides on sums, so rules of cutting depend on shapes and the batch, and change
//! only together with the recorded curves.

/// A cache line, in bytes: no vector load of an aligned panel crosses one.
pub const LINE_BYTES: usize = 64;
/// A cache line, in elements of float32: tensors and weights start on one.
pub const LINE_ELEMENTS: usize = LINE_BYTES / 4;
/// A huge page, in bytes: from this size on, page faults and TLB misses would show.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A share of L2 that values and gradients of a group of samples fit, beside weights.
pub const L2_GROUP_BYTES: usize = 256 << 10;
/// Bytes of weights that stay in L2 from one use to the next.
pub const NEAR_WEIGHTS_BYTES: usize = 1 << 20;
/// A share of the last level of cache: operand and result of this size together are bound by memory, and results are
/// written past the cache.
pub const LAST_LEVEL_BYTES: usize = 16 << 20;

/// Multiply-adds of a call below which no other thread is woken up: some 10 microseconds of one.
pub const SERIAL_MACS_OF_CALL: usize = 1 << 20;
/// Multiply-adds of a training step or a prediction below which it stays on the calling thread. A program has phases,
/// each of which a helper may come late for; waking one costs some 20 microseconds.
pub const SERIAL_MACS_OF_PROGRAM: usize = 2_000_000;
/// Elements of an operation without arithmetic below which no other thread is woken up; waking costs some 5
/// microseconds if the thread lingers, 20 if it sleeps.
pub const SERIAL_ELEMENTS: usize = 1 << 15;
/// Elements that a task should touch at least: some ten microseconds of copying, an order above the cost of a ticket.
pub const TASK_ELEMENTS: usize = 1 << 15;
/// Elements of a task that packs weights, or adds up partial sums.
pub const COPY_TASK_ELEMENTS: usize = 1 << 14;
/// Weights that a task of the reduction or of the optimizer handles: some microseconds of streaming.
pub const UPDATE_TASK_ELEMENTS: usize = 1 << 13;

/// Bytes of all partial sums of the kernel gradient of one call, at least one chunk's.
pub const CALL_PARTIAL_BYTES: usize = 80 << 20;

/// Rows of two tiles of the tallest tier (AVX-512: 14): what a task of a product should have at least.
pub const TWO_TILES_ROWS: usize = 28;
/// Rows of four such tiles.
pub const FOUR_TILES_ROWS: usize = 2 * TWO_TILES_ROWS;
