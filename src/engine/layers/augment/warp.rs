//! Grids read at mapped positions: shifted, turned, zoomed. The maps of rotation and zoom are Keras'.
//!
//! Written for three axes: images and series have leading axes of size 1, where every map stays at 0.

use serde::Deserialize;

use super::PerAxis;
use crate::kernels::math;
use crate::rng::Stream;

/// What stands outside of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FillMode {
    /// `d c b a | a b c d | d c b a`
    Reflect,
    /// `a b c d | a b c d | a b c d`
    Wrap,
    /// A value.
    Constant,
    /// `a a a a | a b c d | d d d d`
    Nearest,
}

/// How values between positions are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// The position that is next.
    Nearest,
    /// Weighted by the distance to both neighbours along every axis.
    Bilinear,
}

/// What all maps have in common.
#[derive(Debug, Clone, Deserialize)]
pub struct WarpSpec {
    pub fill_mode: FillMode,
    pub interpolation: Sampling,
    pub fill_value: f64,
    pub seed: Option<u64>,
}

/// Ranges that maps are drawn from.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::layers) enum Map {
    /// Shifts, as shares of the sizes; an axis without a range stays where it is.
    Translation(PerAxis<(f64, f64)>),
    /// Angles in the plane of rows and columns, as shares of a whole turn.
    Rotation { turns: (f64, f64) },
    /// Growth of what is seen: 0.2 is 20 % more. An axis without a range grows as the height.
    Zoom(PerAxis<(f64, f64)>),
}

/// An affine map from a position of the output to one of the input, in (slices, rows, columns):
/// `at = origin + slice * along[0] + row * along[1] + column * along[2]`.
struct Affine {
    origin: [f64; 3],
    along: [[f64; 3]; 3],
}

const UNIT: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

impl Affine {
    fn draw(map: Map, rank: usize, sizes: [f64; 3], stream: Stream) -> Self {
        let between = |(low, high): (f64, f64), draw: f64| low + (high - low) * draw;
        let [first, second] = stream.uniforms(0);
        let drawn = |ranges: PerAxis<(f64, f64)>| -> [Option<f64>; 3] {
            let draws = [stream.uniforms(1)[0], first, second];
            let ranges = ranges.along(rank);
            std::array::from_fn(|axis| ranges[axis].map(|range| between(range, draws[axis])))
        };
        match map {
            Map::Translation(shares) => {
                let shares = drawn(shares);
                let origin = std::array::from_fn(|axis| -shares[axis].unwrap_or(0.0) * sizes[axis]);
                Self { origin, along: UNIT }
            }
            Map::Rotation { turns } => {
                let turn = between(turns, first);
                let (sin, cos) = math::sin_cos_turn(turn - turn.floor());
                Self::about_middle([UNIT[0], [0.0, cos, -sin], [0.0, sin, cos]], sizes)
            }
            Map::Zoom(growths) => {
                let growths = drawn(growths);
                // The height of a series is its last axis.
                let height = growths[if rank == 1 { 2 } else { 1 }].unwrap_or(0.0);
                let factor = |axis: usize| 1.0 + growths[axis].unwrap_or(height);
                let along = std::array::from_fn(|axis| UNIT[axis].map(|unit| unit * factor(axis)));
                Self::about_middle(along, sizes)
            }
        }
    }

    /// The map under which the middle of the grid stays.
    fn about_middle(along: [[f64; 3]; 3], sizes: [f64; 3]) -> Self {
        let middle = sizes.map(|size| (size - 1.0) / 2.0);
        let origin = std::array::from_fn(|axis| {
            let [depth, down, right] = [0, 1, 2].map(|i| along[i][axis] * middle[i]);
            middle[axis] - depth - down - right
        });
        Self { origin, along }
    }

    fn place(&self, position: [usize; 3]) -> [f64; 3] {
        let [slice, row, column] = position.map(|i| i as f64);
        let [inward, down, right] = self.along;
        std::array::from_fn(|axis| {
            self.origin[axis] + inward[axis] * slice + down[axis] * row + right[axis] * column
        })
    }
}

/// The index inside an axis that stands for one outside; None is the fill value.
fn inside(index: i64, size: usize, mode: FillMode) -> Option<usize> {
    let last = size as i64 - 1;
    let index = match mode {
        FillMode::Constant if index < 0 || index > last => return None,
        FillMode::Constant => index,
        FillMode::Nearest => index.clamp(0, last),
        FillMode::Wrap => index.rem_euclid(size as i64),
        FillMode::Reflect => {
            let index = index.rem_euclid(2 * size as i64);
            index.min(2 * size as i64 - 1 - index)
        }
    };
    Some(index as usize)
}

/// A map of grids of one size.
pub(super) struct Warp {
    pub map: Map,
    pub spec: WarpSpec,
    /// Spatial axes of the grid.
    pub rank: usize,
    /// Slices, rows and columns.
    pub sizes: [usize; 3],
}

/// The up to two indices of an axis that a place is mixed from, with their shares; None is the fill value.
type Around = [(Option<usize>, f64); 2];

/// The largest whole number that is not above one of moderate size: where a processor has no instruction for it, it
/// takes a call else.
fn floor(x: f64) -> f64 {
    let whole = x as i64 as f64;
    if whole > x { whole - 1.0 } else { whole }
}

impl Warp {
    /// Calls `tap(output position, input position, weight)` for all positions that an output is mixed from; without an
    /// input position it is the fill value.
    pub(super) fn taps(
        &self,
        stream: Stream,
        sampling: Sampling,
        mut tap: impl FnMut(usize, Option<usize>, f64),
    ) {
        let [depth, height, width] = self.sizes;
        let affine = Affine::draw(self.map, self.rank, self.sizes.map(|size| size as f64), stream);
        let along =
            |axis: usize, position: [usize; 3]| self.around(affine.place(position)[axis], axis, sampling);
        // Slices move by themselves, and so do rows and columns unless they are turned.
        let slices: Vec<Around> = (0..depth).map(|slice| along(0, [slice, 0, 0])).collect();
        let turned = matches!(self.map, Map::Rotation { .. });
        let (rows, columns): (Vec<Around>, Vec<Around>) = match turned {
            // Of a volume all slices are alike.
            true if depth > 1 => {
                let plane = (0..height).flat_map(|row| (0..width).map(move |column| [0, row, column]));
                plane.map(|position| (along(1, position), along(2, position))).unzip()
            }
            true => (Vec::new(), Vec::new()),
            false => (
                (0..height).map(|row| along(1, [0, row, 0])).collect(),
                (0..width).map(|column| along(2, [0, 0, column])).collect(),
            ),
        };
        let mut output = 0;
        for slice in &slices {
            for row in 0..height {
                for column in 0..width {
                    let at = row * width + column;
                    let (rows, columns) = match turned {
                        true if depth > 1 => (rows[at], columns[at]),
                        true => (along(1, [0, row, column]), along(2, [0, row, column])),
                        false => (rows[row], columns[column]),
                    };
                    for (slice, share) in slice.iter().filter(|(_, share)| *share != 0.0) {
                        for (row, part) in rows.iter().map(|(row, part)| (row, share * part)) {
                            for (column, weight) in
                                columns.iter().map(|(column, weight)| (column, part * weight))
                            {
                                if weight != 0.0 {
                                    tap(output, self.position([*slice, *row, *column]), weight);
                                }
                            }
                        }
                    }
                    output += 1;
                }
            }
        }
    }

    /// What a place along an axis is mixed from.
    fn around(&self, at: f64, axis: usize, sampling: Sampling) -> Around {
        match sampling {
            Sampling::Nearest => [(self.inside(floor(at + 0.5), axis), 1.0), (None, 0.0)],
            Sampling::Bilinear => {
                let low = floor(at);
                let far = at - low;
                [(self.inside(low, axis), 1.0 - far), (self.inside(low + 1.0, axis), far)]
            }
        }
    }

    /// The index inside an axis that stands for one that may be outside; None is the fill value.
    fn inside(&self, at: f64, axis: usize) -> Option<usize> {
        inside(at as i64, self.sizes[axis], self.spec.fill_mode)
    }

    /// The number of a position among all of the grid.
    fn position(&self, [slice, row, column]: [Option<usize>; 3]) -> Option<usize> {
        let [_, height, width] = self.sizes;
        Some((slice? * height + row?) * width + column?)
    }
}
