//! One battery for every tier of the machine.

use super::Transpose;
use super::*;

/// Small integers are exact in every order of summation.
pub(super) fn integers<T: Element>(len: usize, seed: u64) -> Vec<T> {
    (0..len as u64).map(|i| T::from_f64((((i + seed) * 2_654_435_761) >> 7) as f64 % 7.0 - 3.0)).collect()
}

struct Case {
    m: usize,
    n: usize,
    k: usize,
    runs: usize,
    k_contiguous: bool,
    /// Whether the rows of A lie one element apart, and those of the result follow each other.
    overlapping: bool,
}

/// Computes a case on one tier, with the operands ending exactly where the product may read.
fn run<T: Element>(case: &Case, tier: Tier, start_from_result: bool, relu: bool) -> (Vec<T>, Vec<T>) {
    let kernels = Kernels::<T>::of(tier);
    let panel = kernels.panel();
    let &Case { m, n, k, runs: count, k_contiguous, overlapping } = case;
    let (rs_a, cs_a) = match (k_contiguous, overlapping) {
        (true, true) => (1, 1),
        (true, false) => (k + 3, 1),
        (false, _) => (1, m + 2),
    };
    let a_len = (m - 1) * rs_a + (k - 1) * cs_a + 1;
    let a: Vec<T> = integers(a_len * count, 1);
    let dense: Vec<T> = integers(count * k * n, 2);
    let (b, rs_b, ps_b, b_run) = if k_contiguous {
        let mut packed = vec![T::ZERO; pack::panels_len(count * k, n, panel)];
        pack::panels(&mut packed, &dense, (count * k, n), [n, 1], kernels);
        (packed, panel, count * k * panel, k * panel)
    } else {
        (dense.clone(), n, panel, k * n)
    };
    let rs_c = if overlapping { n } else { n + 1 };
    let before: Vec<T> = integers((m - 1) * rs_c + n, 3);
    let bias: Vec<T> = integers(n, 4);
    let mut expected = before.clone();
    for i in 0..m {
        for j in 0..n {
            let mut sum = if start_from_result { before[i * rs_c + j] } else { bias[j] }.to_f64();
            for r in 0..count {
                for q in 0..k {
                    sum += a[r * a_len + i * rs_a + q * cs_a].to_f64() * dense[(r * k + q) * n + j].to_f64();
                }
            }
            expected[i * rs_c + j] = T::from_f64(if relu { sum.max(0.0) } else { sum });
        }
    }
    let mut c = before;
    let list: Vec<Offsets> = (0..count).map(|r| Offsets { a: r * a_len, b: r * b_run }).collect();
    let row_groups = RowGroups::ONE;
    kernels.gemm(Gemm {
        a: &a,
        b: if k_contiguous {
            B::Packed { b: &b, ps_b, rs_a }
        } else {
            B::InPlace { b: &b, rs_b, cs_a, row_groups }
        },
        batch: &list,
        k,
        c: &mut c,
        rs_c,
        m,
        n,
        store: Store {
            start: if start_from_result { Start::Result } else { Start::Bias(&bias) },
            relu,
            non_temporal: false,
        },
    });
    (c, expected)
}

fn battery<T: Element>() {
    for tier in Tier::available() {
        for m in (1..=15).chain([17, 28, 29, 33, 57, 70]) {
            for n in [1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 31, 32, 33, 70] {
                for (k, runs) in [(1, 1), (5, 1), (3, 4), (2, 0)] {
                    for (k_contiguous, overlapping) in [(true, false), (true, true), (false, false)] {
                        let case = Case { m, n, k, runs, k_contiguous, overlapping };
                        // Rows in the lanes are for results that start from a bias.
                        let (got, expected) = run::<T>(&case, tier, m % 2 == 0 && !overlapping, n % 2 == 0);
                        assert_eq!(
                            got, expected,
                            "{tier:?} m={m} n={n} k={k} runs={runs} {k_contiguous} {overlapping}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn products_of_integers_are_exact_in_float32() {
    battery::<f32>();
}

#[test]
fn products_of_integers_are_exact_in_float64() {
    battery::<f64>();
}

/// Rows of a map at once, against one by one.
fn repeats_battery<T: Element>() {
    for kernels in Tier::available().into_iter().map(Kernels::<T>::of) {
        let panel = kernels.panel();
        for (m, n, k, runs) in [(1, 1, 3, 1), (15, 5, 3, 2), (29, 8, 9, 1), (7, 40, 4, 2), (3, 33, 1, 0)] {
            let repeats = StridedBatch { count: 4, a: 5, c: m * n + 2 };
            let a: Vec<T> = integers(if runs == 0 { 0 } else { 3 * repeats.a + m + k + 9 }, 1);
            let b: Vec<T> = integers(2 * k * n.next_multiple_of(panel), 2);
            let bias: Vec<T> = integers(n, 3);
            let list: Vec<Offsets> = (0..runs).map(|r| Offsets { a: 9 * r, b: r * k * panel }).collect();
            let product = |first: usize, repeats: StridedBatch, c: &mut [T]| {
                let rows = Gemm {
                    a: a.get(first * 5..).unwrap_or_default(),
                    b: B::Packed { b: &b, ps_b: k * runs.max(1) * panel, rs_a: 1 },
                    batch: &list,
                    k,
                    c,
                    rs_c: n,
                    m,
                    n,
                    store: Store::from(Start::Bias(&bias)),
                };
                kernels.gemm_strided_batched(rows, repeats);
            };
            let [mut at_once, mut alone] = [(); 2].map(|()| vec![T::ONE; 3 * repeats.c + m * n]);
            product(0, repeats, &mut at_once);
            for row in 0..repeats.count {
                product(row, StridedBatch::ONE, &mut alone[row * repeats.c..]);
            }
            assert_eq!(at_once, alone, "{:?} m={m} n={n} k={k} runs={runs}", kernels.tier);
        }
    }
}

#[test]
fn rows_of_a_map_are_products_of_their_own() {
    repeats_battery::<f32>();
    repeats_battery::<f64>();
}

/// Results stored past the cache, against ordinary stores: aligned ones and others, whole registers and others.
fn staged_battery<T: Element>() {
    for kernels in Tier::available().into_iter().map(Kernels::<T>::of) {
        let panel = kernels.panel();
        for m in [1, 2, 13, 14, 15, 29, 70] {
            for n in [1_usize, 4, 8, 16, 24, 32, 40, 64, 80] {
                for (offset, gap, k, relu) in
                    [(0, 0, 3, true), (0, 64, 9, false), (3, 0, 3, false), (0, 1, 200, true)]
                {
                    let (rs_c, panels) = (n + gap, n.div_ceil(panel));
                    let a: Vec<T> = integers(m + k + 1, 1);
                    let b: Vec<T> = integers(panels * k * panel, 2);
                    let bias: Vec<T> = integers(n, 3);
                    let [plain, past] = [false, true].map(|non_temporal| {
                        let mut c = Aligned::try_zeroed(offset + 2 * m * rs_c).unwrap();
                        let first = Gemm {
                            a: &a,
                            b: B::Packed { b: &b, ps_b: k * panel, rs_a: 1 },
                            batch: &[Offsets { a: 0, b: 0 }],
                            k,
                            c: &mut c[offset..],
                            rs_c,
                            m,
                            n,
                            store: Store { start: Start::Bias(&bias), relu, non_temporal },
                        };
                        kernels.gemm_strided_batched(first, StridedBatch { count: 2, a: 1, c: m * rs_c });
                        fence();
                        c.to_vec()
                    });
                    assert_eq!(plain, past, "{:?} m={m} n={n} k={k} {offset} {gap}", kernels.tier);
                }
            }
        }
    }
}

#[test]
fn results_past_the_cache_have_the_same_bytes() {
    staged_battery::<f32>();
    staged_battery::<f64>();
}

/// Rows of A in several lines, against the lines one by one.
fn lines_battery<T: Element>() {
    for kernels in Tier::available().into_iter().map(Kernels::<T>::of) {
        for (planes, each) in [(1, 2), (1, 5), (2, 3), (3, 3), (4, 5), (19, 1)] {
            for (rows, n) in gemm::multi_row::LENGTHS
                .into_iter()
                .flat_map(|rows| [1, 4, 5, 8, 9, 16, 17, 32, 33, 70].map(|n| (rows, n)))
            {
                let (count, k, cs_a, rs_c) = (planes * each, 6, 2, n + 1);
                let lines = RowGroups { counts: [planes, each], strides: [7 * each + 1, 7] };
                let reach = (planes - 1) * lines.strides[0] + (each - 1) * 7 + rows + (k - 1) * cs_a;
                let batch = [0, 1, 2].map(|r| Offsets { a: r * reach, b: r * k * n });
                let (a, b): (Vec<T>, Vec<T>) = (integers(3 * reach, 1), integers(3 * k * n, 2));
                let before: Vec<T> = integers((count * rows - 1) * rs_c + n, 3);
                let add = |at: usize, lines: RowGroups, m: usize, c: &mut [T]| {
                    kernels.gemm(Gemm {
                        a: &a[at..],
                        b: B::InPlace { b: &b, rs_b: n, cs_a, row_groups: lines },
                        batch: &batch,
                        k,
                        c,
                        rs_c,
                        m,
                        n,
                        store: Store::ADD,
                    });
                };
                let (mut expected, mut got) = (before.clone(), before);
                for line in 0..count {
                    let at = line / each * lines.strides[0] + line % each * lines.strides[1];
                    add(at, RowGroups::ONE, rows, &mut expected[line * rows * rs_c..]);
                }
                add(0, lines, count * rows, &mut got);
                assert_eq!(got, expected, "{kernels:?} {lines:?} of {rows} rows, n={n}");
            }
        }
    }
}

#[test]
fn lines_together_equal_lines_alone() {
    lines_battery::<f32>();
    lines_battery::<f64>();
}

#[test]
fn the_forced_tier_is_the_one_in_use() {
    let current = Tier::current().expect("GRIDNN_SIMD names a tier of this machine");
    println!("gridnn tier in use: {}", current.name());
    if let Ok(wanted) = std::env::var("GRIDNN_SIMD") {
        assert!(wanted.is_empty() || wanted == current.name());
    }
    assert!(Tier::named("sse9").is_err());
}

#[test]
fn the_peak_is_measured_with_every_chain() {
    for tier in Tier::available() {
        let kernels = Kernels::<f32>::of(tier);
        let (operations, sum) = kernels.multiply_adds(2, 0.5);
        let lanes = operations / 4;
        assert_eq!(lanes, peak::CHAINS * kernels.width);
        assert_eq!(sum, 1.5 * 1.5 * lanes as f32 + (peak::MEMORY - lanes) as f32);
    }
}

#[test]
fn nan_survives_relu() {
    for tier in Tier::available() {
        let kernels = Kernels::of(tier);
        let packed = vec![1.0f32; kernels.panel()];
        let mut c = [0.0f32];
        kernels.gemm(Gemm {
            a: &[f32::NAN],
            b: B::Packed { b: &packed, ps_b: 1, rs_a: 1 },
            batch: &[Offsets { a: 0, b: 0 }],
            k: 1,
            c: &mut c,
            rs_c: 1,
            m: 1,
            n: 1,
            store: Store { start: Start::Zero, relu: true, non_temporal: false },
        });
        assert!(c[0].is_nan(), "{tier:?}");
    }
}

/// A run of outputs with channels in the lanes.
struct LaneCase {
    /// Channels of a group.
    k: usize,
    channels: usize,
    count: usize,
    /// Distance of what neighbouring outputs read, in positions.
    stride: usize,
    taps: Vec<Tap>,
}

impl LaneCase {
    /// Elements of the input that the taps reach.
    fn input_len(&self) -> usize {
        let reach = (self.count - 1) * self.stride * self.channels + self.channels;
        self.taps.iter().map(|tap| tap.at + reach).max().unwrap_or(0)
    }

    fn weights_len(&self) -> usize {
        self.taps.iter().map(|tap| tap.number + 1).max().unwrap_or(0) * self.k * self.channels
    }

    /// Calls `visit(x, weight, output, channel)` with the offsets of every product.
    fn for_each_product(&self, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let Self { k, channels, count, stride, .. } = *self;
        for (output, tap) in (0..count).flat_map(|output| self.taps.iter().map(move |tap| (output, tap))) {
            for (c, r) in (0..channels).flat_map(|c| (0..k).map(move |r| (c, r))) {
                let x = tap.at + output * stride * channels + c / k * k + r;
                visit(x, (tap.number * k + r) * channels + c, output, c);
            }
        }
    }

    /// Both kinds of work, in cache and past it, against the definition.
    fn check<T: Element>(&self, tier: Tier) {
        let kernels = Kernels::<T>::of(tier);
        let Self { k, channels, count, .. } = *self;
        let run = WindowRun { taps: &self.taps, count, step: self.stride * channels, channels };
        let (x, w) = (integers::<T>(self.input_len(), 1), integers::<T>(self.weights_len(), 2));
        let bias: Vec<T> = integers(channels, 3);
        let about = |what: &str| {
            let taps: Vec<usize> = self.taps.iter().map(|tap| tap.at / channels).collect();
            format!("{what} on {tier:?}: k={k} channels={channels} count={count} taps at {taps:?}")
        };
        // Outputs next to each other and with a gap, which belongs to somebody else.
        for (y_stride, with_bias, relu, non_temporal) in [
            (channels, true, false, false),
            (channels, false, true, true),
            (2 * channels, true, true, true),
            (channels + 1, false, false, true),
        ] {
            let before: Vec<T> = integers((count - 1) * y_stride + channels, 4);
            let mut sums = vec![0.0; count * channels];
            if with_bias {
                sums.iter_mut().enumerate().for_each(|(i, sum)| *sum = bias[i % channels].to_f64());
            }
            self.for_each_product(|i, j, o, c| sums[o * channels + c] += x[i].to_f64() * w[j].to_f64());
            let expected = before.iter().enumerate().map(|(i, gap)| match (i / y_stride, i % y_stride) {
                (o, c) if c < channels && relu => sums[o * channels + c].max(0.0),
                (o, c) if c < channels => sums[o * channels + c],
                _ => gap.to_f64(),
            });
            // Stores past the cache want aligned results: once they are, once they are not.
            for offset in 0..2 {
                let mut memory = Aligned::try_zeroed(before.len() + offset).unwrap();
                memory[offset..].copy_from_slice(&before);
                let bias = with_bias.then_some(&*bias);
                let y = &mut memory[offset..];
                kernels.lane_work(
                    &run,
                    LaneWork::Map { x: &x, w: &w, y, y_stride, bias, relu, k, non_temporal, block: None },
                );
                let got = memory[offset..].iter().map(|v| v.to_f64());
                assert!(got.eq(expected.clone()), "{}", about("outputs"));
            }
        }
        let dy: Vec<T> = integers(count * channels, 5);
        for non_temporal in [false, true] {
            let mut dw = w.clone();
            let mut expected: Vec<f64> = w.iter().map(|v| v.to_f64()).collect();
            self.for_each_product(|i, j, o, c| {
                expected[j] += x[i].to_f64() * dy[o * channels + c].to_f64();
            });
            kernels
                .lane_work(&run, LaneWork::Sum { x: &x, dy: &dy, dw: &mut dw, k, non_temporal, block: None });
            assert!(dw.iter().map(|v| v.to_f64()).eq(expected), "{}", about("weights"));
        }
    }
}

fn lane_battery<T: Element>() {
    // Where taps read, in positions: none, rows of three and of two, neighbours in twos, and no order at all.
    let places: [&[usize]; 6] =
        [&[], &[0], &[0, 1, 2], &[0, 1, 2, 7, 8, 9, 14, 15, 16], &[0, 2, 4, 6, 11], &[9, 3, 4, 0, 1, 2, 30]];
    for tier in Tier::available() {
        let width = Kernels::<T>::of(tier).width;
        for k in [1, 2, 4, 8].into_iter().filter(|&k| width.is_multiple_of(k)) {
            let fill = [width, 2 * width, 4 * width + k, 9 * width].map(|n| n / k);
            for channels in [1, 2, 3, 5].into_iter().chain(fill).map(|groups| groups * k) {
                for count in [1, 2, 3, 4, 5, 8, 9, 19, 32, 70] {
                    for (i, places) in places.iter().enumerate() {
                        let stride = 1 + (i + count) % 3;
                        // Some taps of the window meet the border, so that numbers have gaps.
                        let tap = |(n, at): (usize, &usize)| Tap { number: n + n / 2, at: at * channels };
                        let taps = places.iter().enumerate().map(tap).collect();
                        LaneCase { k, channels, count, stride, taps }.check::<T>(tier);
                    }
                }
            }
        }
    }
}

#[test]
fn lanes_of_integers_are_exact_in_float32() {
    lane_battery::<f32>();
}

#[test]
fn lanes_of_integers_are_exact_in_float64() {
    lane_battery::<f64>();
}

/// Rows of outputs that are computed together, against the same rows one by one.
fn block_battery<T: Element>(channels: usize, count: usize) {
    let (k, planes, lines, taps) = (1, 2, Block::KERNEL, Block::KERNEL);
    let (row, from_rows) = ((count + taps - 1) * channels, Block::MOST + lines - 1);
    let x: Vec<T> = integers(planes * from_rows * row, 1);
    let w: Vec<T> = integers(planes * lines * taps * k * channels, 2);
    let bias: Vec<T> = integers(channels, 3);
    let y_row = count * channels;
    for tier in Tier::available() {
        let kernels = Kernels::<T>::of(tier);
        for (rows, first, last) in [(3, 0, 0), (3, 1, 0), (3, 0, 1), (2, 0, 0), (2, 1, 1), (3, 2, lines)] {
            let sources = first.min(rows)..(rows + lines - 1 - last).max(first + 1);
            // Taps of output row `o`, or of all of them.
            let list = |o: Option<usize>| {
                let all = (0..planes).flat_map(|p| (0..lines).map(move |line| (p, line)));
                let inside = all.filter(|&(_, line)| o.is_none_or(|o| sources.contains(&(o + line))));
                let taps = inside.flat_map(|(p, line)| {
                    let source = o.map_or(0, |o| o + line - sources.start);
                    let at = p * from_rows * row + source * row;
                    let number = (p * lines + line) * taps;
                    (0..taps).map(move |t| Tap { number: number + t, at: at + t * channels })
                });
                taps.collect::<Vec<_>>()
            };
            let block = Block { rows, sources: sources.clone(), x_row_stride: row, y_row_stride: y_row };
            let about = format!("{tier:?}: {block:?} channels={channels} count={count}");
            for (non_temporal, relu) in [(false, true), (true, false)] {
                let map = |list: &[Tap], y: &mut [T], block: Option<Block>| {
                    let (x, w, bias, y_stride) = (&x, &w, Some(&*bias), channels);
                    let work = LaneWork::Map { x, w, y, y_stride, bias, relu, k, non_temporal, block };
                    kernels.lane_work(&WindowRun { taps: list, count, step: channels, channels }, work);
                };
                let mut expected = Aligned::try_zeroed(rows * y_row).unwrap();
                for (o, line) in expected.chunks_exact_mut(y_row).enumerate() {
                    map(&list(Some(o)), line, None);
                }
                let mut got = Aligned::try_zeroed(rows * y_row).unwrap();
                map(&list(None), &mut got, Some(block.clone()));
                assert!(got[..] == expected[..], "outputs on {about}");
                let dy: Vec<T> = integers(rows * y_row, 5);
                let sum = |list: &[Tap], dy: &[T], dw: &mut [T], block: Option<Block>| {
                    let run = WindowRun { taps: list, count, step: channels, channels };
                    kernels.lane_work(&run, LaneWork::Sum { x: &x, dy, dw, k, non_temporal, block });
                };
                let (mut expected, mut got) = (w.clone(), w.clone());
                for (o, dy) in dy.chunks_exact(y_row).enumerate() {
                    sum(&list(Some(o)), dy, &mut expected, None);
                }
                sum(&list(None), &dy, &mut got, Some(block.clone()));
                assert!(got == expected, "weights on {about}");
            }
        }
    }
}

#[test]
fn rows_together_equal_rows_alone() {
    for channels in [1, 3, 8, 16, 19, 64] {
        for count in [1, 2, 3, 4, 7, 12] {
            block_battery::<f32>(channels, count);
            block_battery::<f64>(channels, count);
        }
    }
}

/// Columns as rows, whole squares and parts of them, and nothing written between the rows.
fn transpose_battery<T: Element>() {
    for tier in Tier::available() {
        let kernels = Kernels::<T>::of(tier);
        for rows in (1..=17).chain([31, 32, 33, 50]) {
            for columns in (1..=17).chain([31, 32, 33]) {
                let (from_stride, row) = (rows + columns % 3, columns + rows % 4);
                let from: Vec<T> = integers((columns - 1) * from_stride + rows, 1);
                let before: Vec<T> = integers((rows - 1) * row + columns, 2);
                let mut to = before.clone();
                let ps = kernels.panel();
                kernels.transpose(Transpose {
                    from: &from,
                    from_stride,
                    to: &mut to,
                    row,
                    rows,
                    columns,
                    ps,
                    near: columns % 2 == 0,
                });
                for (at, got) in to.iter().enumerate() {
                    let (i, j) = (at / row, at % row);
                    let expected = if j < columns { from[j * from_stride + i] } else { before[at] };
                    assert!(*got == expected, "{tier:?}: {rows} x {columns}, row {i}, column {j}");
                }
            }
        }
    }
}

#[test]
fn columns_become_rows() {
    transpose_battery::<f32>();
    transpose_battery::<f64>();
}
