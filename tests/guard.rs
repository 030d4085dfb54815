//! Witness against out-of-bounds accesses: every operand ends exactly at a page that may not be touched, or starts
//! right after one, so that a single element too far kills the test.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "protected pages come from the system; every block states why it is sound")]

mod common;

use std::ops::{Deref, DerefMut, Range};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use common::pools::{PoolCase, pool_cases};
use common::{
    ConvCase, PASSES, Problem, Runner, bits, check_close, conv_cases, elements, integers, partition, uniform,
};
use gridnn::conv::{self, Algorithm, Epilogue, GradOperands, MapPlan, Operands, Pass, Region, Scratch, Sums};
use gridnn::geometry::PaddingMode;
use gridnn::kernels::Transpose;
use gridnn::kernels::{B, Element, Gemm, Kernels, Offsets, RowGroups, Start, Store, Tier, pack};
use gridnn::pool::{self, AveragePool, MaxPool, PoolScratch};
use gridnn::reference;
use proptest::prelude::*;

/// Which end of the elements touches a protected page.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Edge {
    Front,
    Back,
}

const EDGES: [Edge; 2] = [Edge::Front, Edge::Back];

/// Elements between two protected pages, touching one of them.
struct Fenced<T> {
    mapping: *mut libc::c_void,
    bytes: usize,
    start: *mut T,
    len: usize,
}

impl<T: Copy> Fenced<T> {
    fn new(values: &[T], edge: Edge) -> Self {
        // SAFETY: plain query.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let inner = size_of_val(values).next_multiple_of(page);
        let bytes = inner + 2 * page;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        let mapping = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0) };
        assert_ne!(mapping, libc::MAP_FAILED, "no memory");
        for offset in [0, page + inner] {
            // SAFETY: one whole page inside the mapping, which nobody else knows yet.
            let refused = unsafe { libc::mprotect(mapping.byte_add(offset), page, libc::PROT_NONE) };
            assert_eq!(refused, 0, "cannot protect a page");
        }
        let offset = if edge == Edge::Front { 0 } else { inner - size_of_val(values) };
        // SAFETY: between the protected pages there is room for the values; the size of T divides that of a page,
        // so the start is aligned.
        let start = unsafe { mapping.byte_add(page + offset).cast::<T>() };
        // SAFETY: as above, and a fresh mapping does not overlap with the values.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr(), start, values.len()) };
        Self { mapping, bytes, start, len: values.len() }
    }
}

impl<T: Element> Fenced<T> {
    fn nans(len: usize, edge: Edge) -> Self {
        Self::new(&vec![T::from_f64(f64::NAN); len], edge)
    }
}

impl<T> Drop for Fenced<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody borrows from it any more.
        unsafe { libc::munmap(self.mapping, self.bytes) };
    }
}

impl<T> Deref for Fenced<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `new` wrote `len` elements.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T> DerefMut for Fenced<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

/// What runs now, for the last words of the process.
static SCENE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static SCENE_LEN: AtomicUsize = AtomicUsize::new(0);

/// Says which case is about to run, should it be the last one. Leaks the text, as a signal handler may read it.
fn announce(scene: String) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handler calls async-signal-safe functions only.
        unsafe { libc::signal(libc::SIGSEGV, last_words as *const () as libc::sighandler_t) };
    });
    let text: &'static mut [u8] = scene.into_bytes().leak();
    // Other tests announce theirs meanwhile: empty while the two halves do not belong together.
    SCENE_LEN.store(0, Ordering::SeqCst);
    SCENE.store(text.as_mut_ptr(), Ordering::SeqCst);
    SCENE_LEN.store(text.len(), Ordering::SeqCst);
}

extern "C" fn last_words(signal: libc::c_int) {
    let (text, len) = (SCENE.load(Ordering::SeqCst), SCENE_LEN.load(Ordering::SeqCst));
    let start = "out of bounds in: ";
    // SAFETY: write, signal and raise are async-signal-safe; announced texts live for ever.
    unsafe {
        libc::write(2, start.as_ptr().cast(), start.len());
        libc::write(2, text.cast(), len);
        libc::write(2, "\n".as_ptr().cast(), 1);
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// A map of fenced operands, cut into rows: each part of the result has fences of its own.
fn map<T: Element>(
    plan: &dyn MapPlan<T>,
    from: &[T],
    kernel: &[T],
    bias: &[T],
    cuts: &[usize],
    edge: Edge,
) -> Vec<T> {
    let from = Fenced::new(from, edge);
    let bias = Fenced::new(bias, edge);
    let mut packed = Fenced::nans(plan.tiling().weights, edge);
    plan.pack(&Fenced::new(kernel, edge), 0, &mut packed);
    let mut whole = Vec::new();
    for rows in elements(plan.tiling(), plan.tiling().row_len(), cuts) {
        let mut part = Fenced::nans(rows.len(), edge);
        let epilogue = Epilogue { bias: Some(&*bias), relu: false };
        let operands = Operands { from: &from, packed: &packed, epilogue, non_temporal: false };
        plan.run(operands, &mut part, &Region::Elements(rows), &mut Scratch::default());
        whole.extend_from_slice(&part);
    }
    whole
}

fn check<T: Element>(case: &ConvCase, cuts: &[usize]) -> Result<(), String> {
    let problem = Problem::<T>::new(&ConvCase { samples: 1, ..case.clone() }, integers);
    let g = &problem.geometry;
    let in_bias: Vec<T> = integers(g.c_in, case.seed);
    let [mut y, mut dx, dkernel] = problem.expected();
    y.iter_mut().enumerate().for_each(|(i, y)| *y += problem.bias[i % g.c_out].to_f64());
    dx.iter_mut().enumerate().for_each(|(i, dx)| *dx += in_bias[i % g.c_in].to_f64());
    for tier in Tier::available() {
        let kernels = Kernels::of(tier);
        for edge in EDGES {
            announce(format!("{} on {tier:?}, {edge:?}, rows cut at {cuts:?}: {case:?}", T::NAME));
            let plan = conv::map(Pass::Forward, g, kernels, Algorithm::Direct);
            let got = map(&*plan, &problem.x, &problem.kernel, &problem.bias, cuts, edge);
            check_close(&got, &y, &y, 0.0).map_err(|what| format!("forward, {tier:?}: {what}"))?;
            let plan = conv::map(Pass::InputGrad, g, kernels, Algorithm::Direct);
            let got = map(&*plan, &problem.dy, &problem.kernel, &in_bias, cuts, edge);
            check_close(&got, &dx, &dx, 0.0).map_err(|what| format!("input gradient, {tier:?}: {what}"))?;
            let plan = conv::kernel_grad(g, kernels, Algorithm::Direct);
            let x = Fenced::new(&problem.x, edge);
            let mut got = Fenced::new(&vec![T::ZERO; g.kernel_len()], edge);
            let tiling = plan.tiling();
            for rows in elements(tiling, tiling.row_len(), cuts) {
                let dy = Fenced::new(&problem.dy[rows.clone()], edge);
                let operands = GradOperands { x: &x, dy: &dy, non_temporal: false };
                let sums = Sums { sums: &mut got, units: 0..tiling.weight_units(), from_zero: false };
                plan.accumulate(operands, &Region::Elements(rows), sums, &mut Scratch::default());
            }
            check_close(&got, &dkernel, &dkernel, 0.0)
                .map_err(|what| format!("kernel gradient, {tier:?}: {what}"))?;
        }
    }
    Ok(())
}

/// Winograd's passes on fenced operands give what they give elsewhere.
fn check_winograd(case: &ConvCase, cuts: &[usize]) -> Result<(), String> {
    let problem = Problem::<f32>::new(&ConvCase { samples: 1, ..case.clone() }, uniform);
    let g = &problem.geometry;
    let in_bias: Vec<f32> = uniform(g.c_in, case.seed);
    let with = |bias| Epilogue { bias: Some(bias), relu: false };
    for tier in Tier::available() {
        let kernels = Kernels::of(tier);
        let mut runner = Runner::new(tier);
        runner.algorithm = Algorithm::Winograd;
        let y = runner.forward(&problem, with(&problem.bias));
        let dx = runner.input_grad(&problem, with(&in_bias));
        let dkernel = runner.kernel_grad(&problem);
        for edge in EDGES {
            announce(format!("Winograd on {tier:?}, {edge:?}, rows cut at {cuts:?}: {case:?}"));
            let plan = conv::map(Pass::Forward, g, kernels, Algorithm::Winograd);
            let forward = map(&*plan, &problem.x, &problem.kernel, &problem.bias, cuts, edge);
            let plan = conv::map(Pass::InputGrad, g, kernels, Algorithm::Winograd);
            let input_grad = map(&*plan, &problem.dy, &problem.kernel, &in_bias, cuts, edge);
            let plan = conv::kernel_grad(g, kernels, Algorithm::Winograd);
            let (x, dy) = (Fenced::new(&problem.x, edge), Fenced::new(&problem.dy, edge));
            let mut sums = Fenced::new(&vec![0.0; plan.tiling().weights], edge);
            let operands = GradOperands { x: &x, dy: &dy, non_temporal: false };
            let all = Region::Elements(0..plan.tiling().len());
            let to = Sums { sums: &mut sums, units: 0..1, from_zero: false };
            plan.accumulate(operands, &all, to, &mut Scratch::default());
            plan.finish(&mut sums);
            let got = [&forward, &input_grad, &sums[..g.kernel_len()]];
            for ((got, expected), pass) in got.into_iter().zip([&y, &dx, &dkernel]).zip(PASSES) {
                if bits(got) != bits(expected) {
                    return Err(format!("{pass}, {tier:?}, {edge:?}: other bits"));
                }
            }
        }
    }
    Ok(())
}

/// A result of `len` elements a row, computed in parts that have fences of their own.
fn in_parts<T: Element>(
    (rows, len): (usize, usize),
    cuts: &[usize],
    edge: Edge,
    mut compute: impl FnMut(Range<usize>, &mut [T]),
) -> Vec<T> {
    let mut whole = Vec::new();
    for part in partition(rows, cuts) {
        let mut to = Fenced::nans(part.len() * len, edge);
        compute(part, &mut to);
        whole.extend_from_slice(&to);
    }
    whole
}

/// Both pools of one sample, forward and backward.
fn check_pools<T: Element>(case: &PoolCase) -> Result<(), String> {
    let g = case.geometry().ok_or("no output")?;
    let [d, h, w] = &g.axes;
    let (rows, bands) =
        ((d.output * h.output, w.output * g.channels), (d.input * h.input, w.input * g.channels));
    let exact = |name: &str, got: &[T], expected: &[f64]| {
        let same = got.iter().map(|v| v.to_f64()).eq(expected.iter().copied());
        if same { Ok(()) } else { Err(format!("{name}: {got:?}, expected {expected:?}")) }
    };
    let x: Vec<T> = integers(g.input_len(), case.seed);
    let dy: Vec<T> = integers(g.output_len(), case.seed ^ 1);
    let (top, top_dx) = (reference::max_pool(&g, &x).values, reference::max_pool_grad(&g, &x, &dy));
    for (tier, edge) in Tier::available().into_iter().flat_map(|tier| EDGES.map(|edge| (tier, edge))) {
        announce(format!("pools of {} on {tier:?}, {edge:?}: {case:?}", T::NAME));
        let (x, dy) = (Fenced::new(&x, edge), Fenced::new(&dy, edge));
        let (mut taps, mut notes) = (Vec::new(), PoolScratch::default());
        let pool = MaxPool::new(g.clone(), Kernels::of(tier));
        let y = in_parts(rows, &case.cuts, edge, |rows, y| {
            let mut at = Fenced::new(&vec![-2; y.len()], edge);
            pool.forward_indices(&x, y, &mut at, rows, (&mut notes, &|| false));
        });
        exact("maxima", &y, &top)?;
        let mut dx = Fenced::nans(x.len(), edge);
        if g.window_len() <= MaxPool::<T>::MOST_TAPS {
            let mut winners = Fenced::new(&vec![0u8; dy.len()], edge);
            let mut y = Fenced::nans(dy.len(), edge);
            pool.forward(&x, &mut y, &mut winners, 0..pool.rows(), (&mut taps, &|| false));
            exact("maxima with winners", &y, &top)?;
            pool.backward(&dy, &winners, Some(&y), &mut dx, &mut taps);
            pool.backward(&dy, &winners, None, &mut dx, &mut taps);
        } else {
            pool.backward_from(&x, &dy, None, &mut dx, &mut taps);
        }
        exact("gradient of maxima", &dx, &top_dx)?;
        let dx = in_parts(bands, &case.cuts, edge, |band, dx| {
            pool.backward_halo(&x, &dy, dx, band, (&mut notes, &|| false))
        });
        exact("gradient of maxima in bands", &dx, &top_dx)?;
        for count in [false, true] {
            let pool = AveragePool::new(g.clone(), count, Kernels::of(tier));
            let y =
                in_parts(rows, &case.cuts, edge, |rows, y| pool.forward(&x, y, rows, (&mut taps, &|| false)));
            let dx = in_parts(bands, &case.cuts, edge, |band, dx| {
                pool.backward_halo(&dy, dx, band, (&mut taps, &|| false))
            });
            let mut whole = Fenced::nans(x.len(), edge);
            pool.backward(&dy, &mut whole, &mut taps);
            if case.has_reference_means(count) {
                let means =
                    [reference::average_pool(&g, &x, count), reference::average_pool_grad(&g, &dy, count)];
                for (got, expected) in [(&*y, &means[0]), (&*dx, &means[1]), (&*whole, &means[1])] {
                    // One over the size of a window is rounded, and so is every sum of shares.
                    check_close(got, expected, &vec![100.0; expected.len()], 1e-6)?;
                }
            }
        }
        let positions = x.len() / g.channels;
        let mut top = Fenced::nans(g.channels, edge);
        let mut mean = Fenced::nans(g.channels, edge);
        pool::global_max(tier, &x, g.channels, 0, &mut top);
        pool::global_average(tier, &x, g.channels, 0, &mut mean);
        let mut dx = Fenced::nans(x.len(), edge);
        pool::global_max_grad(tier, &x, &top, &mut dx);
        exact("gradient of global maxima", &dx, &reference_of_largest(&x, g.channels))?;
        pool::global_average_grad(&mean, positions, &mut dx);
    }
    Ok(())
}

/// The first of the largest elements of every channel, zeros elsewhere.
fn reference_of_largest<T: Element>(x: &[T], channels: usize) -> Vec<f64> {
    let mut kept = vec![0.0; x.len()];
    for c in 0..channels {
        let places = (c..x.len()).step_by(channels);
        let best = places.reduce(|best, i| if x[i] > x[best] { i } else { best });
        best.into_iter().for_each(|i| kept[i] = x[i].to_f64());
    }
    kept
}

/// The microkernel alone, its operands as short as its contract allows.
fn check_products<T: Element>() {
    for tier in Tier::available() {
        let kernels = Kernels::<T>::of(tier);
        let panel = kernels.panel();
        for edge in EDGES {
            for m in (1..=15).chain([29]) {
                for n in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65] {
                    for packed in [true, false] {
                        announce(format!(
                            "{} product on {tier:?}, {edge:?}, m={m} n={n} packed={packed}",
                            T::NAME
                        ));
                        let (k, rs_c) = (3, n + 2);
                        let (rs_a, cs_a) = if packed { (k + 1, 1) } else { (1, m + 1) };
                        let a = Fenced::new(&integers::<T>((m - 1) * rs_a + (k - 1) * cs_a + 1, 1), edge);
                        let matrix: Vec<T> = integers(k * n, 2);
                        let (b, rs_b, ps_b) = if packed {
                            let mut panels = vec![T::ZERO; pack::panels_len(k, n, panel)];
                            pack::panels(&mut panels, &matrix, (k, n), [n, 1], kernels);
                            (Fenced::new(&panels, edge), panel, k * panel)
                        } else {
                            (Fenced::new(&matrix, edge), n, panel)
                        };
                        let before: Vec<T> = integers((m - 1) * rs_c + n, 3);
                        let bias = Fenced::new(&integers::<T>(n, 4), edge);
                        for start in [Start::Result, Start::Bias(&bias), Start::Zero] {
                            let mut c = Fenced::new(&before, edge);
                            let non_temporal = packed && !matches!(start, Start::Zero);
                            kernels.gemm(Gemm {
                                a: &a,
                                b: if packed {
                                    B::Packed { b: &b, ps_b, rs_a }
                                } else {
                                    B::InPlace { b: &b, rs_b, cs_a, row_groups: RowGroups::ONE }
                                },
                                batch: &[Offsets { a: 0, b: 0 }],
                                k,
                                c: &mut c,
                                rs_c,
                                m,
                                n,
                                store: Store { start, relu: false, non_temporal },
                            });
                            for (i, got) in c.iter().enumerate() {
                                let (row, column) = (i / rs_c, i % rs_c);
                                let expected = if column < n {
                                    let first = match start {
                                        Start::Result => before[i],
                                        Start::Bias(bias) => bias[column],
                                        Start::Zero => T::ZERO,
                                    };
                                    let term = |q: usize| {
                                        a[row * rs_a + q * cs_a].to_f64() * matrix[q * n + column].to_f64()
                                    };
                                    first.to_f64() + (0..k).map(term).sum::<f64>()
                                } else {
                                    // The gap between two rows belongs to somebody else.
                                    before[i].to_f64()
                                };
                                assert_eq!(
                                    got.to_f64(),
                                    expected,
                                    "{tier:?} m={m} n={n} packed={packed} {start:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The fences must hold, or the other tests of this file prove nothing.
#[test]
fn one_element_too_far_is_deadly() {
    for edge in EDGES {
        let fenced = Fenced::new(&[1.0f32; 5], edge);
        let outside =
            if edge == Edge::Front { fenced.start.wrapping_sub(1) } else { fenced.start.wrapping_add(5) };
        // SAFETY: the child does nothing but one read, which must kill it, and leaves without running destructors.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above; a read of a protected page raises SIGSEGV.
            unsafe {
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                ptr::read_volatile(outside);
                libc::_exit(0);
            }
        }
        assert!(child > 0, "cannot fork");
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert!(
            libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV,
            "{edge:?}: status {status}"
        );
        assert_eq!(fenced.iter().sum::<f32>(), 5.0);
    }
}

#[test]
fn products_stay_inside_in_float32() {
    check_products::<f32>();
}

#[test]
fn products_stay_inside_in_float64() {
    check_products::<f64>();
}

#[test]
fn named_cases_stay_inside() {
    let case = ConvCase::new;
    let cases = [
        case(&[13, 13], 3, 1, 32),
        case(&[9, 12], 5, 1, 6),
        case(&[5, 6, 9], 3, 1, 16),
        case(&[5, 6, 9], 7, 1, 33).same(),
        case(&[9, 31], 3, 3, 17).same(),
        case(&[7, 9], 1, 5, 33),
        case(&[8, 8], 3, 4, 4).same().stride(&[2, 2]),
        case(&[9, 11], 3, 3, 5).dilation(&[2, 3]),
        case(&[6, 7], 3, 9, 9).same().groups(9),
        case(&[2, 3], 2, 3, 4).pad(&[(4, 3), (5, 4)]),
        case(&[60], 9, 1, 20).causal().stride(&[4]),
        case(&[4, 5, 6], 3, 2, 8).same(),
    ];
    for case in &cases {
        for cuts in [&[][..], &[1, 2, 3, 5]] {
            check::<f32>(case, cuts)
                .and_then(|()| check::<f64>(case, cuts))
                .unwrap_or_else(|what| panic!("{what}: {case:?}"));
        }
    }
}

#[test]
fn winograds_cases_stay_inside() {
    let case = |sizes: [usize; 2], c_in, c_out| ConvCase::new(&sizes, 3, c_in, c_out);
    let cases = [
        case([6, 6], 1, 1),
        case([13, 11], 17, 33),
        case([8, 12], 16, 16).same(),
        case([9, 15], 7, 37).same(),
        case([1, 1], 3, 2).same(),
        case([6, 7], 40, 5).pad(&[(3, 0), (0, 4)]),
        case([3, 2], 4, 5).pad(&[(7, 6), (5, 9)]),
        case([9, 6], 18, 7).pad(&[(2, 1), (0, 3)]).mode(PaddingMode::Reflect),
        ConvCase::new(&[7, 10], 5, 17, 33).same(),
        ConvCase::new(&[3, 5], 5, 4, 5).pad(&[(7, 6), (0, 4)]),
        ConvCase::new(&[150], 3, 5, 37).causal(),
        ConvCase::new(&[70], 5, 18, 5).same(),
        ConvCase::new(&[140], 9, 3, 17).same(),
        ConvCase::new(&[10, 5, 6], 3, 5, 18).same(),
        ConvCase::new(&[2, 3, 4], 3, 17, 3).pad(&[(4, 1), (0, 2), (3, 0)]),
        case([19, 14], 5, 18).same().dilation(&[2, 3]),
        case([4, 9], 17, 3).pad(&[(9, 0), (3, 5)]).dilation(&[6, 2]).mode(PaddingMode::Edge),
        ConvCase::new(&[150], 3, 5, 18).causal().dilation(&[16]),
        ConvCase::new(&[9, 5, 6], 3, 3, 5).same().dilation(&[4, 1, 2]),
    ];
    for case in &cases {
        for cuts in [&[][..], &[1, 2, 3, 5]] {
            check_winograd(case, cuts).unwrap_or_else(|what| panic!("{what}: {case:?}"));
        }
    }
}

#[test]
fn a_transposed_matrix_stays_inside() {
    for (tier, edge) in Tier::available().into_iter().flat_map(|tier| EDGES.map(|edge| (tier, edge))) {
        let kernels = Kernels::<f32>::of(tier);
        for (rows, columns) in (1..=18).flat_map(|n| [(n, 1), (1, n), (n, 17), (32, n), (n, 33)]) {
            announce(format!("{rows} x {columns} transposed on {tier:?}, {edge:?}"));
            let (from_stride, row) = (rows + 3, columns + 2);
            let from = Fenced::new(&integers::<f32>((columns - 1) * from_stride + rows, 1), edge);
            let mut to = Fenced::nans((rows - 1) * row + columns, edge);
            for near in [false, true] {
                to.fill(0.0);
                let ps = kernels.panel();
                kernels.transpose(Transpose {
                    from: &from,
                    from_stride,
                    to: &mut to,
                    row,
                    rows,
                    columns,
                    ps,
                    near,
                });
                assert_eq!(to[(rows - 1) * row + columns - 1], from[(columns - 1) * from_stride + rows - 1]);
            }
        }
    }
}

#[test]
fn a_pool_of_more_taps_than_a_byte_counts_stays_inside() {
    let axes = vec![(19, 17, 1, 1, 2, 1); 2];
    let case = PoolCase { axes, ceil: false, channels: 3, cuts: vec![1, 4], seed: 5 };
    check_pools::<f32>(&case).and_then(|()| check_pools::<f64>(&case)).unwrap();
}

proptest! {
    #[test]
    fn random_cases_stay_inside(case in conv_cases(), cuts in prop::collection::vec(0..1000usize, 0..4)) {
        check::<f32>(&case, &cuts).map_err(TestCaseError::fail)?;
        check::<f64>(&case, &cuts).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn random_pools_stay_inside(case in pool_cases()) {
        check_pools::<f32>(&case).map_err(TestCaseError::fail)?;
        check_pools::<f64>(&case).map_err(TestCaseError::fail)?;
    }
}
