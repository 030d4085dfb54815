//! What a tier consists of: the list of kernels, each declared once, and the macro that compiles all of them for an
//! instruction set.
//!
//! A tier is a file with its lanes and one line of [`tier!`](macro@tier), which makes its [`Table`]. The functions that it
//! writes are the only ones with `#[target_feature]`; they are not generic, so that whoever uses this crate links them
//! and does not compile them again.

use std::fmt;

use super::depthwise::LaneWork;
use super::gemm::narrow::NarrowGemm;
use super::gemm::tile::{Gemm, Strided, StridedBatch};
use super::lanes::{Element, Family};
use super::peak;
use super::shift_add::ShiftAdd;
use super::transpose::{Transpose, TransposePanels};
use super::window::{Pooling, WindowRun};
use super::winograd::Transform;

/// Every kernel: its name, what it is called with for elements of type `T`, and its body, a function of
/// `L: Lanes<Elem = T>` in `crate::kernels`.
///
/// Calls the macro `then` with what follows it and with this list.
macro_rules! each_kernel {
    ($($then:ident)::+, $($context:tt)*) => {
        $crate::kernels::$($then)::+! {
            $($context)*
            gemm(p: &mut Strided<'_, T>) = gemm::tile::gemm;
            gemm_narrow(p: &mut NarrowGemm<'_, T>) = gemm::narrow::gemm_narrow;
            shift_add(sums: &mut ShiftAdd<'_, T>) = shift_add::shift_add;
            pool(run: &WindowRun<'_>, pooling: &mut Pooling<'_, T>) = window::pool;
            lane_work(run: &WindowRun<'_>, work: &mut LaneWork<'_, T>) = depthwise::lane_work;
            transform(t: &mut Transform<'_, T>) = winograd::transform;
            transpose(t: &mut Transpose<'_, T>) = transpose::transpose;
            multiply_adds(rounds: usize, factor: T) -> T = peak::multiply_adds;
        }
    };
}

/// The kernels of one tier for one element type: a function pointer for each line of the list.
macro_rules! declare {
    ($($name:ident ($($argument:ident: $type:ty),*) $(-> $out:ty)? = $($body:ident)::+;)*) => {
        /// The kernels of one tier for one element type.
        pub struct Kernels<T: 'static> {
            /// The tier these belong to.
            pub tier: Tier,
            /// Elements in a vector.
            pub width: usize,
            $(pub(in crate::kernels) $name: unsafe fn($($type),*) $(-> $out)?,)*
        }
    };
}

/// The kernels of a tier, compiled for it: functions in a module with the types `T`, elements, and `L`, their lanes.
macro_rules! entries {
    ($features:tt $($name:ident $arguments:tt $(-> $out:ty)? = $($body:ident)::+;)*) => {
        $($crate::kernels::table::entry! { $features $name $arguments $(-> $out)? = $($body)::+ })*
    };
}

/// One of them.
macro_rules! entry {
    ([$($feature:tt),*] $name:ident ($($argument:ident: $type:ty),*) $(-> $out:ty)? = $($body:ident)::+) => {
        /// # Safety
        /// The CPU has the features of the tier, and the arguments passed the check of their type.
        $(#[target_feature(enable = $feature)])*
        pub(super) unsafe fn $name($($argument: $type),*) $(-> $out)? {
            // SAFETY: that is what bodies ask for.
            unsafe { $crate::kernels::$($body)::+::<L>($($argument),*) }
        }
    };
}

/// The table of a tier and element type, from the functions of a module.
macro_rules! fill {
    ($module:ident, $lanes:ty; $($name:ident $arguments:tt $(-> $out:ty)? = $($body:ident)::+;)*) => {
        $crate::kernels::table::Kernels {
            tier: $crate::kernels::table::Tier(&TIER),
            width: <$lanes as $crate::kernels::lanes::Lanes>::WIDTH,
            $($name: $module::$name,)*
        }
    };
}

/// Makes a tier of the lanes `F32` and `F64` of a module: its `TIER`, and `vectorize`.
///
/// `tier!("name", detect["feature", ...], fused: whether)`: `std::arch::detect!` says whether the CPU has a feature;
/// a tier is fused if its lanes round multiply and add together. The list of features is the only one: what is detected
/// is what functions are compiled for.
macro_rules! tier {
    ($name:literal, $detect:ident [$($feature:tt),*], fused: $fused:expr) => {
        /// The tier of this file.
        pub(in crate::kernels) static TIER: $crate::kernels::table::Table = $crate::kernels::table::Table {
            name: $name,
            features: &[$($feature),*],
            fused: $fused,
            detected: || true $(&& std::arch::$detect!($feature))*,
            f32: $crate::kernels::table::each_kernel!(table::fill, float32, F32;),
            f64: $crate::kernels::table::each_kernel!(table::fill, float64, F64;),
        };

        /// Runs plain loops compiled for the tier.
        ///
        /// # Safety
        /// The CPU has the features of the tier.
        $(#[target_feature(enable = $feature)])*
        pub(in crate::kernels) unsafe fn vectorize<J: $crate::kernels::table::Job>(job: J) -> J::Output {
            job.run()
        }

        $crate::kernels::table::tier!(entries float32, f32, F32, [$($feature),*]);
        $crate::kernels::table::tier!(entries float64, f64, F64, [$($feature),*]);
    };
    (entries $module:ident, $elem:ty, $lanes:ident, $features:tt) => {
        mod $module {
            use $crate::kernels::{
                depthwise::LaneWork,
                gemm::{narrow::NarrowGemm, tile::Strided},
                shift_add::ShiftAdd,
                transpose::Transpose,
                window::{Pooling, WindowRun},
                winograd::Transform,
            };

            type T = $elem;
            type L = super::$lanes;

            $crate::kernels::table::each_kernel!(table::entries, $features);
        }
    };
}

/// The tiers of a processor family, best first, by their modules: their tables, and `vectorize` for all of them.
macro_rules! tiers {
    ($($module:ident),*) => {
        /// Best first.
        pub(in crate::kernels) static TIERS: &[&$crate::kernels::table::Table] = &[$(&$module::TIER),*];

        /// Runs plain loops compiled for a tier.
        #[inline]
        pub(in crate::kernels) fn vectorize<J: $crate::kernels::table::Job>(
            tier: $crate::kernels::table::Tier,
            job: J,
        ) -> J::Output {
            $(if tier == $crate::kernels::table::Tier(&$module::TIER) {
                // SAFETY: a `Tier` exists only for instruction sets that were detected.
                return unsafe { $module::vectorize(job) };
            })*
            let _ = tier;
            // SAFETY: the portable tier needs no features.
            unsafe { $crate::kernels::portable::vectorize(job) }
        }
    };
}

pub(in crate::kernels) use {each_kernel, entries, entry, fill, tier, tiers};

each_kernel!(table::declare,);
use declare;

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

/// All that is known of a tier.
pub(in crate::kernels) struct Table {
    /// See [`Tier::name`].
    pub name: &'static str,
    /// See [`Tier::features`].
    pub features: &'static [&'static str],
    /// See [`Tier::fused`].
    pub fused: bool,
    /// Whether this CPU has the features.
    pub detected: fn() -> bool,
    /// For float32.
    pub f32: Kernels<f32>,
    /// For float64.
    pub f64: Kernels<f64>,
}

/// An instruction set that this CPU has. Only kernels could make one for a CPU that has not.
#[derive(Clone, Copy)]
pub struct Tier(pub(in crate::kernels) &'static Table);

impl PartialEq for Tier {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Tier {}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Tier {
    /// The name, as `GRIDNN_SIMD` takes it.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// The features of the CPU that it needs, by their names in Rust.
    pub fn features(&self) -> &'static [&'static str] {
        self.0.features
    }

    /// Whether multiply and add are rounded together. Tiers that do so agree to the bit.
    pub fn fused(&self) -> bool {
        self.0.fused
    }
}

/// [`Kernels`] of any element type.
struct Each;

impl Family for Each {
    type Of<T: 'static> = Kernels<T>;
}

impl<T> fmt::Debug for Kernels<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels({})", self.tier.name())
    }
}

/// Each method checks what its kernel asks for, and calls it.
impl<T: Element> Kernels<T> {
    /// The kernels of a tier.
    pub fn of(tier: Tier) -> &'static Self {
        T::pick::<Each>(&tier.0.f32, &tier.0.f64)
    }

    /// Columns of a panel of packed weights.
    pub fn panel(&self) -> usize {
        2 * self.width
    }

    /// Computes a product.
    ///
    /// # Panics
    /// The product reaches outside of its slices: a bug of the caller.
    #[inline(always)]
    pub fn gemm(&self, p: Gemm<'_, T>) {
        self.gemm_strided_batched(p, StridedBatch::ONE);
    }

    /// Computes a product for each of some rows of a map, of which `p` is the first.
    ///
    /// # Panics
    /// One of them reaches outside of its slices: a bug of the caller.
    // Most products are small: described where they are asked for, they are not copied on the way.
    #[inline(always)]
    pub fn gemm_strided_batched(&self, p: Gemm<'_, T>, batch: StridedBatch) {
        let mut p = p.strided(self.panel());
        p.check(self.panel(), batch);
        if p.outgrows_cache(batch) {
            self.columns_together(&mut p, batch);
        } else {
            self.rows(&mut p, batch);
        }
    }

    /// Computes some columns of all rows of a map before the next ones.
    #[inline(never)]
    fn columns_together(&self, p: &mut Strided<'_, T>, batch: StridedBatch) {
        for columns in p.columns_together(self.panel()) {
            self.rows(&mut p.some_columns(columns, self.panel()), batch);
        }
    }

    /// Computes the rows of a map.
    #[inline(always)]
    fn rows(&self, p: &mut Strided<'_, T>, batch: StridedBatch) {
        for row in 0..batch.count {
            if row > 0 {
                p.advance(batch);
            }
            // SAFETY: tables exist for detected tiers only, and `p` or the whole that it is columns of passed its check,
            // which covers every row and all columns.
            unsafe { (self.gemm)(p) }
        }
    }

    /// Computes a product with few columns.
    ///
    /// # Panics
    /// The product reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn gemm_narrow(&self, p: &mut NarrowGemm<'_, T>) {
        p.check();
        // SAFETY: detected, and checked.
        unsafe { (self.gemm_narrow)(p) }
    }

    /// Adds up the products that belong to results.
    ///
    /// # Panics
    /// A sum reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn shift_add(&self, mut sums: ShiftAdd<'_, T>) {
        sums.check();
        // SAFETY: detected, and checked.
        unsafe { (self.shift_add)(&mut sums) }
    }

    /// Pools a run of outputs.
    ///
    /// # Panics
    /// The run reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn pool(&self, run: &WindowRun<'_>, mut pooling: Pooling<'_, T>) {
        pooling.check(run);
        // SAFETY: detected, and checked.
        unsafe { (self.pool)(run, &mut pooling) }
    }

    /// Multiplies and adds channel by channel over a run of outputs.
    ///
    /// # Panics
    /// The run reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn lane_work(&self, run: &WindowRun<'_>, mut work: LaneWork<'_, T>) {
        work.check(run, self.width);
        // SAFETY: detected, and checked.
        unsafe { (self.lane_work)(run, &mut work) }
    }

    /// Transforms tiles.
    ///
    /// # Panics
    /// A tile reaches outside of its slice: a bug of the caller.
    #[inline]
    pub fn transform(&self, t: &mut Transform<'_, T>) {
        t.check();
        // SAFETY: detected, and checked.
        unsafe { (self.transform)(t) }
    }

    /// Writes columns as rows, in panels.
    ///
    /// # Panics
    /// The matrix reaches outside of its slices: a bug of the caller.
    #[inline]
    pub fn transpose(&self, mut t: Transpose<'_, T>) {
        t.check(self.panel());
        // SAFETY: detected, and checked.
        unsafe { (self.transpose)(&mut t) }
    }

    /// Writes positions of a few channels as panels with the positions in the lanes: positions are columns, of which
    /// each panel has some.
    ///
    /// # Panics
    /// The positions or the panels reach outside of their slices: a bug of the caller.
    #[inline]
    pub fn transpose_panels(&self, t: TransposePanels<'_, T>) {
        if t.count > 0 {
            self.transpose(t.columns(self.panel(), self.width));
        }
    }

    /// Multiplies and adds in registers and nothing else, for benches; returns the number of operations, two per
    /// multiply-add, and a sum that keeps them from being optimized out.
    pub fn multiply_adds(&self, rounds: usize, factor: T) -> (usize, T) {
        // SAFETY: detected.
        let sum = unsafe { (self.multiply_adds)(rounds, factor) };
        (2 * peak::CHAINS * self.width * rounds, sum)
    }
}
