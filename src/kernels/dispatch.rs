//! Which instruction set runs: detected once, forced by `GRIDNN_SIMD`, carried along as a value.

use std::fmt;
use std::hint::black_box;
use std::sync::OnceLock;

use super::depthwise::{self, LaneWork};
use super::gemm::{
    narrow::{self, NarrowGemm},
    tile::{self, Gemm, Strided, StridedBatch},
};
use super::lanes::Element;
use super::peak;
use super::portable::Portable;
use super::shift_add::{self, ShiftAdd};
use super::transpose::{self, Transpose, TransposePanels};
use super::window::{self, Pooling, WindowRun};
use super::winograd::{self, Transform};
use crate::error::{Error, Result};

/// An instruction set that this CPU has. There is no way to make one for a CPU that has not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tier(Isa);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The feature list of the entries below, of detection and of the CI rows: keep the three equal.
macro_rules! detected {
    ($($feature:tt),*) => { $(is_x86_feature_detected!($feature))&&* };
}

impl Tier {
    /// Every tier that this CPU has, best first; the portable one is always last.
    pub fn available() -> Vec<Self> {
        let mut tiers = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = detected!("avx2", "fma");
            if avx2 && detected!("avx512f", "avx512bw", "avx512dq", "avx512vl") {
                tiers.push(Self(Isa::Avx512));
            }
            if avx2 {
                tiers.push(Self(Isa::Avx2));
            }
        }
        tiers.push(Self(Isa::Portable));
        tiers
    }

    /// The tier in use: the best one, or the one that `GRIDNN_SIMD` names. Decided once.
    ///
    /// # Errors
    /// `GRIDNN_SIMD` names a tier that does not exist or that this CPU lacks.
    pub fn current() -> Result<Self> {
        static CURRENT: OnceLock<Result<Tier>> = OnceLock::new();
        CURRENT
            .get_or_init(|| match std::env::var("GRIDNN_SIMD") {
                Ok(wanted) if !wanted.is_empty() => Self::named(&wanted),
                _ => Ok(Self::available()[0]),
            })
            .clone()
    }

    /// The tier with this name.
    ///
    /// # Errors
    /// There is none on this CPU.
    pub fn named(wanted: &str) -> Result<Self> {
        let available = Self::available();
        available.iter().find(|tier| tier.name() == wanted).copied().ok_or_else(|| Error::Tier {
            wanted: wanted.to_string(),
            available: available.iter().map(Self::name).collect::<Vec<_>>().join(", "),
        })
    }

    /// `"avx512"`, `"avx2"` or `"portable"`.
    pub fn name(&self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Whether multiply and add are rounded together. Tiers that do so agree to the bit.
    pub fn fused(&self) -> bool {
        self.0 != Isa::Portable
    }

    /// Multiplies and adds float32 in registers, for benches: the number of operations, two per multiply-add.
    pub fn multiply_adds(self, rounds: usize) -> usize {
        let (operations, sum) = Kernels::<f32>::of(self).multiply_adds(black_box(rounds), 0.5, 1.0);
        black_box(sum);
        operations
    }

    /// Runs plain loops compiled for this tier.
    #[inline]
    pub fn vectorize<J: Job>(self, job: J) -> J::Output {
        match self.0 {
            // SAFETY: a `Tier` exists only for instruction sets that were detected.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { avx512_entries::vectorize(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2_entries::vectorize(job) },
            Isa::Portable => job.run(),
        }
    }
}

/// Loops that the compiler shall vectorise for the tier in use.
///
/// `run` must be `#[inline(always)]`, and so must everything hot that it calls: only code inlined into a tier's entry
/// is compiled for it. Plain Rust arithmetic is never reassociated nor contracted, so every tier gives the same bytes.
pub trait Job {
    /// What the loops return.
    type Output;
    /// The loops.
    fn run(self) -> Self::Output;
}

/// The kernels of one tier for one element type.
pub struct Kernels<T: 'static> {
    /// The tier these belong to.
    pub tier: Tier,
    /// Elements in a vector.
    pub width: usize,
    gemm: unsafe fn(&mut Strided<'_, T>),
    multiply_adds: unsafe fn(usize, T, T) -> T,
    pool: unsafe fn(&WindowRun<'_>, &mut Pooling<'_, T>),
    lane_work: unsafe fn(&WindowRun<'_>, &mut LaneWork<'_, T>),
    gemm_narrow: unsafe fn(&mut NarrowGemm<'_, T>),
    shift_add: unsafe fn(&mut ShiftAdd<'_, T>),
    transform: unsafe fn(&mut Transform<'_, T>),
    transpose: unsafe fn(&mut Transpose<'_, T>),
    transpose_panels: unsafe fn(&mut TransposePanels<'_, T>),
}

impl<T> fmt::Debug for Kernels<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels({})", self.tier.name())
    }
}

impl<T: Element> Kernels<T> {
    /// The kernels of a tier.
    pub fn of(tier: Tier) -> &'static Self {
        T::table(tier)
    }

    /// Columns of a panel of packed weights.
    pub fn panel(&self) -> usize {
        2 * self.width
    }

    /// Computes a product.
    ///
    /// # Panics
    /// The product reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn gemm(&self, p: Gemm<'_, T>) {
        self.gemm_strided_batched(p, StridedBatch::ONE);
    }

    /// Computes a product for each of some rows of a map, of which `p` is the first.
    ///
    /// # Panics
    /// One of them reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn gemm_strided_batched(&self, p: Gemm<'_, T>, batch: StridedBatch) {
        let mut p = p.strided(self.panel());
        p.check(self.panel(), batch);
        for row in 0..batch.count {
            if row > 0 {
                p.advance(batch);
            }
            // SAFETY: the table exists only for detected tiers, and the bounds have just been checked.
            unsafe { (self.gemm)(&mut p) }
        }
    }

    /// Computes a product with few columns.
    ///
    /// # Panics
    /// The product reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn gemm_narrow(&self, p: &mut NarrowGemm<'_, T>) {
        p.check();
        // SAFETY: the table exists only for detected tiers, and the bounds have just been checked.
        unsafe { (self.gemm_narrow)(p) }
    }

    /// Adds up the products that belong to results.
    ///
    /// # Panics
    /// A sum reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn shift_add(&self, mut sums: ShiftAdd<'_, T>) {
        sums.check();
        // SAFETY: the table exists only for detected tiers, and the bounds have just been checked.
        unsafe { (self.shift_add)(&mut sums) }
    }

    /// Pools a run of outputs.
    ///
    /// # Panics
    /// The run reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn pool(&self, run: &WindowRun<'_>, mut pooling: Pooling<'_, T>) {
        pooling.check(run);
        // SAFETY: the table exists only for detected tiers, and the bounds have just been checked.
        unsafe { (self.pool)(run, &mut pooling) }
    }

    /// Multiplies and adds channel by channel over a run of outputs.
    ///
    /// # Panics
    /// The run reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn lane_work(&self, run: &WindowRun<'_>, mut work: LaneWork<'_, T>) {
        work.check(run, self.width);
        // SAFETY: the table exists only for detected tiers, and the bounds have just been checked.
        unsafe { (self.lane_work)(run, &mut work) }
    }

    /// Transforms tiles.
    ///
    /// # Panics
    /// A tile reaches outside of its slice: a bug of the caller.
    #[inline]
    pub fn transform(&self, t: &mut Transform<'_, T>) {
        t.check();
        // SAFETY: the table exists only for detected tiers, and the bounds have just been checked.
        unsafe { (self.transform)(t) }
    }

    /// Writes columns as rows.
    ///
    /// # Panics
    /// The matrix reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn transpose(&self, t: &mut Transpose<'_, T>) {
        t.check();
        // SAFETY: the table exists only for detected tiers, and the bounds have just been checked.
        unsafe { (self.transpose)(t) }
    }

    /// Writes positions of a few channels as panels with the positions in the lanes.
    ///
    /// # Panics
    /// The positions or the panels reach outside of their slices: a bug of the caller.
    #[inline]
    pub fn transpose_panels(&self, mut t: TransposePanels<'_, T>) {
        t.check(self.panel());
        // SAFETY: the table exists only for detected tiers, and the bounds have just been checked.
        unsafe { (self.transpose_panels)(&mut t) }
    }

    /// Does nothing but multiply and add in registers, for benches: the number of operations (two per multiply-add),
    /// and a sum that must be used.
    pub fn multiply_adds(&self, rounds: usize, factor: T, term: T) -> (usize, T) {
        // SAFETY: the table exists only for detected tiers.
        let sum = unsafe { (self.multiply_adds)(rounds, factor, term) };
        (2 * peak::CHAINS * self.width * rounds, sum)
    }
}

/// Finds the table of an element type.
pub trait Tables: Sized + 'static {
    /// The kernels of `tier` for this type.
    fn table(tier: Tier) -> &'static Kernels<Self>;
}

macro_rules! entries {
    ($module:ident, $features:literal, $f32:ty, $f64:ty, $gemm:ident, $pool:ident, $heights:ident, $vectors:literal, $tile:literal
     $(, half $half32:ty, $half64:ty)?) => {
        #[cfg(target_arch = "x86_64")]
        mod $module {
            use super::*;

            /// # Safety
            /// The CPU has the features; the product was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn gemm_f32(p: &mut Strided<'_, f32>) {
                // SAFETY: as the caller's.
                unsafe { tile::$gemm::<$f32, $($half32,)? tile::$heights>(p) }
            }

            /// # Safety
            /// The CPU has the features; the product was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn gemm_f64(p: &mut Strided<'_, f64>) {
                // SAFETY: as the caller's.
                unsafe { tile::$gemm::<$f64, $($half64,)? tile::$heights>(p) }
            }

            /// # Safety
            /// The CPU has the features; the product was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn gemm_narrow_f32(p: &mut NarrowGemm<'_, f32>) {
                // SAFETY: as the caller's.
                unsafe { narrow::gemm_narrow::<$f32, $vectors>(p) }
            }

            /// # Safety
            /// The CPU has the features; the product was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn gemm_narrow_f64(p: &mut NarrowGemm<'_, f64>) {
                // SAFETY: as the caller's.
                unsafe { narrow::gemm_narrow::<$f64, $vectors>(p) }
            }

            /// # Safety
            /// The CPU has the features; the work was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn shift_add_f32(sums: &mut ShiftAdd<'_, f32>) {
                // SAFETY: as the caller's.
                unsafe { shift_add::shift_add::<$f32>(sums) }
            }

            /// # Safety
            /// The CPU has the features; the work was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn shift_add_f64(sums: &mut ShiftAdd<'_, f64>) {
                // SAFETY: as the caller's.
                unsafe { shift_add::shift_add::<$f64>(sums) }
            }

            /// # Safety
            /// The CPU has the features; the run was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn pool_f32(run: &WindowRun<'_>, pooling: &mut Pooling<'_, f32>) {
                // SAFETY: as the caller's.
                unsafe { window::$pool::<$f32 $(, $half32)?>(run, pooling) }
            }

            /// # Safety
            /// The CPU has the features; the run was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn pool_f64(run: &WindowRun<'_>, pooling: &mut Pooling<'_, f64>) {
                // SAFETY: as the caller's.
                unsafe { window::$pool::<$f64 $(, $half64)?>(run, pooling) }
            }

            /// # Safety
            /// The CPU has the features; the work was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn lane_work_f32(run: &WindowRun<'_>, work: &mut LaneWork<'_, f32>) {
                // SAFETY: as the caller's.
                unsafe { depthwise::lane_work::<$f32, $tile>(run, work) }
            }

            /// # Safety
            /// The CPU has the features; the transform was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn transform_f32(t: &mut Transform<'_, f32>) {
                // SAFETY: as the caller's.
                unsafe { winograd::transform::<$f32>(t) }
            }

            /// # Safety
            /// The CPU has the features; the matrix was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn transpose_f32(t: &mut Transpose<'_, f32>) {
                // SAFETY: as the caller's.
                unsafe { transpose::transpose::<$f32>(t) }
            }

            /// # Safety
            /// The CPU has the features; the panels were checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn transpose_panels_f32(t: &mut TransposePanels<'_, f32>) {
                // SAFETY: as the caller's.
                unsafe { transpose::transpose_panels::<$f32>(t) }
            }

            /// # Safety
            /// The CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn multiply_adds_f32(rounds: usize, factor: f32, term: f32) -> f32 {
                // SAFETY: as the caller's.
                unsafe { peak::multiply_adds::<$f32>(rounds, factor, term) }
            }

            /// # Safety
            /// The CPU has the features; the work was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn lane_work_f64(run: &WindowRun<'_>, work: &mut LaneWork<'_, f64>) {
                // SAFETY: as the caller's.
                unsafe { depthwise::lane_work::<$f64, $tile>(run, work) }
            }

            /// # Safety
            /// The CPU has the features; the transform was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn transform_f64(t: &mut Transform<'_, f64>) {
                // SAFETY: as the caller's.
                unsafe { winograd::transform::<$f64>(t) }
            }

            /// # Safety
            /// The CPU has the features; the matrix was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn transpose_f64(t: &mut Transpose<'_, f64>) {
                // SAFETY: as the caller's.
                unsafe { transpose::transpose::<$f64>(t) }
            }

            /// # Safety
            /// The CPU has the features; the panels were checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn transpose_panels_f64(t: &mut TransposePanels<'_, f64>) {
                // SAFETY: as the caller's.
                unsafe { transpose::transpose_panels::<$f64>(t) }
            }

            /// # Safety
            /// The CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn multiply_adds_f64(rounds: usize, factor: f64, term: f64) -> f64 {
                // SAFETY: as the caller's.
                unsafe { peak::multiply_adds::<$f64>(rounds, factor, term) }
            }

            /// # Safety
            /// The CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn vectorize<J: Job>(job: J) -> J::Output {
                job.run()
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
use super::x86_64::{avx2, avx512};
entries!(
    avx512_entries,
    "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl",
    avx512::F32,
    avx512::F64,
    gemm_or_half,
    pool_or_half,
    UpTo14,
    1,
    4,
    half avx512::Half32,
    avx512::Half64
);
entries!(avx2_entries, "avx2,fma", avx2::F32, avx2::F64, gemm, pool, UpTo6, 2, 2);

/// # Safety
/// The product was checked.
unsafe fn gemm_portable<T: Element, const W: usize>(p: &mut Strided<'_, T>) {
    // SAFETY: the portable tier needs no feature; the rest is the caller's.
    unsafe { tile::gemm::<Portable<T, W>, tile::UpTo4>(p) }
}

/// # Safety
/// None: the portable tier needs no feature.
unsafe fn multiply_adds_portable<T: Element, const W: usize>(rounds: usize, factor: T, term: T) -> T {
    // SAFETY: as above.
    unsafe { peak::multiply_adds::<Portable<T, W>>(rounds, factor, term) }
}

/// # Safety
/// The product was checked.
unsafe fn gemm_narrow_portable<T: Element, const W: usize>(p: &mut NarrowGemm<'_, T>) {
    // SAFETY: the portable tier needs no feature; the rest is the caller's.
    unsafe { narrow::gemm_narrow::<Portable<T, W>, 4>(p) }
}

/// # Safety
/// The work was checked.
unsafe fn shift_add_portable<T: Element, const W: usize>(sums: &mut ShiftAdd<'_, T>) {
    // SAFETY: the portable tier needs no feature; the rest is the caller's.
    unsafe { shift_add::shift_add::<Portable<T, W>>(sums) }
}

/// # Safety
/// The run was checked.
unsafe fn pool_portable<T: Element, const W: usize>(run: &WindowRun<'_>, pooling: &mut Pooling<'_, T>) {
    // SAFETY: the portable tier needs no feature; the rest is the caller's.
    unsafe { window::pool::<Portable<T, W>>(run, pooling) }
}

/// # Safety
/// The work was checked.
unsafe fn lane_work_portable<T: Element, const W: usize>(run: &WindowRun<'_>, work: &mut LaneWork<'_, T>) {
    // SAFETY: the portable tier needs no feature; the rest is the caller's.
    unsafe { depthwise::lane_work::<Portable<T, W>, 1>(run, work) }
}

/// # Safety
/// The transform was checked.
unsafe fn transform_portable<T: Element, const W: usize>(t: &mut Transform<'_, T>) {
    // SAFETY: the portable tier needs no feature; the rest is the caller's.
    unsafe { winograd::transform::<Portable<T, W>>(t) }
}

/// # Safety
/// The matrix was checked.
unsafe fn transpose_portable<T: Element, const W: usize>(t: &mut Transpose<'_, T>) {
    // SAFETY: the portable tier needs no feature; the rest is the caller's.
    unsafe { transpose::transpose::<Portable<T, W>>(t) }
}

/// # Safety
/// The panels were checked.
unsafe fn transpose_panels_portable<T: Element, const W: usize>(t: &mut TransposePanels<'_, T>) {
    // SAFETY: the portable tier needs no feature; the rest is the caller's.
    unsafe { transpose::transpose_panels::<Portable<T, W>>(t) }
}

macro_rules! tables {
    ($type:ty, $gemm:ident, $gemm_narrow:ident, $shift_add:ident, $pool:ident, $lane_work:ident, $transform:ident, $transpose:ident, $transpose_panels:ident, $multiply_adds:ident, $avx512:literal, $avx2:literal, $portable:literal) => {
        impl Tables for $type {
            fn table(tier: Tier) -> &'static Kernels<Self> {
                match tier.0 {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => &Kernels {
                        tier: Tier(Isa::Avx512),
                        width: $avx512,
                        gemm: avx512_entries::$gemm,
                        gemm_narrow: avx512_entries::$gemm_narrow,
                        shift_add: avx512_entries::$shift_add,
                        pool: avx512_entries::$pool,
                        lane_work: avx512_entries::$lane_work,
                        transform: avx512_entries::$transform,
                        transpose: avx512_entries::$transpose,
                        transpose_panels: avx512_entries::$transpose_panels,
                        multiply_adds: avx512_entries::$multiply_adds,
                    },
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => &Kernels {
                        tier: Tier(Isa::Avx2),
                        width: $avx2,
                        gemm: avx2_entries::$gemm,
                        gemm_narrow: avx2_entries::$gemm_narrow,
                        shift_add: avx2_entries::$shift_add,
                        pool: avx2_entries::$pool,
                        lane_work: avx2_entries::$lane_work,
                        transform: avx2_entries::$transform,
                        transpose: avx2_entries::$transpose,
                        transpose_panels: avx2_entries::$transpose_panels,
                        multiply_adds: avx2_entries::$multiply_adds,
                    },
                    Isa::Portable => &Kernels {
                        tier: Tier(Isa::Portable),
                        width: $portable,
                        gemm: gemm_portable::<$type, $portable>,
                        gemm_narrow: gemm_narrow_portable::<$type, $portable>,
                        shift_add: shift_add_portable::<$type, $portable>,
                        pool: pool_portable::<$type, $portable>,
                        lane_work: lane_work_portable::<$type, $portable>,
                        transform: transform_portable::<$type, $portable>,
                        transpose: transpose_portable::<$type, $portable>,
                        transpose_panels: transpose_panels_portable::<$type, $portable>,
                        multiply_adds: multiply_adds_portable::<$type, $portable>,
                    },
                }
            }
        }
    };
}
tables!(
    f32,
    gemm_f32,
    gemm_narrow_f32,
    shift_add_f32,
    pool_f32,
    lane_work_f32,
    transform_f32,
    transpose_f32,
    transpose_panels_f32,
    multiply_adds_f32,
    16,
    8,
    4
);
tables!(
    f64,
    gemm_f64,
    gemm_narrow_f64,
    shift_add_f64,
    pool_f64,
    lane_work_f64,
    transform_f64,
    transpose_f64,
    transpose_panels_f64,
    multiply_adds_f64,
    8,
    4,
    2
);
