//! Counter-based random numbers: the value depends on (key, counter) alone, never on who draws first.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011, doi 10.1145/2063384.2063405), which passes BigCrush and needs no state.

use crate::error::Result;
use crate::kernels::math;
use crate::memory;

/// What a stream of random numbers is for. Streams of one seed never overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights; `a` is the number of the weight.
    Weights = 1,
    /// Dropout masks; `a` is the layer, `b` the sample.
    Dropout = 2,
    /// Order of the samples; `a` is the epoch.
    Shuffle = 3,
    /// New seeds from a seed; `a` is their number.
    Seeds = 4,
}

/// One stream of random 32-bit words.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    key: [u32; 2],
    a: u32,
    b: u32,
}

impl Stream {
    /// The stream of a seed for a purpose and two coordinates.
    pub fn new(seed: u64, purpose: Purpose, a: u64, b: u32) -> Self {
        // The purpose and the high half of `a` are mixed into the key by one round of the generator itself, so that
        // no two (seed, purpose, a) share a key and a counter.
        let mixed = philox(
            [purpose as u32, (a >> 32) as u32, seed as u32, (seed >> 32) as u32],
            [0x9e37_79b9, 0x7f4a_7c15],
        );
        Self { key: [mixed[0] ^ seed as u32, mixed[1] ^ (seed >> 32) as u32], a: a as u32, b }
    }

    /// Four words: numbers `4 * block` to `4 * block + 3` of the stream.
    #[inline(always)]
    pub fn block(&self, block: u64) -> [u32; 4] {
        philox([block as u32, (block >> 32) as u32, self.a, self.b], self.key)
    }

    /// A 64-bit word: the first half of a block.
    pub fn word(&self, block: u64) -> u64 {
        let [low, high, ..] = self.block(block);
        u64::from(low) | u64::from(high) << 32
    }

    /// Two uniform numbers in (0, 1) of 53 bits: never 0 and never 1.
    pub fn uniforms(&self, block: u64) -> [f64; 2] {
        let [a, b, c, d] = self.block(block);
        let unit = |low: u32, high: u32| {
            let bits = (u64::from(low) | u64::from(high) << 32) >> 12;
            (bits as f64 + 0.5) * (1.0 / 4_503_599_627_370_496.0)
        };
        [unit(a, b), unit(c, d)]
    }

    /// Two independent standard normal numbers (Box and Muller).
    pub fn normals(&self, block: u64) -> [f64; 2] {
        let [u, v] = self.uniforms(block);
        let radius = (-2.0 * math::ln(u)).sqrt();
        let (sin, cos) = math::sin_cos_turn(v);
        [radius * cos, radius * sin]
    }

    /// A permutation of `0..len` (Fisher and Yates).
    ///
    /// # Errors
    /// The memory cannot be had.
    pub fn permutation(&self, len: usize) -> Result<Vec<i64>> {
        let mut order = memory::collect((0..len).map(|i| i as i64))?;
        for i in (1..len).rev() {
            // The bias of a 64-bit multiply-shift is below len / 2^64.
            let j = ((u128::from(self.word(i as u64)) * (i as u128 + 1)) >> 64) as usize;
            order.swap(i, j);
        }
        Ok(order)
    }
}

/// Philox4x32 with 10 rounds.
#[inline(always)]
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
        }
        let p0 = u64::from(counter[0]) * 0xd251_1f53;
        let p1 = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (p1 >> 32) as u32 ^ counter[1] ^ key[0],
            p1 as u32,
            (p0 >> 32) as u32 ^ counter[3] ^ key[1],
            p0 as u32,
        ];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the authors' Random123 library.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn permutations_are_permutations() {
        let stream = Stream::new(7, Purpose::Shuffle, 3, 0);
        let mut order = stream.permutation(1000).unwrap();
        assert_ne!(order, Stream::new(7, Purpose::Shuffle, 4, 0).permutation(1000).unwrap());
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
        assert!(stream.permutation(0).unwrap().is_empty());
    }

    #[test]
    fn normals_have_mean_0_and_variance_1() {
        let stream = Stream::new(1, Purpose::Weights, 0, 0);
        let draws: Vec<f64> = (0..50_000).flat_map(|i| stream.normals(i)).collect();
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        // Five standard errors.
        assert!(mean.abs() < 5.0 / n.sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{variance}");
    }
}
