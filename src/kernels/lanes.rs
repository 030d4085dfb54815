//! The vector operations that kernel bodies are written with, and the element types they work on.

use std::fmt::Debug;

use super::aligned::Plain;
use super::gemm::tile::Heights;

/// float32 or float64.
pub trait Element: Plain + Debug + Default + PartialEq + PartialOrd + std::ops::AddAssign {
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The type's name in NumPy.
    const NAME: &'static str;
    /// The one of two things that is for this type.
    fn pick<'a, F: Family>(f32: &'a F::Of<f32>, f64: &'a F::Of<f64>) -> &'a F::Of<Self>;
    /// The numbers that a byte holds.
    const BYTES: &'static [Self; 256];
    /// Nearest value to a double.
    fn from_f64(value: f64) -> Self;
    /// The value as a double, exactly.
    fn to_f64(self) -> f64;
    /// Whether it is neither NaN nor infinite.
    fn finite(self) -> bool;
    /// Whether it is NaN.
    fn is_nan(self) -> bool;
    /// Sum, rounded once.
    fn add(self, other: Self) -> Self;
    /// Difference, rounded once.
    fn sub(self, other: Self) -> Self;
    /// `self * other`, rounded once.
    fn mul(self, other: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// Quotient, rounded once.
    fn div(self, other: Self) -> Self;
    /// Square root, rounded once.
    fn sqrt(self) -> Self;

    /// The larger of a magnitude and that of `other`. NaN is larger than infinity.
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        let other = if other < Self::ZERO { Self::ZERO.sub(other) } else { other };
        if self.is_nan() | (other <= self) { self } else { other }
    }

    /// What a ReLU makes of it; NaN stays.
    #[inline(always)]
    fn relu(self) -> Self {
        if self <= Self::ZERO { Self::ZERO } else { self }
    }

    /// The gradient `dy` where a ReLU lets this pass, which is its input or its result; else zero.
    #[inline(always)]
    fn relu_gradient(self, dy: Self) -> Self {
        if self > Self::ZERO { dy } else { Self::ZERO }
    }
}

/// Things that there is one of for each element type.
pub trait Family {
    /// That for `T`.
    type Of<T: 'static>: 'static;
}

macro_rules! element {
    ($type:ty, $name:literal, $index:tt) => {
        impl Element for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAME: &'static str = $name;
            const BYTES: &'static [Self; 256] = &{
                let mut all = [0.0; 256];
                let mut i = 0;
                while i < 256 {
                    all[i] = i as $type;
                    i += 1;
                }
                all
            };
            #[inline(always)]
            fn pick<'a, F: Family>(f32: &'a F::Of<f32>, f64: &'a F::Of<f64>) -> &'a F::Of<Self> {
                (f32, f64).$index
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                self / other
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
        }
    };
}
element!(f32, "float32", 0);
element!(f64, "float64", 1);

/// A vector of `WIDTH` elements and what the bodies do with it.
///
/// Methods are plain `#[inline(always)]` functions around intrinsics; only the outermost entry of a tier carries
/// `#[target_feature]`, so every level between the two must be inlined.
///
/// # Safety
/// Every method may only run on a CPU that has the instructions of the implementing tier; pointers must be valid for
/// the lanes that the method says it touches.
pub(in crate::kernels) trait Lanes: 'static {
    /// Element type.
    type Elem: Element;
    /// The register type.
    type V: Copy;
    /// Selects the first lanes of a vector.
    type TailMask: Copy;
    /// The lanes for which a comparison holds.
    type CmpMask: Copy;
    /// An order of the lanes.
    type Permutation: Copy;
    /// Elements that are read together and multiplied one by one, each with a vector.
    type Few: Copy;
    /// Heights of the tiles of products: so many rows that the accumulators fill the registers.
    type Heights: Heights;
    /// Vectors of half the width, for results that would leave more than half of the lanes idle: two of them cost as much
    /// as a whole one on most CPUs, and no more on the others. These lanes themselves where a tier has no others.
    type Half: Lanes<Elem = Self::Elem>;
    /// Elements in a register.
    const WIDTH: usize;
    /// Vectors of channels in a tile of depthwise outputs: 1, 2 or 4, as many as there are registers for.
    const CHANNEL_VECTORS: usize;
    /// Whether a masked load or store costs no more than a whole one.
    const MASKS_ARE_FREE: bool;
    /// How many elements are [`Lanes::Few`]: more than one where a multiply-add can take a lane of a register as its
    /// factor, and an element from memory in all lanes costs an instruction of its own.
    const FEW: usize;
    /// Elements of 16 bytes, the parts of a register.
    const PART: usize = 16 / size_of::<Self::Elem>();

    /// All lanes zero.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn zero() -> Self::V;
    /// All lanes equal.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn splat(x: Self::Elem) -> Self::V;
    /// `WIDTH` elements from memory, any alignment.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn load(p: *const Self::Elem) -> Self::V;
    /// `WIDTH` elements to memory, any alignment.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn store(p: *mut Self::Elem, v: Self::V);
    /// The mask of the first `n <= WIDTH` lanes.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mask(n: usize) -> Self::TailMask;
    /// The mask of the lanes `from..to`; `from <= to <= WIDTH`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mask_between(from: usize, to: usize) -> Self::TailMask;
    /// The masked lanes from memory, zero elsewhere; touches no other element.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn load_masked(p: *const Self::Elem, mask: Self::TailMask) -> Self::V;
    /// The same for a mask of first lanes, where accumulators stay in registers around it: a call, even one that is never
    /// made, would bring them to memory.
    ///
    /// # Safety
    /// See the trait.
    #[inline(always)]
    unsafe fn load_masked_in_loop(p: *const Self::Elem, mask: Self::TailMask) -> Self::V {
        // SAFETY: as the caller's.
        unsafe { Self::load_masked(p, mask) }
    }
    /// The masked lanes to memory; touches no other element.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn store_masked(p: *mut Self::Elem, mask: Self::TailMask, v: Self::V);
    /// `a * b + c`, rounded once where the hardware can.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `FEW` elements from memory.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn few(p: *const Self::Elem) -> Self::Few;
    /// Two elements from memory, the first of `FEW`; as [`Lanes::few`] where there are not more.
    ///
    /// # Safety
    /// See the trait.
    #[inline(always)]
    unsafe fn pair(p: *const Self::Elem) -> Self::Few {
        // SAFETY: as the caller's.
        unsafe { Self::few(p) }
    }
    /// `few[n] * b + c`; `n < FEW`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mul_add_nth(few: Self::Few, n: usize, b: Self::V, c: Self::V) -> Self::V;
    /// `v > 0 ? v : 0`; NaN stays NaN.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn relu(v: Self::V) -> Self::V;
    /// The larger of a magnitude and that of `v`, lane by lane. NaN is larger than infinity.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn larger(best: Self::V, v: Self::V) -> Self::V;
    /// The largest of all lanes, which are magnitudes.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn largest(v: Self::V) -> Self::Elem;
    /// Asks for a cache line; any address will do.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn prefetch(p: *const Self::Elem);
    /// Asks for a cache line that is needed later, in the cache behind the first; any address will do.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn prefetch_far(p: *const Self::Elem);
    /// `WIDTH` elements to memory and not into the cache; `p` is aligned to the register. Before another thread reads
    /// them, a fence is needed.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn stream(p: *mut Self::Elem, v: Self::V);
    /// The order that gives every lane number `r` of its group of `k`; `k` divides `WIDTH`, `r < k`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn permutation(k: usize, r: usize) -> Self::Permutation;
    /// The lanes in the order `permutation(K, r)`. Where `r` is a constant, lanes need no order.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn permute<const K: usize>(v: Self::V, r: usize, order: Self::Permutation) -> Self::V;
    /// Vector number `i < N` of what `N` vectors give when their lanes take turns: element `i * WIDTH + l` of that
    /// sequence is lane `(i * WIDTH + l) / N` of vector `(i * WIDTH + l) % N`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn interleave<const N: usize>(parts: [Self::V; N], i: usize) -> Self::V;
    /// Transposes `WIDTH` rows of `PART` elements into `PART` rows of `WIDTH`:
    /// `to[c * to_step + p] = from[p * from_step + c]`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn transpose(from: *const Self::Elem, from_step: usize, to: *mut Self::Elem, to_step: usize);
    /// Sums.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// Differences.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// Products.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// Lanes where `x` is larger than `best`, or NaN where `best` is not.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn wins(x: Self::V, best: Self::V) -> Self::CmpMask;
    /// Lanes where both are equal.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn equal(a: Self::V, b: Self::V) -> Self::CmpMask;
    /// Lanes that are larger than 0.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn positive(v: Self::V) -> Self::CmpMask;
    /// `a` in the chosen lanes, `b` in the others.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn select(mask: Self::CmpMask, a: Self::V, b: Self::V) -> Self::V;
    /// `n` bytes as numbers, zero after them; touches no other byte.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn load_bytes(p: *const u8, n: usize) -> Self::V;
    /// The first `n` lanes, whole numbers from 0 to 255, as bytes; touches no other byte.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn store_bytes(p: *mut u8, n: usize, v: Self::V);
}
