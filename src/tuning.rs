//! One table of what machines are like, and of where work begins to pay: every number that was found by measuring.
//!
//! What follows from how an algorithm is written (registers, lanes, the length of an array on the stack), or decides how a
//! sum is rounded and nothing else, stays with the algorithm, where its reason is. Everything here was measured on two
//! cores of a server with AVX-512 (48 KiB of L1, 1 to 2 MiB of L2, 33 MiB of the last level), with `cargo bench` and
//! `make record`; each group names the section of `docs/performance.md` that has its figures. None of them changes what a
//! convolution gives. Where the work of a training step is cut decides on sums, so those rules depend on shapes and the
//! batch, and change only together with the recorded curves.

// Caches.

/// A cache line, in bytes: no vector load of an aligned panel crosses one.
pub const LINE_BYTES: usize = 64;
/// A cache line, in elements of float32: tensors and weights start on one, and planes are staggered by one, or those of a
/// power of two would meet in the same sets.
pub const LINE_ELEMENTS: usize = LINE_BYTES / 4;
/// A huge page, in bytes: from this size on, page faults and TLB misses would show.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A halo, or spread rows of a depthwise convolution: half of a small share of L2. "Kernels alone, one thread".
pub const HALO_BYTES: usize = 96 << 10;
/// Rows of a block that has a halo at most: more would save no copying worth the cache.
pub const HALO_ROWS: usize = 16;
/// A share of L2 that values and gradients of a group of samples fit, beside weights.
pub const L2_GROUP_BYTES: usize = 256 << 10;
/// Bytes of weights that stay in L2 from one use to the next. "Small maps, large kernels".
pub const NEAR_WEIGHTS_BYTES: usize = 1 << 20;
/// Half of L2: what is gone through again and again, beside what passes by once.
pub const L2_HALF_BYTES: usize = 512 << 10;
/// Half of the last level of cache: operand and result of this size together are bound by memory, and results, or packed
/// weights, are written past the cache, which they would be brought into line by line to be overwritten. "What was tried".
pub const LAST_LEVEL_BYTES: usize = 16 << 20;

// Ranks.

/// Multiply-adds of a rank that take as long as sending an element to another one: 100 operations a byte. Ranks on
/// one host do some 50, hosts of 16 threads on 10 Gbit/s 1000.
pub const MACS_OF_SENT_ELEMENT: usize = 200;

/// Elements that are sent while ranks wait for each other in an exchange, 30 to 60 microseconds.
pub const ELEMENTS_OF_EXCHANGE: usize = 8000;

/// Bytes that ranks send or receive at a time: what is copied for that stays in the caches, and an exchange of that many
/// takes ten times as long as waiting for all ranks.
pub const ROUND_BYTES: usize = 2 << 20;

// Threads. "Where a training step spends its time" has the costs of a ticket, a wake-up and a phase.

/// Multiply-adds of a call below which no other thread is woken up: some 10 microseconds of one.
pub const SERIAL_MACS_OF_CALL: usize = 1 << 20;
/// Multiply-adds of a training step or a prediction below which it stays on the calling thread. A program has phases,
/// each of which a helper may come late for; waking one costs some 20 microseconds.
pub const SERIAL_MACS_OF_PROGRAM: usize = 2_000_000;
/// Elements of an operation without arithmetic below which no other thread is woken up; waking costs some 5
/// microseconds if the thread lingers, 20 if it sleeps.
pub const SERIAL_ELEMENTS: usize = 1 << 15;
/// Rounds of `spin_loop` before a waiting worker yields (some 20 microseconds).
pub const SPINS: u32 = 2_000;
/// Rounds of `yield_now` before a waiting worker parks (some 50 microseconds on an idle machine).
pub const YIELDS: u32 = 100;
/// Elements, or multiply-adds, between two looks at the keyboard: some milliseconds.
pub const INTERRUPT_WORK: usize = 1 << 22;
/// The same where every position takes some arithmetic in float64.
pub const INTERRUPT_POSITIONS: usize = 1 << 16;

// Tasks: "Functional calls", "Training steps and inference".

/// Tasks of one operation that are enough: several for each of a few threads.
pub const TASKS: usize = 16;
/// Tasks that there should be at least, even if cutting shows: two for each of two threads.
pub const FEW_TASKS: usize = 4;
/// Multiply-adds of a task of a call, if there are enough: some 10 to 80 microseconds.
pub const TASK_MACS: [usize; 2] = [1 << 20, 8 << 20];
/// Elements that a task should touch at least: some ten microseconds of copying, an order above the cost of a ticket.
pub const TASK_ELEMENTS: usize = 1 << 15;
/// Elements of a task that packs weights, or adds up partial sums.
pub const COPY_TASK_ELEMENTS: usize = 1 << 14;
/// Weights that a task of the reduction or of the optimizer handles: some microseconds of streaming.
pub const UPDATE_TASK_ELEMENTS: usize = 1 << 13;
/// Samples of a task of the loss at most.
pub const LOSS_SAMPLES: usize = 16;
/// Elements of outputs that are enough for such a task: maps of labels are scored one by one.
pub const LOSS_ELEMENTS: usize = 1 << 14;
/// Channels of a task of a global pool: a few cache lines of every position.
pub const POOL_TASK_CHANNELS: usize = 64;
/// Rows of two tiles of the tallest tier (AVX-512: 14): what a task of a product should have at least.
pub const TWO_TILES_ROWS: usize = 28;
/// Rows of four such tiles.
pub const FOUR_TILES_ROWS: usize = 2 * TWO_TILES_ROWS;

// Memory that is kept: "Memory of a training process".

/// Bytes of all partial sums of the kernel gradient of one call, at least one chunk's.
pub const CALL_PARTIAL_BYTES: usize = 80 << 20;
/// Bytes of an arena from which on it is given back when a step needs much less: finding so much memory again takes the
/// time of a small part of a step that uses it.
pub const LARGE_ARENA_BYTES: usize = 64 << 20;
/// A workspace of a call that has grown beyond this is given back to the system.
pub const LARGE_WORKSPACE_BYTES: usize = 256 << 20;
/// Bytes of a result from which on it starts on a cache line, which takes a call to NumPy more. "Small calls".
pub const ALIGNED_RESULT_BYTES: usize = 32 << 10;
/// Bytes of a result up to which zeroing it costs less than a call of NumPy's `empty` through Python: the largest block that
/// NumPy keeps for the next array.
pub const ZEROED_RESULT_BYTES: usize = 1 << 10;

/// The sums of a kernel gradient in a functional call: "Functional calls".
pub mod grad_call {
    /// Positions of a chunk that pay for adding up its buffer, and the fewest for one of a few.
    pub const CHUNK_POSITIONS: [usize; 2] = [400, 64];
    /// The fewest where sums are longer than the kernel, and are brought back to it before they are added up: this many
    /// times the ratio of both.
    pub const FEWEST_AT_POINTS: usize = 96;
    /// Bytes of a kernel whose rows are a task of their own, and the rows: with fewer, every task gathers what it reads for
    /// too little arithmetic.
    pub const TASK_BYTES: usize = 64 << 10;
    /// See [`TASK_BYTES`]; the second where there is arithmetic for more tasks than that.
    pub const TASK_ROWS: [usize; 2] = [64, 16];
}

/// How a step groups and cuts samples: "Training steps and inference", "Larger networks, and two threads".
pub mod step {
    /// Samples of a group at most.
    pub const MOST_GROUP: usize = 8;
    /// Cost of adding an element of a partial gradient, in multiply-adds, if it is to be two percent of the work.
    pub const REDUCE_COST: usize = 400;
    /// Chunks of a batch: at least as many as are work for some threads, at most as many as some hosts share.
    pub const CHUNKS: [usize; 2] = [8, 64];
    /// Batches of this many samples are cut into at least twice as many: work for as many threads as a desk's machine has.
    pub const SOME_SAMPLES: usize = 128;
    /// Parts at most that a batch is cut into for a weight gradient whose sums go up the tree of chunks.
    pub const MOST_PARTS: usize = 8;
    /// Samples of such a part at least.
    pub const PART_SAMPLES: usize = 16;
    /// And positions, of a convolution: bringing the sums of a block from the points and adding them up then takes some
    /// percent of them.
    pub const PART_POSITIONS: usize = 4096;
    /// And rows of a dense layer's input, if its weights stay near: adding up sums that leave the caches takes as long as
    /// this many rows.
    pub const PART_ROWS: usize = 64;
    /// Batches of this many samples are cut into the most chunks whatever that costs.
    pub const MANY_SAMPLES: usize = 512;
    /// Batches of fewer samples are cut inside a sample: from here on, whole samples are work for some threads.
    pub const FEW_SAMPLES: usize = 8;
    /// Multiply-adds of a sample from which on an op is cut: some 3 microseconds of one thread, of which a phase costs one.
    pub const SPLIT_MACS: usize = 128 << 10;
    /// Multiply-adds of a task of such an op, if there are enough: a microsecond or two, of which a task costs a quarter.
    pub const SPLIT_TASK_MACS: usize = 48 << 10;
    /// Elements of what the gradient is a sum over, for each of the kernel, that pay for adding up a buffer.
    pub const SPLIT_SUM_PAYS: usize = 24;
    /// Weights for an element of input and output together from which on samples are worked on together: reading the
    /// weights, and the sums of their gradient, would take longer than the arithmetic of a few samples.
    pub const LARGE_BESIDE_MAP: usize = 16;
    /// Weights that stay in the caches while single samples pass by.
    pub const NEAR_WEIGHTS: usize = 64 << 10;
}

/// Direct convolutions: "Kernels alone, one thread", "What was tried".
pub mod direct {
    /// Output columns of a block at most. A long series would fill the cache with its halo otherwise; blocks inside the
    /// input need no halo at all.
    pub const MOST_COLUMNS: usize = 288;
    /// Contiguous products from which on it pays to keep the sums of a narrow result in the lanes.
    pub const NARROW_RUN: usize = 12;
    /// Bytes of a row of a halo that is short, and zeroed all at once with its neighbours.
    pub const SHORT_ROW_BYTES: usize = 512;
    /// Columns of a block of a padded series at least.
    pub const LEAST_COLUMNS: usize = 64;
    /// Positions between two visits to the sums of a kernel gradient: enough to hide them, few enough that `dy` stays in L1.
    pub const GRAD_POSITIONS: usize = 256;
    /// The same for a single tap: every position then brings a new row of `x`, which must stay in L1 as well.
    pub const POINTWISE_GRAD_POSITIONS: usize = 64;
    /// Bytes of `dy` between two visits where a tile takes all taps, or nearly: it is read once or twice, from L2 as well.
    pub const GRAD_LINES_BYTES: usize = 64 << 10;
    /// Samples that a kernel gradient visits together at most, where one has few positions.
    pub const GRAD_TOGETHER: usize = 16;
    /// Rows of a kernel at least that are gone through at a time.
    pub const GRAD_ROWS: usize = 56;
}

/// Winograd's algorithm: the section of that name.
pub mod winograd {
    use std::ops::Range;

    /// Most weights, `c_in * c_out`, that were measured to gain, forward and to the input.
    pub const MOST_WEIGHTS: usize = 1024 * 1024;
    /// Weights for an output of a sample: packing brings them to the points, which a small map does not pay for.
    pub const WEIGHTS_PER_POSITION: usize = 5400;
    /// Most weights to the kernel.
    pub const MOST_SUMS: usize = 256 * 256;
    /// Of 3 x 3 taps sums are four times as large at the points, and they are read and written for every few samples: at
    /// most this many for an output of a sample.
    pub const SUMS_PER_POSITION: usize = 600;
    /// With this many outputs more sums pay: [`MOST_SUMS_OF_MANY`].
    pub const MANY_POSITIONS: usize = 150;
    /// See [`MANY_POSITIONS`].
    pub const MOST_SUMS_OF_MANY: usize = 512 * 512;
    /// Tiles of a task where weights at the points do not stay in L2 for the next one: that many hide the reading of a line
    /// from the last level of cache, and from memory.
    pub const HIDING_TILES: [usize; 2] = [16, 32];
    /// Tiles of a plane: with fewer, what a task computes of a sample has too few rows for the products.
    pub const FEWEST_TILES: usize = 4;
    /// Distances of the taps of a series at which its tiles come in short runs: they pay from twice the channels on.
    pub const SCATTERED: Range<usize> = 2..16;
    /// Bytes of the inputs of a block, at the points: half of L2, unless what is read or summed up for every block is much
    /// larger and comes from the last level of cache.
    pub const BLOCK_BYTES: [usize; 2] = [super::L2_HALF_BYTES, 4 << 20];
    /// Channels of a block of the gradient to a large kernel, of both sides: the first of these that divides them all. 64
    /// of one side and 128 of the other are 4 to 10 percent faster with 2 MiB of L2, which many machines do not have.
    pub const BLOCK_CHANNELS: [usize; 2] = [64, 32];
    /// Blocks, which are tasks: with fewer, those of the output channels are of the smaller kind.
    pub const FEWEST_BLOCKS: usize = 8;
    /// Weights from which on sums at the points leave L2.
    pub const BLOCK_WEIGHTS: usize = 64 << 10;
    /// Weights for an element of input and output together from which on the gradient is computed in blocks: a map that is
    /// large beside its kernel stays in the cache between ops, which a pass over the whole batch gives up.
    pub const BLOCK_WEIGHTS_PER_ELEMENT: usize = 2;
    /// Products of the tiles of a map, for 100 direct ones inside it, that leave a gain after the transforms.
    pub const BLOCK_PRODUCTS: usize = 60;
}

/// Taps as rows of one product ("kn2row") and as columns ("kn2col"): "What was tried".
pub mod kn2 {
    /// Channels of the source from which on transposing and shift-add are a small part of the work.
    pub const LEAST_SOURCE: usize = 4;
    /// Rows of the product from which on transposing a position is.
    pub const LEAST_ROWS: usize = 8;
    /// Positions of a row that are computed from one window.
    pub const WINDOW: usize = 256;
    /// Bytes of transposed positions; half as many cost a tenth.
    pub const TRANSPOSED_BYTES: usize = 16 << 10;
    /// Bytes of the products that are waiting for results: they stay in L2.
    pub const PRODUCT_BYTES: usize = 768 << 10;
    /// Rows of a task are this many times those at its end that are multiplied for the next one as well.
    pub const TASK_ROWS: usize = 8;
    /// Multiply-adds of a chain from which on shift-add is a small part of the work.
    pub const CHAIN: usize = 32;
    /// Columns of a result that are computed together: their products stay in L1.
    pub const BLOCK: usize = 112;
}

/// Small maps with large kernels: the section of that name.
pub mod across {
    use super::{FOUR_TILES_ROWS, L2_HALF_BYTES, TWO_TILES_ROWS};

    /// Positions of a result at most, for kernels of that many weights at least. The rows of larger maps fill a product, and
    /// smaller kernels stay in the caches, however often they are read; the largest are read for every row of a map.
    pub const MOST_POSITIONS: [(usize, usize); 2] = [(16, 64 << 10), (64, 4 << 20)];
    /// Positions of the source for each of the result at most: sources are copied.
    pub const MOST_SOURCES: usize = 4;
    /// Channels on both sides at least: fewer leave lanes empty, and have other algorithms.
    pub const FEWEST_CHANNELS: usize = 32;
    /// Panels of a tap that are packed together at most.
    pub const MOST_TOGETHER: usize = 8;
    /// Samples of a block at most: four tiles of the tallest tier.
    pub const BLOCK_ROWS: usize = FOUR_TILES_ROWS;
    /// Bytes of the samples of a block, which stay in L2 beside a panel of the weights.
    pub const BLOCK_BYTES: usize = L2_HALF_BYTES;
    /// Rows that products should have on average: half a tile of the tallest tier, which hides the reading of a line.
    pub const FEWEST_ROWS: usize = TWO_TILES_ROWS / 4;
}

/// Depthwise and grouped convolutions: "What was tried".
pub mod depthwise {
    /// Products of the channels of a group at most: beyond, tiles of outputs times channels are as good.
    pub const MOST_PRODUCTS: usize = 64;
    /// Inputs that a window spans, and a step between outputs, up to which spreading what lies between pays.
    pub const FARTHEST: usize = 256;
    /// Columns of a series that tasks are made of.
    pub const TASK_COLUMNS: usize = 256;
    /// Positions that are asked for ahead where operands come from beyond the cache.
    pub const AHEAD: usize = 32;
}

/// Matrix products: "Kernels alone, one thread", "What was tried".
pub mod gemm {
    /// Distance in bytes from which on neighbouring rows of A are fetched ahead.
    pub const SPARSE_ROWS: usize = 1024;
    /// Products per element from which on the place of the result is fetched while they are added up.
    pub const FETCH_RESULT: usize = 64;
    /// Positions of B that are asked for ahead: it often comes from beyond the cache, and a page ends after a few of them.
    pub const AHEAD: usize = 16;
    /// Multiply-adds of an element from which on ordinary stores are hidden after them.
    pub const STREAM_PRODUCTS: usize = 128;
}
